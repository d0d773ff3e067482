import { Popover } from '@base-ui/react/popover';
import { useCaller } from '../caller';
import { useText } from '../preferences';
import { signOut } from '../session';
import { Icon } from '../ui/icon';

/** Name and role of the caller, and sign-out; nothing if the server requires no tokens. */
export function Person() {
  const { t, maybe, clock } = useText();
  const caller = useCaller();
  if (!caller?.name) return null;
  const { name, expires_at } = caller;
  const role = maybe(`role.${caller.role}`, '');
  return (
    <Popover.Root>
      <Popover.Trigger className="person">
        <Icon name="person" />
        <span className="person-name">{name}</span> <span className="muted">{role}</span>
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Positioner align="end" sideOffset={8}>
          <Popover.Popup className="popup person-menu">
            <Popover.Title>{name}</Popover.Title>
            <p>{maybe(`role.${caller.role}.about`, role)}</p>
            <p className="muted small">
              {expires_at === null ? t('person.unlimited') : t('person.until', { time: clock(expires_at, true) })}
            </p>
            <button type="button" onClick={signOut}>
              {t('login.leave')}
            </button>
          </Popover.Popup>
        </Popover.Positioner>
      </Popover.Portal>
    </Popover.Root>
  );
}
