-- The log. A position is the number of the transaction's group in the sequence, times 4096, plus
-- the event's place in the group: see docs/decisions/0005-positions-on-postgresql.md.
CREATE SEQUENCE {schema}.positions AS bigint MAXVALUE 2251799813685246 NO CYCLE;

CREATE TABLE {schema}.events (
    position       bigint      NOT NULL,
    version        bigint      NOT NULL CHECK (version > 0),
    schema_version bigint      NOT NULL,
    recorded_at    timestamptz NOT NULL,
    -- Null: when it was recorded.
    occurred_at    timestamptz,
    append_index   integer     NOT NULL,
    id             uuid        NOT NULL,
    stream         text        COLLATE "C" NOT NULL,
    category       text        COLLATE "C" NOT NULL GENERATED ALWAYS AS (split_part(stream, '-', 1)) STORED,
    type           text        COLLATE "C" NOT NULL,
    -- Null: application/json.
    content_type   text        COLLATE "C",
    tags           text[]      COLLATE "C",
    metadata       json,
    data           bytea       NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (position),
    CONSTRAINT events_id_key UNIQUE (id),
    CONSTRAINT events_stream_version_key UNIQUE (stream, version)
);
CREATE INDEX events_type_position_idx ON {schema}.events (type, position);
CREATE INDEX events_category_position_idx ON {schema}.events (category, position);

CREATE TABLE {schema}.tags (
    tag      text   COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    type     text   COLLATE "C" NOT NULL,
    CONSTRAINT tags_pkey PRIMARY KEY (tag, position) INCLUDE (type)
);

COMMENT ON TABLE {schema}.events IS 'The log of Annals: immutable events. Written by the function append only.';
COMMENT ON TABLE {schema}.tags IS 'The index of the log by tag.';

CREATE FUNCTION {schema}.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are immutable: % of %.% is refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING HINT = 'append an event that corrects or compensates the earlier one',
              ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER events_are_immutable BEFORE UPDATE OR DELETE ON {schema}.events
    FOR EACH ROW EXECUTE FUNCTION {schema}.refuse_change();
CREATE TRIGGER events_are_not_truncated BEFORE TRUNCATE ON {schema}.events
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();
CREATE TRIGGER tags_are_immutable BEFORE UPDATE OR DELETE ON {schema}.tags
    FOR EACH ROW EXECUTE FUNCTION {schema}.refuse_change();
CREATE TRIGGER tags_are_not_truncated BEFORE TRUNCATE ON {schema}.tags
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();

-- One row: where the log grows. A log that finds itself elsewhere was restored, or a standby has
-- taken over: it goes on well above every position it may ever have given out.
CREATE TABLE {schema}.origin (
    -- Found with an index: a plan without one would be thought so dear that it is compiled.
    one      boolean PRIMARY KEY CHECK (one),
    cluster  bigint NOT NULL,
    timeline bigint NOT NULL,
    -- Other ones when a dump was restored, even into the same cluster.
    database oid    NOT NULL,
    sequence oid    NOT NULL
);

-- The timeline of the write-ahead log; it changes when a standby takes over, or a backup is
-- rolled forward. What pg_control_checkpoint tells changes only with the checkpoint after that.
CREATE FUNCTION {schema}.timeline() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint
$$;

CREATE FUNCTION {schema}.here() RETURNS {schema}.origin LANGUAGE sql VOLATILE AS $$
    SELECT true, s.system_identifier, {schema}.timeline(), d.oid, '{schema}.positions'::regclass::oid
    FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()
$$;

