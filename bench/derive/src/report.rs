//! Medians and ratios.

#[derive(Default)]
pub struct Report {
    notes: Vec<String>,
    lines: Vec<Line>,
}

pub struct Line {
    name: String,
    unit: &'static str,
    pub floor: Vec<f64>,
    pub annals: Vec<f64>,
}

impl Line {
    pub fn new(name: String, unit: &'static str) -> Self {
        Self { name, unit, floor: Vec::new(), annals: Vec::new() }
    }
}

impl Report {
    pub fn note(&mut self, note: String) {
        eprintln!("{note}");
        self.notes.push(note);
    }

    pub fn add(&mut self, line: Line) {
        eprintln!("{}", row(&line));
        self.lines.push(line);
    }

    pub fn print(&self) {
        for note in &self.notes {
            println!("{note}");
        }
        println!("| what | floor | Annals | Annals / floor |\n|---|---|---|---|");
        for line in &self.lines {
            println!("{}", row(line));
        }
    }
}

fn row(line: &Line) -> String {
    let ratios: Vec<f64> = line.annals.iter().zip(&line.floor).map(|(a, f)| a / f).collect();
    format!(
        "| {} ({}) | {:.0} | {:.0} | {:.2} |",
        line.name,
        line.unit,
        median(&line.floor),
        median(&line.annals),
        median(&ratios)
    )
}

pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
