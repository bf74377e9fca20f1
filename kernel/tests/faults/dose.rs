//! Every point of every scenario, or every n-th.

use crate::scenarios::{Act, Scenario, program_that_aborts};
use crate::stage::Core;
use crate::tracer::{Aim, Deed, GETPID, Over, Seen, Side, Tracer, has_length, removes};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Which half is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Kernel,
    Keeper,
}

/// Scenarios in which a half does something.
const TRACED: [(Scenario, Half); 14] = [
    (Scenario::Spawn, Half::Kernel),
    (Scenario::Capture, Half::Kernel),
    (Scenario::Reap, Half::Kernel),
    (Scenario::Reap, Half::Keeper),
    (Scenario::Listen, Half::Kernel),
    (Scenario::SetValue, Half::Kernel),
    (Scenario::Remove, Half::Kernel),
    (Scenario::Forget, Half::Kernel),
    (Scenario::StopTree, Half::Kernel),
    (Scenario::StopTree, Half::Keeper),
    (Scenario::Upgrade, Half::Kernel),
    (Scenario::Upgrade, Half::Keeper),
    (Scenario::UpgradeThatAborts, Half::Keeper),
    (Scenario::Restart, Half::Keeper),
];

/// Scenarios in which a kernel half is stopped: the one that is traced, or the one that the traced keeper makes.
const STOPPED: [(Scenario, Half); 5] = [
    (Scenario::Spawn, Half::Kernel),
    (Scenario::Reap, Half::Kernel),
    (Scenario::Upgrade, Half::Kernel),
    (Scenario::Upgrade, Half::Keeper),
    (Scenario::Restart, Half::Keeper),
];

/// A stopped half costs five seconds, in which nobody does anything: so many cores are under test at once.
const ABREAST: usize = 8;

/// EINTR, EIO, EAGAIN, ENOMEM, ENFILE, EMFILE, ENOSPC.
const ERRORS: [i32; 7] = [4, 5, 11, 12, 23, 24, 28];

/// What a dose has done and found.
#[derive(Default)]
struct Report {
    points: BTreeMap<String, usize>,
    refusals: BTreeMap<String, BTreeSet<String>>,
    deaths: BTreeSet<String>,
    violations: Vec<String>,
}

/// A core that is made anew after a violation.
struct Dose {
    core: Option<Core>,
    aborts: PathBuf,
    report: Report,
    _folder: tempfile::TempDir,
}

