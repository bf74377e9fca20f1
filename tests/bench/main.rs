//! Measures us against a bare loop over the operating system and against Circus 0.19, in one run.
//!
//! `cargo bench -p ringmaster-tests` prints a table; `RINGMASTER_BENCH_ROUNDS` sets the rounds, `RINGMASTER_BENCH_PEERS`
//! (`bare,ours,circus`; of logs also `cat,s6-log,supervisor`) the peers, `RINGMASTER_BENCH_ROWS` the rows. Peers take turns within a round, because other work on
//! the machine moves all numbers; a ratio below 1.5 is no result. Logs have a table and peers of their own ([`logs`]).
#![forbid(unsafe_code)]

mod child;
mod control;
mod halves;
mod idle;
mod logs;
mod many;
mod respawn;
mod sampling;
mod start;
mod status;

use anyhow::{Context, Result};
use ringmaster_tests::daemon::Subject;
use std::collections::BTreeMap;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    /// A loop of a few lines in this program.
    Bare,
    /// The programs of this repository.
    Ours,
    /// Circus 0.19 from PyPI.
    Circus,
}

impl Peer {
    const ALL: [(Self, &'static str); 3] = [(Self::Bare, "bare"), (Self::Ours, "ours"), (Self::Circus, "circus")];

    /// The daemon to start; the bare loop has none.
    fn subject(self) -> Option<Subject> {
        match self {
            Self::Bare => None,
            Self::Ours => Some(Subject::Ringmaster),
            Self::Circus => Some(Subject::Circus),
        }
    }
}

/// One measured quantity; less is better.
struct Figure {
    name: &'static str,
    value: f64,
}

/// A row of the table: measures one peer once.
type Row = (&'static str, fn(Peer) -> Result<Vec<Figure>>);

const ROWS: &[Row] = &[
    ("start", start::measure),
    ("respawn", respawn::measure),
    ("control", control::measure),
    ("status", status::measure),
    ("many", many::measure),
    ("idle", idle::measure),
    ("halves", halves::measure),
    ("sampling", sampling::measure),
];

/// Medians of this many rounds.
const ROUNDS: usize = 5;

fn main() -> Result<()> {
    let setting = |name: &str| std::env::var(format!("RINGMASTER_BENCH_{name}")).ok();
    let rounds = setting("ROUNDS").map_or(Ok(ROUNDS), |rounds| rounds.parse())?;
    let chosen =
        |list: &Option<String>, name: &str| list.as_ref().is_none_or(|list| list.split(',').any(|one| one == name));
    let (peers, rows) = (setting("PEERS"), setting("ROWS"));
    if chosen(&rows, "logs") {
        logs::table(rounds, |name| chosen(&peers, name))?;
    }
    let peers: Vec<Peer> = Peer::ALL.iter().filter(|(_, name)| chosen(&peers, name)).map(|(peer, _)| *peer).collect();
    let chosen_rows: Vec<&Row> = ROWS.iter().filter(|(name, _)| chosen(&rows, name)).collect();
    if !chosen_rows.is_empty() {
        println!(
            "{:<42} {:>11} {:>11} {:>11} {:>10} {:>12}",
            "median", "bare", "ours", "circus", "ours/bare", "circus/ours"
        );
    }
    for (name, measure) in chosen_rows {
        let mut figures: BTreeMap<(usize, &'static str), BTreeMap<Peer, Vec<f64>>> = BTreeMap::new();
        for _ in 0..rounds {
            for peer in &peers {
                let measured = measure(*peer).with_context(|| format!("{name}, {peer:?}"))?;
                for (at, figure) in measured.into_iter().enumerate() {
                    figures.entry((at, figure.name)).or_default().entry(*peer).or_default().push(figure.value);
                }
            }
        }
        for ((_, name), values) in figures {
            print_row(name, &values);
        }
    }
    Ok(())
}

fn print_row(name: &str, values: &BTreeMap<Peer, Vec<f64>>) {
    let of = |peer| values.get(&peer).and_then(|values| median(values));
    let [bare, ours, circus] = [of(Peer::Bare), of(Peer::Ours), of(Peer::Circus)];
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let ratio = |one: Option<f64>, other: Option<f64>| match (one, other) {
        (Some(one), Some(other)) if other > 0.0 => format!("{:.2}", one / other),
        _ => "-".to_owned(),
    };
    println!(
        "{name:<42} {:>11} {:>11} {:>11} {:>10} {:>12}",
        number(bare),
        number(ours),
        number(circus),
        ratio(ours, bare),
        ratio(circus, ours)
    );
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}
