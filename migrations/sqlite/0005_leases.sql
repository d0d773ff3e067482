-- Who does what one server does for all. One row for each lease.

CREATE TABLE living_map_leases (
    name TEXT PRIMARY KEY NOT NULL,
    -- a run of a server
    holder BLOB NOT NULL CHECK (length(holder) = 16),
    -- grows with each change of hands
    token INTEGER NOT NULL,
    -- microseconds since 1970 by this machine's clock
    expires_at INTEGER NOT NULL,
    -- what the holder says to the others: how the upstreams are doing
    note TEXT NOT NULL
) WITHOUT ROWID;
