//! Services that say more than fits while circusd is away: each log tells what is missing, where it is missing.

use anyhow::{Context as _, Result, ensure};
use ringmaster_tests::daemon::subject;
use ringmaster_tests::stack::Stack;
use ringmaster_tests::wait::wait_until;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Lines of 100 bytes.
const LINES: usize = 40_000;

/// `ring_size = 64K`.
const RING: usize = 64 << 10;

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for circusd's absence, says a lot, waits for its return, says one more line.
const TALK: &str = "\
while [ ! -e go ]; do read -t 0.05 _ <> pause; done
seq -f %099.0f 0 39999
: > said.$1
while [ ! -e more ]; do read -t 0.05 _ <> pause; done
echo end
while :; do read _ <> pause; done
";

#[test]
fn a_log_tells_what_is_missing_and_where() -> Result<()> {
    let mut stack = Stack::empty("overflow", subject())?;
    let work = stack.sandbox.work();
    let script = stack.sandbox.write("talk.sh", TALK)?;
    fs::create_dir(work.join("spill"))?;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        work.join("pause"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )?;
    let mut text = String::new();
    for (name, policy) in [
        ("oldest", "overflow = drop-oldest"),
        ("newest", "overflow = drop-newest"),
        ("spill", "overflow = spill\nspill_dir = spill\nspill_quota = 16M"),
    ] {
        let work = work.display();
        text.push_str(&format!(
            "[watcher:{name}]\ncmd = bash {} {name}\nworking_dir = {work}\nuse_papa = True\nring_size = 64K\n{policy}\n\
             stdout_stream.class = FileStream\nstdout_stream.filename = {work}/{name}.log\n",
            script.display()
        ));
    }
    stack.configure("", &text)?;
    stack.start()?;
    for name in ["oldest", "newest", "spill"] {
        stack.await_count(name, 1)?;
    }
    stack.kill_daemon()?;
    fs::write(work.join("go"), "")?;
    for name in ["oldest", "newest", "spill"] {
        wait_until(PATIENCE, name, || match work.join(format!("said.{name}")).exists() {
            true => Ok(()),
            false => Err("it has not said all".to_owned()),
        })?;
    }
    stack.spawn()?;
    stack.await_answer()?;
    let all: String = (0..LINES).map(|number| format!("{number:099}\n")).collect();
    // Also without another word of the service: the gap is told when circusd gets there.
    let missing = all.len() - RING;
    let gap = format!("\n[ringmaster: {missing} bytes lost from stdout: circusd was away]\n");
    await_end(&work.join("newest.log"), &gap)?;
    fs::write(work.join("more"), "")?;
    let log = await_end(&work.join("newest.log"), "end\n")?;
    let kept = all.get(..RING).context("more than a ring")?;
    ensure!(log == format!("{kept}{gap}end\n"), "newest.log: {} bytes, {:?}", log.len(), tail(&log));
    let log = await_end(&work.join("oldest.log"), "end\n")?;
    let (lost, rest) =
        log.strip_prefix("[ringmaster: ").and_then(|rest| rest.split_once(" bytes")).context("no gap")?;
    let rest = rest.strip_prefix(" lost from stdout: circusd was away]\n").context("another text")?;
    let expected = all.get(lost.parse::<usize>()?..).context("more lost than said")?;
    ensure!(rest == format!("{expected}end\n"), "oldest.log: {lost} lost, {} bytes, {:?}", rest.len(), tail(rest));
    let log = await_end(&work.join("spill.log"), "end\n")?;
    ensure!(log == format!("{all}end\n"), "spill.log: {} bytes, {:?}", log.len(), tail(&log));
    stack.call("stop", &serde_json::json!({"waiting": true}))?;
    wait_until(PATIENCE, "the spill file goes with its process", || {
        let left: Vec<_> = fs::read_dir(work.join("spill")).into_iter().flatten().flatten().collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })?;
    stack.quit()?;
    stack.sandbox.finish()
}

fn await_end(log: &Path, end: &str) -> Result<String> {
    let found = wait_until(PATIENCE, &log.display().to_string(), || {
        let text = without_times(&fs::read_to_string(log).unwrap_or_default())?;
        if text.ends_with(end) { Ok(text) } else { Err(format!("{} bytes, {:?}", text.len(), tail(&text))) }
    })?;
    Ok(found)
}

/// The times of a gap are those of this run.
fn without_times(text: &str) -> Result<String, String> {
    let times = regex::Regex::new(" between \\S+ and \\S+:").map_err(|error| error.to_string())?;
    Ok(times.replace_all(text, ":").into_owned())
}

fn tail(text: &str) -> String {
    let last: Vec<char> = text.chars().rev().take(150).collect();
    last.into_iter().rev().collect()
}
