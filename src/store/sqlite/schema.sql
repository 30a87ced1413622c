-- The database of a Bailiwick server. Times are microseconds since the Unix epoch.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Cursors, the count of shards: numbers that the server keeps beside the journal.
CREATE TABLE numbers (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The journal: never changed, only added to.
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

-- One row a task. `parked` is what a start needs of one that is open; NULL: it is replayed. `view` is last: it is the only large column, and the others are read without it.
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
    parked     TEXT,
    view       TEXT NOT NULL
) STRICT;
CREATE INDEX tasks_by_age ON tasks (created_at, task_id);
CREATE INDEX tasks_by_state ON tasks (state, created_at, task_id);
CREATE INDEX tasks_by_cause ON tasks (cause, created_at, task_id) WHERE cause IS NOT NULL;

-- Indexes over the lists within `tasks`, written in the same transaction.
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

-- Questions to people.
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

-- Every agent ever seen.
CREATE TABLE agents (
    name       TEXT PRIMARY KEY,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    spec       TEXT NOT NULL
) STRICT, WITHOUT ROWID;
