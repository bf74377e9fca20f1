//! The second part: a real circusd writes log files, and it, the kernel half and the keeper are killed at random moments.
//! Afterwards the files hold every line that was written. How many came twice is told.

use anyhow::{Context, Result, bail, ensure};
use ringmaster_protocol::instance::file;
use ringmaster_tests::daemon::Subject;
use ringmaster_tests::dice::Dice;
use ringmaster_tests::link::Link;
use ringmaster_tests::log_check::generations;
use ringmaster_tests::numbered::{LINE, bytes_at, offset_of};
use ringmaster_tests::processes;
use ringmaster_tests::program::{profile_dir, target_dir};
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::wait::{pass, wait_until};
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Services that write.
const WRITERS: usize = 10;

/// Bytes a second that each writes on each stream: 2 MB/s in all.
const RATE: u64 = 100_000;

/// Logs are rotated at this size, which each reaches every few seconds.
const LOG_BYTES: u64 = 400_000;

/// Between two steps at most.
const LONGEST_PAUSE: u64 = 700;

/// Who is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Circusd,
    Kernel,
    Keeper,
    CircusdAndKernel,
    CircusdAndKeeper,
    /// Both halves of the core; circusd starts another.
    Core,
    /// All three.
    Everybody,
}

impl Victim {
    const ALL: [Self; 7] = [
        Self::Circusd,
        Self::Kernel,
        Self::Keeper,
        Self::CircusdAndKernel,
        Self::CircusdAndKeeper,
        Self::Core,
        Self::Everybody,
    ];
}

/// So many kills of each kind on the average, at least one of each.
pub fn run(steps: usize) -> Result<()> {
    let mut dice = Dice::new();
    let seed = dice.seed;
    let folder = target_dir()?.join("nemesis");
    fs::create_dir_all(&folder)?;
    let journal = folder.join(format!("logs-{seed}.journal"));
    eprintln!("nemesis: logs, {steps} steps, RINGMASTER_SEED={seed}, journal {}", journal.display());
    let mut journal = File::create(journal)?;
    let mut stack = Stack::empty("nemesis-logs", Subject::Ringmaster)?;
    stack.configure("check_delay = 5", &configuration(&stack)?)?;
    fs::create_dir(stack.sandbox.work().join("logs"))?;
    stack.start()?;
    let before = pids(&mut stack)?;
    let mut counts = [0_usize; Victim::ALL.len()];
    for step in 0..steps {
        let which = if step < Victim::ALL.len() { step } else { usize::try_from(dice.below(7))? };
        let (victim, pause) = (Victim::ALL[which], dice.below(LONGEST_PAUSE));
        counts[which] += 1;
        // Half of the kills hit a circusd that is still starting, the others one that has been at work for a while.
        if dice.below(2) == 0 {
            stack.await_answer()?;
        }
        pass(Duration::from_millis(pause));
        writeln!(journal, "{pause} {victim:?}")?;
        kill(&mut stack, victim).with_context(|| format!("step {step}, seed {seed}, {victim:?}"))?;
    }
    stack.await_answer()?;
    let after = pids(&mut stack)?;
    ensure!(before == after, "other processes run (seed {seed}):\n{before:?}\n{after:?}");
    let counted = finish(&stack).with_context(|| format!("seed {seed}"))?;
    let report =
        format!("logs, seed {seed}: kills {:?}, {counted:?}", Victim::ALL.iter().zip(counts).collect::<Vec<_>>());
    fs::write(folder.join(format!("logs-{seed}.report")), format!("{report}\n"))?;
    eprintln!("{report}");
    // A batch that was written and not acknowledged when circusd died may come again (docs/INVARIANTS.md, I3), also from the
    // middle of a line.
    ensure!(counted.lost == 0, "{report}");
    stack.end()
}

fn configuration(stack: &Stack) -> Result<String> {
    let actor = profile_dir()?.join("nemesis-actor");
    let folder = stack.sandbox.work();
    let mut text = String::new();
    for number in 0..WRITERS {
        text.push_str(&format!(
            "[watcher:w{number}]\ncmd = {} write w{number} {RATE} {} 0\nrespawn = False\nuse_papa = True\n",
            actor.display(),
            folder.display()
        ));
        for stream in ["stdout", "stderr"] {
            text.push_str(&format!(
                "{stream}_stream.class = FileStream\n{stream}_stream.filename = logs/w{number}.{stream}\n\
                 {stream}_stream.max_bytes = {LOG_BYTES}\n{stream}_stream.backup_count = 50000\n"
            ));
        }
    }
    Ok(text)
}

