-- The map with which a log begins. A log that lost its entries (recreated, restored from a backup, cut off by its limits) begins
-- with the map of the entries it lost, a row of living_map_snapshots, and not with the empty map.

CREATE TABLE living_map_bases (
    epoch INTEGER NOT NULL,
    state_version INTEGER NOT NULL,
    -- counts the bases of a log: it gets a further one when it loses its oldest entries unread
    number INTEGER NOT NULL,
    -- the position at which the map begins
    seq INTEGER NOT NULL,
    -- the position whose map it is; null: the empty map
    carried_epoch INTEGER,
    carried_seq INTEGER,
    -- the fencing token of the leader that decided; null where there can be no other server
    token INTEGER,
    decided_at INTEGER NOT NULL,
    PRIMARY KEY (epoch, state_version, number)
);

CREATE INDEX living_map_bases_carried_idx ON living_map_bases (carried_epoch);
