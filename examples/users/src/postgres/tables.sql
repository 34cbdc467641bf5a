-- One process at a time: CREATE IF NOT EXISTS is no protection from a neighbour's.
SELECT pg_advisory_xact_lock(hashtextextended('the tables of users', 0));

CREATE TABLE IF NOT EXISTS public.users (
    id              uuid PRIMARY KEY,
    name            text NOT NULL,
    email           text NOT NULL,
    password_digest text NOT NULL,
    deleted         boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    -- The version of the last event that is in the row.
    version         bigint NOT NULL
);

-- Who has an address is decided here, and not by looking first. With the address of a deleted
-- user one can register again. The collation keeps I and i the same letter in every language.
CREATE UNIQUE INDEX IF NOT EXISTS users_email_unique
    ON public.users (lower(email COLLATE "C")) WHERE NOT deleted;

-- For listing: pages go from id to id.
CREATE INDEX IF NOT EXISTS users_present ON public.users (id) WHERE NOT deleted;

-- Written by the reactors, in the transaction of the event.
CREATE TABLE IF NOT EXISTS public.user_counts (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    present  bigint NOT NULL DEFAULT 0,
    deleted  bigint NOT NULL DEFAULT 0
);
INSERT INTO public.user_counts DEFAULT VALUES ON CONFLICT DO NOTHING;

-- Read by the reactors, written with psql.
CREATE TABLE IF NOT EXISTS public.blocked_domains (domain text PRIMARY KEY);
