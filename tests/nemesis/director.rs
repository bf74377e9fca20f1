//! Carries out a plan against a world under load, keeps the journal, and says what came of it.

use crate::children::Children;
use crate::manager::Manager;
use crate::plan::{Dose, Step, read_journal};
use crate::shared::Shared;
use crate::tally::Tally;
use crate::world::{Phase, World};
use anyhow::{Context, Result, bail, ensure};
use ringmaster_tests::dice::Dice;
use ringmaster_tests::prober::Prober;
use ringmaster_tests::processes;
use ringmaster_tests::program::target_dir;
use ringmaster_tests::wait::{pass, wait_until};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the world may take to come to life.
const BEGIN: Duration = Duration::from_secs(60);

/// How long a client of the lone socket may wait: a stopped core starts no child for five seconds.
const LONE: Duration = Duration::from_secs(30);

/// So often the long-lived children are looked at without asking the core.
const LOOK_EVERY: u64 = 20;

/// Draws or reads the plan, carries it out, and fails when anybody noticed.
pub fn run(name: &str, dose: Dose) -> Result<()> {
    let mut dice = Dice::new();
    let seed = dice.seed;
    let plan = match std::env::var_os("RINGMASTER_JOURNAL") {
        Some(path) => read_journal(&fs::read_to_string(path)?)?,
        None => dose.draw(&mut dice),
    };
    let folder = target_dir()?.join("nemesis");
    fs::create_dir_all(&folder)?;
    let journal = folder.join(format!("{name}-{seed}.journal"));
    eprintln!("nemesis: {} steps, RINGMASTER_SEED={seed}, RINGMASTER_JOURNAL={}", plan.len(), journal.display());
    let (tally, took) = Director::new(name, &journal, dice)?.carry_out(&plan)?;
    let megabytes = tally.right_bytes / 1_000_000;
    let report = format!("{name} dose, seed {seed}, {} s, {megabytes} MB\n{tally}", took.as_secs());
    fs::write(folder.join(format!("{name}-{seed}.report")), &report)?;
    eprintln!("{report}");
    ensure!(tally.is_clean(), "somebody noticed; seed {seed}, journal {}", journal.display());
    Ok(())
}

