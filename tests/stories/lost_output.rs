//! Output in bad times: circusd is away for a while, the disk is full.

use anyhow::{Context, Result, ensure};
use ringmaster_tests::daemon::subject;
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::wait::{stays_true, wait_until};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn await_text(path: &Path, wanted: &str) -> Result<String> {
    wait_until(PATIENCE, &format!("{wanted:?} in {}", path.display()), || {
        let found = text(path);
        if found.contains(wanted) { Ok(found) } else { Err(format!("{} bytes", found.len())) }
    })
}

/// The time in the file is that of the arrival at the core, also when nobody was there to write it.
#[test]
fn times_are_true_although_circusd_was_away() -> Result<()> {
    let mut stack = Stack::empty("away", subject())?;
    let work = stack.sandbox.work();
    let (log, go) = (work.join("log"), work.join("go"));
    // Waits for a file, then says when that was by its own clock.
    let script = format!("until test -e {}; do sleep 0.05; done; date +%s; exec sleep 1000", go.display());
    fs::write(work.join("child.sh"), script)?;
    let watcher = format!(
        "[watcher:a]\ncmd = sh {}\nuse_papa = True\nstdout_stream.class = FileStream\n\
         stdout_stream.filename = {}\nstdout_stream.time_format = %s\n",
        work.join("child.sh").display(),
        log.display()
    );
    stack.configure("", &watcher)?;
    stack.start()?;
    stack.kill_daemon()?;
    fs::write(&go, "")?;
    // The line waits in the core for longer than the clock of the file could be wrong.
    stays_true(Duration::from_secs(5), "nothing is written", || {
        if text(&log).is_empty() { Ok(()) } else { Err(text(&log)) }
    })?;
    let back = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    stack.start()?;
    let line = await_text(&log, "\n")?;
    let (prefix, said) = line.trim_end().split_once(" | ").context("a prefix")?;
    let (written, said): (u64, u64) = (prefix.split(' ').next().context("a time")?.parse()?, said.parse()?);
    ensure!((said..=said + 1).contains(&written), "{line:?}: the child said {said}");
    ensure!(written + 2 < back, "{line:?} has the time of circusd's return ({back})");
    stack.end()
}

/// Who has said last words in a log that grows, and is read on each time.
#[derive(Default)]
struct LastWords {
    read: u64,
    unfinished: String,
    said: BTreeSet<i64>,
}

impl LastWords {
    fn read_on(&mut self, log: &Path) -> Result<()> {
        let mut file = fs::File::open(log)?;
        file.seek(SeekFrom::Start(self.read))?;
        self.read += u64::try_from(file.read_to_string(&mut self.unfinished)?)?;
        let end = self.unfinished.rfind('\n').map_or(0, |at| at + 1);
        let rest = self.unfinished.split_off(end);
        let lines = std::mem::replace(&mut self.unfinished, rest);
        let words = lines.lines().filter_map(|line| line.strip_prefix("last words of "));
        self.said.extend(words.filter_map(|pid| pid.parse::<i64>().ok()));
        Ok(())
    }
}

/// Whoever hears of an end can read the last words of the process in its log.
#[test]
fn last_words_are_in_the_log_before_the_end_is_told() -> Result<()> {
    const CRASHES: usize = 20;
    let mut stack = Stack::empty("last-words", subject())?;
    let work = stack.sandbox.work();
    let log = work.join("log");
    // A burst, so that the log has some way to go when the process is dead already.
    fs::write(work.join("child.sh"), "seq -f %099.0f 0 2999\necho last words of $$\nkill -SEGV $$\n")?;
    let watcher = format!(
        "[watcher:a]\ncmd = sh {}\nnumprocesses = 3\nstdout_stream.class = FileStream\nstdout_stream.filename = {}\n",
        work.join("child.sh").display(),
        log.display()
    );
    stack.configure("check_delay = 0.2", &watcher)?;
    let pubsub = stack.sandbox.pubsub_endpoint();
    stack.driver.subscribe(&pubsub)?;
    stack.start()?;
    let (mut seen, mut words) = (0, LastWords::default());
    while seen < CRASHES {
        let events = stack.driver.events(PATIENCE, Some(1))?;
        ensure!(!events.is_empty(), "no events any more after {seen} crashes\n{}", stack.sandbox.logs());
        for event in events.iter().filter(|event| event.topic == "watcher.a.reap") {
            let pid = event.body.get("process_pid").and_then(serde_json::Value::as_i64).context("a pid")?;
            ensure!(event.body.get("exit_code") == Some(&json!(-11)), "{}", event.body);
            words.read_on(&log)?;
            ensure!(words.said.contains(&pid), "{pid}: {} bytes are in the log", words.read);
            seen += 1;
        }
    }
    stack.end()
}

