-- Snapshots are saved with the fold's exact state, to start from and to look back from. Rows of the service we replace
-- have none of these. New columns are nullable and without a default, so that adding them rewrites nothing.

ALTER TABLE living_map_snapshots
    -- the position the snapshot is exact at
    ADD COLUMN IF NOT EXISTS epoch bigint,
    ADD COLUMN IF NOT EXISTS seq bigint,
    -- the log's time of the last event in it
    ADD COLUMN IF NOT EXISTS logged_at timestamptz,
    -- the fold's state, compressed; only builds of the same state_version read it
    ADD COLUMN IF NOT EXISTS state bytea,
    ADD COLUMN IF NOT EXISTS state_version integer;

-- It is compressed already.
ALTER TABLE living_map_snapshots ALTER COLUMN state SET STORAGE EXTERNAL;

CREATE UNIQUE INDEX living_map_snapshots_position_key ON living_map_snapshots (epoch, state_version, seq)
    WHERE epoch IS NOT NULL;
