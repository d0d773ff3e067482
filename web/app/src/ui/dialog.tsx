import { Dialog as Base } from '@base-ui/react/dialog';
import type { ReactNode } from 'react';

interface DialogProps {
  title: string;
  onClose: () => void;
  className?: string;
  /** Whether the title is only for screen readers. */
  isTitleHidden?: boolean;
  children: ReactNode;
}

/** Modal dialog. On closing, the focus returns to where it was. */
export function Dialog({ title, onClose, className = 'dialog', isTitleHidden = false, children }: DialogProps) {
  return (
    <Base.Root open onOpenChange={(isOpen) => isOpen || onClose()}>
      <Base.Portal>
        <Base.Backdrop className="backdrop" />
        <Base.Popup className={className}>
          <Base.Title className={isTitleHidden ? 'unseen' : undefined}>{title}</Base.Title>
          {children}
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  );
}
