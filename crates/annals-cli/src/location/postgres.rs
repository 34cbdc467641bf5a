//! The address of a log in a PostgreSQL database.

use std::error::Error as _;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use annals_postgres::{OpenError, Options, PostgresStore, SchemaName};
use sqlx_core::connection::{ConnectOptions, Connection};
use sqlx_core::error::Error;
use sqlx_core::pool::PoolOptions;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::{PgConnectOptions, PgConnection, PgPool, Postgres};
use tokio::time::timeout;

use crate::failure::Failure;

/// What the driver understands behind the question mark. It logs what it does not, which could
/// be a mistyped password.
const DRIVER_OPTIONS: &[&str] = &[
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// PostgreSQL's name for a user that lacks the right to do what was asked.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// A URL like `postgres://user:password@host:5432/database?schema=annals`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// As the driver wants it, with the password and without the schema.
    url: String,
    schema: SchemaName,
    /// Whether the schema was said.
    has_schema: bool,
}

impl Address {
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let (address, parameters) = text.split_once('?').unwrap_or((text, ""));
        let (mut schema, mut has_schema) = (SchemaName::default(), false);
        let mut others = Vec::new();
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if name == "schema" {
                schema = SchemaName::new(value).map_err(|error| error.to_string())?;
                has_schema = true;
            } else if DRIVER_OPTIONS.contains(&name) || name.starts_with("options[") {
                others.push(parameter);
            } else {
                let known = DRIVER_OPTIONS.join(", ");
                return Err(format!("a URL has no option of that name; there are schema, {known}"));
            }
        }
        let url = match &*others {
            [] => address.to_owned(),
            others => format!("{address}?{}", others.join("&")),
        };
        let is_url = address.contains("://") && PgConnectOptions::from_str(&url).is_ok();
        if !is_url {
            return Err(
                "write it as postgres://USER@HOST:PORT/DATABASE?schema=NAME; the port and \
                        the schema may be left out, and special characters in a name or password \
                        are written like %40 for @"
                    .to_owned(),
            );
        }
        Ok(Self { url, schema, has_schema })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn schema(&self) -> &SchemaName {
        &self.schema
    }

    /// The schema, if one was said.
    pub(super) fn schema_given(&self) -> Option<&SchemaName> {
        self.has_schema.then_some(&self.schema)
    }

    /// Options of a store here.
    pub(crate) fn options(&self) -> Options {
        PostgresStore::options().schema(self.schema.clone())
    }

    /// Connections of the command's own, as many as a store has, for what can be asked without an
    /// open store.
    pub(crate) fn pool(&self) -> Result<PgPool, OpenError> {
        let options = PoolOptions::<Postgres>::new().max_connections(16).acquire_timeout(PATIENCE);
        Ok(options.connect_lazy_with(self.driver_options()?))
    }

    /// One connection of the command's own.
    pub(crate) async fn connect(&self) -> Result<PgConnection, OpenError> {
        self.driver_options()?.connect().await.map_err(OpenError::Connect)
    }

    /// A statement for this schema: `{schema}` becomes its quoted name, which can carry no SQL.
    pub(crate) fn statement(&self, template: &'static str) -> AssertSqlSafe<String> {
        AssertSqlSafe(template.replace("{schema}", &format!("\"{}\"", self.schema)))
    }

    fn driver_options(&self) -> Result<PgConnectOptions, OpenError> {
        let options = PgConnectOptions::from_str(&self.url).map_err(OpenError::Connect)?;
        Ok(options.application_name("annals"))
    }

    /// The failure of what needed the database.
    pub(crate) async fn failed(&self, doing: impl fmt::Display, error: &OpenError) -> Failure {
        let reason = match error {
            // The pool has tried again until its patience ran out, and does not say why.
            OpenError::Connect(Error::PoolTimedOut) => self.unreachable().await,
            // The driver's errors repeat their sources.
            _ => error.source().map(|source| match source.downcast_ref::<Error>() {
                Some(Error::Database(error)) => error.message().to_owned(),
                _ => source.to_string(),
            }),
        };
        match reason {
            Some(reason) => Failure::new(format!("{doing}: {error}: {reason}")),
            None => Failure::new(format!("{doing}: {error}")),
        }
    }

    /// Why no connection can be made.
    async fn unreachable(&self) -> Option<String> {
        match timeout(PATIENCE, self.driver_options().ok()?.connect()).await {
            Ok(Ok(connection)) => {
                // It has just come up, or was busy: trying again helps.
                let _ = connection.close().await;
                Some("the server is slow to answer; try again".to_owned())
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the server does not answer".to_owned()),
        }
    }

    /// The address with `…` in place of a password, or with nothing there: what can be pasted
    /// where the password comes from elsewhere.
    pub(crate) fn without_password(&self, in_its_place: &str) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("postgres", &self.url));
        let (address, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        // A slash that is not written as %2F in a password would end the authority; the password
        // then goes on up to the last @.
        let (user, place) = match address.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, address),
        };
        let mut shown = format!("{scheme}://");
        if let Some(user) = user {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            shown.push_str(name);
            if !password.is_empty() {
                shown.push_str(in_its_place);
            }
            shown.push('@');
        }
        shown.push_str(place);
        let schema = format!("schema={}", self.schema);
        let parameters = parameters
            .split('&')
            .filter(|parameter| !parameter.is_empty() && !parameter.starts_with("password"))
            .chain((self.schema != SchemaName::default()).then_some(&*schema));
        for (index, parameter) in parameters.enumerate() {
            shown.push(if index == 0 { '?' } else { '&' });
            shown.push_str(parameter);
        }
        shown
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.without_password(":…"))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// Whether the store is there, but not for this user to make or change.
pub(crate) fn is_denied(error: &OpenError) -> bool {
    let OpenError::Sql(error) = error else { return false };
    let code = error.as_database_error().and_then(|error| error.code());
    code.as_deref() == Some(INSUFFICIENT_PRIVILEGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_shown() {
        for (url, shown) in [
            ("postgres://me:secret@here:5432/db", "postgres://me:…@here:5432/db"),
            ("postgresql://me@here/db?schema=annals", "postgresql://me@here/db"),
            (
                "postgres://here/db?schema=a&sslmode=disable",
                "postgres://here/db?sslmode=disable&schema=a",
            ),
            ("postgres://here/db?password=secret&schema=a", "postgres://here/db?schema=a"),
            ("postgres://:secret@here", "postgres://:…@here"),
        ] {
            let address = Address::new(url).unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(format!("{address:?}"), format!("Address({shown})"));
            assert!(!address.url().contains("schema"), "{}", address.url());
            assert!(!address.without_password("").contains('…'));
        }
        for url in [
            "postgres:me:secret@here/db",
            "postgres://me:sec/ret@here/db",
            "postgres://me:secret@here/db?passwrod=secret",
            "postgres://me:secret@here/db?schema=secret;",
            "postgres://me:secret@here:port/db",
            "postgres://me:secret@here/db?sslmode=secret",
        ] {
            let shown = match Address::new(url) {
                Ok(address) => address.to_string(),
                Err(why) => why,
            };
            assert!(!shown.contains("secret") || url.contains("secret;"), "{url}: {shown}");
            assert!(!shown.contains("sec/ret") && !shown.contains("ret@"), "{url}: {shown}");
        }
    }

    #[test]
    fn the_schema_is_ours_and_the_rest_the_drivers() {
        let address = Address::new("postgres://here/db?schema=ledger&sslmode=disable").unwrap();
        assert_eq!(
            (address.schema().as_str(), address.url()),
            ("ledger", "postgres://here/db?sslmode=disable")
        );
        assert_eq!(Address::new("postgres://here/db").unwrap().schema(), &SchemaName::default());
    }
}
