//! A seeded simulation of the pure core: random clients, processes, output, acknowledgements, faults, clock jumps and deaths
//! of the core at every step of a capture. The world around it (pipes, process files, slots) is a model in memory.
//!
//! `RINGMASTER_SEED=n cargo test -p ringmaster-kernel --test simulation` replays one run; without it the seeds are drawn
//! from the clock and printed. `-- --ignored` runs the long dose.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::as_conversions,
    reason = "a test ends by panicking"
)]

mod acts;
mod check;
mod kept;
mod model;
mod random;
mod world;

use world::World;

/// Gives how many gaps were found where they were made, how often pages were given back, and how often a pipe had rested.
fn run(seed: u64, steps: u64) -> [u64; 3] {
    eprintln!("RINGMASTER_SEED={seed} cargo test -p ringmaster-kernel --test simulation");
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.act();
        world.check();
    }
    eprintln!(
        "{} deaths, {} bytes delivered, {} lost, {} gaps revealed, {} times thinned, {} rests, {} refusals",
        world.deaths, world.delivered, world.most_dropped, world.reveals, world.holes, world.rests, world.refusals
    );
    let lively = world.deaths > 0 && world.delivered > 0 && world.most_dropped > 0;
    assert!(lively || steps < 1000, "a simulation in which nothing happens shows nothing");
    [world.reveals, world.holes, world.rests]
}

fn dose(runs: u64, steps: u64) {
    if let Some(seed) = std::env::var("RINGMASTER_SEED").ok().and_then(|seed| seed.parse().ok()) {
        run(seed, steps);
        return;
    }
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let base = clock.as_nanos() as u64;
    let done: Vec<[u64; 3]> = (0..runs).map(|n| run(base.wrapping_add(n), steps)).collect();
    assert!((0..3).all(|kind| done.iter().any(|counts| counts[kind] > 0)), "{done:?}");
}

#[test]
fn short() {
    dose(8, 1500);
}

#[test]
#[ignore = "minutes; for nights and releases"]
fn long() {
    dose(400, 20_000);
}