struct Director {
    world: World,
    shared: Arc<Mutex<Shared>>,
    journal: File,
    log: PathBuf,
    manager: std::thread::JoinHandle<Result<()>>,
    prober: Prober,
    lone: Lone,
    begin: Instant,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Director {
    fn new(name: &str, journal: &PathBuf, dice: Dice) -> Result<Self> {
        let world = World::new(&format!("nemesis-{name}"))?;
        let shared = Arc::new(Mutex::new(Shared::default()));
        let ports = [world.sandbox.port(3), world.sandbox.port(4)];
        let children = Children::new(world.sandbox.work(), dice)?;
        let manager = Manager::new(world.socket(), children, ports, Arc::clone(&shared));
        let lasting = manager.lasting();
        let manager = std::thread::spawn(move || manager.run());
        wait_until(BEGIN, "the children run", || {
            let count = lock(&shared).lasting.len();
            let lives = !manager.is_finished();
            if count == lasting { Ok(()) } else { Err(format!("{count} of them; the manager runs: {lives}")) }
        })?;
        let (log, journal) = (journal.with_extension("papa.log"), File::create(journal)?);
        let prober = Prober::start(ports[0]);
        let lone = Lone::start(ports[1], &shared);
        Ok(Self { world, shared, journal, log, manager, prober, lone, begin: Instant::now() })
    }

    fn carry_out(mut self, plan: &[Step]) -> Result<(Tally, Duration)> {
        for step in plan {
            pass(Duration::from_millis(step.pause));
            let at = self.begin.elapsed().as_secs_f64();
            let shared = Arc::clone(&self.shared);
            let mut out = Vec::new();
            let outcome = self.world.perform(step.action, |phase| around_the_gap(&shared, phase, &mut out));
            let mut shared = lock(&self.shared);
            shared.tally.steps += 1;
            let said = match outcome {
                Ok((took, note)) => {
                    shared.tally.recovered(step, took);
                    format!("{:.1} ms; {note}", took.as_secs_f64() * 1000.0)
                }
                Err(error) => {
                    let number = shared.tally.steps;
                    shared.tally.complain(format!("step {number}, {step}: {error:#}"));
                    format!("failed: {error:#}")
                }
            };
            writeln!(self.journal, "{step} # at {at:.3} s: {}", said.replace('\n', " | "))?;
            if shared.tally.steps.is_multiple_of(LOOK_EVERY) {
                look(&mut shared);
            }
            // What came first is the finding; what follows from it would bury it.
            if !shared.tally.is_clean() || self.manager.is_finished() {
                break;
            }
        }
        let took = self.begin.elapsed();
        self.finish().map(|tally| (tally, took))
    }

    fn finish(self) -> Result<Tally> {
        let _ = fs::copy(self.world.log(), &self.log);
        let count = self.prober.stop()?;
        let served_alone = self.lone.stop()?;
        let mut shared = lock(&self.shared);
        look(&mut shared);
        shared.finish = true;
        let clean = shared.tally.is_clean();
        shared.abort = !clean;
        drop(shared);
        let ended = self.manager.join().map_err(|_panic| anyhow::anyhow!("the manager panicked"))?;
        let mut tally = std::mem::take(&mut lock(&self.shared).tally);
        if let Err(error) = ended {
            tally.complain(format!("the manager: {error:#}"));
        }
        tally.connections = count.served;
        tally.connections_lone = served_alone;
        let refused = count.refused + u64::try_from(count.failed.len())?;
        tally.refused += refused;
        if refused > 0 {
            tally.complain(format!("connections: {count:?}"));
        }
        let again = Manager::ran_twice(&self.world.sandbox.work());
        tally.second_copies = u64::try_from(again.len())?;
        if !again.is_empty() {
            tally.complain(format!("ran more than once: {again:?}"));
        }
        let _ = fs::copy(self.world.log(), &self.log);
        if tally.is_clean() {
            self.world.end().context("the end of a run in which nobody noticed anything")?;
        }
        if tally.connections == 0 || tally.connections_lone == 0 || tally.right_bytes == 0 || tally.codes_right == 0 {
            bail!("nothing was measured:\n{tally}");
        }
        Ok(tally)
    }
}

/// No core runs between the two: whoever was out before and does not live after may have an end that nobody saw.
fn around_the_gap(shared: &Mutex<Shared>, phase: Phase, out: &mut Vec<String>) {
    let mut shared = lock(shared);
    match phase {
        Phase::Before => {
            shared.gaps += 1;
            *out = shared.out.keys().cloned().collect();
        }
        Phase::After => {
            shared.gaps += 1;
            let lives = |name: &String| shared.out.get(name).copied().flatten().is_some_and(processes::is_alive);
            let gone: Vec<String> = out.drain(..).filter(|name| !lives(name)).collect();
            shared.excused.extend(gone);
        }
    }
}

/// The long-lived children live, as the system says.
fn look(shared: &mut Shared) {
    let gone: Vec<String> =
        shared.lasting.iter().filter(|(_, pid)| !processes::is_alive(**pid)).map(|(name, _)| name.clone()).collect();
    if !gone.is_empty() {
        shared.tally.pids_changed += u64::try_from(gone.len()).unwrap_or(1);
        shared.tally.complain(format!("they do not live any more: {gone:?}"));
    }
}

/// Somebody who connects to the socket that only the core holds, and waits until a short-lived child serves him.
struct Lone {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Lone {
    fn start(port: u16, shared: &Arc<Mutex<Shared>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, shared) = (Arc::clone(&stop), Arc::clone(shared));
        let thread = std::thread::spawn(move || {
            let mut served = 0;
            while !flag.load(Ordering::Relaxed) {
                let gaps = lock(&shared).gaps;
                match connect_and_wait(port) {
                    Ok(()) => served += 1,
                    // Broken off by a core that died whole, or waiting for children that are not started any more.
                    Err(error) => {
                        let mut shared = lock(&shared);
                        if gaps.is_multiple_of(2) && gaps == shared.gaps && !flag.load(Ordering::Relaxed) {
                            shared.tally.refused += 1;
                            shared.tally.complain(format!("the lone socket: {error}"));
                        }
                    }
                }
                pass(Duration::from_millis(3));
            }
            served
        });
        Self { stop, thread }
    }

    fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_panic| anyhow::anyhow!("the lone client panicked"))
    }
}

fn connect_and_wait(port: u16) -> std::io::Result<()> {
    let mut connection = TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), LONE)?;
    connection.set_read_timeout(Some(LONE))?;
    let mut answer = [0; 16];
    match connection.read(&mut answer)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
