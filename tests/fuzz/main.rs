//! The fuzz targets in `cargo test`: the corpus again, then a short dose of mutations of it with a fixed seed.
//!
//! The long, coverage-guided dose over the same targets is `tests/fuzz/run` (docs/TESTING.md). A finding's input is written
//! to a file, whose name is printed; `tests/fuzz/corpus.py add` keeps it for ever.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a target ends by panicking"
)]

mod mutate;
mod targets;

use anyhow::{Context, Result, bail, ensure};
use mutate::Mutator;
use peak_alloc::PeakAlloc;
use ringmaster_tests::program::repository;
use rustix::time::{ClockId, clock_gettime};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use targets::{TARGETS, Target};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Memory is counted for the whole process, so one round at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Processor time of one round. The slowest take some milliseconds in a debug build; a hang takes for ever.
const LONGEST_ROUND: Duration = Duration::from_secs(2);

/// Mutations of each target; some seconds for all together in a debug build.
const ROUNDS: u64 = 2000;

/// The mutations of every run, unless `RINGMASTER_SEED` says otherwise.
const SEED: u64 = 20_261_120;

#[test]
fn the_corpus_is_survived() -> Result<()> {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for target in TARGETS {
        let inputs = corpus(target)?;
        ensure!(!inputs.is_empty(), "{}: an empty corpus", target.name);
        for input in &inputs {
            ensure!(input.len() <= target.longest, "{}: an input of {} bytes", target.name, input.len());
            play(target, input)?;
        }
    }
    Ok(())
}

#[test]
fn a_short_dose_is_survived() -> Result<()> {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let seed = number("RINGMASTER_SEED").unwrap_or(SEED);
    let rounds = number("RINGMASTER_FUZZ_ROUNDS").unwrap_or(ROUNDS);
    eprintln!("RINGMASTER_SEED={seed} RINGMASTER_FUZZ_ROUNDS={rounds} cargo test -p ringmaster-tests --test fuzz");
    for target in TARGETS {
        let inputs = corpus(target)?;
        let mut mutator = Mutator::new(seed, &inputs, target.longest);
        for _ in 0..rounds {
            play(target, &mutator.next_input())?;
        }
    }
    Ok(())
}

/// A target that holds more than its cap is found out.
#[test]
fn a_round_that_holds_too_much_is_a_finding() {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let frames = Target::find("frames").unwrap();
    let strict = Target { cap: 10, ..*frames };
    let input = [7; 600];
    assert!(frames.round(&input) > 10);
    assert!(catch_unwind(|| strict.round(&input)).is_err());
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The inputs of `tests/fuzz/corpus/NAME.hex`: one a line, comments between them.
fn corpus(target: &Target) -> Result<Vec<Vec<u8>>> {
    let path = repository().join("tests/fuzz/corpus").join(format!("{}.hex", target.name));
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    text.lines().filter(|line| !line.starts_with('#')).map(bytes_of).collect()
}

fn bytes_of(line: &str) -> Result<Vec<u8>> {
    let (pairs, rest) = line.as_bytes().as_chunks::<2>();
    ensure!(rest.is_empty(), "half a byte in {line:?}");
    pairs.iter().map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?)).collect()
}

/// One round; what breaks it is kept.
fn play(target: &Target, input: &[u8]) -> Result<()> {
    let begun = processor_time();
    let outcome = catch_unwind(AssertUnwindSafe(|| target.round(input)));
    let took = processor_time().saturating_sub(begun);
    let what = match outcome {
        Err(_panic) => "a panic, above",
        Ok(_held) if took > LONGEST_ROUND => "a round that does not end in time",
        Ok(_held) => return Ok(()),
    };
    let path = std::env::temp_dir().join(format!("{}.finding-{}", target.name, std::process::id()));
    std::fs::write(&path, input)?;
    bail!("{}: {what}; it took {took:?}; its input is in {}", target.name, path.display())
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
