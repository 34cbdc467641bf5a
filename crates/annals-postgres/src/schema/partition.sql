-- What a partitioned log has beside its tables: docs/decisions/0006-partitions-stay-attached.md.
-- Made at the beginning of a conversion, while the log is still one table and in use.

-- One row. Numbers of groups, as the sequence gives them out.
CREATE TABLE {schema}.partitioning (
    -- So many groups in each partition …
    every   bigint NOT NULL CHECK (every > 0),
    -- … behind this one, before which everything is in events_0. Null: not chosen yet.
    origin  bigint,
    -- The ids of the events up to this position are in the table of ids …
    noted   bigint NOT NULL DEFAULT 0,
    -- … and of those behind this one.
    to_note bigint NOT NULL
);
COMMENT ON TABLE {schema}.partitioning IS 'How the log of Annals is partitioned.';

-- Every event's id, once in the whole log: a unique index of a partitioned table cannot say that
-- of anything but positions.
CREATE TABLE {schema}.ids (
    id       uuid   NOT NULL,
    position bigint NOT NULL,
    CONSTRAINT ids_pkey PRIMARY KEY (id)
);
COMMENT ON TABLE {schema}.ids IS 'The ids of the events of the log of Annals, unique across its partitions.';
CREATE TRIGGER ids_are_immutable BEFORE UPDATE OR DELETE ON {schema}.ids
    FOR EACH ROW EXECUTE FUNCTION {schema}.refuse_change();
CREATE TRIGGER ids_are_not_truncated BEFORE TRUNCATE ON {schema}.ids
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();

CREATE FUNCTION {schema}.note_ids() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO {schema}.ids (id, position) SELECT a.id, a.position FROM added a;
    RETURN NULL;
END $$;

-- A table like the log's, not attached to it yet, with the indexes and triggers of a partition.
CREATE FUNCTION {schema}.make_partition(name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format(
        'CREATE TABLE {schema}.%1$I (
             LIKE {schema}.events INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS,
             CONSTRAINT %2$I PRIMARY KEY (position),
             CONSTRAINT %3$I UNIQUE (id),
             CONSTRAINT %4$I UNIQUE (stream, version)
         )', name, name || '_pkey', name || '_id_key', name || '_stream_version_key');
    EXECUTE format('CREATE INDEX %2$I ON {schema}.%1$I (type, position)',
        name, name || '_type_position_idx');
    EXECUTE format('CREATE INDEX %2$I ON {schema}.%1$I (category, position)',
        name, name || '_category_position_idx');
    -- The triggers for rows come with being attached; those for statements do not.
    EXECUTE format('CREATE TRIGGER events_are_not_truncated BEFORE TRUNCATE ON {schema}.%1$I
                    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change()', name);
    -- For what is inserted into this partition by hand; otherwise that of the whole log fires.
    EXECUTE format('CREATE TRIGGER events_note_ids AFTER INSERT ON {schema}.%1$I
                    REFERENCING NEW TABLE AS added
                    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.note_ids()', name);
END $$;

-- Makes sure that there is a partition for the next group, and two more behind it. Any number of
-- processes may ask at once, and appends go on meanwhile.
CREATE FUNCTION {schema}.extend_partitions(
    -- How many groups a partition has; null when the log is not partitioned.
    OUT every bigint,
    -- The first group for which there may be no partition.
    OUT until bigint
)
-- With its owner's rights: whoever appends may have none to make tables.
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home   constant oid := (SELECT c.relnamespace FROM pg_class c WHERE c.oid = '{schema}.partitioning'::regclass);
    origin bigint;
    first  bigint;
    low    bigint;
    name   text;
BEGIN
    SELECT p.every, p.origin INTO every, origin FROM {schema}.partitioning p;
    IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = '{schema}.events'::regclass AND c.relkind = 'p') THEN
        -- A conversion that was not brought to its end must not end the log.
        IF pg_sequence_last_value('{schema}.positions'::regclass) >= origin THEN
            ALTER TABLE {schema}.events DROP CONSTRAINT IF EXISTS events_before_origin;
            UPDATE {schema}.partitioning p SET origin = NULL;
        END IF;
        every := NULL;
        RETURN;
    END IF;

    first := greatest((coalesce(pg_sequence_last_value('{schema}.positions'::regclass), 0) + 1 - origin) / every, 0);
    until := origin + (first + 3) * every;
    FOR number IN first .. first + 2 LOOP
        name := 'events_' || number + 1;
        CONTINUE WHEN EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = home AND c.relname = name);
        PERFORM pg_advisory_xact_lock(hashtextextended('annals partitions {schema}', 0));
        -- Perhaps somebody has made it meanwhile. A query sees that; a look by name may not, yet.
        IF NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = home AND c.relname = name) THEN
            low := origin + number * every;
            PERFORM {schema}.make_partition(name);
            EXECUTE format('ALTER TABLE {schema}.events ATTACH PARTITION {schema}.%I FOR VALUES FROM (%s) TO (%s)',
                name, low * 4096, (low + every) * 4096);
        END IF;
    END LOOP;
END $$;

