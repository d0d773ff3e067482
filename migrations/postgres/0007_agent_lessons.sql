-- What the learner found worth remembering. The table of an older learner is taken over with its rows: of it no more is
-- presumed than a unique lesson_key and ts.

CREATE TABLE IF NOT EXISTS agent_lessons (
    lesson_key text PRIMARY KEY,
    -- when the experience that completed it was taken by the log
    ts timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE agent_lessons
    ADD COLUMN IF NOT EXISTS agent_id text,
    ADD COLUMN IF NOT EXISTS rule text,
    -- the lesson as it was learned, or the text it was given later; rows are never changed
    ADD COLUMN IF NOT EXISTS content jsonb;

DO $$
DECLARE
    other record;
BEGIN
    -- columns that only the older learner fills must not refuse our rows
    FOR other IN
        SELECT attname AS name, format_type(atttypid, NULL) AS type, EXISTS (
            SELECT FROM pg_index WHERE indrelid = attrelid AND indisprimary AND attnum = ANY(indkey)
        ) AS is_key
        FROM pg_attribute
        WHERE attrelid = 'agent_lessons'::regclass AND attnum > 0 AND NOT attisdropped AND attnotnull AND NOT atthasdef
            AND attidentity = '' AND attname NOT IN ('lesson_key', 'ts')
    LOOP
        IF other.is_key AND other.type = 'uuid' THEN
            EXECUTE format('ALTER TABLE agent_lessons ALTER COLUMN %I SET DEFAULT gen_random_uuid()', other.name);
        ELSIF other.is_key AND other.type IN ('text', 'character varying') THEN
            EXECUTE format('ALTER TABLE agent_lessons ALTER COLUMN %I SET DEFAULT gen_random_uuid()::text', other.name);
        ELSIF NOT other.is_key THEN
            EXECUTE format('ALTER TABLE agent_lessons ALTER COLUMN %I DROP NOT NULL', other.name);
        END IF;
    END LOOP;
    IF NOT EXISTS (
        SELECT FROM pg_index
        WHERE indrelid = 'agent_lessons'::regclass AND indisunique AND indisvalid AND indpred IS NULL AND indnkeyatts = 1
            AND pg_get_indexdef(indexrelid, 1, true) = 'lesson_key'
    ) THEN
        CREATE UNIQUE INDEX agent_lessons_lesson_key_key ON agent_lessons (lesson_key);
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_index
        WHERE indrelid = 'agent_lessons'::regclass AND indisvalid AND indpred IS NULL
            AND pg_get_indexdef(indexrelid, 1, true) = 'ts'
    ) THEN
        CREATE INDEX agent_lessons_ts_idx ON agent_lessons (ts);
    END IF;
END
$$;

-- What was done with lessons, in order; rows are never changed.
CREATE TABLE agent_lesson_operations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    root_key text NOT NULL,
    lesson_key text NOT NULL,
    version integer NOT NULL,
    operation text NOT NULL,
    -- who did it: learner, operator, heuristic, agent
    actor text NOT NULL,
    reason text,
    at timestamptz NOT NULL,
    -- what the caller named it, so that it is done once
    operation_key text UNIQUE
);
CREATE INDEX agent_lesson_operations_root_idx ON agent_lesson_operations (root_key, id);

-- What the operations add up to: one row for each version of a lesson. The whole lesson is in `lesson`; the other columns
-- are there to find it.
CREATE TABLE agent_lesson_states (
    lesson_key text PRIMARY KEY,
    root_key text NOT NULL,
    version integer NOT NULL,
    -- null: of all agents
    agent_id text,
    rule text NOT NULL,
    signature text NOT NULL,
    status text NOT NULL,
    ts timestamptz NOT NULL,
    lesson jsonb NOT NULL,
    search tsvector NOT NULL
);
CREATE UNIQUE INDEX agent_lesson_states_version_key ON agent_lesson_states (root_key, version);
CREATE INDEX agent_lesson_states_ts_idx ON agent_lesson_states (ts DESC, lesson_key DESC);
CREATE INDEX agent_lesson_states_agent_idx ON agent_lesson_states (agent_id, ts DESC, lesson_key DESC);
CREATE INDEX agent_lesson_states_candidate_idx ON agent_lesson_states (ts) WHERE status = 'candidate';
CREATE INDEX agent_lesson_states_rejected_idx ON agent_lesson_states (rule, signature) WHERE status = 'rejected';
CREATE INDEX agent_lesson_states_search_idx ON agent_lesson_states USING gin (search);

-- What is to be told on the log, until it is.
CREATE TABLE agent_lesson_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    body jsonb NOT NULL
);

-- How far a learner without a consumer of its own has read the log.
CREATE TABLE agent_lesson_positions (
    reader text PRIMARY KEY,
    epoch bigint NOT NULL,
    seq bigint NOT NULL
);

-- Rows of the older learner: handed out as they are.
INSERT INTO agent_lesson_states (lesson_key, root_key, version, agent_id, rule, signature, status, ts, lesson, search)
SELECT old.lesson_key, old.lesson_key, 1, old.agent, 'adopted', '', 'active', old.ts,
    jsonb_build_object(
        'lesson_key', old.lesson_key, 'root_key', old.lesson_key, 'agent_id', old.agent, 'rule', 'adopted',
        'signature', '', 'status', 'active', 'version', 1, 'severity', 'medium', 'title', old.title, 'text', old.text,
        'evidence', '[]'::jsonb, 'occurrences', 1, 'replay_count', 0, 'helped', 0, 'not_helped', 0,
        'retirement_proposed', false, 'reason', NULL, 'superseded_by', NULL, 'superseded_at', NULL,
        'first_seen', old.written, 'last_seen', old.written, 'ts', old.written
    ),
    to_tsvector('simple', regexp_replace(old.title || ' ' || old.text, '[^[:alnum:]]+', ' ', 'g'))
FROM (
    SELECT lesson_key, ts, row ->> 'agent_id' AS agent,
        left(COALESCE(row ->> 'title', row ->> 'trigger', lesson_key), 200) AS title,
        left(COALESCE(row ->> 'text', concat_ws(' ', row ->> 'action', 'Avoid: ' || (row ->> 'avoid')), ''), 4000) AS text,
        to_char(ts AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS written
    FROM (SELECT lesson_key, ts, to_jsonb(agent_lessons) AS row FROM agent_lessons) AS rows
    WHERE lesson_key IS NOT NULL AND ts IS NOT NULL AND ts NOT IN ('infinity', '-infinity')
) AS old
ON CONFLICT DO NOTHING;
