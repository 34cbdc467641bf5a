//! The query part of a URL: strict, so that a misspelt parameter is never silently ignored.

use std::fmt::Display;
use std::str::FromStr;

use annals_core::{Direction, ExpectedVersion, Position, Query, QueryItem, Timestamp, Version};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::problem::Refusal;

/// What RFC 3986 lets stand unescaped everywhere.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The parameters of one request, and which ones its route knows.
#[derive(Debug)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Params {
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, Refusal> {
        let pairs = query.unwrap_or_default().split('&');
        let pairs = pairs.filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        Ok(Self { pairs: pairs.collect::<Result<_, Refusal>>()?, known: Vec::new() })
    }

    /// Every value of `name`.
    pub(crate) fn all<T>(&mut self, name: &'static str) -> Result<Vec<T>, Refusal>
    where
        T: FromStr<Err: Display>,
    {
        self.known.push(name);
        self.values(name).map(|value| value.parse().map_err(|error| wrong(name, &error))).collect()
    }

    /// The only value of `name`, if there is one.
    pub(crate) fn one<T>(&mut self, name: &'static str) -> Result<Option<T>, Refusal>
    where
        T: FromStr<Err: Display>,
    {
        let mut values = self.all(name)?;
        if values.len() > 1 {
            return Err(wrong(name, &"is given more than once"));
        }
        Ok(values.pop())
    }

    pub(crate) fn position(&mut self, name: &'static str) -> Result<Option<Position>, Refusal> {
        Ok(self.one(name)?.map(Position::new))
    }

    pub(crate) fn version(&mut self, name: &'static str) -> Result<Option<Version>, Refusal> {
        Ok(self.one(name)?.map(Version::new))
    }

    pub(crate) fn as_at(&mut self) -> Result<Option<Timestamp>, Refusal> {
        self.one("as_at")
    }

    pub(crate) fn direction(&mut self) -> Result<Direction, Refusal> {
        self.known.push("direction");
        match self.text("direction")? {
            None | Some("forward") => Ok(Direction::Forward),
            Some("backward") => Ok(Direction::Backward),
            Some(_) => Err(wrong("direction", &"is forward or backward")),
        }
    }

    pub(crate) fn expected(&mut self) -> Result<ExpectedVersion, Refusal> {
        self.known.push("expected");
        match self.text("expected")? {
            None | Some("any") => Ok(ExpectedVersion::Any),
            Some("no_stream") => Ok(ExpectedVersion::NoStream),
            Some("stream_exists") => Ok(ExpectedVersion::StreamExists),
            Some(number) => {
                number.parse().map(|number| ExpectedVersion::Exact(Version::new(number))).map_err(
                    |_| wrong("expected", &"is any, no_stream, stream_exists or a version number"),
                )
            }
        }
    }

    /// The query that `types`, `tags`, `categories` and `streams` spell out together.
    pub(crate) fn query(&mut self) -> Result<Query, Refusal> {
        Ok(Query::of(QueryItem {
            types: self.all("types")?,
            tags: self.all("tags")?,
            categories: self.all("categories")?,
            streams: self.all("streams")?,
        }))
    }

    /// Refuses every parameter that was not asked for until now.
    pub(crate) fn refuse_others(&self) -> Result<(), Refusal> {
        match self.pairs.iter().find(|(name, _)| !self.known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => Err(Refusal::invalid(format!(
                "unknown parameter `{name}`; this route knows {}",
                self.known.join(", ")
            ))),
        }
    }

    /// The same parameters with `name` set to `value` instead, as the query part of a URL.
    pub(crate) fn with(&self, name: &str, value: impl Display) -> String {
        let value = value.to_string();
        let kept = self.pairs.iter().filter(|(other, _)| other != name);
        let pairs = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        let pairs: Vec<_> = pairs
            .chain([(name, value.as_str())])
            .map(|(name, value)| {
                format!(
                    "{}={}",
                    utf8_percent_encode(name, ESCAPED),
                    utf8_percent_encode(value, ESCAPED)
                )
            })
            .collect();
        pairs.join("&")
    }

    fn text(&self, name: &'static str) -> Result<Option<&str>, Refusal> {
        let mut values = self.values(name);
        let value = values.next();
        if values.next().is_some() {
            return Err(wrong(name, &"is given more than once"));
        }
        Ok(value)
    }

    fn values(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

fn wrong(name: &str, error: &dyn Display) -> Refusal {
    Refusal::invalid(format!("parameter `{name}`: {error}"))
}

/// Bytes that are no UTF-8 are refused, not replaced: a replaced name is another name.
fn decode(text: &str) -> Result<String, Refusal> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| Refusal::invalid("the URL has escaped bytes that are not UTF-8"))
}
