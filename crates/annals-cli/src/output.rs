//! What is written where: data to stdout, everything else to stderr.

use std::fmt::{self, Write as _};
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use annals_api::Event;
use annals_core::{ReadError, RecordedEvent};
use serde::Serialize;

use crate::failure::Failure;

/// Stdout, buffered, and the form that was asked for.
pub(crate) struct Output {
    stdout: BufWriter<StdoutLock<'static>>,
    is_json: bool,
    is_coloured: bool,
}

/// How a word stands out on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Bold,
    Dim,
    Red,
    Yellow,
}

impl Output {
    pub(crate) fn new(is_json: bool) -> Self {
        let stdout = io::stdout().lock();
        Self {
            is_coloured: stdout.is_terminal() && may_colour(),
            stdout: BufWriter::new(stdout),
            is_json,
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }

    /// A text, made to stand out where colours are welcome.
    pub(crate) fn styled(&self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Bold => 1,
            Style::Dim => 2,
            Style::Red => 31,
            Style::Yellow => 33,
        };
        if self.is_coloured { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// One JSON document on a line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let line = serde_json::to_string(value).expect("wire types have only text keys");
        self.line(&line)
    }

    /// One line of text, which must not come from outside: see [`shown`].
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.stdout, "{text}")?;
        Ok(())
    }

    /// One event on a line.
    pub(crate) fn event(&mut self, event: &RecordedEvent) -> Result<(), Failure> {
        if self.is_json {
            let line = Event::of(event).map_err(ReadError::Corrupt)?.to_json_line();
            self.stdout.write_all(&line)?;
            self.stdout.write_all(b"\n")?;
            return Ok(());
        }
        let (dim, bold, plain) =
            if self.is_coloured { ("\u{1b}[2m", "\u{1b}[1m", "\u{1b}[0m") } else { ("", "", "") };
        let data = match std::str::from_utf8(&event.data.bytes) {
            Ok(text) => shown(text).to_string(),
            Err(_) => format!("({} bytes)", event.data.bytes.len()),
        };
        writeln!(
            self.stdout,
            "{dim}{:>8}  {}{plain}  {}{dim}@{}{plain}  {bold}{}{plain}  {data}",
            event.position,
            event.recorded_at,
            shown(event.stream.as_str()),
            event.version,
            shown(event.event_type.as_str()),
        )?;
        Ok(())
    }

    /// Lets the reader see everything written so far.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush()?;
        Ok(())
    }
}

/// Text from outside, made safe for a terminal: what could move the cursor, change colours or
/// turn the direction of the text is written as an escape.
pub(crate) fn shown(text: &str) -> impl fmt::Display {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let turns_direction = matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns_direction {
            write!(safe, "{}", c.escape_default()).expect("writing to a string never fails");
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Whether colours are welcome at all: see <https://no-color.org>.
pub(crate) fn may_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A line on stderr. Nobody may be reading it, which is no reason to fail.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", lines_shown(text));
}

fn lines_shown(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| shown(line).to_string()).collect();
    lines.join("\n")
}

/// 1234567 as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_made_harmless() {
        assert_eq!(
            shown("\u{1b}[2Jgrün\u{7}\u{202e}evil\n").to_string(),
            "\\u{1b}[2Jgrün\\u{7}\\u{202e}evil\\n"
        );
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let texts = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
