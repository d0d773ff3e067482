-- What could not be processed: tried again a few times, then kept for somebody to look at, then archived and deleted.

CREATE TABLE dead_letters (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    -- which part of the server it failed in, and who tries it again
    processor TEXT NOT NULL,
    -- the message's subject, body and, where reading it lost something, its original bytes
    event_type TEXT NOT NULL,
    body BLOB NOT NULL,
    raw BLOB,
    -- where the message is
    origin_stream TEXT NOT NULL,
    origin_seq INTEGER NOT NULL,
    -- its position in the log, where it has one
    epoch INTEGER,
    seq INTEGER,
    logged_at INTEGER NOT NULL,
    error TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('retrying', 'dead', 'replayed', 'discarded')),
    first_failed_at INTEGER NOT NULL,
    last_failed_at INTEGER NOT NULL,
    -- when it is tried again by itself
    next_at INTEGER,
    -- whether it was put on the bus as a dead letter
    published INTEGER NOT NULL DEFAULT 0,
    -- grows with each change
    version INTEGER NOT NULL DEFAULT 1
);

CREATE INDEX dead_letters_first_failed_at_idx ON dead_letters (first_failed_at, id);
CREATE INDEX dead_letters_event_type_idx ON dead_letters (event_type, first_failed_at);
CREATE INDEX dead_letters_next_at_idx ON dead_letters (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX dead_letters_unpublished_idx ON dead_letters (first_failed_at) WHERE status = 'dead' AND NOT published;
CREATE INDEX dead_letters_dead_idx ON dead_letters (status) WHERE status = 'dead';
