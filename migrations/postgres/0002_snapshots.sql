-- Saved snapshots and the clean-up function of the service we replace, taken over as they are.

CREATE TABLE IF NOT EXISTS living_map_snapshots (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    generated_at timestamptz NOT NULL DEFAULT now(),
    snapshot_data jsonb NOT NULL,
    version text,
    compressed boolean NOT NULL DEFAULT false,
    size_bytes integer,
    created_at timestamptz NOT NULL DEFAULT now()
);

DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_index
        WHERE indrelid = 'living_map_snapshots'::regclass AND indisvalid AND indpred IS NULL
            AND pg_get_indexdef(indexrelid, 1, true) = 'generated_at'
    ) THEN
        CREATE INDEX living_map_snapshots_generated_at_idx ON living_map_snapshots (generated_at DESC);
    END IF;
    IF to_regprocedure('cleanup_living_map_history()') IS NULL THEN
        -- For operators who run it by a timer; the server has a retention task of its own.
        CREATE FUNCTION cleanup_living_map_history() RETURNS void LANGUAGE sql AS $body$
            DELETE FROM living_map_history WHERE "timestamp" < now() - interval '30 days';
            DELETE FROM living_map_snapshots WHERE id NOT IN (
                SELECT id FROM living_map_snapshots ORDER BY generated_at DESC LIMIT 100
            );
        $body$;
    END IF;
END
$$;