impl Dose {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let aborts = program_that_aborts(folder.path()).unwrap_or_else(|| {
            eprintln!("no C compiler: the program that aborts is /bin/true, which is refused");
            "/bin/true".into()
        });
        Self { core: None, aborts, report: Report::default(), _folder: folder }
    }

    /// One scenario with one deed.
    fn point(&mut self, scenario: Scenario, half: Half, aim: Aim) -> Option<Seen> {
        let core = self.core.take();
        let aborts = self.aborts.clone();
        let outcome = catch_unwind(AssertUnwindSafe(move || {
            let mut core = core.unwrap_or_else(Core::new);
            core.round += 1;
            let (seen, refusal, died) = one(&mut core, scenario, half, aim, &aborts);
            (core, seen, refusal, died)
        }));
        let name = format!("{scenario:?} {half:?}");
        match outcome {
            Ok((core, seen, refusal, died)) => {
                self.core = Some(core);
                if let Some(hit) = seen.hit {
                    *self.report.points.entry(name.clone()).or_default() += 1;
                    let call = format!("{name}: call {} {:?}", hit.call, aim.deed);
                    if let Some(refusal) = refusal {
                        self.report.refusals.entry(refusal).or_default().insert(call.clone());
                    }
                    if died && matches!(aim.deed, Deed::Fail(_) | Deed::Short) {
                        self.report.deaths.insert(call);
                    }
                }
                Some(seen)
            }
            Err(panic) => {
                let said = panic.downcast_ref::<String>().cloned();
                let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
                let violation = format!("{name} {aim:?}: {}", said.unwrap_or_default());
                eprintln!("VIOLATION {violation}");
                self.report.violations.push(violation);
                None
            }
        }
    }

    /// Kills at every `step`-th stop from `first` on.
    fn kill(&mut self, scenario: Scenario, half: Half, (first, step): (usize, usize)) {
        let Some(seen) = self.count(scenario, half) else {
            return;
        };
        let deeds = match half {
            Half::Kernel => {
                [Deed::KillHalf { hold: false }, Deed::KillHalf { hold: true }, Deed::KillItself, Deed::KillBoth]
                    .as_slice()
            }
            Half::Keeper => [Deed::KillItself, Deed::KillBoth].as_slice(),
        };
        for deed in deeds {
            // The number of stops varies by a few; the end is where no stop is met.
            // The child of an upgrade is a dry run. Whoever holds it holds the client's connection with it, and nobody is to hold it.
            if *deed == (Deed::KillHalf { hold: true }) && scenario == Scenario::Upgrade {
                continue;
            }
            for at in (first % step..).step_by(step) {
                // A keeper that dies while there is no kernel half is the death of both.
                let alone = half == Half::Keeper && scenario == Scenario::Restart && *deed == Deed::KillItself;
                let only_children = match deed {
                    Deed::KillHalf { hold: true } => half == Half::Kernel,
                    Deed::KillItself => half == Half::Kernel || alone,
                    _ => false,
                };
                if only_children && seen.stops.get(at).is_none_or(|stop| !stop.child) {
                    if at > seen.stops.len() {
                        break;
                    }
                    continue;
                }
                let met = self.point(scenario, half, Aim { at, deed: *deed, child: alone.then_some(true), call: None });
                if met.is_some_and(|seen| seen.hit.is_none()) || at > 3 * seen.stops.len() + 100 {
                    break;
                }
            }
        }
    }

    fn fail(&mut self, scenario: Scenario, half: Half, (first, step): (usize, usize)) {
        let Some(seen) = self.count(scenario, half) else {
            return;
        };
        let calls = seen.stops.iter().filter(|stop| stop.side == Side::Before);
        let mut number = first;
        for (at, stop) in calls.enumerate() {
            if stop.call == GETPID && half == Half::Keeper && !stop.child {
                // A keeper that panics while it makes a kernel half is the last.
                continue;
            }
            let short = has_length(stop.call).then_some(Deed::Short);
            for deed in ERRORS.map(Deed::Fail).into_iter().chain(short) {
                number += 1;
                if number % step == 0 && self.point(scenario, half, Aim { at, deed, child: None, call: None }).is_none()
                {
                    eprintln!("that was call {}, by a child: {}", stop.call, stop.child);
                }
            }
        }
    }

    /// Stops a kernel half at every `step`-th of its stops from `first` on.
    fn stop(&mut self, scenario: Scenario, half: Half, (first, step): (usize, usize)) {
        let Some(seen) = self.count(scenario, half) else {
            return;
        };
        let child = half == Half::Keeper;
        let at_kernel = seen.stops.iter().enumerate().filter(|(_, stop)| stop.child == child && !stop.passing);
        for (at, _) in at_kernel.skip(first).step_by(step) {
            self.point(scenario, half, Aim { at, deed: Deed::StopKernel, child: Some(child), call: None });
        }
    }

    /// The stops of a scenario to which nothing happens. The first time is not counted: later ones find the core as it is from
    /// then on.
    fn count(&mut self, scenario: Scenario, half: Half) -> Option<Seen> {
        let aim = Aim { at: 0, deed: Deed::Nothing, child: None, call: None };
        self.core = None;
        self.point(scenario, half, aim)?;
        if let Some(core) = &mut self.core {
            core.descriptors = None;
        }
        self.point(scenario, half, aim)
    }

    fn end(self, began: Instant) {
        let Report { points, refusals, deaths, violations } = &self.report;
        for (refusal, calls) in refusals {
            eprintln!("refused: {refusal}\n    by {} calls, as {:?}", calls.len(), calls.first());
        }
        for death in deaths {
            eprintln!("a half was started anew: {death}");
        }
        eprintln!("{points:#?}\n{} points in {:?}", points.values().sum::<usize>(), began.elapsed());
        assert!(violations.is_empty(), "{} violations: {violations:#?}", violations.len());
    }
}

