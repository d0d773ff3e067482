/** Severity of alerts as shape, colour and text. */

import type { Alert, AlertSeverity, Layers } from '@living-map/react';
import { useLayers } from './live';
import { Glyph } from './parts/mark';
import type { Shape } from './picture/palette';
import { useText } from './preferences';
import { setView } from './view';

/** Most urgent first. */
const SEVERITIES = ['critical', 'warning', 'info'] as const satisfies readonly AlertSeverity[];

const glyphs: Record<AlertSeverity, [Shape, string]> = {
  critical: ['diamond', 'bad'],
  warning: ['triangle', 'warn'],
  info: ['bubble', 'quiet'],
};

export function SeverityGlyph({ severity }: { severity: AlertSeverity }) {
  const [shape, tone] = glyphs[severity] ?? glyphs.info;
  return <Glyph shape={shape} tone={tone} />;
}

/** Active alerts, most urgent first, then newest first. */
export function activeAlerts(layers: Layers | null): Alert[] {
  const rank = ({ severity }: Alert) => SEVERITIES.indexOf(severity);
  // Older servers do not send `alerts`.
  return (layers?.city?.alerts ?? []).toSorted(
    (a, b) => rank(a) - rank(b) || Date.parse(b.raised_at) - Date.parse(a.raised_at),
  );
}

/** Header badge with the number of active alerts; opens the alerts panel. */
export function AlertBadge() {
  const { t } = useText();
  const alerts = useLayers()?.city?.alerts ?? [];
  const counts = SEVERITIES.map((severity) => ({
    severity,
    count: alerts.filter((alert) => alert.severity === severity).length,
  })).filter(({ count }) => count > 0);
  return (
    <button type="button" className="badge alerts" onClick={() => setView({ panel: 'alerts' }, false)}>
      <span role="status" className="badge">
        {counts.length === 0 && <span className="muted">{t('alerts.none')}</span>}
        {counts.map(({ severity, count }) => (
          <span key={severity} data-severity={severity}>
            <SeverityGlyph severity={severity} /> {t(`alerts.${severity}`, { count })}
          </span>
        ))}
      </span>
    </button>
  );
}