/// A full disk costs no more than it must, and what it costs is told: in the log, as a number, and as an event.
#[test]
fn a_full_disk_is_told_and_survived() -> Result<()> {
    let mut stack = Stack::empty("full", subject())?;
    let work = stack.sandbox.work();
    let disk = work.join("disk");
    fs::create_dir(&disk)?;
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "none"])
        .arg(&disk)
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        eprintln!("nothing is tested here: it takes the right to mount a file system");
        return Ok(());
    }
    let outcome = full_disk(&mut stack, &disk);
    let log = text(&disk.join("log"));
    let ended = stack.end();
    std::process::Command::new("umount").arg("-l").arg(&disk).status()?;
    outcome.with_context(|| format!("the log: {:?}", log.get(..log.len().min(300))))?;
    ended
}

fn full_disk(stack: &mut Stack, disk: &Path) -> Result<()> {
    let work = stack.sandbox.work();
    let log = disk.join("log");
    let filling = disk.join("filling");
    fs::write(&filling, vec![0; 200_000])?;
    // Ten megabytes, then a line now and then.
    fs::write(work.join("child.sh"), "echo begin; seq 1000000 2250000; while :; do echo alive; sleep 0.2; done\n")?;
    let watcher = format!(
        "[watcher:a]\ncmd = sh {}\nstdout_stream.class = FileStream\nstdout_stream.filename = {}\n\
         stdout_stream.max_bytes = 30000\nstdout_stream.backup_count = 1\n",
        work.join("child.sh").display(),
        log.display()
    );
    stack.configure("", &watcher)?;
    fs::write(disk.join("more"), vec![0; 100_000]).err().context("the disk is not full")?;
    stack.start()?;
    let begun = text(&log);
    // The child has written everything although nothing fits: the oldest output is dropped after a while.
    wait_until(PATIENCE, "circusd says that the disk is full", || {
        let said = stack.daemon.as_ref().map(|daemon| daemon.stderr()).unwrap_or_default();
        if said.contains("No space left on device") { Ok(()) } else { Err(format!("{said}{begun}")) }
    })?;
    stays_true(Duration::from_secs(8), "circusd answers", || {
        stack.call("numwatchers", &json!({})).map(drop).map_err(|error| format!("{error:#}"))
    })?;
    fs::remove_file(&filling)?;
    fs::remove_file(disk.join("more"))?;
    await_text(&log, "alive\n")?;
    let lost = wait_until(PATIENCE, "stats counts what is lost", || {
        let stats = stack.call("stats", &json!({"name": "a"})).map_err(|error| format!("{error:#}"))?;
        let infos = stats.get("info").and_then(serde_json::Value::as_object).ok_or("no info")?;
        let lost = infos.values().find_map(|info| info.get("lost_bytes")?.as_u64());
        lost.ok_or_else(|| stats.to_string())
    })?;
    let said = stack.daemon.as_ref().map(|daemon| daemon.stderr()).unwrap_or_default();
    ensure!(said.contains("bytes of stdout of process"), "circusd says nothing of {lost} lost bytes: {said}");
    ensure!(said.contains("are lost: disk full"), "{said}");
    Ok(())
}
