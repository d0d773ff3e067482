-- Webhooks about alerts: what each destination is to be told, and up to where of the log that was decided.

CREATE TABLE webhook_outbox (
    -- the message's name, the same however often it is sent
    id uuid PRIMARY KEY,
    -- what is about one alert goes to one destination in this order
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    destination text NOT NULL,
    alert_id text NOT NULL,
    body text NOT NULL,
    status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'delivered', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- until when it is with whoever sends it
    claimed_until timestamptz,
    -- why the last attempt failed
    error text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX webhook_outbox_waiting_idx ON webhook_outbox (destination, alert_id, seq) WHERE status = 'waiting';
CREATE INDEX webhook_outbox_changed_at_idx ON webhook_outbox (changed_at);

CREATE TABLE webhook_position (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    epoch bigint NOT NULL,
    seq bigint NOT NULL,
    -- the alerts as they are there, and who was told of them
    state text NOT NULL,
    -- grows with each change
    version bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
