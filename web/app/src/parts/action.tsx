import { type ComponentProps, useId, useState } from 'react';
import { type Operation, useDenial } from '../caller';
import { Tip } from '../ui/tooltip';

interface ActionProps extends Omit<ComponentProps<'button'>, 'type'> {
  operation: Operation;
}

/**
 * Button of an operation. If the caller may not do it, it stays in the tab order and gives the reason: on hover and focus,
 * to screen readers, and below it after a click, since touch screens have neither.
 */
export function Action({ operation, disabled, onClick, ...rest }: ActionProps) {
  const id = useId();
  const denial = useDenial(operation);
  const [isAsked, setAsked] = useState(false);
  if (denial === null) return <button type="button" {...rest} disabled={disabled} onClick={onClick} />;
  return (
    <>
      <Tip text={denial}>
        <button
          type="button"
          {...rest}
          aria-disabled="true"
          aria-describedby={id}
          aria-expanded={undefined}
          onClick={() => setAsked(true)}
        />
      </Tip>
      <span id={id} className={isAsked ? 'denial' : 'unseen'}>
        {denial}
      </span>
    </>
  );
}
