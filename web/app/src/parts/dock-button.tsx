import { setPreferences, usePreferences, useText } from '../preferences';
import { IconButton } from '../ui/button';

/** Puts the panels beside the scene, or lets them float over it. */
export function DockButton() {
  const { t } = useText();
  const { isDocked } = usePreferences();
  return (
    <IconButton
      isBare
      className="dock-button"
      icon={isDocked ? 'float' : 'dock'}
      label={t(isDocked ? 'panel.float' : 'panel.dock')}
      onClick={() => setPreferences({ isDocked: !isDocked })}
    />
  );
}
