//! The tables of the log and of its snapshots: their indexes, their triggers, how large they are.

use std::collections::HashMap;

use sqlx_core::error::Error;
use sqlx_core::query_as::query_as;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::{PgConnection, Postgres};

use super::Finding;
use crate::schema::SchemaName;

/// Every index of the log, and how to make it anew.
const INDEXES: &[(&str, &str)] = &[
    (
        "events_pkey",
        "ALTER TABLE {schema}.events ADD CONSTRAINT events_pkey PRIMARY KEY (position);",
    ),
    ("events_id_key", "ALTER TABLE {schema}.events ADD CONSTRAINT events_id_key UNIQUE (id);"),
    (
        "events_stream_version_key",
        "ALTER TABLE {schema}.events ADD CONSTRAINT events_stream_version_key UNIQUE (stream, \
         version);",
    ),
    (
        "events_type_position_idx",
        "CREATE INDEX CONCURRENTLY events_type_position_idx ON {schema}.events (type, position);",
    ),
    (
        "events_category_position_idx",
        "CREATE INDEX CONCURRENTLY events_category_position_idx ON {schema}.events (category, \
         position);",
    ),
    (
        "tags_pkey",
        "ALTER TABLE {schema}.tags ADD CONSTRAINT tags_pkey PRIMARY KEY (tag, position) INCLUDE \
         (type);",
    ),
    (
        "snapshots_pkey",
        "DELETE FROM {schema}.snapshots; ALTER TABLE {schema}.snapshots ADD CONSTRAINT \
         snapshots_pkey PRIMARY KEY (stream, fold);",
    ),
];

/// Every trigger that keeps events as they are, its table, and how to make it anew.
const TRIGGERS: &[(&str, &str, &str)] = &[
    (
        "events_are_immutable",
        "events",
        "CREATE TRIGGER events_are_immutable BEFORE UPDATE OR DELETE ON {schema}.events FOR EACH \
         ROW EXECUTE FUNCTION {schema}.refuse_change();",
    ),
    (
        "events_are_not_truncated",
        "events",
        "CREATE TRIGGER events_are_not_truncated BEFORE TRUNCATE ON {schema}.events FOR EACH \
         STATEMENT EXECUTE FUNCTION {schema}.refuse_change();",
    ),
    (
        "tags_are_immutable",
        "tags",
        "CREATE TRIGGER tags_are_immutable BEFORE UPDATE OR DELETE ON {schema}.tags FOR EACH ROW \
         EXECUTE FUNCTION {schema}.refuse_change();",
    ),
    (
        "tags_are_not_truncated",
        "tags",
        "CREATE TRIGGER tags_are_not_truncated BEFORE TRUNCATE ON {schema}.tags FOR EACH \
         STATEMENT EXECUTE FUNCTION {schema}.refuse_change();",
    ),
];

/// And those that keep the ids of a partitioned log.
const TRIGGERS_OF_PARTITIONED: &[(&str, &str, &str)] = &[
    (
        "events_note_ids",
        "events",
        "CREATE TRIGGER events_note_ids AFTER INSERT ON {schema}.events REFERENCING NEW TABLE AS \
         added FOR EACH STATEMENT EXECUTE FUNCTION {schema}.note_ids();",
    ),
    (
        "ids_are_immutable",
        "ids",
        "CREATE TRIGGER ids_are_immutable BEFORE UPDATE OR DELETE ON {schema}.ids FOR EACH ROW \
         EXECUTE FUNCTION {schema}.refuse_change();",
    ),
    (
        "ids_are_not_truncated",
        "ids",
        "CREATE TRIGGER ids_are_not_truncated BEFORE TRUNCATE ON {schema}.ids FOR EACH STATEMENT \
         EXECUTE FUNCTION {schema}.refuse_change();",
    ),
];

/// A table with more rows than this should have been vacuumed and analysed.
const SMALL_ROWS: i64 = 100_000;
/// PostgreSQL stops at two thousand million.
const AGE_MAX: i32 = 1_000_000_000;

pub(super) async fn look(
    connection: &mut PgConnection,
    schema: &SchemaName,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    let partitions = partitions(connection, schema).await?;
    indexes(connection, schema, &partitions, findings).await?;
    triggers(connection, schema, &partitions, findings).await?;
    sizes(connection, schema, findings).await?;
    if !partitions.is_empty() {
        ahead(connection, schema, findings).await?;
    }
    Ok(())
}

