-- Webhooks about alerts: what each destination is to be told, and up to where of the log that was decided.

CREATE TABLE webhook_outbox (
    -- what is about one alert goes to one destination in this order
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    -- the message's name, the same however often it is sent
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    destination TEXT NOT NULL,
    alert_id TEXT NOT NULL,
    body TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'delivered', 'dead')),
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)),
    -- until when it is with whoever sends it
    claimed_until INTEGER,
    -- why the last attempt failed
    error TEXT,
    created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)),
    changed_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER))
);

CREATE INDEX webhook_outbox_waiting_idx ON webhook_outbox (destination, alert_id, seq) WHERE status = 'waiting';
CREATE INDEX webhook_outbox_changed_at_idx ON webhook_outbox (changed_at);

CREATE TABLE webhook_position (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    -- the alerts as they are there, and who was told of them
    state TEXT NOT NULL,
    -- grows with each change
    version INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
);
