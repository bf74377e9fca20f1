//! Circus 0.17.2, the last with Papa, unchanged on our core: its services and its socket outlive it, and the next one gets what
//! they wrote meanwhile.

use anyhow::{Context, Result, ensure};
use ringmaster_tests::daemon::{Daemon, Subject};
use ringmaster_tests::driver::Driver;
use ringmaster_tests::log_check::check;
use ringmaster_tests::program::Program;
use ringmaster_tests::sandbox::Sandbox;
use ringmaster_tests::venv::Venv;
use ringmaster_tests::wait::{NotYet, wait_until};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(40);

struct Story {
    sandbox: Sandbox,
    driver: Driver,
    socket: PathBuf,
    /// Where Papa's package finds the core.
    place: String,
}

impl Story {
    /// The configuration: a writer with a log of each stream, and two servers on one socket.
    fn new(name: &str, place: impl FnOnce(&Sandbox) -> String) -> Result<Self> {
        let (sandbox, driver) = (Sandbox::new(name)?, Driver::start()?);
        let python = Venv::with_papa()?.program("python");
        let script = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name);
        let circus = sandbox.circus_section();
        let work = sandbox.work();
        let ini = format!(
            "{circus}check_delay = 0.5\n\
             [watcher:writer]\ncmd = {python} {writer} w 500\nuse_papa = True\ngraceful_timeout = 20\n\
             stdout_stream.class = FileStream\nstdout_stream.filename = {out}\n\
             stderr_stream.class = FileStream\nstderr_stream.filename = {err}\n\
             [watcher:server]\ncmd = {python} {greeter} $(circus.sockets.web)\nnumprocesses = 2\n\
             use_sockets = True\nuse_papa = True\n\
             [socket:web]\nhost = 127.0.0.1\nport = {port}\nuse_papa = True\n",
            python = python.display(),
            writer = script("writer.py").display(),
            greeter = script("greeter.py").display(),
            out = work.join("out.log").display(),
            err = work.join("err.log").display(),
            port = sandbox.port(3),
        );
        sandbox.write("circus.ini", &ini)?;
        let (socket, place) = (sandbox.run().join("default/sock"), place(&sandbox));
        Ok(Self { sandbox, driver, socket, place })
    }

    fn start_core(&self) -> Result<Daemon> {
        let command = self.sandbox.command(Sandbox::program(Subject::Ringmaster, Program::Papa)?);
        let core = self.sandbox.start_command(command, &["-p", &self.sandbox.port(2).to_string()])?;
        wait_until(PATIENCE, "the core is served", || {
            let both =
                UnixStream::connect(&self.socket).and_then(|_| TcpStream::connect(("127.0.0.1", self.sandbox.port(2))));
            both.map_err(|error| error.to_string())
        })?;
        Ok(core)
    }

    /// Starts circusd 0.17.2 and waits until it has all its processes.
    fn start_circus(&mut self) -> Result<Daemon> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/circus_on_papa.py");
        let mut command = self.sandbox.command(Venv::with_papa()?.program("python"));
        command.arg(script).arg(&self.place);
        let mut circus = self.sandbox.start_command(command, &["circus.ini"])?;
        let endpoint = self.sandbox.endpoint();
        let request = [br#"{"command": "status"}"#.to_vec()];
        let driver = &mut self.driver;
        let answered = wait_until(PATIENCE, "circusd 0.17.2 has started its watchers", || {
            if !circus.is_running() {
                return Err(NotYet::never("circusd has ended"));
            }
            let answers = driver
                .exchange(&endpoint, "DEALER", &request, Duration::from_millis(300))
                .map_err(|error| error.to_string())?;
            let frame = answers.first().and_then(|answer| answer.frames.first()).ok_or("no answer")?;
            let text = String::from_utf8_lossy(frame).into_owned();
            let ready = text.matches("\"active\"").count() == 2;
            if ready { Ok(()) } else { Err(text.into()) }
        });
        answered.map_err(|error| error.context(self.sandbox.logs()))?;
        Ok(circus)
    }

    /// Again when Circus refuses it for the moment, because it looks after its watchers.
    fn call(&mut self, command: &str, properties: &serde_json::Value) -> Result<()> {
        let (driver, endpoint) = (&mut self.driver, self.sandbox.endpoint());
        let done = wait_until(PATIENCE, &format!("{command} is done"), || {
            let reply =
                driver.call(&endpoint, command, properties).map_err(|error| NotYet::never(error.to_string()))?;
            let reason = reply.get("reason").and_then(serde_json::Value::as_str).unwrap_or_default();
            match reply.get("status") {
                Some(status) if status == "ok" => Ok(()),
                _ if reason.contains("is already running manage_watchers") => Err(NotYet::from(reply.to_string())),
                _ => Err(NotYet::never(reply.to_string())),
            }
        });
        done.map_err(|error| error.context(self.sandbox.logs()))
    }

    /// The answer of the core to one line.
    fn ask(&self, line: &str) -> Result<String> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{line}\n").as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        let (_, answer) = said.split_once("> ").context("a greeting")?;
        Ok(answer.trim_end_matches("> ").to_owned())
    }

    /// The processes that run, with their pids.
    fn processes(&self) -> Result<BTreeMap<String, i32>> {
        let lines = self.ask("list processes circus.*")?;
        let running = lines.lines().filter(|line| line.contains(" running=True "));
        running
            .map(|line| {
                let (name, rest) = line.split_once(" pid=").context("a pid")?;
                Ok((name.to_owned(), rest.split(' ').next().unwrap_or_default().parse()?))
            })
            .collect()
    }

    fn await_processes(&self, wanted: &[&str]) -> Result<BTreeMap<String, i32>> {
        wait_until(PATIENCE, "the processes are those of the configuration", || match self.processes() {
            Ok(found) if found.keys().eq(wanted) => Ok(found),
            Ok(found) => Err(format!("{found:?}")),
            Err(error) => Err(error.to_string()),
        })
        .map_err(|error| error.context(self.sandbox.logs()))
    }

    /// A server answers with its pid.
    fn is_served(&self, pids: &BTreeMap<String, i32>) -> Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.sandbox.port(3)))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        let pid: i32 = said.trim().parse()?;
        ensure!(pids.values().any(|known| *known == pid), "{pid} serves and is none of {pids:?}");
        Ok(())
    }

    /// The writer goes on: the log or the core has more than before.
    fn await_log(&self, before: u64) -> Result<u64> {
        let log = self.sandbox.work().join("out.log");
        wait_until(PATIENCE, "the log grows", || match std::fs::metadata(&log).map(|file| file.len()) {
            Ok(bytes) if bytes > before => Ok(bytes),
            other => Err(format!("{other:?}")),
        })
        .map_err(|error| error.context(self.sandbox.logs()))
    }

    /// Some of the writer's output waits in the core.
    fn await_buffered(&self) -> Result<()> {
        wait_until(PATIENCE, "output waits in the core", || {
            let said = self.ask("status").map_err(|error| error.to_string())?;
            let buffered = said.lines().find_map(|line| line.strip_prefix("buffered"));
            let bytes = buffered.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
            if bytes.is_some_and(|bytes| bytes > 20_000) { Ok(()) } else { Err(said) }
        })
    }
}

