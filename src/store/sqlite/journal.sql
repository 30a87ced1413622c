-- The journal: never changed, only added to. A row is what was committed together, or a part of it; read it with the views
-- below. `body` has for each task a line of JSON about it, then the events and the questions that this line counts out, each on
-- a line of its own; rows of earlier versions also have the task's summary between them. `parts` says for each task where its line starts in `body`, how long that
-- line is, and the place of its first event within the row.
CREATE TABLE journal (
    first INTEGER PRIMARY KEY, -- the position of its first event in the log of all tasks
    count INTEGER NOT NULL,    -- how many events it has
    parts TEXT NOT NULL,
    body  BLOB NOT NULL
) STRICT;

-- What each commit added to each task.
CREATE VIEW appends AS
SELECT j.first + (p.value ->> 2) AS position,
       CAST(substr(j.body, (p.value ->> 0) + 1, p.value ->> 1) AS TEXT) AS line,
       (p.value ->> 0) + (p.value ->> 1) + 2 AS texts, -- where what follows the line begins in `body`, from 1
       j.body AS body
FROM journal j, json_each(j.parts) p;

-- Every event of every task.
CREATE VIEW events AS
SELECT a.position + e.key AS position,
       a.line ->> 'task' AS task_id,
       (a.line ->> 'after') + 1 + e.key AS seq,
       e.value ->> 'at' AS at,
       e.value ->> 'kind' AS kind,
       e.value ->> 'version' AS version,
       CAST(substr(a.body, a.texts + (e.value ->> 'start'), e.value ->> 'bytes') AS TEXT) AS body
FROM appends a, json_each(a.line, '$.events') e;
