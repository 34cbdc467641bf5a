-- What is derived from a log: how far subscribers have come, rows, deliveries. It may be derived
-- again, and so is changed and deleted freely. The log may be in another file.

CREATE TABLE annals_subscribers (
    id              INTEGER PRIMARY KEY,
    name            TEXT    NOT NULL UNIQUE,
    state           INTEGER NOT NULL, -- 0 running, 1 paused, 2 disabled
    last_generation INTEGER NOT NULL  -- no number is given twice
) STRICT;

CREATE TABLE annals_generations (
    subscriber INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    role       INTEGER NOT NULL, -- 0 active, 1 being built
    version    INTEGER NOT NULL,
    begun_at   INTEGER NOT NULL, -- microseconds since 1970, UTC, as all moments
    PRIMARY KEY (subscriber, generation)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX annals_generations_by_role ON annals_generations (subscriber, role);

CREATE TABLE annals_partitions (
    subscriber      INTEGER NOT NULL,
    generation      INTEGER NOT NULL,
    part            INTEGER NOT NULL, -- counted from 0
    position        INTEGER NOT NULL,
    events          INTEGER NOT NULL,
    parked          INTEGER NOT NULL,
    moved_at        INTEGER NOT NULL,
    fence           INTEGER NOT NULL,
    owner           TEXT,
    owned_until     INTEGER,
    failed_at       INTEGER,
    failed_position INTEGER,
    failed_event    BLOB,
    error           TEXT,
    PRIMARY KEY (subscriber, generation, part)
) STRICT, WITHOUT ROWID;

CREATE TABLE annals_parked (
    subscriber INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    part       INTEGER NOT NULL,
    event      BLOB    NOT NULL, -- 16 bytes
    error      TEXT    NOT NULL,
    parked_at  INTEGER NOT NULL,
    PRIMARY KEY (subscriber, generation, position, part)
) STRICT, WITHOUT ROWID;

CREATE TABLE annals_rows (
    subscriber INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    key        TEXT    NOT NULL,
    value      BLOB    NOT NULL, -- JSON
    PRIMARY KEY (subscriber, generation, key)
) STRICT, WITHOUT ROWID;

-- The rows that are read, for human eyes and for the application's own statements.
CREATE VIEW annals_active_rows AS
SELECT s.name AS subscriber, r.key, CAST(r.value AS TEXT) AS value
FROM annals_subscribers s
JOIN annals_generations g ON g.subscriber = s.id AND g.role = 0
JOIN annals_rows r ON r.subscriber = s.id AND r.generation = g.generation;

-- The tables of projections in SQL, which have other names while their generation is being built.
CREATE TABLE annals_tables (
    subscriber INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    made       INTEGER NOT NULL, -- in which order
    PRIMARY KEY (subscriber, generation, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE annals_inboxes (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE annals_deliveries (
    number      INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL UNIQUE,
    inbox       INTEGER NOT NULL,
    state       INTEGER NOT NULL, -- 0 waiting, 1 taken, 2 dead, 3 done, 4 skipped
    -- 1 until it is done or skipped, then NULL. Unlike the state it changes only once, and so do
    -- the indexes over it.
    open        INTEGER,
    -- Where a delivery that can be taken waits: 0 until wake_at, 1 in the order of positions.
    -- NULL: it cannot, being dead, or done, or behind another one in its lane.
    place       INTEGER,
    wake_at     INTEGER NOT NULL, -- when it is due, or its taker's time is up
    due_at      INTEGER NOT NULL,
    token       INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    event       BLOB    NOT NULL, -- 16 bytes
    stream      TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    type        TEXT    NOT NULL,
    recipient   TEXT,
    lane        TEXT,
    enqueued_at INTEGER NOT NULL,
    settled_at  INTEGER, -- when it was done or skipped
    last_error  TEXT,
    skipped     TEXT
) STRICT;

CREATE INDEX annals_deliveries_lanes ON annals_deliveries (inbox, lane, position) WHERE open = 1;
CREATE INDEX annals_deliveries_ready ON annals_deliveries (inbox, position) WHERE place = 1;
CREATE INDEX annals_deliveries_placed ON annals_deliveries (inbox, place, wake_at)
    WHERE place IS NOT NULL;
-- For people.
CREATE INDEX annals_deliveries_by_position ON annals_deliveries (position);
CREATE INDEX annals_deliveries_of_inbox ON annals_deliveries (inbox, position, id);
CREATE INDEX annals_deliveries_open ON annals_deliveries (inbox, position, id) WHERE open = 1;
CREATE INDEX annals_deliveries_dead ON annals_deliveries (inbox, position, id) WHERE state = 2;
CREATE INDEX annals_deliveries_settled ON annals_deliveries (inbox, settled_at)
    WHERE settled_at IS NOT NULL;

CREATE TABLE annals_attempts (
    delivery INTEGER NOT NULL,
    token    INTEGER NOT NULL, -- in the order in which they began
    number   INTEGER NOT NULL,
    begun_at INTEGER NOT NULL,
    micros   INTEGER NOT NULL,
    error    TEXT,
    note     TEXT,
    PRIMARY KEY (delivery, token)
) STRICT, WITHOUT ROWID;
