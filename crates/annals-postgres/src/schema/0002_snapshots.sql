-- Cached folds of streams: disposable, and unlike events free to be changed and deleted.
CREATE TABLE {schema}.snapshots (
    version    bigint      NOT NULL CHECK (version >= 0),
    taken_at   timestamptz NOT NULL,
    last_event uuid        NOT NULL,
    stream     text        COLLATE "C" NOT NULL,
    fold       text        COLLATE "C" NOT NULL,
    state      bytea       NOT NULL,
    CONSTRAINT snapshots_pkey PRIMARY KEY (stream, fold)
);
COMMENT ON TABLE {schema}.snapshots IS 'Cached folds of Annals: may be deleted at any time.';

-- Who may append may keep snapshots, without being told again.
DO $$
DECLARE
    the_role name;
BEGIN
    FOR the_role IN
        SELECT DISTINCT r.rolname FROM pg_catalog.pg_proc p
        CROSS JOIN LATERAL pg_catalog.aclexplode(p.proacl) a
        JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
        WHERE p.oid = '{schema}.append'::regproc AND a.grantee <> p.proowner
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.snapshots TO %I', the_role);
    END LOOP;
END $$;
