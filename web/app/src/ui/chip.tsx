import type { ReactNode } from 'react';
import { Tip } from './tooltip';

interface ChipProps {
  isOn: boolean;
  onToggle: () => void;
  /** Explanation on hover. */
  about: string;
  children: ReactNode;
}

/** Toggle of a filter. */
export function Chip({ isOn, onToggle, about, children }: ChipProps) {
  return (
    <Tip text={about}>
      <button type="button" className="chip" aria-pressed={isOn} onClick={onToggle}>
        {children}
      </button>
    </Tip>
  );
}