fn one(core: &mut Core, scenario: Scenario, half: Half, aim: Aim, aborts: &Path) -> (Seen, Option<String>, bool) {
    let mut act = Act::new(core, scenario, aborts);
    let pid = match half {
        Half::Kernel => core.state.header().kernel(),
        Half::Keeper => core.rig.keeper_pid(),
    };
    let deaths = core.state.header().deaths();
    let (go, gone) = mpsc::channel();
    let (dead, died) = mpsc::channel::<()>();
    let shared = &*core;
    let seen = std::thread::scope(|scope| {
        let over = Over::new();
        let number = over.pid();
        let acting = &mut act;
        let actor = scope.spawn(move || {
            let over = over;
            gone.recv_timeout(Duration::from_secs(20)).expect("the half comes to rest");
            acting.act();
            drop(over);
        });
        let restarter = scope.spawn(move || died.iter().for_each(|()| shared.start_anew()));
        let mut kill_both = move || {
            shared.kill_both();
            dead.send(()).unwrap();
        };
        let seen = Tracer::new(pid, aim, move || go.send(()).unwrap(), &mut kill_both).run(number);
        drop(kill_both);
        for thread in [actor, restarter] {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        seen
    });
    let refusal = act.refusal.clone();
    act.child_was_killed = aim.deed == Deed::KillItself && seen.hit.is_some_and(|stop| stop.child);
    act.nobody_was_there = aim.deed == Deed::KillBoth;
    if let Some(said) = &refusal {
        let allowed = act.child_was_killed || matches!(aim.deed, Deed::Fail(_) | Deed::Short);
        assert!(allowed, "refused: {said}");
        act.act();
        assert_eq!(act.refusal, None, "the next request is served");
    }
    act.check();
    let after = core.state.header().deaths();
    if matches!(aim.deed, Deed::Fail(_)) && seen.hit.is_some_and(|stop| removes(stop.call)) {
        // A file that could not be removed goes at the next start, and does not come to life again.
        core.rig.kill_kernel();
    }
    core.check();
    (seen, refusal, (after.kernel, after.keeper) != (deaths.kernel, deaths.keeper))
}

fn seed() -> usize {
    std::env::var("RINGMASTER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7)
}

/// `RINGMASTER_FAULTS=Spawn,Reap` restricts a dose to these scenarios.
fn chosen(all: &[(Scenario, Half)]) -> Vec<(Scenario, Half)> {
    let wanted = std::env::var("RINGMASTER_FAULTS").unwrap_or_default();
    let of = |scenario: Scenario| wanted.is_empty() || wanted.split(',').any(|name| name == format!("{scenario:?}"));
    all.iter().copied().filter(|(scenario, _)| of(*scenario)).collect()
}

fn kill_all(step: usize) {
    let (mut dose, began) = (Dose::new(), Instant::now());
    for (scenario, half) in chosen(&TRACED) {
        dose.kill(scenario, half, (seed(), step));
    }
    dose.end(began);
}

fn fail_all(step: usize) {
    let (mut dose, began) = (Dose::new(), Instant::now());
    for (scenario, half) in chosen(&TRACED) {
        dose.fail(scenario, half, (seed(), step));
    }
    dose.end(began);
}

fn stop_all(step: usize) {
    std::thread::scope(|scope| {
        let shards: Vec<_> = (0..ABREAST)
            .map(|shard| {
                scope.spawn(move || {
                    let (mut dose, began) = (Dose::new(), Instant::now());
                    for (scenario, half) in chosen(&STOPPED) {
                        dose.stop(scenario, half, (seed() % step + shard * step, ABREAST * step));
                    }
                    dose.end(began);
                })
            })
            .collect();
        for shard in shards {
            if let Err(panic) = shard.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

#[test]
fn the_core_dies_at_some_calls() {
    kill_all(211);
}

#[test]
fn some_calls_fail() {
    fail_all(797);
}

#[test]
fn a_half_that_panics_takes_nothing_with_it() {
    let (mut dose, began) = (Dose::new(), Instant::now());
    let (scenario, half) = (Scenario::Restart, Half::Keeper);
    let aim = Aim { at: 0, deed: Deed::Fail(12), child: Some(true), call: Some(GETPID) };
    let hit = dose.point(scenario, half, aim).and_then(|seen| seen.hit);
    assert!(hit.is_some_and(|hit| hit.child && hit.call == GETPID), "{hit:?}");
    assert_eq!(dose.report.deaths.len(), 1);
    dose.end(began);
}

#[test]
fn a_half_is_stopped_at_some_calls() {
    stop_all(41);
}

#[test]
#[ignore = "minutes: docs/TESTING.md"]
fn a_half_is_stopped_at_every_call() {
    stop_all(1);
}

#[test]
#[ignore = "minutes: docs/TESTING.md"]
fn the_core_dies_at_every_call() {
    kill_all(1);
}

#[test]
#[ignore = "minutes: docs/TESTING.md"]
fn every_call_fails() {
    fail_all(1);
}
