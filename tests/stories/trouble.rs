//! Logs that cannot be written, for every reason that a system has: the process's policy decides what becomes of its output, what can
//! be kept is in the log when it can be written again, and what cannot is a counted gap.
//!
//! Input/output errors and quotas come from a file system of the test's own (`python/faulty_disk.py`), the others from real mounts,
//! renames and modes. Where that is not permitted a test says so and does nothing.

use anyhow::{Context, Result, bail, ensure};
use ringmaster_tests::daemon::Subject;
use ringmaster_tests::program::Program;
use ringmaster_tests::sandbox::Sandbox;
use ringmaster_tests::stack::Stack;
use ringmaster_tests::venv::Venv;
use ringmaster_tests::wait::wait_until;
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Says something, waits for the trouble, says more than a buffer of 64 KiB holds, waits for the end of it.
const TALK: &str = "\
seq -f 'begin %06.0f' 1 100
while [ ! -e go ]; do read -t 0.05 _ <> pause; done
seq -f %099.0f 0 3999
: > said.$1
while [ ! -e more ]; do read -t 0.05 _ <> pause; done
echo end
while :; do read _ <> pause; done
";

/// All that it says.
fn whole() -> String {
    let begin = (1..=100).map(|number| format!("begin {number:06}\n"));
    let lines = (0..4000).map(|number| format!("{number:099}\n"));
    begin.chain(lines).chain(["end\n".to_owned()]).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    InputOutput,
    Quota,
    /// As a file system that found itself damaged.
    TurnedReadOnly,
    /// By the administrator, before circusd starts.
    MountedReadOnly,
    Full,
    DirectoryGone,
    NotPermitted,
}

impl Trouble {
    /// What the system calls it, and what the line about the gap does.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::InputOutput => ("Input/output error", "input/output error"),
            Self::Quota => ("Disk quota exceeded", "disk quota exceeded"),
            Self::TurnedReadOnly | Self::MountedReadOnly => ("Read-only file system", "read-only file system"),
            Self::Full => ("No space left on device", "disk full"),
            Self::DirectoryGone => ("No such file or directory", "directory missing"),
            Self::NotPermitted => ("Permission denied", "permission denied"),
        }
    }

    /// The error that the file system of the test is told to give.
    fn errno(self) -> Option<&'static str> {
        match self {
            Self::InputOutput => Some("EIO"),
            Self::Quota => Some("EDQUOT"),
            Self::TurnedReadOnly => Some("EROFS"),
            Self::MountedReadOnly | Self::Full | Self::DirectoryGone | Self::NotPermitted => None,
        }
    }
}

