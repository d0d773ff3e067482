//! Precision and recall of the learner's rules on a simulated week with planted incidents.
//!
//! `cargo run --release --example learner` (a week of 1,000 agents; `--agents`, `--hours`, `--per-hour`, `--seed`)

#![allow(clippy::cast_precision_loss, missing_docs, reason = "a program for people; its counts are far below 2^52")]

mod week;

use std::time::Instant;

use clap::Parser;
use week::{Score, WeekConfig};

#[derive(Parser)]
struct Options {
    #[arg(long, default_value_t = 1_000)]
    agents: usize,
    #[arg(long, default_value_t = 168, value_parser = clap::value_parser!(i64).range(72..))]
    hours: i64,
    #[arg(long, default_value_t = 60)]
    per_hour: i64,
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// List lessons that no incident explains, and incidents that were not found
    #[arg(long)]
    verbose: bool,
}

fn main() {
    let Options { agents, hours, per_hour, seed, verbose } = Options::parse();
    let started = Instant::now();
    let week = week::run(&WeekConfig { agents, hours, per_hour, seed });
    println!("seed {seed}: {agents} agents, {hours} hours, {} experiences", week.experiences);
    println!(
        "{:<16} {:>8} {:>8} {:>8} {:>8} {:>6} {:>10} {:>8}",
        "rule", "planted", "found", "lessons", "folded", "noise", "precision", "recall"
    );
    let line = |name: &str, score: Score| {
        let Score { planted, found, lessons, noise, folded } = score;
        let (precision, recall) = (score.precision(), score.recall());
        println!(
            "{name:<16} {planted:>8} {found:>8} {lessons:>8} {folded:>8} {noise:>6} {precision:>10.4} {recall:>8.4}"
        );
    };
    week.rules.iter().for_each(|(name, score)| line(name, *score));
    line("overall", week.overall());
    println!("{} keys; generated, decoded and folded in {:.1} s", week.keys.len(), started.elapsed().as_secs_f64());
    if verbose {
        week.noise.iter().for_each(|lesson| println!("noise: {lesson:?}"));
        week.missed.iter().for_each(|incident| println!("missed: {incident}"));
    }
}
