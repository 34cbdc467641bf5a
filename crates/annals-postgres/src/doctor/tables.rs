//! The tables of the log: their indexes, their triggers, how large they are.

use std::collections::HashMap;

use sqlx_core::error::Error;
use sqlx_core::query_as::query_as;
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

/// A table with more rows than this should have been vacuumed and analysed.
const SMALL_ROWS: i64 = 100_000;
/// PostgreSQL stops at two thousand million.
const AGE_MAX: i32 = 1_000_000_000;

pub(super) async fn look(
    connection: &mut PgConnection,
    schema: &SchemaName,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    indexes(connection, schema, findings).await?;
    triggers(connection, schema, findings).await?;
    sizes(connection, schema, findings).await
}

async fn indexes(
    connection: &mut PgConnection,
    schema: &SchemaName,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    let found: HashMap<String, bool> = query_as::<Postgres, (String, bool)>(
        "SELECT c.relname::text, i.indisvalid AND i.indisready AND i.indislive
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1",
    )
    .bind(schema.as_str())
    .fetch_all(connection)
    .await?
    .into_iter()
    .collect();
    let sound = INDEXES.iter().filter(|(name, _)| found.get(*name) == Some(&true)).count();
    if sound == INDEXES.len() {
        findings.push(Finding::ok("indexes", format!("all {sound} are there and valid")));
        return Ok(());
    }
    for (name, create) in INDEXES {
        let (what, how) = match found.get(*name) {
            Some(true) => continue,
            Some(false) => {
                let reindex = format!("REINDEX INDEX CONCURRENTLY {{schema}}.{name};");
                ("invalid: nothing is looked up in it", reindex)
            }
            None => ("missing: reads and appends go through whole tables", (*create).to_owned()),
        };
        let how = format!("run: {}", schema.statement(&how).0);
        findings.push(Finding::problem(&format!("index {name}"), what).advise(how));
    }
    Ok(())
}

async fn triggers(
    connection: &mut PgConnection,
    schema: &SchemaName,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    // O and A are those that fire in ordinary sessions.
    let found: HashMap<String, bool> = query_as::<Postgres, (String, bool)>(
        "SELECT t.tgname::text, t.tgenabled IN ('O', 'A')
         FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND NOT t.tgisinternal",
    )
    .bind(schema.as_str())
    .fetch_all(connection)
    .await?
    .into_iter()
    .collect();
    let firing = TRIGGERS.iter().filter(|(name, ..)| found.get(*name) == Some(&true)).count();
    if firing == TRIGGERS.len() {
        findings.push(Finding::ok("triggers", format!("all {firing} are there and enabled")));
        return Ok(());
    }
    for (name, table, create) in TRIGGERS {
        let (what, how) = match found.get(*name) {
            Some(true) => continue,
            Some(false) => (
                "disabled: events can be changed or deleted",
                format!("ALTER TABLE {{schema}}.{table} ENABLE TRIGGER {name};"),
            ),
            None => ("missing: events can be changed or deleted", (*create).to_owned()),
        };
        let how = format!("find out who did that and why; run: {}", schema.statement(&how).0);
        findings.push(Finding::problem(&format!("trigger {name}"), what).advise(how));
    }
    Ok(())
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
         WHERE n.nspname = $1 AND c.relname IN ('events', 'tags') ORDER BY 1",
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
