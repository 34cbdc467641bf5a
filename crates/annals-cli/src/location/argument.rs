//! How `--store` is read from the command line or the environment.

use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};

use super::Location;

/// Reads a location. Unlike clap's own parsers it never shows what was typed: a mistyped URL may
/// have a password in it.
#[derive(Debug, Clone)]
pub(crate) struct Argument;

impl TypedValueParser for Argument {
    type Value = Location;

    fn parse_ref(
        &self,
        command: &Command,
        _: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Location, Error> {
        let location = match value.to_str() {
            Some(text) => text.parse(),
            None => Err("it is not UTF-8".to_owned()),
        };
        location.map_err(|why| {
            let message = format!("invalid value for '--store' or ANNALS_STORE: {why}\n");
            Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}
