import type { ComponentType } from 'react';
import { useText } from '../preferences';
import { PANELS, type Panel, setView, useView } from '../view';
import { Alerts, useAlertCount } from './alerts';
import { Changes } from './changes';
import { DeadLetters } from './dead-letters';
import { Feed } from './feed';
import { Health } from './health';
import { Lessons } from './lessons';

const contents: Record<Panel, ComponentType> = {
  events: Feed,
  alerts: Alerts,
  health: Health,
  lessons: Lessons,
  letters: DeadLetters,
  changes: Changes,
};

export function Panels() {
  const { t } = useText();
  const { panel } = useView();
  const alerts = useAlertCount();
  const Content = contents[panel];
  return (
    <section className="panels" aria-label={t('panels')}>
      <div className="tabs" role="tablist" aria-label={t('panels')}>
        {PANELS.map((name, at) => (
          <button
            key={name}
            type="button"
            role="tab"
            id={`tab-${name}`}
            aria-selected={panel === name}
            aria-controls="panel"
            tabIndex={panel === name ? 0 : -1}
            onClick={() => setView({ panel: name }, false)}
            onKeyDown={(event) => {
              const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
              const next = PANELS[(at + step + PANELS.length) % PANELS.length];
              if (step === 0 || !next) return;
              setView({ panel: next }, false);
              document.getElementById(`tab-${next}`)?.focus();
            }}
          >
            {t(`panel.${name}`)}
            {name === 'alerts' && alerts > 0 && <span className="count">{alerts}</span>}
          </button>
        ))}
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: scrollable regions must be focusable by keyboard */}
      <div className="panel" id="panel" role="tabpanel" aria-labelledby={`tab-${panel}`} tabIndex={0}>
        <h2 className="unseen">{t(`panel.${panel}`)}</h2>
        <Content />
      </div>
    </section>
  );
}
