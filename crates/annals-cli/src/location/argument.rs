//! How `--store` or `--read-side` is read from the command line or the environment.

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
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Location, Error> {
        let location = match value.to_str() {
            Some(text) => text.parse(),
            None => Err("it is not UTF-8".to_owned()),
        };
        location.map_err(|why| {
            let place = match argument.and_then(Arg::get_long) {
                Some("read-side") => "'--read-side' or ANNALS_READ_SIDE",
                _ => "'--store' or ANNALS_STORE",
            };
            let message = format!("invalid value for {place}: {why}\n");
            Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}
