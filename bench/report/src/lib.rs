//! What the benchmarks print: medians of rounds, ratios within each, targets.

/// What was measured, as Markdown.
#[derive(Default)]
pub struct Report {
    notes: Vec<String>,
    lines: Vec<Line>,
}

/// The figures of Annals and of what it is measured beside, round by round.
pub struct Line {
    name: String,
    unit: &'static str,
    target: Option<f64>,
    beside: Vec<f64>,
    annals: Vec<f64>,
}

impl Line {
    pub fn new(name: impl Into<String>, unit: &'static str) -> Self {
        Self { name: name.into(), unit, target: None, beside: Vec::new(), annals: Vec::new() }
    }

    /// The least that the ratio should be.
    pub fn target(self, target: impl Into<Option<f64>>) -> Self {
        Self { target: target.into(), ..self }
    }

    /// The figures of a round.
    pub fn add(&mut self, beside: f64, annals: f64) {
        self.beside.push(beside);
        self.annals.push(annals);
    }
}

impl Report {
    /// Says something at once, and once more above the table.
    pub fn note(&mut self, note: String) {
        eprintln!("{note}");
        self.notes.push(note);
    }

    /// Says at once what came out, and puts it into the table.
    pub fn add(&mut self, line: Line) {
        // Somebody who is not installed has no figures.
        if !line.annals.is_empty() {
            eprintln!("{}", row(&line));
            self.lines.push(line);
        }
    }

    /// To stdout.
    pub fn print(&self) {
        for note in &self.notes {
            println!("{note}");
        }
        if self.lines.is_empty() {
            return;
        }
        println!("\n| what | beside | Annals | Annals / beside | target |\n|---|---|---|---|---|");
        for line in &self.lines {
            println!("{}", row(line));
        }
    }
}

fn row(line: &Line) -> String {
    format!(
        "| {} ({}) | {:.0} | {:.0} | {:.2} | {} |",
        line.name,
        line.unit,
        median(&line.beside),
        median(&line.annals),
        median(&ratios(&line.annals, &line.beside)),
        line.target.map_or(String::new(), |target| format!("≥ {target:.2}")),
    )
}

/// Of figures to others, each within its round.
pub fn ratios(figures: &[f64], to: &[f64]) -> Vec<f64> {
    figures.iter().zip(to).map(|(figure, to)| figure / to).collect()
}

/// The one in the middle; of an even number the higher of the two, and of none not a number.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
