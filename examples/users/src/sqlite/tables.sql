BEGIN IMMEDIATE;

CREATE TABLE IF NOT EXISTS users (
    id              TEXT PRIMARY KEY,
    name            TEXT NOT NULL,
    email           TEXT NOT NULL,
    password_digest TEXT NOT NULL,
    deleted         INTEGER NOT NULL DEFAULT 0,
    created_at      TEXT NOT NULL,
    updated_at      TEXT NOT NULL,
    -- The version of the last event that is in the row.
    version         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who has an address is decided here, and not by looking first. With the address of a deleted
-- user one can register again.
CREATE UNIQUE INDEX IF NOT EXISTS users_email_unique ON users (lower(email)) WHERE NOT deleted;

-- For listing: pages go from id to id.
CREATE INDEX IF NOT EXISTS users_present ON users (id) WHERE NOT deleted;

-- Written by the reactors, in the transaction of the event.
CREATE TABLE IF NOT EXISTS user_counts (
    only_row INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    present  INTEGER NOT NULL DEFAULT 0,
    deleted  INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO user_counts (only_row) VALUES (1) ON CONFLICT DO NOTHING;

-- Read by the reactors, written with sqlite3.
CREATE TABLE IF NOT EXISTS blocked_domains (domain TEXT PRIMARY KEY) STRICT;

-- The users' events for human eyes.
CREATE VIEW IF NOT EXISTS user_events AS
    SELECT position AS id, substr(stream, length('user-') + 1) AS user_id, type AS event_type,
           data AS payload, metadata, recorded_at AS created_at
    FROM annals_log WHERE stream GLOB 'user-*';

COMMIT;
