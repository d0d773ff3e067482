import type { ReactNode } from 'react';

interface ScrollAreaProps {
  id?: string;
  /** Id of the heading. */
  labelledBy: string;
  children: ReactNode;
}

/** Content of a panel that scrolls, also by keyboard. */
export function ScrollArea({ id, labelledBy, children }: ScrollAreaProps) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for form controls
    // biome-ignore lint/a11y/noNoninteractiveTabindex: scrollable regions must be focusable by keyboard
    <div className="panel" id={id} role="group" aria-labelledby={labelledBy} tabIndex={0}>
      {children}
    </div>
  );
}
