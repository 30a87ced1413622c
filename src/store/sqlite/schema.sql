-- The database of a Bailiwick server. Times are microseconds since the Unix epoch.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Cursors, the count of shards: numbers that the server keeps beside the journal. What grows with events is in the views
-- file, in `sums`; where a name is in both, the two are added up.
CREATE TABLE numbers (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every agent ever seen.
CREATE TABLE agents (
    name       TEXT PRIMARY KEY,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    spec       TEXT NOT NULL
) STRICT, WITHOUT ROWID;
