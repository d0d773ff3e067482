-- What the learner found worth remembering. Times are microseconds since 1970, JSON is text.

CREATE TABLE agent_lessons (
    lesson_key TEXT PRIMARY KEY NOT NULL,
    -- when the experience that completed it was taken by the log
    ts INTEGER NOT NULL,
    agent_id TEXT,
    rule TEXT,
    -- the lesson as it was learned, or the text it was given later; rows are never changed
    content TEXT
);
CREATE INDEX agent_lessons_ts_idx ON agent_lessons (ts);

-- What was done with lessons, in order; rows are never changed.
CREATE TABLE agent_lesson_operations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    root_key TEXT NOT NULL,
    lesson_key TEXT NOT NULL,
    version INTEGER NOT NULL,
    operation TEXT NOT NULL,
    -- who did it: learner, operator, heuristic, agent
    actor TEXT NOT NULL,
    reason TEXT,
    at INTEGER NOT NULL,
    -- what the caller named it, so that it is done once
    operation_key TEXT UNIQUE
);
CREATE INDEX agent_lesson_operations_root_idx ON agent_lesson_operations (root_key, id);

-- What the operations add up to: one row for each version of a lesson. The whole lesson is in `lesson`; the other columns
-- are there to find it.
CREATE TABLE agent_lesson_states (
    id INTEGER PRIMARY KEY,
    lesson_key TEXT NOT NULL UNIQUE,
    root_key TEXT NOT NULL,
    version INTEGER NOT NULL,
    -- null: of all agents
    agent_id TEXT,
    rule TEXT NOT NULL,
    signature TEXT NOT NULL,
    status TEXT NOT NULL,
    ts INTEGER NOT NULL,
    lesson TEXT NOT NULL
);
CREATE UNIQUE INDEX agent_lesson_states_version_key ON agent_lesson_states (root_key, version);
CREATE INDEX agent_lesson_states_ts_idx ON agent_lesson_states (ts, lesson_key);
CREATE INDEX agent_lesson_states_agent_idx ON agent_lesson_states (agent_id, ts, lesson_key);
CREATE INDEX agent_lesson_states_candidate_idx ON agent_lesson_states (ts) WHERE status = 'candidate';
CREATE INDEX agent_lesson_states_rejected_idx ON agent_lesson_states (rule, signature) WHERE status = 'rejected';

-- The words of each, under the state's id.
CREATE VIRTUAL TABLE agent_lesson_search USING fts5 (words);

-- What is to be told on the log, until it is.
CREATE TABLE agent_lesson_outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    body TEXT NOT NULL
);

-- How far a learner without a consumer of its own has read the log.
CREATE TABLE agent_lesson_positions (
    reader TEXT PRIMARY KEY NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL
);
