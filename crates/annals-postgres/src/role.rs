//! A role for applications: it may append, read and keep snapshots, and nothing else.

use std::fmt;
use std::str::FromStr;

use crate::schema::SchemaName;

const SCRIPT: &str = include_str!("schema/role.sql");

/// The name of a role in PostgreSQL: letters, digits, `_`, `-` and `.`, at most 63 of them. No
/// name can carry SQL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoleName(String);

/// A text that cannot name a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot name a role; use at most 63 letters, digits, `_`, `-` and `.`, not beginning \
     with pg_, and neither public nor none"
)]
pub struct InvalidRoleName(String);

impl RoleName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`InvalidRoleName`], which says what a name may be.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidRoleName> {
        let name = name.into();
        let valid = (1..=63).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
            && !name.starts_with("pg_")
            && !["public", "none"].contains(&&*name);
        if valid { Ok(Self(name)) } else { Err(InvalidRoleName(name)) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// SQL for the owner of a log: afterwards this role may append to it and read it, but not
    /// change, delete or insert any of it by hand, and nobody may by default. Snapshots, which are
    /// no part of the log, it may save and drop. The role is made when
    /// it is not there; running the script again changes nothing. Stores of such a role are opened
    /// with [`migrate(false)`](crate::Options::migrate).
    ///
    /// Whoever may append is trusted to do so with this crate: calling the function by hand, with
    /// wrong locks, can break expected versions and conditions of others (S6), though nothing
    /// that is stored. And whoever may connect to the database at all can hold readers back, with
    /// advisory locks that look like those of open appends.
    #[must_use]
    pub fn script(&self, schema: &SchemaName) -> String {
        let script = SCRIPT
            .replace("{role}", &format!("\"{}\"", self.0))
            .replace("{role_text}", &format!("'{}'", self.0));
        schema.statement(&script).0
    }
}

impl FromStr for RoleName {
    type Err = InvalidRoleName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_roles_carry_no_sql() {
        for name in ["app", "App-1.x_y", &"a".repeat(63)] {
            let role = RoleName::new(name).unwrap();
            let script = role.script(&SchemaName::default());
            assert!(script.contains(&format!("TO \"{name}\";")), "{script}");
            assert!(!script.contains("{role") && !script.contains("{schema"), "{script}");
        }
        for name in ["", "a\"b", "a'b", "a b", "a;b", "pg_a", "public", "ä", &"a".repeat(64)] {
            let error = RoleName::new(name).unwrap_err();
            assert!(error.to_string().contains("cannot name a role"), "{error}");
        }
    }
}