/// A directory for logs that gets into trouble. Dropped, nothing of it is mounted any more.
struct Disk {
    trouble: Trouble,
    path: PathBuf,
    control: PathBuf,
    server: Option<Child>,
    mounted: bool,
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = run("umount", &["-l"], &self.path);
        }
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> Result<()> {
    let output = Command::new(program).args(arguments).arg(path).output()?;
    ensure!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

impl Disk {
    fn new(sandbox: &Sandbox, trouble: Trouble) -> Result<Self> {
        let (path, control) = (sandbox.work().join("disk"), sandbox.work().join("control"));
        fs::create_dir(&path)?;
        fs::write(&control, "")?;
        let mut disk = Self { trouble, path, control, server: None, mounted: false };
        if trouble.errno().is_some() {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/faulty_disk.py");
            let mut command = sandbox.command(Venv::get()?.program("python"));
            command.arg(script).arg(&disk.path).arg(&disk.control).stdout(Stdio::piped());
            let mut server = command.stderr(Stdio::piped()).spawn()?;
            let said = BufReader::new(server.stdout.take().context("a pipe was asked for")?).lines().next();
            if said.transpose()?.as_deref() != Some("mounted") {
                bail!("{}", String::from_utf8_lossy(&server.wait_with_output()?.stderr).trim().to_owned());
            }
            (disk.server, disk.mounted) = (Some(server), true);
        } else if matches!(trouble, Trouble::Full | Trouble::MountedReadOnly) {
            run("mount", &["-t", "tmpfs", "-o", "size=256k", "none"], &disk.path)?;
            disk.mounted = true;
        }
        Ok(disk)
    }

    /// From now on logs cannot be written.
    fn spoil(&self) -> Result<()> {
        match self.trouble {
            Trouble::InputOutput | Trouble::Quota | Trouble::TurnedReadOnly => {
                fs::write(&self.control, self.trouble.errno().unwrap_or_default())?;
            }
            Trouble::MountedReadOnly => run("mount", &["-o", "remount,ro"], &self.path)?,
            Trouble::Full => {
                fs::write(self.path.join("filling"), vec![0; 1 << 20]).err().context("the disk is not full")?;
            }
            Trouble::DirectoryGone => fs::rename(&self.path, self.path.with_extension("gone"))?,
            Trouble::NotPermitted => {
                // As logrotate would; a file that is open would be written on.
                for name in ["block", "oldest"] {
                    fs::rename(self.log(name), self.path.join(format!("{name}.old")))?;
                }
                fs::set_permissions(&self.path, Permissions::from_mode(0o500))?;
            }
        }
        Ok(())
    }

    /// And now they can again.
    fn mend(&self) -> Result<()> {
        match self.trouble {
            Trouble::InputOutput | Trouble::Quota | Trouble::TurnedReadOnly => fs::write(&self.control, "")?,
            Trouble::MountedReadOnly => run("mount", &["-o", "remount,rw,size=4m"], &self.path)?,
            Trouble::Full => {
                fs::remove_file(self.path.join("filling"))?;
                run("mount", &["-o", "remount,size=4m"], &self.path)?;
            }
            Trouble::DirectoryGone => fs::rename(self.path.with_extension("gone"), &self.path)?,
            Trouble::NotPermitted => fs::set_permissions(&self.path, Permissions::from_mode(0o700))?,
        }
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.log"))
    }

    /// All that was written of a log, its file before the trouble included.
    fn text(&self, name: &str) -> String {
        let read = |path: PathBuf| fs::read(path).unwrap_or_default();
        let bytes = [read(self.path.join(format!("{name}.old"))), read(self.log(name))].concat();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn await_end(&self, name: &str, end: &str) -> Result<String> {
        wait_until(PATIENCE, &format!("{name}.log ends with {end:?}"), || {
            let text = self.text(name);
            let tail: Vec<char> = text.chars().rev().take(200).collect();
            let tail: String = tail.into_iter().rev().collect();
            if text.ends_with(end) { Ok(text) } else { Err(format!("{} bytes, {tail:?}", text.len())) }
        })
    }
}

/// Starts circusd; as root without the right to ignore modes of files.
fn start(stack: &mut Stack, trouble: Trouble) -> Result<()> {
    if trouble != Trouble::NotPermitted || !rustix::process::geteuid().is_root() {
        return stack.start();
    }
    let rights = "-dac_override,-dac_read_search";
    let circusd = Program::Circusd.path()?.display().to_string();
    let command = stack.sandbox.command("setpriv");
    let arguments = ["--bounding-set", rights, "--inh-caps", rights, &circusd, "circus.ini"];
    stack.daemon = Some(stack.sandbox.start_command(command, &arguments)?);
    stack.await_answer()
}

fn said(stack: &Stack) -> String {
    stack.daemon.as_ref().map(|daemon| daemon.stderr()).unwrap_or_default()
}

fn live_through(trouble: Trouble) -> Result<()> {
    let mut stack = Stack::empty("trouble", Subject::Ringmaster)?;
    let disk = match Disk::new(&stack.sandbox, trouble) {
        Ok(disk) => disk,
        Err(error) => {
            eprintln!("skipped, {trouble:?} cannot be brought about here: {error:#}");
            return Ok(());
        }
    };
    let told = story(&mut stack, &disk);
    told.with_context(|| stack.sandbox.logs())?;
    drop(disk);
    stack.end()
}

fn story(stack: &mut Stack, disk: &Disk) -> Result<()> {
    let (work, trouble) = (stack.sandbox.work(), disk.trouble);
    let script = stack.sandbox.write("talk.sh", TALK)?;
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, work.join("pause"), rustix::fs::FileType::Fifo, mode, 0)?;
    let watcher = |name: &str, policy: &str| {
        let (work, script, log) = (work.display(), script.display(), disk.log(name));
        format!(
            "[watcher:{name}]\ncmd = bash {script} {name}\nworking_dir = {work}\nring_size = 64K\noverflow = {policy}\n\
             stdout_stream.class = FileStream\nstdout_stream.filename = {}\n",
            log.display()
        )
    };
    stack.configure("", &(watcher("block", "block") + &watcher("oldest", "drop-oldest")))?;
    let pubsub = stack.sandbox.pubsub_endpoint();
    stack.driver.subscribe(&pubsub)?;
    if trouble == Trouble::MountedReadOnly {
        disk.spoil()?;
        start(stack, trouble)?;
    } else {
        start(stack, trouble)?;
        for name in ["block", "oldest"] {
            disk.await_end(name, "begin 000100\n")?;
        }
        disk.spoil()?;
    }
    fs::write(work.join("go"), "")?;
    let (words, _) = trouble.words();
    for name in ["block", "oldest"] {
        let (log, what) = (disk.log(name).display().to_string(), format!("circusd says {words:?} of {name}.log"));
        wait_until(PATIENCE, &what, || {
            let said = said(stack);
            let told = said.lines().any(|line| line.contains(&log) && line.contains(words));
            if told { Ok(()) } else { Err(said) }
        })?;
    }
    wait_until(PATIENCE, "a process that may lose its oldest output goes on", || {
        match work.join("said.oldest").exists() {
            true => Ok(()),
            false => Err("it waits".to_owned()),
        }
    })?;
    ensure!(!work.join("said.block").exists(), "a process that must not lose anything has gone on");
    disk.mend()?;
    fs::write(work.join("more"), "")?;
    let kept = disk.await_end("block", "\nend\n")?;
    ensure!(kept == whole(), "block.log: {} bytes of {}", kept.len(), whole().len());
    let lossy = disk.await_end("oldest", "\nend\n")?;
    let (_, reason) = trouble.words();
    let lost = lost_bytes(&lossy, reason)?;
    ensure!(lost > 0, "nothing is lost, although the process has gone on");
    told_of(stack, lost, reason)
}

/// Whether a log is all that was said but for its gaps; how many bytes those are.
fn lost_bytes(log: &str, reason: &str) -> Result<usize> {
    let (gap, whole) =
        (regex::Regex::new(r"\[ringmaster: (\d+) bytes lost from stdout between \S+ and \S+: (.*)\]\n")?, whole());
    let (mut at, mut lost, mut seen) = (0, 0, 0);
    let mut pieces: Vec<(&str, usize)> = Vec::new();
    for found in gap.captures_iter(log) {
        let (all, bytes) = (found.get(0).context("a line")?, found.get(1).context("a number")?.as_str().parse()?);
        let told = found.get(2).context("a reason")?.as_str();
        ensure!(told == reason, "the gap is there because of {told:?}");
        pieces.push((log.get(at..all.start()).context("a piece")?, bytes));
        at = all.end();
    }
    pieces.push((log.get(at..).context("the last piece")?, 0));
    for (piece, gap) in pieces {
        let rest = whole.get(seen..).context("more than was said")?;
        // A line that the gap has cut is ended before the line about the gap.
        let cut = piece.strip_suffix('\n').filter(|_| gap > 0 && !rest.starts_with(piece));
        let piece = cut.unwrap_or(piece);
        ensure!(rest.starts_with(piece), "from byte {seen} on the log is not what was said: {:?}", piece.get(..100));
        seen += piece.len() + gap;
        lost += gap;
    }
    ensure!(seen == whole.len(), "{seen} bytes are there or told to be lost, of {}", whole.len());
    Ok(lost)
}

/// The same number in `stats`, in the event, and in circusd's log; and none of the watcher that waits.
fn told_of(stack: &mut Stack, lost: usize, reason: &str) -> Result<()> {
    let mut counted = |name: &str| -> Result<u64> {
        let reply = stack.call("stats", &json!({ "name": name }))?;
        let infos = reply.get("info").and_then(Value::as_object).context("info")?;
        Ok(infos.values().filter_map(|info| info.get("lost_bytes")?.as_u64()).sum())
    };
    ensure!(counted("oldest")? == u64::try_from(lost)?, "stats counts {}, the log {lost}", counted("oldest")?);
    ensure!(counted("block")? == 0, "stats counts a loss of the watcher that waits");
    let mut events = 0;
    wait_until(PATIENCE, "the event tells of all", || {
        let come = stack.driver.events(Duration::from_millis(200), None).map_err(|error| format!("{error:#}"))?;
        for event in come.iter().filter(|event| event.topic.ends_with(".lost")) {
            let field = |key: &str| event.body.get(key).cloned().unwrap_or_default();
            if event.topic != "watcher.oldest.lost" || field("reason") != reason {
                return Err(format!("{} {}", event.topic, event.body));
            }
            events += field("bytes").as_u64().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
        }
        if events == lost { Ok(()) } else { Err(format!("{events} of {lost}")) }
    })?;
    let said = said(stack);
    ensure!(said.contains(&format!("are lost: {reason}")) && said.contains("is written again"), "{said}");
    Ok(())
}

#[test]
fn an_input_output_error() -> Result<()> {
    live_through(Trouble::InputOutput)
}

#[test]
fn a_quota_that_is_used_up() -> Result<()> {
    live_through(Trouble::Quota)
}

#[test]
fn a_file_system_that_turns_read_only() -> Result<()> {
    live_through(Trouble::TurnedReadOnly)
}

#[test]
fn a_file_system_that_is_mounted_read_only_at_the_start() -> Result<()> {
    live_through(Trouble::MountedReadOnly)
}

#[test]
fn a_full_disk() -> Result<()> {
    live_through(Trouble::Full)
}

#[test]
fn a_directory_that_is_gone() -> Result<()> {
    live_through(Trouble::DirectoryGone)
}

#[test]
fn a_permission_that_is_taken_away() -> Result<()> {
    live_through(Trouble::NotPermitted)
}
