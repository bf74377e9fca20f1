//! Output of children into log files: how much a second, and at what processor time, against others who do that.
//!
//! Supervisor is measured when `RINGMASTER_BENCH_SUPERVISORD` names its program, s6-log when it is on the PATH.

mod pipes;
mod supervisors;

use crate::child::{Record, await_records, milliseconds, now};
use crate::median;
use anyhow::{Context, Result};
use ringmaster_tests::daemon::Subject;
use ringmaster_tests::wait::wait_until;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of a line of the child.
const LINE: u64 = 64;

/// What children do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    name: &'static str,
    /// How many write at once.
    children: u32,
    /// 4 KiB blocks of each.
    blocks: u32,
    /// Bytes of one write.
    write: u32,
    /// `%Y-%m-%d %H:%M:%S [PID] | ` before each line.
    prefix: bool,
}

const LOADS: &[Load] = &[
    Load { name: "one child, 4 KiB writes", children: 1, blocks: 64 << 10, write: 4096, prefix: false },
    Load { name: "one child, a write per line", children: 1, blocks: 32 << 10, write: 64, prefix: false },
    Load { name: "one child, time prefix", children: 1, blocks: 32 << 10, write: 4096, prefix: true },
    Load { name: "100 children, 4 KiB writes", children: 100, blocks: 500, write: 4096, prefix: false },
];

impl Load {
    fn bytes(&self) -> u64 {
        u64::from(self.children) * u64::from(self.blocks) * 4096
    }

    /// Of all logs together, once the children are known.
    fn expected(&self, records: &[Record]) -> u64 {
        let lines = u64::from(self.blocks) * 4096 / LINE;
        let prefix = |record: &Record| u64::try_from("2026-11-20 10:00:00 [] | ".len() + record.pid.to_string().len());
        let all: u64 = records.iter().filter_map(|record| prefix(record).ok()).map(|prefix| prefix * lines).sum();
        self.bytes() + if self.prefix { all } else { 0 }
    }

    /// What a child is started with.
    fn arguments(&self, records: &Path) -> [String; 3] {
        [records.display().to_string(), self.blocks.to_string(), self.write.to_string()]
    }
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    /// From the first child's beginning to the last byte in a file, in milliseconds.
    wall: f64,
    /// Of those who take the output, without the children.
    processor: Duration,
}

/// A peer: its column, and how it is measured; `None`: it cannot do that, or is not there.
type Peer = (&'static str, fn(&Load) -> Result<Option<Cost>>);

const PEERS: &[Peer] = &[
    ("bare", pipes::bare),
    ("cat", pipes::cat),
    ("s6-log", pipes::s6_log),
    ("ours", |load| supervisors::managed(load, Subject::Ringmaster)),
    ("circus", |load| supervisors::managed(load, Subject::Circus)),
    ("supervisor", supervisors::supervisor),
];

/// Measures in turn those whose column `chosen` takes, and prints medians: MB/s, and processor seconds for each GiB.
pub fn table(rounds: usize, chosen: impl Fn(&str) -> bool) -> Result<()> {
    let peers: Vec<&Peer> = PEERS.iter().filter(|(name, _)| chosen(name)).collect();
    print!("{:<36}", "logs: MB/s, CPU s/GiB");
    peers.iter().for_each(|(name, _)| print!(" {name:>18}"));
    println!();
    for load in LOADS {
        let mut measured = vec![Vec::new(); peers.len()];
        for _ in 0..rounds {
            for ((name, measure), costs) in peers.iter().zip(&mut measured) {
                costs.extend(measure(load).with_context(|| format!("{}, {name}", load.name))?);
            }
        }
        print!("{:<36}", load.name);
        for costs in measured {
            print!(" {:>18}", shown(load, &costs));
        }
        println!();
    }
    Ok(())
}

/// Output is counted as the children wrote it, without prefixes.
fn shown(load: &Load, costs: &[Cost]) -> String {
    let bytes = f64::from(u32::try_from(load.bytes()).unwrap_or(u32::MAX));
    let speeds: Vec<f64> = costs.iter().map(|cost| bytes / 1e3 / cost.wall).collect();
    let processors: Vec<f64> =
        costs.iter().map(|cost| cost.processor.as_secs_f64() * f64::from(1 << 30) / bytes).collect();
    match (median(&speeds), median(&processors)) {
        (Some(speed), Some(processor)) => format!("{speed:.0}, {processor:.2}"),
        _ => "-".to_owned(),
    }
}

/// Waits for the records of all beginnings and the bytes of all logs; gives the milliseconds between the first and the last.
fn await_end(load: &Load, records: &Path, logs: impl Fn() -> Vec<PathBuf>) -> Result<f64> {
    let children = usize::try_from(load.children)?;
    let begun = await_records(records, children)?;
    let begin = begun.iter().map(|record| record.at).min().context("a child")?;
    // A child that was quick may have two records already; each has one more at its end.
    let first: Vec<Record> = begun.into_iter().fold(Vec::new(), |mut known: Vec<Record>, record| {
        if known.iter().all(|other| other.pid != record.pid) {
            known.push(record);
        }
        known
    });
    let expected = load.expected(&first);
    let end = wait_until(Duration::from_secs(240), "the logs are whole", || {
        let size: u64 = logs().iter().filter_map(|log| fs::metadata(log).ok()).map(|log| log.len()).sum();
        if size >= expected { Ok(now()) } else { Err(format!("{size} bytes of {expected}")) }
    })?;
    Ok(milliseconds(begin, end))
}
