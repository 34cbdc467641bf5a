-- What is derived from a log: how far subscribers have come, rows, and deliveries. It may be in
-- the log's database or in another one, in a schema of its own or in the log's.
CREATE TABLE {schema}.subscribers (
    -- Stands for the name in the large tables.
    id              integer GENERATED ALWAYS AS IDENTITY,
    -- 0: running, 1: paused, 2: disabled.
    state           smallint NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 2),
    -- The number of the last generation that was begun: none is given out twice. Whoever only has
    -- deliveries has none.
    last_generation integer  NOT NULL,
    name            text     COLLATE "C" NOT NULL,
    CONSTRAINT subscribers_pkey PRIMARY KEY (id),
    CONSTRAINT subscribers_name_key UNIQUE (name)
);

CREATE TABLE {schema}.generations (
    subscriber integer     NOT NULL REFERENCES {schema}.subscribers,
    generation integer     NOT NULL,
    version    bigint      NOT NULL,
    begun_at   timestamptz NOT NULL,
    parts      integer     NOT NULL CHECK (parts > 0),
    -- 0: active, 1: being built.
    role       smallint    NOT NULL CHECK (role BETWEEN 0 AND 1),
    CONSTRAINT generations_pkey PRIMARY KEY (subscriber, generation),
    CONSTRAINT generations_role_key UNIQUE (subscriber, role)
);

CREATE TABLE {schema}.parts (
    subscriber  integer     NOT NULL,
    generation  integer     NOT NULL,
    part        integer     NOT NULL,
    position    bigint      NOT NULL,
    events      bigint      NOT NULL DEFAULT 0,
    parked      bigint      NOT NULL DEFAULT 0,
    moved_at    timestamptz NOT NULL,
    -- Whoever comes with a lower one has lost the part.
    fence       bigint      NOT NULL DEFAULT 0,
    owned_until timestamptz,
    owner       text,
    -- Why it does not go on.
    failed_at       timestamptz,
    failed_position bigint,
    failed_event    uuid,
    failure         text,
    CONSTRAINT parts_pkey PRIMARY KEY (subscriber, generation, part),
    CONSTRAINT parts_generation_fkey FOREIGN KEY (subscriber, generation)
        REFERENCES {schema}.generations ON DELETE CASCADE
) WITH (fillfactor = 50);

CREATE TABLE {schema}.parked (
    subscriber integer     NOT NULL,
    generation integer     NOT NULL,
    position   bigint      NOT NULL,
    event      uuid        NOT NULL,
    parked_at  timestamptz NOT NULL,
    error      text        NOT NULL,
    CONSTRAINT parked_pkey PRIMARY KEY (subscriber, generation, position, event),
    CONSTRAINT parked_generation_fkey FOREIGN KEY (subscriber, generation)
        REFERENCES {schema}.generations ON DELETE CASCADE
);

-- Rows of generations that are gone are swept later, so they hang on nothing.
CREATE TABLE {schema}.rows (
    subscriber integer NOT NULL,
    generation integer NOT NULL,
    key        text    COLLATE "C" NOT NULL,
    -- Null only while a transaction keeps the place of a row that is not there.
    value      json,
    CONSTRAINT rows_pkey PRIMARY KEY (subscriber, generation, key)
);

-- The tables that projections with statements of their own have made, and how they are called
-- now: one that is being built has another name than the one that is read.
CREATE TABLE {schema}.projection_tables (
    subscriber integer NOT NULL,
    generation integer NOT NULL,
    name       text    COLLATE "C" NOT NULL,
    called     text    COLLATE "C" NOT NULL,
    CONSTRAINT projection_tables_pkey PRIMARY KEY (subscriber, generation, name),
    CONSTRAINT projection_tables_called_key UNIQUE (called)
);

-- Projections that run in the transactions of a log's appends, in this database.
CREATE TABLE {schema}.inline (
    subscriber integer NOT NULL REFERENCES {schema}.subscribers,
    -- The log's schema.
    log        text COLLATE "C" NOT NULL,
    -- The subscriber's name and its version: `balances@2`.
    called     text COLLATE "C" NOT NULL,
    CONSTRAINT inline_pkey PRIMARY KEY (subscriber)
);

