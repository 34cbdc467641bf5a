//! Entries as text: CSV and JSON Lines.

use bytes::Bytes;

use crate::Entry;

/// How CSV is written.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CsvOptions {
    /// Whether a cell that begins with `=`, `+`, `-`, `@`, a tab or a line break gets a `'` before
    /// it, so that a spreadsheet takes it for text and not for a formula. On unless said
    /// otherwise: actors and reasons are other people's texts. Who reads the file with a program
    /// has to take the `'` away again, or turns this off.
    pub guards_formulas: bool,
    /// What stands between cells: `,` unless said otherwise.
    pub delimiter: u8,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { guards_formulas: true, delimiter: b',' }
    }
}

impl CsvOptions {
    /// The same, without [guarding against formulas](Self::guards_formulas).
    #[must_use]
    pub fn verbatim(mut self) -> Self {
        self.guards_formulas = false;
        self
    }

    /// The same, with another character between cells: `;` for example.
    #[must_use]
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }
}

const COLUMNS: [&str; 14] = [
    "occurred_at",
    "actor",
    "type",
    "stream",
    "category",
    "reason",
    "batch",
    "batch_description",
    "correlation",
    "event",
    "position",
    "recorded_at",
    "metadata",
    "data",
];

#[derive(Clone, Copy, Debug)]
pub(crate) struct Csv {
    options: CsvOptions,
}

impl Csv {
    pub(crate) fn new(options: CsvOptions) -> Self {
        Self { options }
    }

    pub(crate) fn header(self) -> Bytes {
        self.write([COLUMNS.map(str::to_owned)])
    }

    pub(crate) fn lines(self, entries: &[Entry]) -> Bytes {
        self.write(entries.iter().map(cells))
    }

    fn write(self, lines: impl IntoIterator<Item = [String; COLUMNS.len()]>) -> Bytes {
        let mut writer = csv::WriterBuilder::new()
            .delimiter(self.options.delimiter)
            .terminator(csv::Terminator::CRLF)
            .from_writer(Vec::new());
        for line in lines {
            let line = line.map(|cell| self.guarded(cell));
            writer.write_record(line).expect("memory takes every line of so many cells");
        }
        writer.into_inner().expect("memory takes every line").into()
    }

    fn guarded(self, cell: String) -> String {
        let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
        if is_formula && self.options.guards_formulas { format!("'{cell}") } else { cell }
    }
}

fn cells(entry: &Entry) -> [String; COLUMNS.len()] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let batch = entry.batch.as_ref();
    [
        entry.occurred_at.to_string(),
        text(&entry.actor),
        entry.event_type.to_string(),
        entry.stream.to_string(),
        entry.category.to_string(),
        text(&entry.reason),
        batch.map(|batch| batch.id.clone()).unwrap_or_default(),
        batch.and_then(|batch| batch.description.clone()).unwrap_or_default(),
        text(&entry.correlation),
        entry.event.to_string(),
        entry.position.to_string(),
        entry.recorded_at.to_string(),
        entry.metadata.to_string(),
        if entry.data.is_null() { String::new() } else { entry.data.to_string() },
    ]
}

pub(crate) fn json_lines(entries: &[Entry]) -> Bytes {
    let mut lines = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut lines, entry).expect("an entry is JSON");
        lines.push(b'\n');
    }
    lines.into()
}