/// The tables of a log that is partitioned.
async fn partitions(
    connection: &mut PgConnection,
    schema: &SchemaName,
) -> Result<Vec<String>, Error> {
    query_scalar(
        "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         JOIN pg_class e ON e.oid = i.inhparent JOIN pg_namespace n ON n.oid = e.relnamespace
         WHERE n.nspname = $1 AND e.relname = 'events' AND e.relkind = 'p'
         ORDER BY length(c.relname), c.relname",
    )
    .bind(schema.as_str())
    .fetch_all(connection)
    .await
}

async fn indexes(
    connection: &mut PgConnection,
    schema: &SchemaName,
    partitions: &[String],
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    let found: HashMap<String, bool> = query_as::<Postgres, (String, bool)>(
        "SELECT c.relname::text, i.indisvalid AND i.indisready AND i.indislive
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1",
    )
    .bind(schema.as_str())
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .collect();
    let mut wanted = wanted_indexes(partitions);
    if !has_snapshots(connection, schema).await? {
        // The log is older than they are, which is said elsewhere.
        wanted.retain(|(name, _)| name != "snapshots_pkey");
    }
    let sound = wanted.iter().filter(|(name, _)| found.get(name) == Some(&true)).count();
    if sound == wanted.len() {
        findings.push(Finding::ok("indexes", format!("all {sound} are there and valid")));
        return Ok(());
    }
    for (name, create) in &wanted {
        let (what, how) = match found.get(name) {
            Some(true) => continue,
            Some(false) => {
                let reindex = format!("REINDEX INDEX CONCURRENTLY {{schema}}.{name};");
                ("invalid: nothing is looked up in it", reindex)
            }
            None => ("missing: reads and appends go through whole tables", create.clone()),
        };
        let how = format!("run: {}", schema.statement(&how).0);
        findings.push(Finding::problem(&format!("index {name}"), what).advise(how));
    }
    Ok(())
}

async fn has_snapshots(connection: &mut PgConnection, schema: &SchemaName) -> Result<bool, Error> {
    query_scalar(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables
                        WHERE schemaname = $1 AND tablename = 'snapshots')",
    )
    .bind(schema.as_str())
    .fetch_one(connection)
    .await
}

/// Versions are unique in each partition, and ids in a table of their own.
fn wanted_indexes(partitions: &[String]) -> Vec<(String, String)> {
    let owned = |(name, create): &(&str, &str)| ((*name).to_owned(), (*create).to_owned());
    if partitions.is_empty() {
        return INDEXES.iter().map(owned).collect();
    }
    let whole =
        |(name, _): &&(&str, &str)| !["events_id_key", "events_stream_version_key"].contains(name);
    let mut wanted: Vec<_> = INDEXES.iter().filter(whole).map(owned).collect();
    let ids = "ALTER TABLE {schema}.ids ADD CONSTRAINT events_id_key PRIMARY KEY (id);";
    wanted.push(("events_id_key".to_owned(), ids.to_owned()));
    for (suffix, columns) in [("id_key", "id"), ("stream_version_key", "stream, version")] {
        wanted.extend(partitions.iter().map(|partition| {
            let name = format!("{partition}_{suffix}");
            let create = format!(
                "ALTER TABLE {{schema}}.{partition} ADD CONSTRAINT {name} UNIQUE ({columns});"
            );
            (name, create)
        }));
    }
    wanted
}

async fn triggers(
    connection: &mut PgConnection,
    schema: &SchemaName,
    partitions: &[String],
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    // O and A are those that fire in ordinary sessions.
    let found: HashMap<(String, String), bool> = query_as::<Postgres, (String, String, bool)>(
        "SELECT t.tgname::text, c.relname::text, t.tgenabled IN ('O', 'A')
         FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1
           AND (NOT t.tgisinternal OR t.tgparentid <> 0)",
    )
    .bind(schema.as_str())
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(|(name, table, fires)| ((name, table), fires))
    .collect();
    let wanted = wanted_triggers(partitions);
    let firing = wanted.iter().filter(|(of, _)| found.get(of) == Some(&true)).count();
    if firing == wanted.len() {
        findings.push(Finding::ok("triggers", format!("all {firing} are there and enabled")));
        return Ok(());
    }
    for (of, create) in &wanted {
        let (name, table) = of;
        let (what, how) = match found.get(of) {
            Some(true) => continue,
            Some(false) => (
                "disabled: events can be changed or deleted",
                format!("ALTER TABLE {{schema}}.{table} ENABLE TRIGGER {name};"),
            ),
            None => ("missing: events can be changed or deleted", create.clone()),
        };
        let how = format!("find out who did that and why; run: {}", schema.statement(&how).0);
        let of = if partitions.is_empty() { String::new() } else { format!(" of {table}") };
        findings.push(Finding::problem(&format!("trigger {name}{of}"), what).advise(how));
    }
    Ok(())
}

