import { useMemo } from 'react';
import { useConnection, useIsLost, useLayers, useNetwork } from '../live';
import { type Lead, sentenceOf } from '../network/sentence';
import { openEntity } from '../open-entity';
import { useText } from '../preferences';
import { useTravel } from '../travel';
import { Icon } from '../ui/icon';
import { setView } from '../view';

export function follow(lead: Lead): void {
  if ('entity' in lead) openEntity(lead.entity);
  else setView({ panel: lead.panel, entity: null });
}

/** Is the network well, and if not, where. */
export function StateSentence() {
  const text = useText();
  const network = useNetwork();
  const layers = useLayers();
  const { connectionStatus, reconnect } = useConnection();
  const { at } = useTravel();
  const isLost = useIsLost();
  const { tone, headline, detail, lead } = useMemo(
    () => sentenceOf(network, { layers, connection: connectionStatus, isLost, at }, text),
    [network, layers, connectionStatus, isLost, at, text],
  );
  return (
    <div className="sentence" data-tone={tone}>
      <span className="beacon" aria-hidden="true" />
      <p role="status">
        <strong>{headline}</strong> <span className="muted">{detail}</span>
      </p>
      {tone === 'lost' ? (
        <button type="button" onClick={reconnect}>
          {text.t('connection.reconnect')}
        </button>
      ) : (
        lead && (
          <button type="button" onClick={() => follow(lead)}>
            <span>{text.t('state.show')}</span> <Icon name="go" />
          </button>
        )
      )}
    </div>
  );
}
