//! The README's first screen: the example runs, circusd is killed, and nobody notices.

use anyhow::{Context, Result, ensure};
use ringmaster_tests::program::repository;
use ringmaster_tests::stack::Stack;
use ringmaster_tests::wait::wait_until;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

/// Copies `docs/examples` so that relative paths mean the same as in the repository, on ports of its own.
fn example() -> Result<Stack> {
    let stack = Stack::new("quickstart", "", "")?;
    let source = repository().join("docs/examples");
    let target = stack.sandbox.work().join("docs/examples");
    copy(&source, &target)?;
    let ini = fs::read_to_string(source.join("quickstart.ini"))?;
    ensure!(ini.contains("\nport = 8080\n"), "quickstart.ini serves on another port than the README says");
    let own = ini.replace("\nport = 8080\n", &format!("\nport = {}\n", stack.sandbox.port(3))).replacen(
        "[circus]\n",
        &stack.sandbox.circus_section(),
        1,
    );
    ensure!(own.contains(&stack.sandbox.endpoint()), "quickstart.ini has a [circus] section");
    stack.sandbox.write("circus.ini", &own)?;
    Ok(stack)
}

fn copy(source: &Path, target: &Path) -> Result<()> {
    fs::create_dir_all(target)?;
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let to = target.join(entry.file_name());
        if entry.file_name() == "logs" {
            // Somebody may have run the example here.
            fs::create_dir_all(to)?;
        } else if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn get(port: u16) -> Result<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.") && answer.contains(" 200 "), "{answer}");
    Ok(answer)
}

#[test]
fn the_quickstart_survives_kill_9() -> Result<()> {
    let mut stack = example()?;
    let port = stack.sandbox.port(3);
    stack.start()?;
    let before = (stack.wids("web")?, stack.wids("ticker")?);
    ensure!(before.0.len() == 3 && before.1.len() == 1, "{before:?}");
    wait_until(Duration::from_secs(30), "the workers answer", || get(port).map_err(|error| error.to_string()))?;
    stack.kill_daemon()?;
    get(port).context("without circusd")?;
    stack.start()?;
    let after = (stack.wids("web")?, stack.wids("ticker")?);
    ensure!(before == after, "{before:?} became {after:?}");
    get(port)?;
    ticks(&stack)?;
    stack.end()
}

/// The ticker's log has numbered lines without a gap, and goes on.
fn ticks(stack: &Stack) -> Result<()> {
    let path = stack.sandbox.work().join("docs/examples/logs/ticker.log");
    let numbers = || -> Vec<u64> {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let whole = text.rsplit_once('\n').map(|(whole, _)| whole.to_owned()).unwrap_or_default();
        whole.lines().filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect()
    };
    let before = numbers().len();
    wait_until(Duration::from_secs(20), "the ticker's log goes on", || {
        let now = numbers();
        if now.len() > before.max(2) { Ok(()) } else { Err(format!("{now:?}")) }
    })?;
    let mut seen = numbers();
    seen.dedup();
    let gap = seen.windows(2).find(|pair| pair.first().map(|first| first + 1) != pair.last().copied());
    ensure!(gap.is_none(), "{}: {gap:?} in {seen:?}", path.display());
    Ok(())
}
