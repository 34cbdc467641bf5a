//! What a test says when it fails: what was demanded, what was given, what came of it.

use std::error::Error;
use std::fmt::{self, Debug};

use annals_core::RecordedEvent;
use similar::{Algorithm, ChangeTag, TextDiff, capture_diff_slices};

use crate::ExecuteError;

pub(super) struct Failure<'a, R> {
    pub(super) demand: &'a str,
    pub(super) given: &'a [RecordedEvent],
    pub(super) asked: &'a str,
    pub(super) answer: Result<(), &'a ExecuteError<R>>,
    pub(super) recorded: &'a [RecordedEvent],
}

impl<R: Error + 'static> fmt::Display for Failure<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.demand.trim_end())?;
        write!(f, "\ngiven:")?;
        list(f, self.given)?;
        write!(f, "\nwhen: {}\nthen:", self.asked)?;
        match self.answer {
            Ok(()) => list(f, self.recorded),
            Err(error) => writeln!(f, " {}", answered(error)),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, events: &[RecordedEvent]) -> fmt::Result {
    if events.is_empty() {
        return writeln!(f, " nothing");
    }
    writeln!(f)?;
    events.iter().try_for_each(|event| writeln!(f, "    {}", told(event)))
}

/// An event in one line, as it is stored.
pub(super) fn told(event: &RecordedEvent) -> String {
    let RecordedEvent { event_type, schema_version, data, tags, .. } = event;
    let version = match schema_version {
        1 => String::new(),
        later => format!(" (schema version {later})"),
    };
    let tags: Vec<_> = tags.iter().collect();
    let tags = if tags.is_empty() { String::new() } else { format!(" [{}]", tags.join(", ")) };
    format!("{event_type}{version} {data:?}{tags}")
}

/// An answer other than success in one line.
pub(super) fn answered<R: Error + 'static>(error: &ExecuteError<R>) -> String {
    format!("{}: {}", error.code(), chain(error))
}

/// An error with its sources.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        told = format!("{told}: {error}");
        source = error.source();
    }
    told
}

/// What the signs of a difference mean.
const SIGNS: &str = "(- expected, + found)\n";

/// Line by line: `-` what was expected only, `+` what was found only.
pub(super) fn difference(expected: &impl Debug, found: &impl Debug) -> String {
    format!("{SIGNS}{}", of_texts(&format!("{expected:#?}\n"), &format!("{found:#?}\n")))
}

/// The same event by event, so that no line is taken for one of another event.
pub(super) fn difference_of_events<E: Debug>(expected: &[E], found: &[E]) -> String {
    let texts = |events: &[E]| events.iter().map(|event| format!("{event:#?}\n")).collect();
    let (expected, found): (Vec<_>, Vec<_>) = (texts(expected), texts(found));
    let mut difference = SIGNS.to_owned();
    for op in capture_diff_slices(Algorithm::Myers, &expected, &found) {
        let (expected, found) = (&expected[op.old_range()], &found[op.new_range()]);
        for n in 0..expected.len().max(found.len()) {
            let text = |texts: &[String]| texts.get(n).cloned().unwrap_or_default();
            difference += &of_texts(&text(expected), &text(found));
        }
    }
    difference
}

fn of_texts(expected: &str, found: &str) -> String {
    let difference = TextDiff::from_lines(expected, found);
    let lines = difference.iter_all_changes().map(|change| {
        let sign = match change.tag() {
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => ' ',
        };
        format!("{sign} {}", change.value())
    });
    lines.collect()
}
