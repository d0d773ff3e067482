import type { ReactNode } from 'react';
import type { Item } from '../entities';
import { linkTo, openEntity } from '../open-entity';
import { formatView } from '../view';

/** Link to an entity: a click opens it on this page; the URL can be copied. */
export function EntityLink({ id, item, children }: { id: string; item?: Item | null; children: ReactNode }) {
  return (
    <a
      href={formatView(linkTo(id, item?.type)) || './'}
      onClick={(event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        openEntity(id, item?.type);
      }}
    >
      {children}
    </a>
  );
}
