import type { ComponentProps } from 'react';
import { Icon, type IconName } from './icon';
import { Tip } from './tooltip';

interface IconButtonProps extends Omit<ComponentProps<'button'>, 'children' | 'aria-label' | 'title'> {
  icon: IconName;
  label: string;
  /** Without border and background. */
  isBare?: boolean;
}

/** Button with an icon; its label is a tooltip. */
export function IconButton({ icon, label, isBare = false, className = '', ...rest }: IconButtonProps) {
  return (
    <Tip text={label}>
      <button
        type="button"
        {...rest}
        className={`icon-button${isBare ? ' bare' : ''} ${className}`.trim()}
        aria-label={label}
      >
        <Icon name={icon} />
      </button>
    </Tip>
  );
}
