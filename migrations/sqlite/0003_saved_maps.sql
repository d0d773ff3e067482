-- Saved snapshots, each with the fold's exact state, to start from and to look back from.

CREATE TABLE living_map_snapshots (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    generated_at INTEGER NOT NULL,
    -- the wire form, zstd
    snapshot_data BLOB NOT NULL,
    version TEXT,
    -- bytes of the wire form, uncompressed
    size_bytes INTEGER,
    created_at INTEGER NOT NULL,
    -- the position the snapshot is exact at
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    -- the log's time of the last event in it
    logged_at INTEGER NOT NULL,
    -- the fold's state, compressed; only builds of the same state_version read it
    state BLOB NOT NULL,
    state_version INTEGER NOT NULL
);

CREATE UNIQUE INDEX living_map_snapshots_position_key ON living_map_snapshots (epoch, state_version, seq);
CREATE INDEX living_map_snapshots_generated_at_idx ON living_map_snapshots (generated_at);
