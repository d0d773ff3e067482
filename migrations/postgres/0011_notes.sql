-- Notes about an event: what was repaired, or could not be read, in what its publisher sent. NULL where there are none.

ALTER TABLE living_map_history ADD COLUMN IF NOT EXISTS notes jsonb;
