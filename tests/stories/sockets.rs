//! Sockets of every kind reach their processes, and connections start those that wait for them.

use anyhow::{Context, Result, ensure};
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::wait::{stays_true, wait_until};
use serde_json::json;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::time::Duration;

/// What a socket is, as the child sees it: family, type, flags of its file, bound device.
const LOOK: &str = r#"
import os, socket, sys, time
fd = int(sys.argv[1])
s = socket.socket(fileno=fd)
device = s.getsockopt(socket.SOL_SOCKET, 25, 16).rstrip(b"\0").decode()
listens = s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
reuse = s.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) if s.family != socket.AF_UNIX else 0
line = "%s %s %s %s %s %s" % (s.family.name, s.type.name, listens, os.get_blocking(fd), reuse, device)
with open(sys.argv[2] + "." + str(os.getpid()), "w") as out:
    out.write(line.strip())
time.sleep(3600)
"#;

fn look(stack: &mut Stack, socket: &str, count: usize) -> Result<Vec<String>> {
    let folder = stack.sandbox.work();
    wait_until(PATIENCE, &format!("{count} processes have looked at {socket}"), || {
        let pids = stack.pids(socket).map_err(|error| error.to_string())?;
        let read = |pid: &i32| fs::read_to_string(folder.join(format!("{socket}.{pid}"))).unwrap_or_default();
        let lines: Vec<String> = pids.iter().map(read).filter(|line| !line.is_empty()).collect();
        if lines.len() == count { Ok(lines) } else { Err(format!("{pids:?} {lines:?}")) }
    })
}

#[test]
fn sockets_of_every_kind() -> Result<()> {
    let mut stack = Stack::new("kinds", "", "")?;
    let script = stack.sandbox.write("look.py", LOOK)?;
    let python = ringmaster_tests::venv::Venv::get()?.program("python").display().to_string();
    let shared = stack.sandbox.port(5);
    let is_root = rustix::process::getuid().is_root();
    let mut kinds = vec![
        ("inet", "host = 127.0.0.1\nport = 0", "AF_INET SOCK_STREAM 1 False 0"),
        ("blocks", "host = 127.0.0.1\nport = 0\nblocking = True", "AF_INET SOCK_STREAM 1 True 0"),
        ("datagram", "host = 127.0.0.1\nport = 0\ntype = SOCK_DGRAM\nproto = udp", "AF_INET SOCK_DGRAM 0 False 0"),
        ("unix", "path = unix.sock", "AF_UNIX SOCK_STREAM 1 False 0"),
        ("masked", "path = masked.sock\numask = 077", "AF_UNIX SOCK_STREAM 1 False 0"),
        ("packets", "path = packets.sock\ntype = SOCK_SEQPACKET", "AF_UNIX SOCK_SEQPACKET 1 False 0"),
        ("letters", "path = letters.sock\ntype = SOCK_DGRAM", "AF_UNIX SOCK_DGRAM 0 False 0"),
    ];
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        kinds.push(("inet6", "host = ::1\nfamily = AF_INET6\nport = 0", "AF_INET6 SOCK_STREAM 1 False 0"));
    }
    if is_root {
        kinds.push(("device", "host = 127.0.0.1\nport = 0\ninterface = lo", "AF_INET SOCK_STREAM 1 False 0 lo"));
    }
    let own = format!("host = 127.0.0.1\nport = {shared}\nso_reuseport = True");
    kinds.push(("own", &own, "AF_INET SOCK_STREAM 1 False 1"));
    let mut rest = String::new();
    for (name, socket, _) in &kinds {
        let count = if *name == "own" { 3 } else { 1 };
        rest.push_str(&format!(
            "[socket:{name}]\n{socket}\n[watcher:{name}]\ncmd = {python} {} $(circus.sockets.{name}) {name}\n\
             use_sockets = True\nnumprocesses = {count}\n",
            script.display()
        ));
    }
    stack.configure("", &rest)?;
    stack.start()?;
    for (name, _, wanted) in &kinds {
        let count = if *name == "own" { 3 } else { 1 };
        for line in look(&mut stack, name, count)? {
            ensure!(line == *wanted, "{name}: {line:?}, not {wanted:?}");
        }
    }
    for (path, mode) in [("unix.sock", 0o767), ("masked.sock", 0o700)] {
        let metadata = fs::metadata(stack.sandbox.work().join(path))?;
        ensure!(
            metadata.file_type().is_socket() && metadata.permissions().mode() & 0o777 == mode,
            "{path}: {metadata:?}"
        );
    }
    TcpStream::connect(("127.0.0.1", shared)).context("one of three")?;
    stack.end()
}

