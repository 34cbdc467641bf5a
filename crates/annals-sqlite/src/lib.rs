//! The embedded store of Annals, on SQLite.
