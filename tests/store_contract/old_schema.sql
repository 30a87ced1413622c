-- The database as the first version made it, with a little in it.
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    task_id  TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    version  INTEGER NOT NULL,
    body     TEXT NOT NULL,
    UNIQUE (task_id, seq)
) STRICT;
CREATE TABLE tasks (
    task_id    TEXT NOT NULL UNIQUE,
    state      TEXT NOT NULL,
    ended_by   TEXT,
    cause      TEXT,
    owner      TEXT NOT NULL,
    agents     TEXT NOT NULL,
    labels     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    view       TEXT NOT NULL
) STRICT;
CREATE INDEX tasks_by_age ON tasks (created_at, task_id);
CREATE INDEX tasks_by_state ON tasks (state, created_at, task_id);
CREATE INDEX tasks_by_cause ON tasks (cause, created_at, task_id) WHERE cause IS NOT NULL;
CREATE TABLE task_labels (
    key        TEXT NOT NULL,
    value      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    task_id    TEXT NOT NULL,
    PRIMARY KEY (key, value, created_at, task_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE task_agents (
    agent      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    task_id    TEXT NOT NULL,
    PRIMARY KEY (agent, created_at, task_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE escalations (
    task_id  TEXT NOT NULL,
    number   INTEGER NOT NULL,
    open     INTEGER NOT NULL,
    state    TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    view     TEXT NOT NULL,
    PRIMARY KEY (task_id, number)
) STRICT;
CREATE INDEX escalations_by_age ON escalations (asked_at, task_id, number);
CREATE INDEX escalations_by_state ON escalations (state, asked_at, task_id, number);
CREATE TABLE agents (
    name       TEXT PRIMARY KEY,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    spec       TEXT NOT NULL
) STRICT, WITHOUT ROWID;
PRAGMA application_id = 0x4261696c;
INSERT INTO meta VALUES ('schema', 1);
INSERT INTO numbers VALUES ('shards', 2), ('cursor', 17), ('tally.a', 40);
INSERT INTO agents VALUES ('writer', 5, 6, '{"seen":6}');
-- Two tasks take turns; the log has a gap, as one whose end was taken back.
INSERT INTO events VALUES
    (1, '00000000-0000-0000-0000-000000000001', 1, 1001, 'turn_opened', 3, '{"n":1}'),
    (2, '00000000-0000-0000-0000-000000000001', 2, 1002, 'turn_opened', 3, '{"n":2}'),
    (3, '00000000-0000-0000-0000-000000000002', 1, 1001, 'turn_opened', 3, '{"n":1}'),
    (4, '00000000-0000-0000-0000-000000000001', 3, 1003, 'turn_opened', 3, '{"n":3}'),
    (7, '00000000-0000-0000-0000-000000000002', 2, 1002, 'turn_opened', 3, '{"n":2}');
INSERT INTO tasks VALUES
    ('00000000-0000-0000-0000-000000000001', 'RUNNING', NULL, NULL, 'owner', '["owner","helper"]', '{"env":"prod"}',
     1, 1003, 3, '{"seq":3}'),
    ('00000000-0000-0000-0000-000000000002', 'FAILED', 'OWNER', 'BUDGET', 'owner', '["owner","helper"]',
     '{"env":"prod"}', 2, 1002, 2, '{"seq":2}');
INSERT INTO task_labels VALUES
    ('env', 'prod', 1, '00000000-0000-0000-0000-000000000001'),
    ('env', 'prod', 2, '00000000-0000-0000-0000-000000000002');
INSERT INTO task_agents VALUES
    ('helper', 1, '00000000-0000-0000-0000-000000000001'),
    ('helper', 2, '00000000-0000-0000-0000-000000000002'),
    ('owner', 1, '00000000-0000-0000-0000-000000000001'),
    ('owner', 2, '00000000-0000-0000-0000-000000000002');
INSERT INTO escalations VALUES
    ('00000000-0000-0000-0000-000000000001', 1, 1, 'OPEN', 5, '{"question":"1.1"}');
