//! Medians and ratios to Annals, which is always the first contestant.

use annals_bench_report::{median, ratios};

pub struct Line {
    name: String,
    /// Of each contestant, in order, the rate of each round; none where it cannot do it.
    pub rates: Vec<Vec<f64>>,
}

impl Line {
    pub fn new(name: String, contestants: usize) -> Self {
        Self { name, rates: vec![Vec::new(); contestants] }
    }
}

pub fn print(contestants: &[(&str, &str)], lines: &[Line]) {
    let names: Vec<&str> = contestants.iter().map(|(name, _)| *name).collect();
    println!(
        "Events per second, and in brackets the ratio to Annals in the same round; medians.\n"
    );
    println!("| what | {} |\n|---{}|", names.join(" | "), "|---".repeat(names.len()));
    for line in lines {
        println!("{}", row(line));
    }
    println!();
    for (name, note) in contestants {
        println!("- {name}: {note}");
    }
}

pub fn row(line: &Line) -> String {
    let annals = &line.rates[0];
    let cells: Vec<String> = (line.rates.iter().enumerate())
        .map(|(contestant, rates)| match contestant {
            _ if rates.is_empty() => "–".into(),
            0 => format!("{:.0}", median(rates)),
            _ => {
                format!("{:.0} ({:.2})", median(rates), median(&ratios(rates, annals)))
            }
        })
        .collect();
    format!("| {} | {} |", line.name, cells.join(" | "))
}
