-- From which position on every event of a log is here. Retention by class takes events out of the middle, and whoever
-- reads the record as a log has to know where that ends, not guess.

CREATE TABLE living_map_history_complete (
    epoch INTEGER PRIMARY KEY,
    -- every event from this position on is here
    complete_from INTEGER NOT NULL
);

-- What was deleted before this table was there left gaps that nobody noted: the record begins behind the last of them.
INSERT INTO living_map_history_complete (epoch, complete_from)
    SELECT epoch, max(seq)
    FROM (
        SELECT epoch, seq, seq - lag(seq) OVER (PARTITION BY epoch ORDER BY seq) AS step FROM living_map_history
    )
    WHERE step > 1
    GROUP BY epoch;

-- By a trigger, so that it holds in the same transaction for every delete, also for one by hand.
CREATE TRIGGER living_map_note_deleted AFTER DELETE ON living_map_history
BEGIN
    INSERT INTO living_map_history_complete (epoch, complete_from) VALUES (OLD.epoch, OLD.seq + 1)
        ON CONFLICT (epoch) DO UPDATE SET complete_from = excluded.complete_from
            WHERE complete_from < excluded.complete_from;
END;
