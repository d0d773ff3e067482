/** Severity of alerts as shape and colour. */

import type { AlertSeverity } from '@living-map/react';
import type { Shape } from './picture/palette';
import { Glyph } from './ui/mark';

const glyphs: Record<AlertSeverity, [Shape, string]> = {
  critical: ['diamond', 'failing'],
  warning: ['triangle', 'warning'],
  info: ['bubble', 'idle'],
};

export function SeverityGlyph({ severity }: { severity: AlertSeverity }) {
  const [shape, tone] = glyphs[severity] ?? glyphs.info;
  return <Glyph shape={shape} tone={tone} />;
}
