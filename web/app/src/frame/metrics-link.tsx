import { useState } from 'react';
import { useSession } from '../access';
import { Action } from '../parts/action';
import { useText } from '../preferences';
import { errorText, getText } from '../requests';

/** Time after which the text of an opened tab is released; a reload of the tab then fails (ms). */
const RELEASE_MS = 60_000;

/** Link to the metrics. With a token they are requested here, since a link sends none. */
export function MetricsLink() {
  const i18n = useText();
  const [problem, setProblem] = useState<string | null>(null);
  if (useSession().token === null) return <a href="metrics">{i18n.t('developers.metrics')}</a>;
  const show = async () => {
    // At once, since browsers open a tab only in response to a click.
    const tab = window.open('about:blank');
    try {
      const address = URL.createObjectURL(new Blob([await getText('metrics')], { type: 'text/plain; charset=utf-8' }));
      if (tab) tab.location.href = address;
      setTimeout(() => URL.revokeObjectURL(address), RELEASE_MS);
      setProblem(null);
    } catch (error) {
      tab?.close();
      setProblem(errorText(error, i18n));
    }
  };
  return (
    <>
      <Action operation="metrics" className="link" onClick={show}>
        {i18n.t('developers.metrics')}
      </Action>
      {problem && (
        <p className="notice" role="alert">
          {problem}
        </p>
      )}
    </>
  );
}
