//! What people do wrong: one clear message with file, line and what to do, and the right exit status.

use anyhow::{Result, ensure};
use ringmaster_tests::program::Program;
use ringmaster_tests::sandbox::Sandbox;
use ringmaster_tests::stack::{PATIENCE, Stack};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;

const HEALTHY: &str = "[watcher:well]\ncmd = sleep 3600\n";

/// The line of `circus.ini` that begins so, from 1.
fn line_of(stack: &Stack, beginning: &str) -> Result<String> {
    let text = fs::read_to_string(stack.sandbox.work().join("circus.ini"))?;
    let found = text.lines().position(|line| line.starts_with(beginning));
    let index = found.ok_or_else(|| anyhow::anyhow!("no line {beginning:?}"))?;
    Ok(format!("circus.ini:{}", index + 1))
}

/// circusd does not start: exit status, and a short text on standard error with all of `parts` in one line.
fn refuses(stack: &mut Stack, status: i32, parts: &[&str]) -> Result<()> {
    stack.spawn()?;
    let Some(mut daemon) = stack.daemon.take() else {
        return Ok(());
    };
    let code = daemon.wait(PATIENCE)?;
    let text = daemon.stderr();
    ensure!(code == status, "ended with {code}, not {status}:\n{text}");
    speaks_clearly(&text, parts)
}

fn speaks_clearly(text: &str, parts: &[&str]) -> Result<()> {
    let named = text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    ensure!(named, "no line with all of {parts:?} in:\n{text}");
    ensure!(!text.contains("panicked") && !text.contains("Traceback"), "{text}");
    Ok(())
}

/// circusd starts, says it, and the healthy watcher runs.
fn goes_on(mut stack: Stack, parts: &[&str]) -> Result<()> {
    stack.start()?;
    stack.await_count("well", 1)?;
    let text = stack.daemon.as_ref().map(|daemon| daemon.stderr()).unwrap_or_default();
    speaks_clearly(&text, parts)?;
    stack.end()
}

#[test]
fn an_unknown_option() -> Result<()> {
    let stack = Stack::new("unknown", "", "[watcher:well]\ncmd = sleep 3600\nnumproceses = 1\n")?;
    let line = line_of(&stack, "numproceses")?;
    goes_on(stack, &[&line, "watcher:well", "numproceses", "numprocesses"])
}

#[test]
fn a_bad_number_of_the_whole() -> Result<()> {
    let mut stack = Stack::new("number", "check_delay = soon", HEALTHY)?;
    let line = line_of(&stack, "check_delay")?;
    refuses(&mut stack, 1, &[&line, "check_delay", "soon", "number"])?;
    stack.sandbox.finish()
}

#[test]
fn a_bad_number_of_one_watcher() -> Result<()> {
    let stack = Stack::new("number1", "", &format!("[watcher:bad]\ncmd = sleep 1\nnumprocesses = abc\n{HEALTHY}"))?;
    let line = line_of(&stack, "numprocesses")?;
    goes_on(stack, &[&line, "watcher:bad", "numprocesses", "abc"])
}

#[test]
fn a_line_outside_of_any_section() -> Result<()> {
    let mut stack = Stack::new("section", "", "")?;
    stack.sandbox.write("circus.ini", "x = 1\n")?;
    refuses(&mut stack, 1, &["circus.ini:1", "section", "x = 1"])?;
    stack.sandbox.finish()
}

#[test]
fn no_such_file() -> Result<()> {
    let mut stack = Stack::new("nofile", "", "")?;
    fs::remove_file(stack.sandbox.work().join("circus.ini"))?;
    refuses(&mut stack, 1, &["circus.ini", "does not exist"])?;
    stack.sandbox.finish()
}

#[test]
fn a_watcher_without_a_command() -> Result<()> {
    let stack = Stack::new("nocmd", "", &format!("[watcher:bad]\nnumprocesses = 1\n{HEALTHY}"))?;
    goes_on(stack, &["bad", "cmd"])
}

#[test]
fn a_control_port_in_use() -> Result<()> {
    let mut stack = Stack::new("port", "", HEALTHY)?;
    let port = stack.sandbox.port(0);
    let _held = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    refuses(&mut stack, 1, &[&format!("127.0.0.1:{port}"), "in use"])?;
    stack.sandbox.finish()
}

#[test]
fn a_service_port_in_use() -> Result<()> {
    let mut stack = Stack::new("service", "", "")?;
    let port = stack.sandbox.port(3);
    let _held = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let ini = format!("{}[socket:web]\nhost = 127.0.0.1\nport = {port}\n{HEALTHY}", stack.sandbox.circus_section());
    stack.sandbox.write("circus.ini", &ini)?;
    refuses(&mut stack, 1, &["web", &format!("127.0.0.1:{port}"), "in use"])?;
    stack.sandbox.finish()
}

