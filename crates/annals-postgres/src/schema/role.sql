-- The role {role} may append to the log in the schema {schema}, read it, and keep snapshots of it,
-- and nothing else.
-- Run this as the owner of the schema; making a role needs CREATEROLE beside that. Then let users
-- log in as the role (ALTER ROLE {role} LOGIN; \password {role}), or as members of it
-- (GRANT {role} TO somebody).
BEGIN;
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {role_text}) THEN
        CREATE ROLE {role} NOLOGIN;
    END IF;
END $$;

-- What was granted before, perhaps to everybody.
REVOKE ALL ON SCHEMA {schema} FROM PUBLIC, {role};
REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM PUBLIC, {role};
REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM PUBLIC, {role};
REVOKE ALL ON FUNCTION {schema}.append FROM PUBLIC;

GRANT USAGE ON SCHEMA {schema} TO {role};
-- Reading: the tables, and how far the log is.
GRANT SELECT ON {schema}.events, {schema}.tags, {schema}.schema_version, {schema}.origin TO {role};
GRANT SELECT ON SEQUENCE {schema}.positions TO {role};
GRANT EXECUTE ON FUNCTION {schema}.version_at, {schema}.find_after, {schema}.watermark, {schema}.marks,
    {schema}.holds, {schema}.wal_end, {schema}.as_json TO {role};
-- Appending: with the functions and in no other way. They have the rights of their owner.
GRANT EXECUTE ON FUNCTION {schema}.append, {schema}.settle, {schema}.timeline TO {role};
-- Snapshots are no part of the log.
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.snapshots TO {role};
-- In a log that is partitioned.
DO $$ BEGIN
    IF to_regclass('{schema}.partitioning') IS NOT NULL THEN
        GRANT SELECT ON {schema}.ids, {schema}.partitioning TO {role};
        GRANT EXECUTE ON FUNCTION {schema}.partitions, {schema}.extend_partitions TO {role};
    END IF;
END $$;
COMMIT;
