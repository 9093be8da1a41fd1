//! The table of a profile.

use std::time::Duration;

use crate::measure::at;

use super::{Measured, Profile};

/// A row of the table, as one side fills it.
struct Figure {
    what: &'static str,
    text: String,
    /// What both sides are compared by; nothing where a ratio says nothing.
    compared: Option<f64>,
}

/// Prints what both showed.
pub fn print(profile: &Profile, floor: &Measured, cura: &Measured) {
    println!("\n| {} (`{}`) | floor | Cura | ratio |", profile.what, profile.name);
    println!("| --- | --- | --- | --- |");
    for (floor, cura) in figures(floor).iter().zip(figures(cura)) {
        let ratio = floor.compared.zip(cura.compared).map(|(floor, cura)| cura / floor);
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        println!("| {} | {} | {} | {ratio} |", cura.what, floor.text, cura.text);
    }
    for (side, measured) in [("floor", floor), ("Cura", cura)] {
        for (failure, count) in &measured.seen.failures {
            println!("\n{side}: {count} × {failure}");
        }
    }
}

fn figures(one: &Measured) -> Vec<Figure> {
    let (seen, used) = (&one.seen, &one.used);
    let thousands = seen.late.len() as f64 / 1000.0;
    let parts: Vec<f64> = used.processes.iter().map(|used| ms(*used) / thousands).collect();
    let cpu: f64 = parts.iter().sum();
    let first = [50, 95].map(|percent| percentile(&seen.first, percent));
    let late = [50, 95, 99].map(|percent| percentile(&seen.late, percent));
    let rate = seen.late.len() as f64 / seen.took.as_secs_f64();
    let figure = |what, text, compared| Figure { what, text, compared };
    vec![
        figure(
            "CPU ms per 1,000 tokens (server + worker + Postgres + Redis)",
            format!("{cpu:.1} ({})", joined(&parts, " + ")),
            Some(cpu),
        ),
        figure(
            "first token over the AI service's, p50 / p95 ms; ratio of p50",
            joined(&first, " / "),
            Some(first[0]),
        ),
        figure(
            "token latency, p50 / p95 / p99 ms; ratio of p95",
            joined(&late, " / "),
            Some(late[1]),
        ),
        figure("tokens/s", format!("{rate:.0}"), Some(rate)),
        figure(
            "tokens lost, doubled, out of order or of another answer",
            seen.wrong.to_string(),
            None,
        ),
        figure(
            "answers that failed",
            seen.failures.values().sum::<usize>().to_string(),
            None,
        ),
        figure(
            "share of the processors that others used",
            format!("{:.0} %", 100.0 * used.by_others()),
            None,
        ),
    ]
}

fn joined(figures: &[f64], between: &str) -> String {
    let texts: Vec<String> = figures.iter().map(|figure| format!("{figure:.1}")).collect();
    texts.join(between)
}

fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    match sorted {
        [] => f64::NAN,
        sorted => ms(at(sorted, percent)),
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