-- Higher with each attempt, whichever delivery it is of, and with each lease, whoever has it: what
-- was forgotten or deleted, and comes anew, must not take an attempt or an owner from before for one
-- of its own.
CREATE SEQUENCE {schema}.tokens AS bigint;

CREATE TABLE {schema}.deliveries (
    position    bigint      NOT NULL,
    version     bigint      NOT NULL,
    -- Of the last attempt that began.
    token       bigint      NOT NULL DEFAULT 0,
    -- When it may be taken: also from somebody who has taken it, and died.
    due_at      timestamptz NOT NULL,
    enqueued_at timestamptz NOT NULL,
    -- When it was made or skipped.
    ended_at    timestamptz,
    inbox       integer     NOT NULL,
    attempts    integer     NOT NULL DEFAULT 0,
    -- 0: ready, 1: waits for its moment, 2: taken, 3: dead, 4: made, 5: skipped. Below 4 it is open.
    state       smallint    NOT NULL CHECK (state BETWEEN 0 AND 5),
    -- Whether it is the first open one of its lane, or open and in none.
    head        boolean     NOT NULL,
    event       uuid        NOT NULL,
    id          text        COLLATE "C" NOT NULL,
    stream      text        COLLATE "C" NOT NULL,
    type        text        COLLATE "C" NOT NULL,
    recipient   text        COLLATE "C",
    lane        text        COLLATE "C",
    -- Why it is not made.
    skipped     text,
    CONSTRAINT deliveries_pkey PRIMARY KEY (id),
    CONSTRAINT deliveries_head_check CHECK (NOT head OR state < 4)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
-- What is ready has been due before, so that only the order of the log matters …
CREATE INDEX deliveries_ready_idx ON {schema}.deliveries (inbox, position, id) WHERE head AND state = 0;
-- … and what is not is looked for by its moment. A lane has one of them at most.
CREATE INDEX deliveries_later_idx ON {schema}.deliveries (inbox, due_at) WHERE head AND state IN (1, 2);
CREATE INDEX deliveries_lane_idx ON {schema}.deliveries (inbox, lane, position, id)
    WHERE lane IS NOT NULL AND state < 4;
CREATE UNIQUE INDEX deliveries_head_key ON {schema}.deliveries (inbox, lane)
    WHERE lane IS NOT NULL AND head;
-- For people.
CREATE INDEX deliveries_position_idx ON {schema}.deliveries (inbox, position, id);
CREATE INDEX deliveries_dead_idx ON {schema}.deliveries (inbox, position, id) WHERE state = 3;
CREATE INDEX deliveries_ended_idx ON {schema}.deliveries (inbox, ended_at) WHERE state > 3;

CREATE TABLE {schema}.attempts (
    delivery text        COLLATE "C" NOT NULL,
    -- The delivery's token at the time, which tells attempts apart also after a retry by hand.
    token    bigint      NOT NULL,
    number   integer     NOT NULL,
    -- Whether another attempt had begun before it was settled.
    late     boolean     NOT NULL,
    at       timestamptz NOT NULL,
    micros   bigint      NOT NULL,
    error    text,
    note     text,
    CONSTRAINT attempts_pkey PRIMARY KEY (delivery, token)
);

COMMENT ON TABLE {schema}.subscribers IS 'Projections and inboxes of Annals.';
COMMENT ON TABLE {schema}.parts IS 'How far the subscribers of Annals have come, and who works them.';
COMMENT ON TABLE {schema}.rows IS 'What projections of Annals made of the log.';
COMMENT ON TABLE {schema}.deliveries IS 'Events on their way to inboxes of Annals.';

-- Whoever adds to a lane or leaves gaps in it does so alone in its inbox; those who settle share
-- it. A lane would otherwise be left without a head when its last open delivery is settled while
-- the next one is added.
CREATE FUNCTION {schema}.lock_lanes(inboxes integer[], alone boolean) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    inbox integer;
BEGIN
    FOR inbox IN SELECT DISTINCT i FROM unnest(inboxes) AS i ORDER BY i LOOP
        IF alone THEN
            PERFORM pg_advisory_xact_lock('{schema}.deliveries'::regclass::oid::integer, inbox);
        ELSE
            PERFORM pg_advisory_xact_lock_shared('{schema}.deliveries'::regclass::oid::integer, inbox);
        END IF;
    END LOOP;
END $$;

-- Gives lanes that may have lost their head a new one: the first open delivery at or behind a
-- position.
CREATE FUNCTION {schema}.raise_heads(inboxes integer[], lanes text[], positions bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    wanting integer;
    found   integer;
BEGIN
    LOOP
        WITH next AS MATERIALIZED (
            SELECT n.id
            FROM (SELECT l.inbox, l.lane, min(l.position) AS position
                  FROM unnest(inboxes, lanes, positions) AS l(inbox, lane, position)
                  GROUP BY l.inbox, l.lane) l
            CROSS JOIN LATERAL (
                SELECT d.id FROM {schema}.deliveries d
                WHERE d.inbox = l.inbox AND d.lane = l.lane AND d.position >= l.position
                  AND d.lane IS NOT NULL AND d.state < 4
                ORDER BY d.position, d.id LIMIT 1) n
            WHERE NOT EXISTS (SELECT FROM {schema}.deliveries h
                              WHERE h.inbox = l.inbox AND h.lane = l.lane AND h.lane IS NOT NULL AND h.head)
            ORDER BY n.id
        ), raised AS (
            UPDATE {schema}.deliveries d SET head = true
            FROM next n WHERE d.id = n.id AND d.state < 4
            RETURNING 1
        )
        SELECT (SELECT count(*) FROM next), (SELECT count(*) FROM raised) INTO wanting, found;
        -- Otherwise one of them was settled just now, and another one is next.
        EXIT WHEN found = wanting;
    END LOOP;
END $$;

-- Adds deliveries and moves checkpoints, both or neither. Fenced is the number of an advance whose
-- part is somebody else's; nothing was done then.
CREATE FUNCTION {schema}.enqueue(
    moment timestamptz,
    advance_subscriber text[], advance_generation integer[], advance_part integer[],
    advance_fence bigint[], advance_to bigint[], advance_events bigint[],
    parked_advance integer[], parked_position bigint[], parked_event uuid[], parked_error text[],
    parked_at timestamptz[],
    ids text[], names text[], events uuid[], positions bigint[], streams text[], versions bigint[],
    types text[], recipients text[], lanes text[], dues timestamptz[],
    OUT fenced integer, OUT added bigint
)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    inboxes   integer[];
    overtakes bigint;
BEGIN
    added := 0;
    fenced := {schema}.advance(moment, advance_subscriber, advance_generation, advance_part,
        advance_fence, advance_to, advance_events, parked_advance, parked_position, parked_event,
        parked_error, parked_at);
    IF fenced IS NOT NULL OR cardinality(ids) = 0 THEN
        RETURN;
    END IF;

    -- No name goes while deliveries are added to it. No inbox has the number 0.
    PERFORM {schema}.lock_lanes(ARRAY[0], false);
    LOOP
        inboxes := ARRAY(SELECT s.id FROM unnest(names) WITH ORDINALITY AS n(name, place)
                         LEFT JOIN {schema}.subscribers s ON s.name = n.name ORDER BY n.place);
        EXIT WHEN array_position(inboxes, NULL) IS NULL;
        INSERT INTO {schema}.subscribers (name, last_generation)
            SELECT DISTINCT n, 0 FROM unnest(names) AS n ORDER BY n ON CONFLICT DO NOTHING;
    END LOOP;
    PERFORM {schema}.lock_lanes(
        ARRAY(SELECT l.inbox FROM unnest(inboxes, lanes) AS l(inbox, lane) WHERE l.lane IS NOT NULL), true);

    WITH given AS MATERIALIZED (
        SELECT DISTINCT ON (n.id) n.*
        FROM unnest(ids, inboxes, events, positions, streams, versions, types, recipients, lanes, dues)
            WITH ORDINALITY
            AS n(id, inbox, event, position, stream, version, type, recipient, lane, due_at, place)
        WHERE NOT EXISTS (SELECT FROM {schema}.deliveries d WHERE d.id = n.id)
        ORDER BY n.id, n.place
    ), placed AS MATERIALIZED (
        -- The head that a lane has; null where it has none.
        SELECT g.*, h.id AS head_id, h.position AS head_position,
               row_number() OVER (PARTITION BY g.inbox, g.lane ORDER BY g.position, g.id) = 1 AS is_first
        FROM given g
        LEFT JOIN {schema}.deliveries h
            ON h.inbox = g.inbox AND h.lane = g.lane AND h.lane IS NOT NULL AND h.head
    ), overtaken AS (
        -- Added late, but stands earlier in the log.
        UPDATE {schema}.deliveries d SET head = false
        FROM placed p WHERE d.id = p.head_id AND (p.position, p.id) < (p.head_position, p.head_id) AND p.is_first
        RETURNING d.id
    ), new AS (
        INSERT INTO {schema}.deliveries (position, version, due_at, enqueued_at, inbox, state, head, event,
                                         id, stream, type, recipient, lane)
        SELECT p.position, p.version, p.due_at, moment, p.inbox,
               CASE WHEN p.due_at <= moment THEN 0 ELSE 1 END,
               -- What takes a head's place becomes one below, when that is none any more.
               p.lane IS NULL OR p.is_first AND p.head_id IS NULL,
               p.event, p.id, p.stream, p.type, p.recipient, p.lane
        FROM placed p ORDER BY p.id
        ON CONFLICT (id) DO NOTHING
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM new), (SELECT count(*) FROM overtaken) INTO added, overtakes;
    IF overtakes > 0 THEN
        PERFORM {schema}.raise_heads(inboxes, lanes, positions);
    END IF;
END $$;

-- Moves checkpoints, all or none. Answers with the number of an advance whose part is somebody
-- else's, or whose generation is gone, or which does not go on from where the checkpoint is.
CREATE FUNCTION {schema}.advance(
    moment timestamptz,
    subscribers text[], generations integer[], parts integer[], fences bigint[], tos bigint[],
    counts bigint[],
    parked_advance integer[], parked_position bigint[], parked_event uuid[], parked_error text[],
    parked_at timestamptz[]
) RETURNS integer
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET jit = off AS $$
DECLARE
    fenced integer;
    names  constant integer[] := ARRAY(
        SELECT s.id FROM unnest(subscribers) WITH ORDINALITY AS n(name, place)
        LEFT JOIN {schema}.subscribers s ON s.name = n.name ORDER BY n.place);
BEGIN
    IF cardinality(names) > 1 THEN
        -- In one order, whoever else moves several.
        PERFORM FROM {schema}.parts p
            WHERE (p.subscriber, p.generation, p.part)
                IN (SELECT * FROM unnest(names, generations, parts))
            ORDER BY p.subscriber, p.generation, p.part FOR NO KEY UPDATE;
        SELECT a.place INTO fenced
            FROM unnest(names, generations, parts, fences, tos, counts) WITH ORDINALITY
                AS a(subscriber, generation, part, fence, position, events, place)
            WHERE NOT EXISTS (SELECT FROM {schema}.parts p
                              WHERE p.subscriber = a.subscriber AND p.generation = a.generation
                                AND p.part = a.part AND p.fence = a.fence AND p.owner IS NOT NULL
                                AND (a.position > p.position
                                     OR a.position = p.position AND a.events = 0
                                        AND a.place <> ALL (parked_advance)))
            ORDER BY a.place LIMIT 1;
        IF fenced IS NOT NULL THEN
            RETURN fenced;
        END IF;
    END IF;
    WITH moved AS (
        UPDATE {schema}.parts p
        SET position = a.position, events = p.events + a.events,
            parked = p.parked + (SELECT count(*) FROM unnest(parked_advance) AS k WHERE k = a.place),
            moved_at = moment, failed_at = NULL, failed_position = NULL, failed_event = NULL,
            failure = NULL
        FROM unnest(names, generations, parts, fences, tos, counts) WITH ORDINALITY
            AS a(subscriber, generation, part, fence, position, events, place)
        WHERE p.subscriber = a.subscriber AND p.generation = a.generation AND p.part = a.part
          AND p.fence = a.fence AND p.owner IS NOT NULL
          AND (a.position > p.position
               OR a.position = p.position AND a.events = 0 AND a.place <> ALL (parked_advance))
        RETURNING p.subscriber, p.generation, a.place
    ), put_aside AS (
        INSERT INTO {schema}.parked (subscriber, generation, position, event, parked_at, error)
        SELECT m.subscriber, m.generation, k.position, k.event, k.parked_at, k.error
        FROM unnest(parked_advance, parked_position, parked_event, parked_error, parked_at)
            AS k(advance, position, event, error, parked_at)
        JOIN moved m ON m.place = k.advance
        ON CONFLICT DO NOTHING
    )
    SELECT CASE WHEN count(*) < cardinality(names) THEN 1 END INTO fenced FROM moved;
    RETURN fenced;
END $$;

-- Takes deliveries that are due. What is held by somebody who takes at the same moment is theirs.
CREATE FUNCTION {schema}.take(the_inbox text, most integer, moment timestamptz, until timestamptz)
RETURNS SETOF {schema}.deliveries
LANGUAGE plpgsql VOLATILE ROWS 100
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    number integer;
BEGIN
    SELECT s.id INTO number FROM {schema}.subscribers s WHERE s.name = the_inbox AND s.state <> 1;
    IF number IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH ready AS MATERIALIZED (
        SELECT d.id, d.position FROM {schema}.deliveries d
        WHERE d.inbox = number AND d.head AND d.state = 0 AND d.due_at <= moment
        ORDER BY d.position, d.id LIMIT most
        FOR NO KEY UPDATE SKIP LOCKED
    ), overdue AS MATERIALIZED (
        SELECT d.id FROM {schema}.deliveries d
        WHERE d.inbox = number AND d.head AND d.state IN (1, 2) AND d.due_at <= moment
        ORDER BY d.due_at LIMIT most + 1000
    ), later AS MATERIALIZED (
        SELECT d.id, d.position FROM overdue o JOIN {schema}.deliveries d ON d.id = o.id
        WHERE d.head AND d.state IN (1, 2) AND d.due_at <= moment
        ORDER BY d.position, d.id LIMIT most
        FOR NO KEY UPDATE OF d SKIP LOCKED
    ), first AS MATERIALIZED (
        SELECT f.id FROM (SELECT * FROM ready UNION ALL SELECT * FROM later) f
        ORDER BY f.position, f.id LIMIT most
    ), taken AS (
        UPDATE {schema}.deliveries d
        SET state = 2, due_at = until, token = nextval('{schema}.tokens'::regclass), attempts = d.attempts + 1
        FROM first f WHERE d.id = f.id
        RETURNING d.*
    )
    SELECT t.* FROM taken t ORDER BY t.position, t.id;
END $$;

-- When the next delivery is due. Where several are, it need not be the first of them.
CREATE FUNCTION {schema}.next_due(the_inbox text) RETURNS timestamptz
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    number  constant integer := (SELECT s.id FROM {schema}.subscribers s WHERE s.name = the_inbox);
    earliest timestamptz;
BEGIN
    SELECT least(
        (SELECT min(r.due_at) FROM (SELECT d.due_at FROM {schema}.deliveries d
                                    WHERE d.inbox = number AND d.head AND d.state = 0
                                    ORDER BY d.position, d.id LIMIT 100) r),
        (SELECT d.due_at FROM {schema}.deliveries d
         WHERE d.inbox = number AND d.head AND d.state IN (1, 2) ORDER BY d.due_at LIMIT 1))
        INTO earliest;
    RETURN earliest;
END $$;

-- Says what came of attempts: made (0), again (1), given back (2), dead (3).
CREATE FUNCTION {schema}.settle(
    moment timestamptz, ids text[], tokens bigint[], outcomes smallint[], dues timestamptz[],
    numbers integer[], begun timestamptz[], micros bigint[], errors text[], notes text[]
) RETURNS void
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    tried          text[];
    gone_inboxes   integer[];
    gone_lanes     text[];
    gone_positions bigint[];
BEGIN
    IF 0 = ANY (outcomes) THEN
        PERFORM {schema}.lock_lanes(
            ARRAY(SELECT DISTINCT d.inbox FROM {schema}.deliveries d
                  WHERE d.id = ANY (ids) AND d.lane IS NOT NULL), false);
    END IF;
    PERFORM FROM {schema}.deliveries d WHERE d.id = ANY (ids) ORDER BY d.id FOR NO KEY UPDATE;

    -- Of a delivery that is made at once nothing is remembered.
    tried := ARRAY(SELECT DISTINCT a.delivery FROM {schema}.attempts a WHERE a.delivery = ANY (ids));
    INSERT INTO {schema}.attempts (delivery, token, number, late, at, micros, error, note)
        SELECT d.id, s.token, s.number, s.token <> d.token OR d.state <> 2, s.at, s.micros, s.error, s.note
        FROM unnest(ids, tokens, outcomes, numbers, begun, micros, errors, notes)
            AS s(id, token, outcome, number, at, micros, error, note)
        JOIN {schema}.deliveries d ON d.id = s.id
        WHERE s.number IS NOT NULL
          AND (s.error IS NOT NULL OR s.id = ANY (tried))
        ON CONFLICT DO NOTHING;

    WITH settled AS (
        UPDATE {schema}.deliveries d
        SET state = CASE WHEN s.outcome = 0 THEN 4 WHEN s.outcome = 3 THEN 3
                         WHEN s.due_at <= moment THEN 0 ELSE 1 END,
            due_at = coalesce(s.due_at, d.due_at),
            head = d.head AND s.outcome <> 0,
            attempts = CASE s.outcome WHEN 2 THEN greatest(d.attempts - 1, 0) ELSE d.attempts END,
            ended_at = CASE s.outcome WHEN 0 THEN moment END
        FROM unnest(ids, tokens, outcomes, dues) AS s(id, token, outcome, due_at)
        WHERE d.id = s.id AND d.token = s.token AND d.state = 2
        RETURNING d.inbox, d.lane, d.position, s.outcome
    )
    SELECT array_agg(s.inbox), array_agg(s.lane), array_agg(s.position)
        INTO gone_inboxes, gone_lanes, gone_positions
        FROM settled s WHERE s.outcome = 0 AND s.lane IS NOT NULL;
    IF gone_inboxes IS NOT NULL THEN
        PERFORM {schema}.raise_heads(gone_inboxes, gone_lanes, gone_positions);
    END IF;
END $$;

-- A trigger of a log that has inline projections. Whoever appends names those that it runs; one
-- that it does not know would miss its events for ever.
CREATE FUNCTION {schema}.check_inline() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    missing text;
BEGIN
    SELECT i.called INTO missing FROM {schema}.inline i
        WHERE i.log = TG_TABLE_SCHEMA
          AND i.called <> ALL (string_to_array(coalesce(current_setting('annals.inline', true), ''), ','))
        LIMIT 1;
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'the inline projection % must run in every append to this log', missing
            USING ERRCODE = 'AN003',
                  HINT = 'open the store with it, or end it with PostgresReadSide::end_inline';
    END IF;
    RETURN NULL;
END $$;

-- The generation that is asked for, or else the one that appends keep.
CREATE FUNCTION {schema}.worked_generation(
    the_name text, the_version bigint, the_generation integer,
    OUT subscriber integer, OUT generation integer
)
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET jit = off AS $$
BEGIN
    IF the_generation IS NOT NULL THEN
        SELECT s.id, the_generation INTO subscriber, generation
            FROM {schema}.subscribers s WHERE s.name = the_name;
        RETURN;
    END IF;
    SELECT g.subscriber, g.generation INTO subscriber, generation
        FROM {schema}.subscribers s
        JOIN {schema}.inline i ON i.subscriber = s.id
        JOIN {schema}.generations g ON g.subscriber = s.id AND g.role = 0
        WHERE s.name = the_name AND g.version = the_version;
    IF subscriber IS NULL THEN
        RAISE EXCEPTION 'the projection % is not inline any more, or in another version', the_name
            USING ERRCODE = 'AN004', HINT = 'open the store anew';
    END IF;
END $$;

-- Locks rows until the transaction ends, also those that are not there: their places are kept by
-- rows without a value. Everybody locks them in the order of their keys.
CREATE FUNCTION {schema}.lock_rows(the_subscriber integer, the_generation integer, keys text[])
RETURNS TABLE (key text, value json)
LANGUAGE plpgsql VOLATILE ROWS 10
SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO {schema}.rows AS r (subscriber, generation, key)
        SELECT DISTINCT the_subscriber, the_generation, k COLLATE "C" FROM unnest(keys) AS k ORDER BY 3
        ON CONFLICT (subscriber, generation, key) DO UPDATE SET value = r.value WHERE false;
    -- A statement of its own: it sees what was committed while the rows were waited for.
    RETURN QUERY
        SELECT r.key, r.value FROM {schema}.rows r
        WHERE r.subscriber = the_subscriber AND r.generation = the_generation
          AND r.key = ANY (keys) AND r.value IS NOT NULL;
END $$;
