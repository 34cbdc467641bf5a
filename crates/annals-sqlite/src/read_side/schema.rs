//! The tables of the read side, apart from those of the log: they may be in a file of their own.

use crate::schema::Migrations;

/// Every migration ever released, oldest first.
pub(crate) const READ_SIDE: Migrations =
    Migrations::new("annals_read_side_schema", &[include_str!("schema/0001_read_side.sql")]);
