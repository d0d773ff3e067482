-- The record of every event. Times are microseconds since 1970, ids are 16 bytes, JSON is text in normal form.

CREATE TABLE living_map_history (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    -- the producer's time
    "timestamp" INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    payload TEXT NOT NULL,
    source_service TEXT,
    entity_id TEXT,
    entity_type TEXT,
    trace_id TEXT,
    idempotency_key TEXT,
    -- what the event's envelope said beyond the columns
    envelope TEXT,
    -- the original bytes, where normalising them lost something
    raw BLOB,
    -- the log (64 bits, as a signed number) and the position in it
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    -- when the log took the event
    logged_at INTEGER NOT NULL
);

-- One event at each position of a log.
CREATE UNIQUE INDEX living_map_history_position_key ON living_map_history (epoch, seq);

-- Each filter with the order of pages: SQLite has no statistics here to choose between an index for the filter and one
-- for the order.
CREATE INDEX living_map_history_timestamp_idx ON living_map_history ("timestamp");
CREATE INDEX living_map_history_type_timestamp_idx ON living_map_history (event_type, "timestamp");
CREATE INDEX living_map_history_entity_id_idx ON living_map_history (entity_id, "timestamp");
CREATE INDEX living_map_history_entity_type_idx ON living_map_history (entity_type, "timestamp");
CREATE INDEX living_map_history_source_service_idx ON living_map_history (source_service, "timestamp");

-- The identity of the log that this table is when no other log is used; one row.
CREATE TABLE living_map_table_log (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    epoch INTEGER NOT NULL
);
