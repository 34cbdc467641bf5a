//! Medians, ratios, targets.

#[derive(Default)]
pub struct Report {
    notes: Vec<String>,
    lines: Vec<Line>,
}

pub struct Line {
    name: String,
    unit: &'static str,
    target: Option<f64>,
    beside: Vec<f64>,
    annals: Vec<f64>,
}

impl Line {
    pub fn new(name: String, unit: &'static str, target: Option<f64>) -> Self {
        Self { name, unit, target, beside: Vec::new(), annals: Vec::new() }
    }

    /// The figures of a round.
    pub fn add(&mut self, beside: f64, annals: f64) {
        self.beside.push(beside);
        self.annals.push(annals);
    }
}

impl Report {
    pub fn note(&mut self, note: String) {
        eprintln!("{note}");
        self.notes.push(note);
    }

    pub fn add(&mut self, line: Line) {
        // Somebody who is not installed has no figures.
        if !line.annals.is_empty() {
            eprintln!("{}", row(&line));
            self.lines.push(line);
        }
    }

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

/// Each within its round.
pub fn ratios(figures: &[f64], to: &[f64]) -> Vec<f64> {
    figures.iter().zip(to).map(|(figure, to)| figure / to).collect()
}

pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
