-- Names are checked by annals-core before they get here; STRICT keeps everything else honest.

CREATE TABLE annals_types (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE annals_events (
    position       INTEGER PRIMARY KEY,
    stream         TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    type           INTEGER NOT NULL REFERENCES annals_types (id),
    schema_version INTEGER NOT NULL,
    append_index   INTEGER NOT NULL, -- 0, 1, 2 … within its append
    recorded_at    INTEGER NOT NULL, -- microseconds since 1970, UTC
    occurred_at    INTEGER,          -- NULL: as recorded_at
    id             BLOB    NOT NULL, -- 16 bytes
    content_type   TEXT,             -- NULL: application/json
    tags           TEXT,             -- NULL: none; sorted, a line each
    metadata       TEXT,             -- NULL: {}
    data           BLOB    NOT NULL,
    category       TEXT    NOT NULL GENERATED ALWAYS AS (
        CASE instr(stream, '-') WHEN 0 THEN stream ELSE substr(stream, 1, instr(stream, '-') - 1) END
    ) VIRTUAL
) STRICT;

CREATE UNIQUE INDEX annals_events_by_stream ON annals_events (stream, version);
CREATE UNIQUE INDEX annals_events_by_id ON annals_events (id);
CREATE INDEX annals_events_by_type ON annals_events (type);
CREATE INDEX annals_events_by_category ON annals_events (category, type);

-- Counted along, because counting streams afterwards means visiting each.
CREATE TABLE annals_totals (streams INTEGER NOT NULL) STRICT;
INSERT INTO annals_totals VALUES (0);

CREATE TABLE annals_tags (
    tag      TEXT    NOT NULL,
    type     INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (tag, type, position)
) STRICT, WITHOUT ROWID;

-- The log is never rewritten.
CREATE TRIGGER annals_events_are_never_changed BEFORE UPDATE ON annals_events
BEGIN SELECT RAISE(ABORT, 'events are immutable'); END;
CREATE TRIGGER annals_events_are_never_deleted BEFORE DELETE ON annals_events
BEGIN SELECT RAISE(ABORT, 'events are immutable'); END;

-- The log for human eyes.
CREATE VIEW annals_log AS
SELECT e.position, e.stream, e.version, t.name AS type, e.schema_version,
       CAST(e.data AS TEXT) AS data, coalesce(e.metadata, '{}') AS metadata, e.tags,
       strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(e.occurred_at, e.recorded_at) / 1e6, 'unixepoch')
           AS occurred_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', e.recorded_at / 1e6, 'unixepoch') AS recorded_at
FROM annals_events e JOIN annals_types t ON t.id = e.type;
