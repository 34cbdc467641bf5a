//! The bank: its domain, its statement, and the program.

mod binary;
mod domain;
mod statement;