#[test]
fn a_path_that_no_socket_can_have() -> Result<()> {
    let mut stack = Stack::new("path", "", "")?;
    let long = format!("/tmp/{}", "n".repeat(120));
    let ini = format!("{}[socket:web]\npath = {long}\n{HEALTHY}", stack.sandbox.circus_section());
    stack.sandbox.write("circus.ini", &ini)?;
    refuses(&mut stack, 1, &["Could not bind", "socket:web", &long, "at most"])?;
    let ini = format!("{}[socket:web]\npath = /no/such/folder/sock\n{HEALTHY}", stack.sandbox.circus_section());
    stack.sandbox.write("circus.ini", &ini)?;
    refuses(&mut stack, 1, &["Could not bind", "/no/such/folder/sock: No such file", "[socket:web] asks for it"])?;
    stack.sandbox.finish()
}

#[test]
fn an_abstract_endpoint() -> Result<()> {
    let mut stack = Stack::new("abstract", "", HEALTHY)?;
    let section = stack.sandbox.circus_section().replace(&stack.sandbox.endpoint(), "ipc://@circus");
    stack.sandbox.write("circus.ini", &format!("{section}{HEALTHY}"))?;
    refuses(&mut stack, 1, &["ipc://@circus", "endpoint is an abstract socket", "path"])?;
    stack.sandbox.finish()
}

#[test]
fn the_core_is_not_there() -> Result<()> {
    let mut stack = Stack::new("nocore", "papa_path = /no/such/papa", HEALTHY)?;
    refuses(&mut stack, 1, &["/no/such/papa"])?;
    stack.sandbox.finish()
}

#[test]
fn a_second_circusd_on_the_same_instance() -> Result<()> {
    let mut stack = Stack::new("second", "", HEALTHY)?;
    stack.start()?;
    let before = stack.pids("well")?;
    let first = stack.daemon.take();
    let pid = first.as_ref().map(|daemon| daemon.pid().to_string()).unwrap_or_default();
    refuses(&mut stack, 1, &["instance", &pid, "stop it first"])?;
    stack.daemon = first;
    let after = stack.pids("well")?;
    ensure!(before == after, "{before:?} became {after:?}");
    stack.end()
}

#[test]
fn no_permission_for_the_run_folder() -> Result<()> {
    let mut stack = Stack::new("permission", "", HEALTHY)?;
    let folder = stack.sandbox.run();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555))?;
    let command = if rustix::process::getuid().is_root() {
        as_nobody(&stack.sandbox)?
    } else {
        stack.sandbox.command(Program::Circusd.path()?)
    };
    let mut daemon = stack.sandbox.start_command(command, &["circus.ini"])?;
    let code = daemon.wait(PATIENCE)?;
    let text = daemon.stderr();
    ensure!(code == 1, "ended with {code}:\n{text}");
    speaks_clearly(&text, &[&folder.display().to_string(), "ermission denied"])?;
    stack.daemon = None;
    stack.sandbox.finish()
}

/// Root is denied nothing, so circusd is run as somebody who is; from a copy, because that user may not reach ours.
fn as_nobody(sandbox: &Sandbox) -> Result<std::process::Command> {
    let work = sandbox.work();
    if let Some(top) = work.parent() {
        fs::set_permissions(top, fs::Permissions::from_mode(0o755))?;
    }
    for program in [Program::Circusd, Program::Papa] {
        fs::copy(program.path()?, work.join(program.name()))?;
    }
    let mut command = sandbox.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(work.join("circusd"));
    Ok(command)
}

#[test]
fn a_restart_while_the_file_is_broken_is_refused_before_anything_stops() -> Result<()> {
    let mut stack = Stack::new("broken-restart", "", HEALTHY)?;
    stack.start()?;
    let before = stack.pids("well")?;
    let file = stack.sandbox.work().join("circus.ini");
    let good = fs::read_to_string(&file)?;
    for (broken, parts) in [
        (good.replace("[watcher:well]", "check_delay = soon\n[watcher:well]"), ["check_delay", "soon"]),
        (format!("{good}numprocesses = many\n"), ["numprocesses", "many"]),
    ] {
        fs::write(&file, broken)?;
        let line = line_of(&stack, parts[0])?;
        let (said, complained, code) = crate::upgrade::ctl(&stack, &["restart"])?;
        let named = parts.iter().chain([&line.as_str()]).all(|part| complained.contains(part));
        ensure!(code == 3 && named && complained.lines().count() == 1, "{code} {said}{complained}");
        ensure!(stack.pids("well")? == before);
    }
    fs::write(&file, good)?;
    let (said, complained, code) = crate::upgrade::ctl(&stack, &["restart", "--waiting"])?;
    ensure!(code == 0, "{code} {said}{complained}");
    stack.await_answer()?;
    let after = stack.await_count("well", 1)?;
    ensure!(after != before, "{after:?}");
    stack.end()
}