fn pids(stack: &mut Stack) -> Result<Vec<Vec<i32>>> {
    (0..WRITERS).map(|number| stack.pids(&format!("w{number}"))).collect()
}

/// The instance's directory: the only one of the sandbox.
fn instance(stack: &Stack) -> Result<PathBuf> {
    Ok(fs::read_dir(stack.sandbox.run())?.next().context("there is an instance")??.path())
}

fn kill(stack: &mut Stack, victim: Victim) -> Result<()> {
    let halves: &[usize] = match victim {
        Victim::Circusd => &[],
        Victim::Kernel | Victim::CircusdAndKernel => &[0],
        Victim::Keeper | Victim::CircusdAndKeeper => &[1],
        // The keeper is stopped first, so that it cannot do anything about the end of the other.
        Victim::Core | Victim::Everybody => &[0, 1],
    };
    let socket = instance(stack)?.join(file::SOCKET);
    let status = || {
        wait_until(PATIENCE, "the core answers", || {
            let status = Link::connect(&socket).and_then(|mut link| link.status());
            status.map(|status| [status.kernel_pid, status.keeper_pid]).map_err(|error| error.to_string())
        })
    };
    if !halves.is_empty() {
        let pids = status()?;
        if halves.len() == 2 {
            processes::signal(pids[1], Signal::STOP);
        }
        for half in halves {
            let pid = pids[*half];
            ensure!(processes::signal(pid, Signal::KILL), "the half of the core, pid {pid}, was gone before");
        }
    }
    match victim {
        Victim::Circusd | Victim::CircusdAndKernel | Victim::CircusdAndKeeper | Victim::Everybody => {
            stack.kill_daemon()?;
            stack.spawn()
        }
        Victim::Kernel | Victim::Keeper | Victim::Core => status().map(|_| ()),
    }
}

/// What the logs hold, in lines.
#[derive(Debug, Default)]
struct Counted {
    lines: u64,
    lost: u64,
    repeated: u64,
    broken: u64,
}

impl Counted {
    /// The log of one stream on which `total` bytes were written. The last line may be the beginning of one.
    fn add(&mut self, tag: &str, written: &[u8], total: u64) {
        let line = u64::try_from(LINE).unwrap_or(1);
        let mut next = 0;
        for found in written.split_inclusive(|byte| *byte == b'\n') {
            match offset_of(tag, found) {
                Some(at) if at < next => self.repeated += 1,
                Some(at) => {
                    self.lost += (at - next) / line;
                    self.lines += 1;
                    next = at + line;
                }
                None if next == total / line * line && found == bytes_at(tag, next, found.len()) => {}
                None => self.broken += 1,
            }
        }
        self.lost += (total / line * line).saturating_sub(next) / line;
    }
}

/// Stops the writers and reads their logs.
fn finish(stack: &Stack) -> Result<Counted> {
    let work = stack.sandbox.work();
    fs::write(work.join("stop"), "")?;
    let mut counted = Counted::default();
    for number in 0..WRITERS {
        let totals = wait_until(PATIENCE, "a writer says how much it wrote", || {
            let text = fs::read_to_string(work.join(format!("w{number}.total"))).unwrap_or_default();
            let totals: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            if totals.len() == 2 { Ok(totals) } else { Err(text) }
        })?;
        for (stream, (kind, total)) in ["stdout", "stderr"].into_iter().zip(["out", "err"].into_iter().zip(totals)) {
            let log = work.join("logs").join(format!("w{number}.{stream}"));
            let count = || {
                let mut one = Counted::default();
                one.add(&format!("w{number}.{kind}"), &read_all(&log)?, total);
                Ok::<_, anyhow::Error>(one)
            };
            let complete = wait_until(PATIENCE, "all of it is in the logs", || match count() {
                Ok(one) if one.lost == 0 => Ok(one),
                other => Err(format!("{}: {other:?}", log.display())),
            });
            let one = complete.or_else(|error| {
                // It is counted what is there.
                eprintln!("nemesis: {error:#}");
                count()
            })?;
            counted.lines += one.lines;
            counted.lost += one.lost;
            counted.repeated += one.repeated;
            counted.broken += one.broken;
        }
    }
    if counted.lines == 0 {
        bail!("nothing was measured: {counted:?}");
    }
    Ok(counted)
}

fn read_all(log: &std::path::Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for file in generations(log)? {
        bytes.extend(fs::read(&file).with_context(|| file.display().to_string())?);
    }
    Ok(bytes)
}