-- Advances the sequence when the log is not where it was before, and says by how much. Whoever
-- followed the log may have seen more than there is now, and must not see a position again.
CREATE FUNCTION {schema}.settle(the_log bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    here    {schema}.origin%ROWTYPE := {schema}.here();
    known   {schema}.origin%ROWTYPE;
    advance bigint;
BEGIN
    SELECT * INTO known FROM {schema}.origin;
    IF known IS NOT DISTINCT FROM here THEN
        RETURN 0;
    END IF;

    -- The lock that every append shares: none is under way, and so no mark is to be seen, which
    -- could not be told from one that is so much higher. Another one may have settled meanwhile.
    PERFORM pg_advisory_xact_lock(the_log);
    SELECT * INTO known FROM {schema}.origin;
    IF known IS NOT DISTINCT FROM here THEN
        RETURN 0;
    END IF;
    advance := CASE
        -- A new log.
        WHEN known.cluster IS NULL THEN 0
        -- More groups than were ever appended after the dump was taken, few enough to do it
        -- hundreds of times before positions outgrow what JSON numbers carry exactly.
        WHEN (known.cluster, known.database, known.sequence)
            <> (here.cluster, here.database, here.sequence) THEN 4294967296
        -- More than are appended between a backup and what was rolled forward of it, or than a
        -- standby can lag behind: six days at a thousand groups a second.
        ELSE 536870912
    END;
    IF advance > 0 THEN
        PERFORM setval('{schema}.positions'::regclass,
            coalesce(pg_sequence_last_value('{schema}.positions'::regclass), 0) + advance);
    END IF;
    DELETE FROM {schema}.origin;
    INSERT INTO {schema}.origin SELECT here.*;
    RETURN advance;
END $$;
REVOKE EXECUTE ON FUNCTION {schema}.settle FROM PUBLIC;

-- The version of a stream's last event at or before a position; versions rise with positions, so
-- they can be searched by halves.
CREATE FUNCTION {schema}.version_at(the_stream text, up_to bigint) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    low  bigint := 0;
    high bigint;
    half bigint;
    at   bigint;
BEGIN
    IF up_to <= 0 THEN
        RETURN 0;
    END IF;
    SELECT e.version, e.position INTO high, at FROM {schema}.events e
        WHERE e.stream = the_stream ORDER BY e.version DESC LIMIT 1;
    IF high IS NULL THEN
        RETURN 0;
    END IF;
    IF at <= up_to THEN
        RETURN high;
    END IF;
    -- The event at version low is at or before the position, the one at version high behind it.
    WHILE high - low > 1 LOOP
        half := (low + high) / 2;
        SELECT e.position INTO at FROM {schema}.events e
            WHERE e.stream = the_stream AND e.version = half;
        IF at <= up_to THEN
            low := half;
        ELSE
            high := half;
        END IF;
    END LOOP;
    RETURN low;
END $$;

-- The position of one event behind a position that one item of a query matches; null when there
-- is none. Null terms are those the item does not name.
CREATE FUNCTION {schema}.find_after(
    after bigint, types text[], all_tags text[], categories text[], streams text[]
) RETURNS bigint
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    found bigint;
    a_stream text;
BEGIN
    IF all_tags IS NOT NULL THEN
        SELECT t.position INTO found FROM {schema}.tags t
            WHERE t.tag = all_tags[1] AND t.position > after
              AND (types IS NULL OR t.type = ANY (types))
              AND (cardinality(all_tags) = 1
                   OR NOT EXISTS (SELECT FROM unnest(all_tags) AS other(tag)
                                  WHERE NOT EXISTS (SELECT FROM {schema}.tags o
                                                    WHERE o.tag = other.tag AND o.position = t.position)))
              AND ((categories IS NULL AND streams IS NULL)
                   OR EXISTS (SELECT FROM {schema}.events e
                              WHERE e.position = t.position
                                AND (e.category = ANY (categories) OR e.stream = ANY (streams))))
            LIMIT 1;
        RETURN found;
    END IF;
    IF streams IS NOT NULL THEN
        FOREACH a_stream IN ARRAY streams LOOP
            SELECT e.position INTO found FROM {schema}.events e
                WHERE e.stream = a_stream AND e.version > {schema}.version_at(a_stream, after)
                  AND (types IS NULL OR e.type = ANY (types))
                LIMIT 1;
            IF found IS NOT NULL THEN
                RETURN found;
            END IF;
        END LOOP;
    END IF;
    IF categories IS NOT NULL THEN
        SELECT e.position INTO found FROM {schema}.events e
            WHERE e.category = ANY (categories) AND e.position > after
              AND (types IS NULL OR e.type = ANY (types))
            LIMIT 1;
    ELSIF streams IS NOT NULL THEN
        RETURN NULL;
    ELSIF types IS NOT NULL THEN
        SELECT e.position INTO found FROM {schema}.events e
            WHERE e.type = ANY (types) AND e.position > after LIMIT 1;
    ELSE
        SELECT e.position INTO found FROM {schema}.events e WHERE e.position > after LIMIT 1;
    END IF;
    RETURN found;
END $$;

-- A group of independent appends. Everything is checked before anything is written, so a refused
-- append leaves no trace and its neighbours need not know of it.
--
-- Appends have parts, one for each of their streams, and parts have events; all are given in
-- order. An expected version is a number, or -1 for any, or -2 for an existing stream.
CREATE FUNCTION {schema}.append(
    -- How many milliseconds to wait for each lock that others hold: 0 gives up at once and names
    -- them in busy; null is as long as the session waits for locks.
    patience integer, moment timestamptz,
    keys bigint[], exclusive boolean[],
    streams text[], append_parts integer[],
    part_stream integer[], part_expected bigint[], part_events integer[],
    condition_append integer[], condition_after bigint[], item_condition integer[],
    item_types text[], item_tags text[], item_categories text[], item_streams text[],
    ids uuid[], event_part integer[], event_offset integer[], event_index integer[],
    types text[], schema_versions bigint[], occurred timestamptz[], content_types text[],
    tag_lines text[], metadatas text[], datas bytea[],
    -- Keys that others hold; when there are any, nothing was done.
    OUT busy bigint[],
    -- Whether an event id is stored already; if so, nothing was done.
    OUT stored boolean,
    OUT recorded timestamptz,
    -- Where the first event stands of all that were written.
    OUT base bigint,
    -- For each append: which event of those written is its first, or -1 when it was refused.
    OUT firsts integer[],
    -- For each part of an append: the version of its stream before the append.
    OUT versions bigint[],
    -- For each append: the part whose stream is not at its expected version, or 0.
    OUT wrong_part integer[],
    -- For each condition: the position of an event that breaks it, or 0.
    OUT broken bigint[]
)
-- With its owner's rights: whoever may call it needs none on the tables, and so cannot write to
-- them otherwise.
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    appends   constant integer := cardinality(append_parts);
    heads     bigint[];
    newest    timestamptz;
    timeline  bigint;
    starts    integer[];
    total     integer := 0;
    written   integer;
    part      integer := 0;
    last_part integer;
    fits      boolean;
    head      bigint;
    tagged    boolean;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'appending needs a transaction at isolation level read committed, not %',
            current_setting('transaction_isolation')
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'its own locks make an append serialisable; begin the transaction without an isolation level';
    END IF;

    IF patience IS DISTINCT FROM 0 THEN
        IF patience IS NOT NULL THEN
            PERFORM set_config('lock_timeout', patience::text, true);
        END IF;
        PERFORM CASE WHEN l.alone THEN pg_advisory_xact_lock(l.key)
                     ELSE pg_advisory_xact_lock_shared(l.key) END
            FROM unnest(keys, exclusive) AS l(key, alone);
    ELSE
        busy := ARRAY(SELECT l.key FROM unnest(keys, exclusive) AS l(key, alone)
            WHERE NOT CASE WHEN l.alone THEN pg_try_advisory_xact_lock(l.key)
                           ELSE pg_try_advisory_xact_lock_shared(l.key) END);
        IF cardinality(busy) > 0 THEN
            RETURN;
        END IF;
    END IF;

    -- From here on nobody else changes what is looked at: every statement sees all that was
    -- committed by those who held the locks before.
    SELECT EXISTS (SELECT FROM {schema}.events e WHERE e.id = ANY (ids)),
           array_agg(coalesce(h.version, 0) ORDER BY s.place),
           greatest(max(h.recorded_at),
                    (SELECT e.recorded_at FROM {schema}.events e ORDER BY e.position DESC LIMIT 1)),
           (SELECT o.timeline FROM {schema}.origin o WHERE o.one)
        INTO stored, heads, newest, timeline
        FROM unnest(streams) WITH ORDINALITY AS s(stream, place)
        LEFT JOIN LATERAL (SELECT e.version, e.recorded_at FROM {schema}.events e
                           WHERE e.stream = s.stream ORDER BY e.version DESC LIMIT 1) h ON true;
    IF stored THEN
        RETURN;
    END IF;
    IF timeline IS DISTINCT FROM {schema}.timeline() THEN
        RAISE EXCEPTION 'the log has not settled on this server since it took over'
            USING ERRCODE = 'AN001', HINT = 'open a store anew, or run annals migrate';
    END IF;

    firsts := array_fill(-1, ARRAY[appends]);
    wrong_part := array_fill(0, ARRAY[appends]);
    starts := array_fill(-1, ARRAY[cardinality(part_stream)]);
    versions := array_fill(0::bigint, ARRAY[cardinality(part_stream)]);
    IF cardinality(condition_append) > 0 THEN
        broken := array_fill(0::bigint, ARRAY[cardinality(condition_append)]);
        FOR i IN 1 .. cardinality(item_condition) LOOP
            IF broken[item_condition[i]] = 0 THEN
                broken[item_condition[i]] := coalesce({schema}.find_after(
                    condition_after[item_condition[i]],
                    string_to_array(item_types[i], E'\n'), string_to_array(item_tags[i], E'\n'),
                    string_to_array(item_categories[i], E'\n'), string_to_array(item_streams[i], E'\n')), 0);
                IF broken[item_condition[i]] > 0 THEN
                    -- Refused: no part of it will be looked at.
                    firsts[condition_append[item_condition[i]]] := -2;
                END IF;
            END IF;
        END LOOP;
    END IF;

    FOR a IN 1 .. appends LOOP
        last_part := part + append_parts[a];
        fits := firsts[a] = -1;
        IF fits THEN
            FOR p IN part + 1 .. last_part LOOP
                head := heads[part_stream[p]];
                versions[p] := head;
                fits := CASE part_expected[p] WHEN -1 THEN true WHEN -2 THEN head > 0
                             ELSE head = part_expected[p] END;
                IF NOT fits THEN
                    wrong_part[a] := p - part;
                    EXIT;
                END IF;
            END LOOP;
        END IF;
        IF fits THEN
            firsts[a] := total;
            FOR p IN part + 1 .. last_part LOOP
                starts[p] := total;
                total := total + part_events[p];
                heads[part_stream[p]] := heads[part_stream[p]] + part_events[p];
            END LOOP;
        END IF;
        part := last_part;
    END LOOP;
    IF total = 0 THEN
        RETURN;
    END IF;

    -- An acknowledged event is on the disk, whatever the connection's default is.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;

    -- The mark that holds the watermark back until this transaction has ended. It stands at or
    -- below every number that the sequence gives out after it.
    PERFORM pg_advisory_xact_lock_shared(
        '{schema}.positions'::regclass::oid::integer,
        (coalesce(pg_sequence_last_value('{schema}.positions'::regclass), 0) & 2147483647)::integer);
    base := nextval('{schema}.positions'::regclass) * 4096;
    recorded := greatest(coalesce(moment, clock_timestamp()), newest);

    INSERT INTO {schema}.events (position, version, schema_version, recorded_at, occurred_at,
            append_index, id, stream, type, content_type, tags, metadata, data)
        SELECT base + starts[e.part] + e.place, versions[e.part] + e.place + 1, e.schema_version,
               recorded, e.occurred_at, e.index, e.id, streams[part_stream[e.part]], e.type,
               e.content_type, string_to_array(e.tag_lines, E'\n'), e.metadata::json, e.data
        FROM unnest(event_part, event_offset, event_index, ids, types, schema_versions, occurred,
                    content_types, tag_lines, metadatas, datas)
            AS e(part, place, index, id, type, schema_version, occurred_at, content_type, tag_lines,
                 metadata, data)
        WHERE starts[e.part] >= 0 AND e.place BETWEEN 0 AND part_events[e.part] - 1;
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written <> total OR total > 4096 THEN
        RAISE EXCEPTION '% events were given, % announced, 4096 are possible', written, total
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'append with a store of Annals instead of calling the function by hand';
    END IF;

    IF array_remove(tag_lines, NULL) <> '{}' THEN
        INSERT INTO {schema}.tags (tag, position, type)
            SELECT t.tag, base + starts[e.part] + e.place, e.type
            FROM unnest(event_part, event_offset, types, tag_lines) AS e(part, place, type, tag_lines),
                 unnest(string_to_array(e.tag_lines, E'\n')) AS t(tag)
            WHERE starts[e.part] >= 0;
    END IF;
END $$;

REVOKE EXECUTE ON FUNCTION {schema}.append FROM PUBLIC;

-- Where a reader that starts now may read up to: no transaction that is still open will ever
-- commit an event at or before the bound. The head is the last event there, and the newest event
-- may stand behind it. Nothing that was given out stands behind the ceiling.
CREATE FUNCTION {schema}.watermark(
    OUT head bigint, OUT newest bigint, OUT bound bigint, OUT ceiling bigint
)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET jit = off AS $$
DECLARE
    -- Read before the marks: what is given out later stands behind it.
    given_out bigint := pg_sequence_last_value('{schema}.positions'::regclass);
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'a standby does not know which appends are under way'
            USING ERRCODE = 'AN002', HINT = 'connect to the primary';
    END IF;
    IF given_out IS NULL THEN
        -- Nothing was ever given out, or some versions say so to those who may not know.
        given_out := 0;
        IF NOT has_sequence_privilege('{schema}.positions', 'SELECT') THEN
            RAISE EXCEPTION 'reading the log needs the right to SELECT from its sequence'
                USING ERRCODE = 'insufficient_privilege';
        END IF;
    END IF;
    ceiling := given_out * 4096 + 4095;
    SELECT least(ceiling, min(m.floor) * 4096 + 4095) INTO bound FROM {schema}.marks(given_out) m;
    SELECT max(e.position) INTO newest FROM {schema}.events e;
    newest := coalesce(newest, 0);
    head := newest;
    IF newest > bound THEN
        SELECT coalesce(max(e.position), 0) INTO head FROM {schema}.events e WHERE e.position <= bound;
    END IF;
END $$;

-- Whether this server has an event that was seen before; fails when it has not. A read that ends
-- with that event must not be answered by a server that lags behind, or has lost it.
CREATE FUNCTION {schema}.holds(seen bigint) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET enable_seqscan = off SET jit = off AS $$
BEGIN
    IF seen > 0 AND NOT EXISTS (SELECT FROM {schema}.events e WHERE e.position = seen) THEN
        RAISE EXCEPTION 'this server does not have the event at position %, which was there before', seen
            USING ERRCODE = 'AN002',
                  HINT = 'it lags behind another one, or has lost the end of the log when it took over';
    END IF;
    RETURN true;
END $$;

-- What a standby must have replayed to have everything that is committed now.
CREATE FUNCTION {schema}.wal_end() RETURNS pg_lsn LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    lsn    constant pg_lsn := pg_current_wal_insert_lsn();
    bytes  constant numeric := lsn - '0/0'::pg_lsn;
BEGIN
    -- A standby stands before the header of a page, or of a segment, until a record follows it.
    RETURN lsn - CASE
        WHEN bytes % pg_size_bytes(current_setting('wal_segment_size')) = 40 THEN 40
        WHEN bytes % current_setting('wal_block_size')::numeric = 24 THEN 24
        ELSE 0
    END;
END $$;

-- The transactions that have appended and are still open, with what they hold the watermark at.
CREATE FUNCTION {schema}.marks(given_out bigint) RETURNS TABLE (floor bigint, pid integer)
LANGUAGE sql VOLATILE AS $$
    -- A mark has the lower 31 bits of its number; it is never far from the newest one.
    SELECT given_out - ((((given_out - l.objid::bigint) + 1073741824) & 2147483647) - 1073741824), l.pid
    FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.objsubid = 2
      AND l.classid = '{schema}.positions'::regclass::oid
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
$$;

-- What psql shows of an event's data.
CREATE FUNCTION {schema}.as_json(data bytea) RETURNS json LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN convert_from(data, 'UTF8')::json;
EXCEPTION WHEN others THEN
    RETURN to_json(encode(data, 'base64'));
END $$;

-- A read-only view of a category's events, in the shape that applications know from tables of
-- events of their own.
CREATE FUNCTION {schema}.create_view(category text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    -- Where this function is.
    home constant text := (SELECT n.nspname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                           WHERE p.oid = '{schema}.create_view(text)'::regprocedure);
    name constant text := category || '_events';
BEGIN
    EXECUTE format(
        'CREATE OR REPLACE VIEW %1$I.%2$I AS
         SELECT e.position AS id, substr(e.stream, %3$s) AS %4$I, e.type AS event_type,
                %1$I.as_json(e.data) AS payload, e.metadata, e.recorded_at AS created_at
         FROM %1$I.events e WHERE e.category = %5$L',
        home, name, length(category) + 2, category || '_id', category);
    EXECUTE format('CREATE OR REPLACE TRIGGER is_read_only INSTEAD OF INSERT OR UPDATE OR DELETE
                    ON %1$I.%2$I FOR EACH ROW EXECUTE FUNCTION %1$I.refuse_change()', home, name);
END $$;
