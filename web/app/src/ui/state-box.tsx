import type { ReactNode } from 'react';
import { Icon, type IconName } from './icon';

/** What a view shows instead of content: empty, loading, missing. */
export function StateBox({ icon = 'empty', children }: { icon?: IconName; children: ReactNode }) {
  return (
    <div className="state-box">
      <Icon name={icon} />
      <p>{children}</p>
    </div>
  );
}
