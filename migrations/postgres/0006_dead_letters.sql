-- What could not be processed: tried again a few times, then kept for somebody to look at, then archived and deleted.

CREATE TABLE dead_letters (
    id uuid PRIMARY KEY,
    -- which part of the server it failed in, and who tries it again
    processor text NOT NULL,
    -- the message's subject, body and, where reading it lost something, its original bytes
    event_type text NOT NULL,
    body bytea NOT NULL,
    raw bytea,
    -- where the message is
    origin_stream text NOT NULL,
    origin_seq bigint NOT NULL,
    -- its position in the log, where it has one
    epoch bigint,
    seq bigint,
    logged_at timestamptz NOT NULL,
    error text NOT NULL,
    attempts integer NOT NULL,
    status text NOT NULL CHECK (status IN ('retrying', 'dead', 'replayed', 'discarded')),
    first_failed_at timestamptz NOT NULL,
    last_failed_at timestamptz NOT NULL,
    -- when it is tried again by itself
    next_at timestamptz,
    -- whether it was put on the bus as a dead letter
    published boolean NOT NULL DEFAULT false,
    -- grows with each change
    version bigint NOT NULL DEFAULT 1
);

CREATE INDEX dead_letters_first_failed_at_idx ON dead_letters (first_failed_at, id);
CREATE INDEX dead_letters_event_type_idx ON dead_letters (event_type text_pattern_ops, first_failed_at);
CREATE INDEX dead_letters_next_at_idx ON dead_letters (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX dead_letters_unpublished_idx ON dead_letters (first_failed_at) WHERE status = 'dead' AND NOT published;
CREATE INDEX dead_letters_dead_idx ON dead_letters (status) WHERE status = 'dead';
