use annals_scratch::Database;
use serde_json::json;
use sqlx_core::connection::Connection;
use sqlx_core::query_scalar::query_scalar;
use sqlx_core::raw_sql::raw_sql;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::PgConnection;

use crate::annals::Place;
use crate::postgres::{block_on, database};

/// Does what `psql` does with a script that is piped into it.
pub(crate) fn psql(database: &Database, script: &str) {
    block_on(async {
        let mut connection = PgConnection::connect(database.url()).await.unwrap();
        raw_sql(AssertSqlSafe(script)).execute(&mut connection).await.unwrap();
    });
}

/// Everything that a schema has, as text.
fn structure(database: &Database) -> Vec<String> {
    block_on(async {
        let mut connection = PgConnection::connect(database.url()).await.unwrap();
        let select = "
            SELECT format('%s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull)
                FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                WHERE c.relnamespace = 'annals'::regnamespace AND a.attnum > 0
            UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'annals'
            UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'annals'::regnamespace
            UNION ALL SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
                WHERE c.relnamespace = 'annals'::regnamespace
            UNION ALL SELECT 'version ' || version FROM annals.schema_version
            ORDER BY 1";
        query_scalar(select).fetch_all(&mut connection).await.unwrap()
    })
}

#[test]
fn a_dry_run_prints_what_psql_can_run_instead() {
    let (place, piped, migrated) = (Place::new(), database(), database());
    let dry_run = ["migrate", "--dry-run", "--store", piped.url()];
    let script = place.run(&dry_run).ok().stdout;
    assert!(script.starts_with("BEGIN;\n") && script.ends_with("COMMIT;\n"), "{script}");
    place.run(&["stats", "--store", piped.url()]).failed(1, "annals migrate");
    psql(&piped, &script);
    place.run(&["migrate", "--store", migrated.url()]).ok();
    assert_eq!(structure(&piped), structure(&migrated));
    assert!(structure(&piped).len() > 30);

    let again = place.run(&dry_run);
    assert_eq!((again.code, &*again.stdout), (Some(0), ""));
    assert!(again.stderr.starts_with("nothing to do"), "{again:?}");
    place.run(&["append", "a-1", "Opened", "--store", piped.url()]).ok();
    place.run(&["stats", "--store", piped.url()]).ok();
}

#[test]
fn migrating_says_from_which_version_to_which() {
    let (place, database) = (Place::new(), database());
    let store = format!("{}?schema=ledger", database.url());
    let migrate = ["migrate", "--store", &store];
    let first = place.run(&migrate).ok().stdout;
    assert!(first.contains("made the schema ledger, version "), "{first}");
    assert!(place.run(&migrate).ok().stdout.contains("nothing to do, version "));
    let told = &place.run(&[&migrate[..], &["--json"]].concat()).ok().json_lines()[0];
    assert_eq!((&told["schema"], &told["from"]), (&json!("ledger"), &told["to"]));
    assert!(told["to"].as_u64() > Some(0), "{told}");
    let stats = place.run(&["stats", "--json", "--store", &store]).ok().json_lines();
    assert_eq!(stats[0]["events"], 0);
}

#[test]
fn a_log_without_snapshots_is_told_how_to_gain_them() {
    let (place, database) = (Place::new(), database());
    let store = ["--store", database.url()];
    let run = |arguments: &[&str]| place.run(&[arguments, &store[..]].concat());
    run(&["migrate"]).ok();
    psql(&database, "DROP TABLE annals.snapshots; UPDATE annals.schema_version SET version = 1");
    run(&["snapshots", "list"])
        .failed(1, "has version 1, this build needs 2; run `annals migrate`");
    let script = run(&["migrate", "--dry-run"]).ok().stdout;
    assert!(script.contains("CREATE TABLE \"annals\".snapshots"), "{script}");
    assert!(!script.contains("CREATE TABLE \"annals\".events"), "{script}");
    let told = run(&["migrate"]).ok().stdout;
    assert!(told.contains("migrated from version 1 to 2"), "{told}");
    assert_eq!(run(&["snapshots", "list", "--json"]).stdout, "");
    run(&["doctor"]).ok();
}

#[test]
fn a_file_is_made_and_migrated_when_it_is_opened() {
    let place = Place::new();
    let first = place.run(&["migrate"]).ok().stdout;
    assert_eq!(first, "sqlite:annals.db: made, as this build needs it\n");
    let second = place.run(&["migrate"]).ok().stdout;
    assert!(second.starts_with("sqlite:annals.db is as this build needs it"), "{second}");
    place.run(&["migrate", "--dry-run"]).failed(2, "no SQL to show");
    let memory = place.run(&["migrate", "--store", "memory:"]).ok().stdout;
    assert!(memory.contains("nothing to do"), "{memory}");
    place.run(&["migrate", "--role", "app"]).failed(2, "roles are PostgreSQL's");
}

/// It may append and read, and the command does not try to do more.
#[test]
fn a_role_that_the_script_makes_can_use_the_commands() {
    let (place, database) = (Place::new(), database());
    let role = format!("{}_app", database.name());
    let (_, server) = database.url().split_once('@').unwrap();
    let as_role = format!("postgres://{role}@{server}");
    let script = place.run(&["migrate", "--role", &role, "--store", database.url()]).ok().stdout;
    place.run(&["migrate", "--store", database.url()]).ok();
    // Whoever pipes it twice has done no harm.
    psql(&database, &script);
    psql(&database, &script);
    psql(&database, &format!("ALTER ROLE {role} LOGIN"));

    place.run(&["append", "a-1", "Opened", "--store", &as_role]).ok();
    assert_eq!(place.run(&["read", "--json", "--store", &as_role]).ok().json_lines().len(), 1);
    place.run(&["doctor", "--json", "--store", &as_role]).ok();
    place.run(&["snapshots", "drop", "--all", "--store", &as_role]).ok();
    let audit = ["audit", "subscriptions", "--from", "0", "--for", "1ms", "--store", &as_role];
    assert_eq!(place.run(&audit).code, Some(0));
    let other = format!("{as_role}?schema=other");
    let denied = place.run(&["migrate", "--store", &other]);
    denied.failed(1, "as the owner of the schema");
    denied.failed(1, "permission denied");
    place.run(&["append", "a-1", "Opened", "--store", &other]).failed(1, "annals migrate");
    psql(&database, &format!("DROP OWNED BY {role}; DROP ROLE {role}"));

    let wrong = place.run(&["migrate", "--role", "a\"; DROP", "--store", database.url()]);
    wrong.failed(2, "cannot name a role");
}
