-- The moment of a conversion: the table of events becomes the first partition of a new one. Nothing
-- is copied and nothing is read from end to end.
LOCK TABLE {schema}.events IN ACCESS EXCLUSIVE MODE;
SET LOCAL search_path = pg_catalog, pg_temp;
DO $$
DECLARE
    views    text[];
    a_view   text;
    grantees text[];
    a_grant  text;
BEGIN
    -- Views know tables by number, not by name: they are made anew.
    SELECT array_agg(format('CREATE OR REPLACE VIEW %I.%I %s AS %s', n.nspname, c.relname,
                            'WITH (' || array_to_string(c.reloptions, ', ') || ')', pg_get_viewdef(c.oid)))
        INTO views
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'v' AND c.oid IN (
            SELECT r.ev_class FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
            WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
              AND d.refobjid = '{schema}.events'::regclass);
    SELECT array_agg(format('GRANT %s ON {schema}.events TO %s%s', a.privilege_type,
                            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                            CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END))
           || array_agg(format('GRANT SELECT ON {schema}.ids, {schema}.partitioning TO %s',
                            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END))
                  FILTER (WHERE a.privilege_type = 'SELECT')
        INTO grantees
        FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.oid = '{schema}.events'::regclass AND a.grantee <> c.relowner;

    ALTER TABLE {schema}.events RENAME TO events_0;
    ALTER INDEX {schema}.events_pkey RENAME TO events_0_pkey;
    ALTER INDEX {schema}.events_id_key RENAME TO events_0_id_key;
    ALTER INDEX {schema}.events_stream_version_key RENAME TO events_0_stream_version_key;
    ALTER INDEX {schema}.events_type_position_idx RENAME TO events_0_type_position_idx;
    ALTER INDEX {schema}.events_category_position_idx RENAME TO events_0_category_position_idx;
    DROP TRIGGER events_are_immutable ON {schema}.events_0;
    -- An id that is taken is told by the same name as before.
    ALTER INDEX {schema}.ids_pkey RENAME TO events_id_key;

    CREATE TABLE {schema}.events (
        LIKE {schema}.events_0 INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS,
        CONSTRAINT events_pkey PRIMARY KEY (position)
    ) PARTITION BY RANGE (position);
    COMMENT ON TABLE {schema}.events IS 'The log of Annals: immutable events. Written by the function append only.';
    ALTER TABLE {schema}.events DROP CONSTRAINT events_before_origin;
    CREATE INDEX events_type_position_idx ON {schema}.events (type, position);
    CREATE INDEX events_category_position_idx ON {schema}.events (category, position);
    CREATE TRIGGER events_are_immutable BEFORE UPDATE OR DELETE ON {schema}.events
        FOR EACH ROW EXECUTE FUNCTION {schema}.refuse_change();
    CREATE TRIGGER events_are_not_truncated BEFORE TRUNCATE ON {schema}.events
        FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();
    CREATE TRIGGER events_note_ids AFTER INSERT ON {schema}.events REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION {schema}.note_ids();

    -- That everything in it is before the bound, the constraint says.
    EXECUTE format('ALTER TABLE {schema}.events ATTACH PARTITION {schema}.events_0 FOR VALUES FROM (MINVALUE) TO (%s)',
        (SELECT p.origin * 4096 FROM {schema}.partitioning p));
    ALTER TABLE {schema}.events_0 DROP CONSTRAINT events_before_origin;

    FOREACH a_view IN ARRAY coalesce(views, '{}') LOOP
        EXECUTE a_view;
    END LOOP;
    FOREACH a_grant IN ARRAY coalesce(grantees, '{}') LOOP
        EXECUTE a_grant;
    END LOOP;
    FOR a_grant IN
            SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
            FROM pg_proc p, aclexplode(p.proacl) a
            WHERE p.pronamespace = (SELECT c.relnamespace FROM pg_class c WHERE c.oid = '{schema}.events'::regclass)
              AND p.proname = 'append' AND a.grantee <> p.proowner LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION {schema}.extend_partitions TO %s', a_grant);
    END LOOP;
END $$;
