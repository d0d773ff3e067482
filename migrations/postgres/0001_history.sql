-- The record of every event. A database of the service we replace has this table already: it is taken over as it is,
-- rows and indexes included, and programs that know only the old columns go on working.

CREATE TABLE IF NOT EXISTS living_map_history (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    -- the producer's time
    "timestamp" timestamptz NOT NULL DEFAULT now(),
    event_type text NOT NULL,
    payload jsonb NOT NULL,
    source_service text,
    entity_id text,
    entity_type text,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- New columns are nullable and without a default, so that adding them rewrites nothing.
ALTER TABLE living_map_history
    -- the log and the position in it; null for rows from before there was a log
    ADD COLUMN IF NOT EXISTS epoch bigint,
    ADD COLUMN IF NOT EXISTS seq bigint,
    -- when the log took the event
    ADD COLUMN IF NOT EXISTS logged_at timestamptz,
    ADD COLUMN IF NOT EXISTS trace_id text,
    ADD COLUMN IF NOT EXISTS idempotency_key text,
    -- what the event's envelope said beyond the columns
    ADD COLUMN IF NOT EXISTS envelope jsonb,
    -- the original bytes, where jsonb could not hold what they said
    ADD COLUMN IF NOT EXISTS raw bytea;

-- Pages are ordered and retention goes by this time: a row without one, or with an infinite one, would fall out of both.
UPDATE living_map_history
    SET "timestamp" = COALESCE(created_at, now())
    WHERE "timestamp" IS NULL OR "timestamp" IN ('infinity', '-infinity');
ALTER TABLE living_map_history ALTER COLUMN "timestamp" SET NOT NULL;

-- An index is made only if none over the same columns is there, whatever its name. One on event_type or entity_id alone
-- is not made: that with the timestamp does its work, and a page of one entity among many is found by it. text_pattern_ops: subjects are searched by prefix, in any locale.
DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('living_map_history_timestamp_idx', ARRAY['"timestamp"'], '"timestamp" DESC'),
            ('living_map_history_type_timestamp_idx', ARRAY['event_type', '"timestamp"'],
                'event_type text_pattern_ops, "timestamp" DESC'),
            ('living_map_history_entity_id_timestamp_idx', ARRAY['entity_id', '"timestamp"'],
                'entity_id, "timestamp" DESC'),
            ('living_map_history_entity_type_idx', ARRAY['entity_type'], 'entity_type'),
            ('living_map_history_source_service_idx', ARRAY['source_service'], 'source_service')
        ) AS indexes (name, columns, definition)
    LOOP
        IF NOT EXISTS (
            SELECT FROM pg_index
            WHERE indrelid = 'living_map_history'::regclass AND indisvalid AND indpred IS NULL
                AND ARRAY(SELECT pg_get_indexdef(indexrelid, place, true) FROM generate_series(1, indnkeyatts) AS place)
                    = wanted.columns
        ) THEN
            EXECUTE format('CREATE INDEX %I ON living_map_history (%s)', wanted.name, wanted.definition);
        END IF;
    END LOOP;
END
$$;

-- One event at each position of a log: this also stops a second writer of a table log.
CREATE UNIQUE INDEX living_map_history_position_key ON living_map_history (epoch, seq) WHERE seq IS NOT NULL;

-- The identity of the log that this table is when no other log is used; one row.
CREATE TABLE living_map_table_log (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    epoch bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
