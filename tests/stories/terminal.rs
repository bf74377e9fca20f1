//! People at a terminal: the conversation of docs/manual/telnet.md with `papa attach`, over the bare socket and over TCP.

use anyhow::{Context, Result, ensure};
use regex::Regex;
use ringmaster_tests::daemon::{Daemon, Subject};
use ringmaster_tests::program::{Program, repository};
use ringmaster_tests::sandbox::Sandbox;
use ringmaster_tests::terminal::Terminal;
use ringmaster_tests::venv::Venv;
use ringmaster_tests::wait::wait_until;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// A core of its own, on a socket and a port.
fn core(sandbox: &Sandbox) -> Result<(Daemon, PathBuf)> {
    let path = sandbox.run().join("default/sock");
    let command = sandbox.command(Sandbox::program(Subject::Ringmaster, Program::Papa)?);
    let core = sandbox.start_command(command, &["-p", &sandbox.port(0).to_string()])?;
    wait_until(PATIENCE, "the core is served", || {
        let both = UnixStream::connect(&path).and_then(|_| TcpStream::connect(("127.0.0.1", sandbox.port(0))));
        both.map_err(|error| error.to_string())
    })?;
    Ok((core, path))
}

/// The answer to one line, over a connection of its own.
fn ask(path: &Path, line: &str) -> Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    let (_, answer) = said.split_once("> ").context("a greeting")?;
    Ok(answer.trim_end_matches("> ").to_owned())
}

fn end(mut core: Daemon, path: &Path, sandbox: Sandbox) -> Result<()> {
    for line in ["signal * KILL", "remove processes", "remove sockets"] {
        ask(path, line)?;
    }
    wait_until(PATIENCE, "nothing is left", || {
        let left = ask(path, "list processes").map_err(|error| error.to_string())?;
        if left.trim().is_empty() { Ok(()) } else { Err(left) }
    })?;
    ask(path, "exit-if-idle")?;
    let code = core.wait(PATIENCE)?;
    ensure!(code == 0, "papa ended with {code}");
    sandbox.finish()
}

/// The conversation of the manual: what is typed, and everything that the terminal shows.
fn manual() -> Result<String> {
    let page = std::fs::read_to_string(repository().join("docs/manual/telnet.md"))?;
    let (_, block) = page.split_once("```console\n$ papa attach\n").context("the conversation")?;
    Ok(block.split_once("\n```").context("its end")?.0.to_owned())
}

/// Without what differs every time: numbers and times, and where a watch's batches end.
fn plain(text: &str) -> Result<Vec<String>> {
    let mask = Regex::new(r"(pid|started|running|port)=\S+|(out|closed):hello:[0-9.]+")?;
    let lines = text.lines().map(|line| {
        let line = line.trim_start_matches("] ").trim_end();
        mask.replace_all(line, "${1}${2}#").into_owned()
    });
    Ok(lines.filter(|line| !line.is_empty() && line != "]").collect())
}

/// Types the manual's conversation and compares what is seen with it.
fn follow_the_manual(sandbox: &Sandbox, path: &Path, program: &Path, arguments: &[&str]) -> Result<()> {
    let wanted = manual()?;
    let mut terminal = Terminal::start(sandbox, program, arguments)?;
    let mut seen = terminal.see("> ")?;
    for line in wanted.lines().filter_map(|line| line.strip_prefix("> ")) {
        if line.starts_with("tail") {
            wait_until(PATIENCE, "the process has said its line", || match ask(path, line) {
                Ok(said) if said.contains("fd") => Ok(()),
                Ok(said) => Err(said),
                Err(error) => Err(error.to_string()),
            })?;
        }
        terminal.keys(&format!("{}\r", line.replace("port=8000", &format!("port={}", sandbox.port(1)))))?;
        if line == "quit" {
            break;
        }
        if line.starts_with("watch") {
            seen.push_str(&terminal.see("Watching 1\n")?);
            while !seen.contains("closed:hello:") {
                seen.push_str(&terminal.see("] ")?);
                terminal.keys("\r")?;
            }
        }
        // The echo of the line, the answer, the next prompt.
        seen.push_str(&terminal.see("\n")?);
        seen.push_str(&terminal.see("> ")?);
    }
    let (last, status) = terminal.end()?;
    ensure!(status == 0, "it ended with {status} after {last:?}");
    seen.push_str(&last);
    let (wanted, seen) = (plain(&wanted)?, plain(&seen)?);
    ensure!(seen == wanted, "the manual shows\n{}\nand the terminal\n{}", wanted.join("\n"), seen.join("\n"));
    Ok(())
}

