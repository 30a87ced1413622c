-- Tables over the journal of a Bailiwick server: written behind the commits, and made anew from the journal if this file is
-- not there. Times are microseconds since the Unix epoch.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How much of the journal is in these tables: up to which position, and the row of the journal that has it, with its first
-- bytes to know that row by.
CREATE TABLE projected (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    until   INTEGER NOT NULL,
    row     INTEGER NOT NULL,
    opening BLOB NOT NULL
) STRICT;

-- One row a task. `parked` is what a start needs of one that is open; NULL: it is replayed. `places` says where its first
-- events are: a list of [event before, events, journal.first, start in journal.body, bytes]. `view` is there only for
-- a task with many events or large ones: of the others it is made of the events when somebody lists them. It is last: it is
-- the only large column, and the others are read without it.
CREATE TABLE tasks (
    id         INTEGER PRIMARY KEY,
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
    bytes      INTEGER NOT NULL, -- of its events, in the journal
    parked     TEXT,
    places     TEXT NOT NULL,
    view       TEXT
) STRICT;
-- Every index is paid for by every task, so there are two. A list of all tasks walks the states side by side; most tasks end
-- as COMPLETED, and are found by their state.
CREATE INDEX tasks_by_state ON tasks (state, created_at, task_id);
CREATE INDEX tasks_by_cause ON tasks (cause, created_at, task_id) WHERE cause IS NOT NULL AND cause <> 'COMPLETED';

-- Where the later events of a task are, if it took that long: `task` is its `tasks.id`, `seq` the number of the first event,
-- `places` as above.
CREATE TABLE task_events (
    task   INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    places TEXT NOT NULL,
    PRIMARY KEY (task, seq)
) STRICT, WITHOUT ROWID;

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

-- Numbers that grow with events.
CREATE TABLE sums (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