-- The partitions: from which position on, up to which one, and whether an event can still come.
CREATE FUNCTION {schema}.partitions() RETURNS TABLE (
    number bigint, low bigint, high bigint, closed boolean, events bigint, bytes bigint, tablespace text
)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- Read before the marks: what is given out later stands behind it.
    given_out constant bigint := coalesce(pg_sequence_last_value('{schema}.positions'::regclass), 0);
    lowest    bigint;
BEGIN
    SELECT min(m.floor) INTO lowest FROM {schema}.marks(given_out) m;
    RETURN QUERY
        SELECT n.number, b.low, b.high, b.high < (least(given_out, lowest) + 1) * 4096,
               greatest(c.reltuples::bigint, s.n_live_tup, 0), pg_total_relation_size(c.oid),
               (SELECT t.spcname::text FROM pg_tablespace t
                WHERE t.oid = coalesce(nullif(c.reltablespace, 0), d.dattablespace))
        FROM {schema}.partitioning p
        CROSS JOIN pg_database d
        JOIN pg_inherits i ON i.inhparent = '{schema}.events'::regclass
        JOIN pg_class c ON c.oid = i.inhrelid
        LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
        CROSS JOIN LATERAL (SELECT substring(c.relname::text FROM '^events_([0-9]+)$')::bigint) n(number)
        CROSS JOIN LATERAL (
            SELECT CASE n.number WHEN 0 THEN 0 ELSE (p.origin + (n.number - 1) * p.every) * 4096 END,
                   (p.origin + n.number * p.every) * 4096 - 1) b(low, high)
        WHERE d.datname = current_database() AND n.number IS NOT NULL
        ORDER BY n.number;
END $$;

-- A copy of a closed partition in a tablespace. It is not attached: the log goes on meanwhile.
CREATE FUNCTION {schema}.copy_partition(number bigint, tablespace text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name    constant text := 'events_' || number || '_moved';
    low     bigint;
    high    bigint;
    columns text;
BEGIN
    SELECT p.low, p.high INTO STRICT low, high FROM {schema}.partitions() p WHERE p.number = copy_partition.number;
    -- Left behind by somebody who was cut off.
    EXECUTE format('DROP TABLE IF EXISTS {schema}.%I', name);
    PERFORM set_config('default_tablespace', tablespace, true);
    PERFORM {schema}.make_partition(name);
    EXECUTE format('ALTER TABLE {schema}.%I DISABLE TRIGGER events_note_ids', name);
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO columns FROM pg_attribute a
        WHERE a.attrelid = '{schema}.events'::regclass AND a.attnum > 0 AND NOT a.attisdropped
          AND a.attgenerated = '';
    EXECUTE format('INSERT INTO {schema}.%1$I (%2$s) SELECT %2$s FROM {schema}.%3$I ORDER BY position',
        name, columns, 'events_' || number);
    EXECUTE format('ALTER TABLE {schema}.%I ENABLE TRIGGER events_note_ids', name);
    -- Says what attaching would otherwise read the whole table for.
    EXECUTE format('ALTER TABLE {schema}.%I ADD CONSTRAINT events_in_range CHECK (position >= %s AND position < %s)',
        name, low, high + 1);
END $$;

-- Puts the copy of a partition in its place. Everybody else waits for the moment it takes.
CREATE FUNCTION {schema}.swap_partition(number bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name constant text := 'events_' || number;
    low  bigint;
    high bigint;
    an_index text;
    is_whole boolean;
BEGIN
    LOCK TABLE {schema}.events IN ACCESS EXCLUSIVE MODE;
    SELECT p.low, p.high INTO STRICT low, high FROM {schema}.partitions() p WHERE p.number = swap_partition.number;
    -- What is inserted last has the highest position.
    EXECUTE format('SELECT (SELECT max(position) FROM {schema}.%I) IS NOT DISTINCT FROM
                           (SELECT max(position) FROM {schema}.%I)', name, name || '_moved') INTO is_whole;
    IF NOT is_whole THEN
        RAISE EXCEPTION 'events were added to the partition % while it was copied', name
            USING HINT = 'archive it again';
    END IF;
    EXECUTE format('ALTER TABLE {schema}.events DETACH PARTITION {schema}.%I', name);
    EXECUTE format('DROP TABLE {schema}.%I', name);
    EXECUTE format('ALTER TABLE {schema}.%I RENAME TO %I', name || '_moved', name);
    FOR an_index IN SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
            WHERE i.indrelid = format('{schema}.%I', name)::regclass LOOP
        EXECUTE format('ALTER INDEX {schema}.%I RENAME TO %I', an_index, replace(an_index, '_moved', ''));
    END LOOP;
    EXECUTE format('ALTER TABLE {schema}.events ATTACH PARTITION {schema}.%I FOR VALUES FROM (%s) TO (%s)',
        name, CASE number WHEN 0 THEN 'MINVALUE' ELSE low::text END, high + 1);
    EXECUTE format('ALTER TABLE {schema}.%I DROP CONSTRAINT events_in_range', name);
END $$;

REVOKE EXECUTE ON FUNCTION {schema}.extend_partitions, {schema}.make_partition, {schema}.copy_partition,
    {schema}.swap_partition, {schema}.note_ids FROM PUBLIC;

-- From now on every append notes its ids; those of the events that are there follow.
CREATE TRIGGER events_note_ids AFTER INSERT ON {schema}.events REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.note_ids();