#[test]
fn a_socket_on_standard_input() -> Result<()> {
    let mut stack = Stack::new("stdin", "", "")?;
    let port = stack.sandbox.port(3);
    let python = ringmaster_tests::venv::Venv::get()?.program("python").display().to_string();
    let serve = "import socket; s = socket.socket(fileno=0); s.setblocking(True); c, _ = s.accept(); c.sendall(b'hello'); c.close()";
    stack.configure(
        "",
        &format!(
            "[watcher:in]\ncmd = {python} -c \"{serve}\"\nstdin_socket = web\n[socket:web]\nhost = 127.0.0.1\nport = {port}\n"
        ),
    )?;
    stack.start()?;
    let mut answer = String::new();
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.read_to_string(&mut answer)?;
    ensure!(answer == "hello", "{answer}");
    stack.end()
}

/// Answers one connection, then ends.
const ONCE: &str = r#"
import os, socket, sys
s = socket.socket(fileno=int(sys.argv[1]))
s.setblocking(True)
c, _ = s.accept()
c.sendall(b"%d" % os.getpid())
c.close()
"#;

#[test]
fn the_first_connection_starts_a_watcher_on_demand() -> Result<()> {
    let mut stack = Stack::new("demand", "check_delay = 1", "")?;
    let port = stack.sandbox.port(3);
    let script = stack.sandbox.write("once.py", ONCE)?;
    let python = ringmaster_tests::venv::Venv::get()?.program("python").display().to_string();
    let rest = format!(
        "[watcher:lazy]\ncmd = {python} {} $(circus.sockets.web)\nuse_sockets = True\non_demand = True\n\
         [socket:web]\nhost = 127.0.0.1\nport = {port}\n[watcher:other]\ncmd = sleep 3600\n",
        script.display()
    );
    stack.configure("check_delay = 1", &rest)?;
    stack.start()?;
    let ask = || -> Result<i32> {
        let mut connection = TcpStream::connect(("127.0.0.1", port))?;
        connection.set_read_timeout(Some(PATIENCE))?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer.parse()?)
    };
    let status = |stack: &mut Stack| -> Result<String> {
        Ok(stack
            .call("status", &json!({"name": "lazy"}))?
            .get("status")
            .and_then(|s| s.as_str())
            .unwrap_or("")
            .to_owned())
    };
    ensure!(status(&mut stack)? == "stopped" && stack.pids("lazy")?.is_empty());
    let first = ask().with_context(|| stack.sandbox.logs())?;
    let second = ask().with_context(|| stack.sandbox.logs())?;
    ensure!(first != second, "a process for each connection");
    // Another circusd goes on waiting.
    stack.kill_daemon()?;
    stack.start()?;
    let third = ask().with_context(|| stack.sandbox.logs())?;
    ensure!(third != second);
    wait_until(PATIENCE, "it waits again", || match status(&mut stack) {
        Ok(status) if status == "stopped" => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    stack.call("stop", &json!({"name": "lazy", "waiting": true}))?;
    let mut waiting = TcpStream::connect(("127.0.0.1", port))?;
    waiting.write_all(b"x")?;
    stays_true(Duration::from_millis(700), "a stopped watcher stays stopped", || match stack.pids("lazy") {
        Ok(pids) if pids.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    stack.call("start", &json!({"name": "lazy", "waiting": true}))?;
    let mut answer = String::new();
    waiting.set_read_timeout(Some(PATIENCE))?;
    // The process ends without reading what was sent, which may reset the connection behind its answer.
    let _ = waiting.read_to_string(&mut answer);
    ensure!(!answer.is_empty(), "the connection that waited is served\n{}", stack.sandbox.logs());
    stack.end()
}
