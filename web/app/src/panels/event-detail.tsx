import { useText } from '../preferences';
import { type DetailedEvent, eventFields } from '../words/event-fields';
import { Said } from './event-rows';

/** The fields of an event, and its payload as JSON. */
export function EventDetail({ event }: { event: DetailedEvent }) {
  const text = useText();
  return (
    <>
      <dl className="facts">
        {eventFields(event, text).map(({ name, value, isEntity }) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{isEntity ? <Said part={{ entity: canonical(value, event) }} /> : value}</dd>
          </div>
        ))}
      </dl>
      <pre>{JSON.stringify(event.payload, null, 1)}</pre>
    </>
  );
}

/** The event's own entity by its canonical id, which a payload may have without its type. */
const canonical = (id: string, { entity_id }: DetailedEvent) => (entity_id?.endsWith(`:${id}`) ? entity_id : id);
