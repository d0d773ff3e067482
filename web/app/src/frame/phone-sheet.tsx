import { Drawer } from '@base-ui/react/drawer';
import { type ReactNode, useState } from 'react';
import { useText } from '../preferences';

/** Heights of the sheet, as parts of the space above the time line. */
const HALF = 0.52;
const FULL = 1;

interface PhoneSheetProps {
  /** Id of the heading. */
  labelledBy: string;
  onClose: () => void;
  children: ReactNode;
}

/** Sheet from below, half or full, which a swipe down closes; the scene above it stays usable. */
export default function PhoneSheet({ labelledBy, onClose, children }: PhoneSheetProps) {
  const { t } = useText();
  const [height, setHeight] = useState<Drawer.Root.SnapPoint | null>(HALF);
  const [space, setSpace] = useState<HTMLDivElement | null>(null);
  return (
    <>
      {/* Measured by the scene, which keeps what was opened above the sheet. */}
      <div className="sheet-cover" style={{ height: `${HALF * 100}%` }} />
      <div className="sheet-space" ref={setSpace} />
      {space && (
        <Drawer.Root
          open
          modal={false}
          disablePointerDismissal
          snapPoints={[HALF, FULL]}
          snapPoint={height}
          onSnapPointChange={setHeight}
          onOpenChange={(isOpen) => isOpen || onClose()}
        >
          <Drawer.Portal container={space}>
            <Drawer.Viewport className="drawer-viewport">
              <Drawer.Popup className="drawer" aria-labelledby={labelledBy} initialFocus={false} finalFocus={false}>
                <button
                  type="button"
                  className="drawer-handle"
                  aria-label={t('sheet.full')}
                  aria-pressed={height === FULL}
                  onClick={() => setHeight(height === FULL ? HALF : FULL)}
                />
                {children}
              </Drawer.Popup>
            </Drawer.Viewport>
          </Drawer.Portal>
        </Drawer.Root>
      )}
    </>
  );
}
