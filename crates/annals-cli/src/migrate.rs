//! `annals migrate`: the tables of a store, and the roles that may use them.

use annals_postgres::{OpenError, RoleName};
use serde::Serialize;
use serde_json::json;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::PgPool;

use crate::args;
use crate::failure::Failure;
use crate::location::{Address, Location, is_denied};
use crate::output::{Output, note, shown};

pub(crate) async fn run(args: args::Migrate, mut output: Output) -> Result<(), Failure> {
    let location = &args.store.location;
    match (location, &args.role) {
        (Location::Postgres(address), Some(role)) => print_role(address, role, &mut output)?,
        (_, Some(_)) => {
            return Err(Failure::invalid(
                "roles are PostgreSQL's; name the log with --store postgres://…",
            ));
        }
        (Location::Postgres(address), None) if args.dry_run => {
            dry_run(address, &mut output).await?;
        }
        (_, None) if args.dry_run => {
            return Err(Failure::invalid(format!(
                "there is no SQL to show for {location}; files are made and migrated whenever \
                 they are opened"
            )));
        }
        (Location::Postgres(address), None) => migrate(address, location, &mut output).await?,
        (Location::Memory | Location::Sqlite(_), None) => open(location, &mut output).await?,
    }
    output.flush()
}

/// The script that makes a role which may append, read and keep snapshots, and nothing else.
fn print_role(address: &Address, role: &RoleName, output: &mut Output) -> Result<(), Failure> {
    let script = role.script(address.schema());
    if output.is_json() {
        return output.json(&json!({ "sql": script }));
    }
    output.line(script.trim_end())
}

/// The SQL that `migrate` would run, in one transaction as there.
async fn dry_run(address: &Address, output: &mut Output) -> Result<(), Failure> {
    let doing = format!("looking at the tables of {address}");
    let pool = match address.pool() {
        Ok(pool) => pool,
        Err(error) => return Err(address.failed(doing, &error).await),
    };
    let pending = match address.options().pending_migrations(&pool).await {
        Ok(pending) => pending,
        Err(error) => return Err(address.failed(doing, &error).await),
    };
    pool.close().await;
    if pending.is_empty() {
        note(&format!("nothing to do: the schema {} is as this build needs it", address.schema()));
    }
    let script = if pending.is_empty() {
        String::new()
    } else {
        format!("BEGIN;\n{}\nCOMMIT;", pending.join("\n"))
    };
    if output.is_json() {
        return output.json(&json!({ "sql": script }));
    }
    if script.is_empty() { Ok(()) } else { output.line(&script) }
}

async fn migrate(
    address: &Address,
    location: &Location,
    output: &mut Output,
) -> Result<(), Failure> {
    let (from, to) = match versions(address).await {
        Ok(versions) => versions,
        Err(error) => {
            let failure = address.failed(format_args!("migrating {address}"), &error).await;
            let owner = "as the owner of the schema, or as a user that may make it";
            return Err(if is_denied(&error) { failure.at(owner) } else { failure });
        }
    };
    let (store, schema) = (location.to_string(), address.schema());
    if output.is_json() {
        return output.json(&Migrated { store: &store, schema: schema.as_str(), from, to });
    }
    let store = shown(&store);
    output.line(&match from {
        None => format!("{store}: made the schema {schema}, version {to}"),
        Some(from) if from == to => format!("{store}: nothing to do, version {to}"),
        Some(from) => format!("{store}: migrated from version {from} to {to}"),
    })
}

/// What is told of it as JSON.
#[derive(Serialize)]
struct Migrated<'a> {
    store: &'a str,
    schema: &'a str,
    /// Nothing, when there were no tables.
    from: Option<i32>,
    to: i32,
}

/// Migrates; the version of the tables before, if there were any, and after.
async fn versions(address: &Address) -> Result<(Option<i32>, i32), OpenError> {
    let pool = address.pool()?;
    let from = version(&pool, address).await?;
    // A store settles what else opening it settles.
    let store = address.options().over(pool.clone()).await?;
    let to = version(&pool, address).await?;
    store.close().await;
    Ok((from, to.unwrap_or_default()))
}

/// The number of the last migration.
async fn version(pool: &PgPool, address: &Address) -> Result<Option<i32>, OpenError> {
    let mut connection = pool.acquire().await.map_err(OpenError::Connect)?;
    let is_there: bool = query_scalar(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables
                        WHERE schemaname = $1 AND tablename = 'schema_version')",
    )
    .bind(address.schema().as_str())
    .fetch_one(&mut *connection)
    .await?;
    if !is_there {
        return Ok(None);
    }
    let select = address.statement("SELECT version FROM {schema}.schema_version");
    Ok(Some(query_scalar(select).fetch_one(&mut *connection).await?))
}

/// Files are made and migrated when they are opened.
async fn open(location: &Location, output: &mut Output) -> Result<(), Failure> {
    let is_new = matches!(location, Location::Sqlite(path) if !path.exists());
    let store = location.to_string();
    location.open_or_create().await?.close().await;
    if output.is_json() {
        return output.json(&json!({ "store": store, "is_new": is_new }));
    }
    let store = shown(&store);
    output.line(&match (location, is_new) {
        (Location::Memory, _) => format!("{store} has no tables: nothing to do"),
        (_, true) => format!("{store}: made, as this build needs it"),
        (_, false) => format!(
            "{store} is as this build needs it; files are migrated whenever they are opened"
        ),
    })
}
