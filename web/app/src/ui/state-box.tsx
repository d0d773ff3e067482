import type { ReactNode } from 'react';
import { Icon, type IconName } from './icon';

interface StateBoxProps {
  icon?: IconName;
  /** Next step, e.g. a button. */
  action?: ReactNode;
  children: ReactNode;
}

/** State of a view without content: empty, loading, missing, failed. */
export function StateBox({ icon = 'empty', action, children }: StateBoxProps) {
  return (
    <div className="state-box" data-state={icon}>
      <Icon name={icon} />
      <p>{children}</p>
      {action}
    </div>
  );
}