const PROCESSES: &[&str] = &["circus.server.1", "circus.server.2", "circus.writer.1"];

fn live_through_it(name: &str, place: impl FnOnce(&Sandbox) -> String) -> Result<()> {
    let mut story = Story::new(name, place)?;
    let mut core = story.start_core()?;
    let mut circus = story.start_circus()?;
    let pids = story.await_processes(PROCESSES)?;
    story.is_served(&pids)?;
    let mut logged = story.await_log(0)?;
    for round in 0..2 {
        circus.signal(Signal::KILL)?;
        ensure!(circus.wait(PATIENCE)? == -9, "circusd 0.17.2 was killed");
        story.await_buffered()?;
        ensure!(story.processes()? == pids, "round {round}: processes were replaced");
        story.is_served(&pids)?;
        circus = story.start_circus()?;
        ensure!(story.await_processes(PROCESSES)? == pids, "round {round}: processes were replaced");
        logged = story.await_log(logged)?;
    }
    // A process that ends is started again, in the same place.
    let killed = *pids.get("circus.server.1").context("a server")?;
    story.ask("signal circus.server.1 KILL")?;
    wait_until(PATIENCE, "the server is replaced", || match story.processes() {
        Ok(now) if now.len() == 3 && now.get("circus.server.1") != Some(&killed) => Ok(()),
        Ok(now) => Err(format!("{now:?}")),
        Err(error) => Err(error.to_string()),
    })
    .map_err(|error| error.context(story.sandbox.logs()))?;
    // Circus leaves what uses Papa behind when it quits; so it is stopped first.
    story.call("stop", &json!({"waiting": true}))?;
    story.await_processes(&[])?;
    for (log, stream) in [("out.log", "w.out"), ("err.log", "w.err")] {
        let tally = wait_until(PATIENCE, "the writer's last line is in the log", || {
            check(&story.sandbox.work().join(log), stream).map_err(|error| format!("{error:#}"))
        })?;
        // Papa's protocol delivers at least once: a batch whose acknowledgement died with circusd comes again.
        ensure!(tally.lost == 0 && tally.lines > 100, "{log}: {tally:?}\n{}", story.sandbox.logs());
    }
    story.call("quit", &json!({}))?;
    ensure!(circus.wait(PATIENCE)? == 0, "circusd 0.17.2 ended badly");
    let code = core.wait(PATIENCE)?;
    ensure!(code == 0, "the core ended with {code} after Circus's exit-if-idle");
    story.sandbox.finish()
}

#[test]
fn over_tcp() -> Result<()> {
    live_through_it("circus-papa-tcp", |sandbox| sandbox.port(2).to_string())
}

#[test]
fn over_the_socket() -> Result<()> {
    live_through_it("circus-papa-unix", |sandbox| sandbox.run().join("default/sock").display().to_string())
}