/// Each with its name and table, and how to make it anew.
fn wanted_triggers(partitions: &[String]) -> Vec<((String, String), String)> {
    let owned = |(name, table, create): &(&str, &str, &str)| {
        (((*name).to_owned(), (*table).to_owned()), (*create).to_owned())
    };
    let mut wanted: Vec<_> = TRIGGERS.iter().map(owned).collect();
    if partitions.is_empty() {
        return wanted;
    }
    let of_events = TRIGGERS.iter().filter(|(_, table, _)| *table == "events");
    for (name, table, create) in of_events.chain(TRIGGERS_OF_PARTITIONED) {
        let on = format!("{{schema}}.{table}");
        let others = if *table == "events" { partitions } else { &[] };
        wanted.extend(others.iter().map(|partition| {
            let create = create.replace(&on, &format!("{{schema}}.{partition}"));
            (((*name).to_owned(), partition.clone()), create)
        }));
    }
    wanted.extend(TRIGGERS_OF_PARTITIONED.iter().map(owned));
    wanted
}

async fn sizes(
    connection: &mut PgConnection,
    schema: &SchemaName,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    type Row = (String, String, String, i64, i32, Option<String>, Option<String>);
    let rows: Vec<Row> = query_as(
        "SELECT c.relname::text, pg_size_pretty(pg_table_size(c.oid)),
                pg_size_pretty(pg_indexes_size(c.oid)),
                greatest(c.reltuples::bigint, s.n_live_tup, 0), age(c.relfrozenxid),
                to_char(greatest(s.last_vacuum, s.last_autovacuum) AT TIME ZONE 'UTC',
                        'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
                to_char(greatest(s.last_analyze, s.last_autoanalyze) AT TIME ZONE 'UTC',
                        'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
         WHERE n.nspname = $1 AND c.relkind = 'r'
           AND c.relname ~ '^(events|events_[0-9]+|ids|snapshots|tags)$'
         ORDER BY length(c.relname), c.relname",
    )
    .bind(schema.as_str())
    .fetch_all(connection)
    .await?;
    for (table, size, indexes, rows, age, vacuumed, analysed) in rows {
        let is_neglected = rows > SMALL_ROWS && (vacuumed.is_none() || analysed.is_none());
        let never = || "never".to_owned();
        let (vacuumed, analysed) = (vacuumed.unwrap_or_else(never), analysed.unwrap_or_else(never));
        let subject = format!("table {table}");
        let what = format!(
            "about {rows} rows in {size}, indexes {indexes}; last vacuum {vacuumed}, last analyze \
             {analysed}"
        );
        let vacuum = schema.statement(&format!("run: VACUUM (ANALYZE) {{schema}}.{table};")).0;
        findings.push(if age > AGE_MAX {
            let what = format!(
                "{what}; its oldest transaction id is {age} transactions old: PostgreSQL stops \
                 writing at two thousand million"
            );
            let vacuum = schema.statement(&format!("run: VACUUM (FREEZE) {{schema}}.{table};")).0;
            Finding::warning(&subject, what).advise(vacuum)
        } else if is_neglected {
            // Statistics are lost in a crash: it need not be true.
            Finding::note(&subject, what).advise(vacuum)
        } else {
            Finding::ok(&subject, what)
        });
    }
    Ok(())
}

/// Whether there are partitions for what comes next.
async fn ahead(
    connection: &mut PgConnection,
    schema: &SchemaName,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    let select = schema.statement(
        "SELECT count(*), count(*) FILTER (WHERE p.closed),
                count(*) FILTER (WHERE p.low / 4096 > s.last)
         FROM {schema}.partitions() p,
              (SELECT coalesce(pg_sequence_last_value('{schema}.positions'::regclass), 0)) s(last)",
    );
    let (all, closed, ahead) =
        query_as::<Postgres, (i64, i64, i64)>(select).fetch_one(connection).await?;
    let what = format!("{all}, of which {closed} are closed and {ahead} ahead of the log");
    findings.push(if ahead > 0 {
        Finding::ok("partitions", what)
    } else {
        let advice = "run `annals partitions extend` as the tables' owner, and see that roles that \
                      append may execute extend_partitions: `annals migrate --role ROLE` prints how";
        Finding::warning("partitions", what).advise(advice)
    });
    Ok(())
}
