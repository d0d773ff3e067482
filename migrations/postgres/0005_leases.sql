-- Who does what one server does for all. One row for each lease, written about once a second by its holder and looked at
-- as often by the others; the room left in its page lets each write stay in the page.

CREATE TABLE living_map_leases (
    name text PRIMARY KEY,
    -- a run of a server
    holder uuid NOT NULL,
    -- grows with each change of hands
    token bigint NOT NULL,
    -- by this database's clock
    expires_at timestamptz NOT NULL,
    -- what the holder says to the others: how the upstreams are doing
    note text NOT NULL
) WITH (fillfactor = 20);
