-- Cached folds of streams: disposable, and unlike events free to be changed and deleted.
--
-- Not WITHOUT ROWID: states are long, and would push the names in the key's own pages apart.
CREATE TABLE annals_snapshots (
    stream     TEXT    NOT NULL,
    fold       TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    taken_at   INTEGER NOT NULL,
    last_event BLOB    NOT NULL,
    -- Last, so that nobody who asks for the rest needs to go through it.
    state      BLOB    NOT NULL,
    PRIMARY KEY (stream, fold)
) STRICT;