#[test]
fn the_conversation_of_the_manual() -> Result<()> {
    let sandbox = Sandbox::new("terminal")?;
    let (core, path) = core(&sandbox)?;
    let line = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/line.py");
    let line = line.to_str().context("a path in UTF-8")?;
    let python = Venv::get()?.program("python");
    follow_the_manual(&sandbox, &path, &python, &[line, path.to_str().context("a path in UTF-8")?])?;
    follow_the_manual(&sandbox, &path, &python, &[line, &sandbox.port(0).to_string()])?;
    end(core, &path, sandbox)
}

#[test]
fn attach_has_an_editor_a_history_and_completion() -> Result<()> {
    let sandbox = Sandbox::new("attach")?;
    let (core, path) = core(&sandbox)?;
    let papa = Program::Papa.path()?;
    let mut terminal = Terminal::start(&sandbox, &papa, &["attach"])?;
    terminal.see("commands.\n")?;
    terminal.see("> ")?;
    // A slip of the finger, corrected.
    terminal.keys("set colorr\x7f\x7f green\r")?;
    terminal.see("\n> ")?;
    terminal.keys("get colo\r")?;
    terminal.see("\ngreen\n")?;
    terminal.see("> ")?;
    terminal.keys("sta\t\r")?;
    terminal.see("values       1\n")?;
    terminal.see("> ")?;
    // Twice up: before `status` came `get colo`.
    terminal.keys("\x1b[A\x1b[A\r")?;
    terminal.see("\ngreen\n")?;
    terminal.see("> ")?;
    // What a child writes does not command the terminal.
    ask(&path, "make process rogue /bin/printf \\033[2Jx\\n")?;
    terminal.keys("watch processes rogue\r")?;
    let batch = terminal.see("] ")?;
    ensure!(batch.contains("\\u{1b}[2Jx"), "{batch:?}");
    terminal.keys("q\r")?;
    terminal.see("Stopped watching\n")?;
    terminal.see("> ")?;
    terminal.keys("quit\r")?;
    let (last, status) = terminal.end()?;
    ensure!(status == 0 && last.ends_with("ok\n"), "{status} after {last:?}");
    // The history outlives the conversation.
    let mut terminal = Terminal::start(&sandbox, &papa, &["attach"])?;
    terminal.see("> ")?;
    terminal.keys("\x1b[A\x1b[A\x1b[A\x1b[A\r")?;
    terminal.see("green\n")?;
    terminal.see("> ")?;
    terminal.keys("\x04")?;
    let (last, status) = terminal.end()?;
    ensure!(status == 0, "{status} after {last:?}");
    ask(&path, "set colo")?;
    end(core, &path, sandbox)
}

#[test]
fn attach_between_programs_copies() -> Result<()> {
    let sandbox = Sandbox::new("attach-pipe")?;
    let (core, path) = core(&sandbox)?;
    let mut command = sandbox.command(Program::Papa.path()?);
    let mut attached =
        command.arg("attach").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn()?;
    attached.stdin.take().context("a pipe")?.write_all(b"set a 1\nget a\nset a\n")?;
    let output = attached.wait_with_output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.success() && said.ends_with("commands.\n> \n> 1\n> \n> "), "{said:?}");
    end(core, &path, sandbox)
}
