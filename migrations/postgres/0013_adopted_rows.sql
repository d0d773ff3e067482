-- Rows without a position in a log: another service wrote them. They are looked for at every start, by their time, and are few
-- beside the others or all at an adoption.

CREATE INDEX living_map_history_adopted_idx ON living_map_history ("timestamp", id) WHERE epoch IS NULL;

-- How far adopted rows were given the entity that their payload names; one row.
CREATE TABLE living_map_adopted_rows (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    -- the last row that was examined
    "timestamp" timestamptz NOT NULL,
    id uuid NOT NULL,
    examined bigint NOT NULL,
    completed bigint NOT NULL
);
