import { type KeyboardEvent, type PointerEvent, useRef } from 'react';
import { PANEL_WIDTH, setPreferences, usePreferences, useText } from '../preferences';

/** Change of the width by one key press (px). */
const STEP = 16;

/** Left edge of the panels: drag it, or use the arrow keys, to change their width. */
export function PanelSize({ panels }: { panels: number }) {
  const { t } = useText();
  const { panelWidth } = usePreferences();
  const drag = useRef<{ x: number; width: number } | null>(null);
  const resize = (width: number) => setPreferences({ panelWidth: width });
  const keys: Record<string, number> = {
    ArrowLeft: panelWidth + STEP,
    ArrowRight: panelWidth - STEP,
    Home: PANEL_WIDTH.least,
    End: PANEL_WIDTH.most,
  };
  const press = (event: KeyboardEvent) => {
    const width = keys[event.key];
    if (width === undefined) return;
    event.preventDefault();
    resize(width);
  };
  const move = ({ clientX }: PointerEvent) => {
    if (drag.current) resize(drag.current.width + (drag.current.x - clientX) / panels);
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: a rule cannot be moved
    <div
      className="panel-size"
      role="separator"
      aria-orientation="vertical"
      aria-label={t('panel.width')}
      aria-valuemin={PANEL_WIDTH.least}
      aria-valuemax={PANEL_WIDTH.most}
      aria-valuenow={panelWidth}
      tabIndex={0}
      title={t('panel.width.about')}
      onKeyDown={press}
      onDoubleClick={() => resize(PANEL_WIDTH.usual)}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        drag.current = { x: event.clientX, width: panelWidth };
      }}
      onPointerMove={move}
      onPointerUp={() => {
        drag.current = null;
      }}
    />
  );
}
