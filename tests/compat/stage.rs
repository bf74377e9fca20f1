//! The stage of a replay: sandbox, circusd, bound process numbers, occupied ports, and the placeholders' values.

use crate::golden::{Action, Run, Text};
use anyhow::{Context, Result};
use ringmaster_tests::daemon::{Daemon, Subject, exit_code};
use ringmaster_tests::driver::{Answer, Driver, Event};
use ringmaster_tests::processes::{signal, signal_by_name};
use ringmaster_tests::program::Program;
use ringmaster_tests::sandbox::Sandbox;
use ringmaster_tests::terminal::Terminal;
use ringmaster_tests::venv::Venv;
use ringmaster_tests::wait::{NotYet, pass, wait_until};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::Duration;

/// How long a program of one step may run when the transcript sets no limit.
const PROGRAM: Duration = Duration::from_secs(40);

/// The same for circusd, which either fails at once or runs.
const DAEMON: Duration = Duration::from_secs(8);

/// How long circusd may take until it answers.
const START: Duration = Duration::from_secs(20);

/// Which implementations take part.
#[derive(Debug, Clone, Copy)]
pub struct Cast {
    pub daemon: Subject,
    pub ctl: Subject,
}

pub struct Stage {
    pub sandbox: Sandbox,
    pub driver: Driver,
    /// Where requests go.
    pub control: String,
    /// Where events come from.
    pub pubsub: String,
    cast: Cast,
    daemon: Option<Daemon>,
    bound: BTreeMap<String, Vec<i32>>,
    occupied: BTreeMap<String, TcpListener>,
}

/// How a program ended.
#[derive(Debug)]
pub struct Outcome {
    pub exit_code: i32,
    pub ended_by_us: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    pub fn describe(&self) -> String {
        format!("{} (stdout {:?}, stderr {:?})", self.exit_code, self.stdout, self.stderr)
    }
}

impl Stage {
    pub fn new(name: &str, cast: Cast) -> Result<Self> {
        let sandbox = Sandbox::new(name)?;
        Ok(Self {
            control: sandbox.endpoint(),
            pubsub: sandbox.pubsub_endpoint(),
            sandbox,
            driver: Driver::start()?,
            cast,
            daemon: None,
            bound: BTreeMap::new(),
            occupied: BTreeMap::new(),
        })
    }

    /// Puts values in the place of `@P0@`, `@DIR@` and the like.
    pub fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for number in 0..6 {
            text = text.replace(&format!("@P{number}@"), &self.sandbox.port(number).to_string());
        }
        let python = Venv::get().map(|venv| venv.program("python").display().to_string()).unwrap_or_default();
        let worker = crate::golden::folder().join("helpers/worker.py");
        text = text
            .replace("@DIR@", &self.sandbox.work().display().to_string())
            // The interpreter that runs Circus itself had another name where the transcript was taken.
            .replace("@PYTHON@3", &python)
            .replace("@PYTHON@", &python)
            .replace("@WORKER@", &worker.display().to_string());
        for (name, pids) in &self.bound {
            if let [pid, ..] = pids.as_slice() {
                text = text.replace(&format!("@PID:{name}@"), &pid.to_string());
            }
        }
        text
    }

    pub fn fill_text(&self, text: &Text) -> Text {
        match text {
            Text::Exact(text) => Text::Exact(self.fill(text)),
            Text::Help { mentions } => Text::Help { mentions: mentions.clone() },
            Text::Usage { _usage } => Text::Usage { _usage: *_usage },
            Text::Traceback { traceback } => Text::Traceback { traceback: self.fill(traceback) },
            Text::Log { log } => Text::Log { log: log.iter().map(|line| self.fill(line)).collect() },
        }
    }

    pub fn write(&self, name: &str, content: &str) -> Result<()> {
        self.sandbox.write(name, &self.fill(content))?;
        Ok(())
    }

    /// Writes `circus.ini`. Its endpoints count from now on when they are files; others are the sandbox's own.
    pub fn configure(&mut self, ini: &str) -> Result<()> {
        self.write("circus.ini", ini)?;
        let is_of = |line: &&str, key: &str| line.split('=').next().is_some_and(|found| found.trim() == key);
        let file = |key: &str| {
            let line = ini.lines().find(|line| is_of(line, key) && line.contains("ipc://"))?;
            Some(self.fill(line.split_once('=')?.1.trim()))
        };
        let endpoints = (file("endpoint"), file("pubsub_endpoint"));
        self.control = endpoints.0.unwrap_or_else(|| self.sandbox.endpoint());
        self.pubsub = endpoints.1.unwrap_or_else(|| self.sandbox.pubsub_endpoint());
        Ok(())
    }

    pub fn start_daemon(&mut self, arguments: &[String], config: &str) -> Result<()> {
        let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        words.push(config);
        self.daemon = Some(self.sandbox.start(self.cast.daemon, &words)?);
        Ok(())
    }

    /// Waits until the control endpoint answers.
    pub fn await_control(&mut self) -> Result<()> {
        let endpoint = self.control.clone();
        let request = [br#"{"command": "numwatchers"}"#.to_vec()];
        let (driver, daemon) = (&mut self.driver, &mut self.daemon);
        let answered = wait_until(START, "circusd answers", || {
            if daemon.as_mut().is_some_and(|daemon| !daemon.is_running()) {
                return Err(NotYet::never("circusd has ended"));
            }
            match driver.exchange(&endpoint, "DEALER", &request, Duration::from_millis(200)) {
                Ok(answers) if !answers.is_empty() => Ok(()),
                Ok(_) => Err("no answer".into()),
                Err(error) => Err(error.to_string().into()),
            }
        });
        answered.map_err(|error| error.context(self.sandbox.logs()))
    }

    /// One request to the control endpoint. The real Circus refuses commands while its housekeeping runs (spec c.5);
    /// that is not what the transcripts are about, so it is asked again.
    pub fn exchange(
        &mut self,
        socket: &str,
        frames: &[Vec<u8>],
        wait: Duration,
        golden: Option<&str>,
    ) -> Result<Vec<Answer>> {
        let endpoint = self.control.clone();
        let (driver, subject) = (&mut self.driver, self.cast.daemon);
        wait_until(Duration::from_secs(10), "housekeeping lets a command through", || {
            let answers = driver.exchange(&endpoint, socket, frames, wait).map_err(|error| error.to_string())?;
            let refused = answers
                .iter()
                .flat_map(|answer| &answer.frames)
                .any(|frame| is_housekeeping(subject, frame, golden.unwrap_or_default()));
            if refused { Err("refused".to_owned()) } else { Ok(answers) }
        })
    }

    /// Tells circusd to end, and again while something that the last steps began is still going on.
    pub fn quit(&mut self, wait: Duration) -> Result<()> {
        let endpoint = self.control.clone();
        let request = json!({"id": "end", "command": "quit", "properties": {"waiting": true}}).to_string();
        let driver = &mut self.driver;
        wait_until(wait, "quit is accepted", || {
            let answers = driver.exchange(&endpoint, "DEALER", &[request.clone().into_bytes()], wait);
            let answers = answers.map_err(|error| error.to_string())?;
            let frames = answers.iter().flat_map(|answer| &answer.frames);
            let texts: Vec<String> = frames.map(|frame| String::from_utf8_lossy(frame).into_owned()).collect();
            if texts.iter().any(|text| text.contains("arbiter is already running")) {
                return Err(texts.concat());
            }
            Ok(())
        })
    }

    /// Does one of the harness's actions; gives the events that arrived while it took time.
    pub fn act(&mut self, action: &Action) -> Result<Vec<Event>> {
        match action {
            Action::Sleep { s } => return self.driver.events(Duration::try_from_secs_f64(*s)?, None),
            Action::BindPid { var, watcher, index } => {
                let pids = self.pids(watcher)?;
                let pid = pids.get(*index).with_context(|| format!("{watcher} has {pids:?}"))?;
                self.bound.insert(var.clone(), vec![*pid]);
            }
            Action::BindPids { var, watcher } => {
                let pids = self.pids(watcher)?;
                self.bound.insert(var.clone(), pids);
            }
            Action::Kill { var, index, signal: number } => {
                let pids = self.bound.get(var).context("a bound name")?;
                let number = Signal::from_named_raw(*number).context("a signal")?;
                for pid in pids.iter().skip(index.unwrap_or(0)).take(if index.is_some() { 1 } else { usize::MAX }) {
                    signal(*pid, number);
                }
            }
            Action::SignalDaemon { signal } => {
                let number = signal_by_name(signal).with_context(|| format!("no signal {signal}"))?;
                self.daemon.as_ref().context("circusd was started")?.signal(number)?;
            }
            Action::WaitExit { s } => {
                self.wait_exit(Duration::try_from_secs_f64(*s)?)?;
            }
            Action::Occupy { port, var } => {
                let port: u16 = self.fill(port).parse()?;
                self.occupied.insert(var.clone(), TcpListener::bind((Ipv4Addr::LOCALHOST, port))?);
            }
            Action::Close { var } => {
                self.occupied.remove(var);
            }
            Action::StartDaemon { args, config, delay } => {
                self.start_daemon(args, config)?;
                self.await_control()?;
                return self.driver.events(Duration::try_from_secs_f64(*delay)?, None);
            }
            Action::WriteIni { text } => self.configure(text)?,
            Action::UnlinkIni => std::fs::remove_file(self.sandbox.work().join("circus.ini"))?,
            Action::Rename { src, dst } => std::fs::rename(self.fill(src), self.fill(dst))?,
            Action::Heartbeats { port, var, count, every } => {
                let port: u16 = self.fill(port).parse()?;
                let pids = self.bound.get(var).cloned().context("a bound name")?;
                let beats = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
                let mut events = Vec::new();
                for _ in 0..*count {
                    for pid in &pids {
                        beats.send_to(format!("{pid};0").as_bytes(), (Ipv4Addr::LOCALHOST, port))?;
                    }
                    events.extend(self.driver.events(Duration::try_from_secs_f64(*every)?, None)?);
                }
                return Ok(events);
            }
        }
        Ok(Vec::new())
    }

    /// Which of the processes bound to that name live.
    pub fn alive(&self, var: &str) -> Vec<bool> {
        let pids = self.bound.get(var).into_iter().flatten();
        pids.map(|pid| ringmaster_tests::processes::is_alive(*pid)).collect()
    }

    pub fn pids(&mut self, watcher: &str) -> Result<Vec<i32>> {
        let endpoint = self.control.clone();
        let reply = self.driver.call(&endpoint, "list", &json!({"name": watcher}))?;
        let pids = reply.get("pids").and_then(|pids| pids.as_array()).with_context(|| reply.to_string())?;
        Ok(pids.iter().filter_map(|pid| i32::try_from(pid.as_i64()?).ok()).collect())
    }

    /// Names of what the core holds: the processes of `keep`, which uses Papa in the transcript about it (here the core has the others,
    /// too), and the sockets. None when there is no core.
    pub fn held(&self) -> Result<(Vec<String>, Vec<String>)> {
        let instances = std::fs::read_dir(self.sandbox.run())?;
        let sockets = instances.flatten().map(|instance| instance.path().join("sock"));
        let Some(core) = sockets.filter_map(|socket| UnixStream::connect(socket).ok()).next() else {
            return Ok((Vec::new(), Vec::new()));
        };
        core.set_read_timeout(Some(START))?;
        (&core).write_all(b"list processes circus.keep.*\nlist sockets circus.*\n")?;
        core.shutdown(Shutdown::Write)?;
        let mut said = String::new();
        (&core).read_to_string(&mut said)?;
        let names = |kind: &str| -> Vec<String> {
            let of_kind = said.lines().filter(|line| line.contains(kind));
            let words = of_kind.filter_map(|line| line.trim_start_matches("> ").split_whitespace().next());
            words.map(|word| word.trim_end_matches(':').to_owned()).collect()
        };
        Ok((names(" pid="), names(" fileno=")))
    }

    pub fn daemon_pid(&self) -> i32 {
        self.daemon.as_ref().map(Daemon::pid).unwrap_or_default()
    }

    pub fn daemon_runs(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(Daemon::is_running)
    }

    pub fn daemon_log(&self) -> String {
        self.daemon.as_ref().map(Daemon::stderr).unwrap_or_default()
    }

    pub fn wait_exit(&mut self, limit: Duration) -> Result<i32> {
        self.daemon.as_mut().context("circusd was started")?.wait(limit)
    }

    /// Whose program a step runs.
    pub fn subject_of(&self, run: &Run) -> Subject {
        match run.argv.first().map(String::as_str) {
            Some("circusctl") => self.cast.ctl,
            _ => self.cast.daemon,
        }
    }

    /// Runs a program of a step to its end; `None` for one that ours does not have yet, and for the real `circusctl` on
    /// its default endpoint while somebody's own circusd serves that.
    pub fn run(&mut self, run: &Run) -> Result<Option<Outcome>> {
        let argv: Vec<String> = run.argv.iter().map(|word| self.fill(word)).collect();
        let (name, arguments) = argv.split_first().context("a program")?;
        let subject = self.subject_of(run);
        let is_default = argv.as_slice() == ["circusctl"] && run.env.is_empty();
        if is_default && subject == Subject::Circus && TcpStream::connect((Ipv4Addr::LOCALHOST, 5555)).is_ok() {
            println!("port 5555 is in use: the default endpoint is not tried");
            return Ok(None);
        }
        let path = match name.as_str() {
            "circusctl" => Sandbox::program(subject, Program::Circusctl)?,
            "circusd" => Sandbox::program(subject, Program::Circusd)?,
            other if subject == Subject::Circus => Venv::get()?.program(other),
            _ => return Ok(None),
        };
        let mut command = self.sandbox.command(path);
        for (key, value) in &run.env {
            command.env(key, self.fill(value));
        }
        let mut child = command
            .args(arguments)
            .stdin(if run.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let (Some(mut input), Some(text)) = (child.stdin.take(), &run.stdin) {
            // A program that has ended does not read; its exit status tells the story.
            let _ = input.write_all(text.as_bytes());
        }
        let outputs = (read_all(child.stdout.take()), read_all(child.stderr.take()));
        let ended_by_us = self.watch(&mut child, run)?;
        let status = child.wait()?;
        Ok(Some(Outcome {
            exit_code: exit_code(status),
            ended_by_us,
            stdout: outputs.0.join().unwrap_or_default(),
            stderr: outputs.1.join().unwrap_or_default(),
        }))
    }

    /// Shows the statistics on a terminal of the size with which the transcript was taken, until all of these texts were there.
    pub fn top(&self, texts: &[String]) -> Result<()> {
        let path = Sandbox::program(self.cast.ctl, Program::CircusTop)?;
        let endpoint = format!("tcp://127.0.0.1:{}", self.sandbox.port(2));
        let mut terminal = Terminal::sized(&self.sandbox, (40, 80), &path, &["--endpoint", &endpoint])?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        terminal.see_all(&texts)?;
        terminal.keys("\x03")?;
        terminal.end().map(drop)
    }

    /// Waits for the program's end or ends it; true when it was ended.
    fn watch(&mut self, child: &mut Child, run: &Run) -> Result<bool> {
        if let Some(interrupt) = &run.interrupt {
            let mut left = interrupt.after;
            if let Some(victim) = &interrupt.kill {
                pass(Duration::try_from_secs_f64(victim.after)?);
                left -= victim.after;
                let pids = self.pids(&victim.watcher)?;
                signal(*pids.get(victim.index).context("the victim lives")?, Signal::KILL);
            }
            pass(Duration::try_from_secs_f64(left)?);
            signal(i32::try_from(child.id())?, Signal::INT);
        }
        let limit = run
            .limit
            .map(Duration::try_from_secs_f64)
            .transpose()?
            .unwrap_or(if run.argv.first().is_some_and(|name| name == "circusd") { DAEMON } else { PROGRAM });
        let ended = wait_until(limit, "the program ends", || match child.try_wait() {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err("it runs".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        if ended.is_err() {
            signal(i32::try_from(child.id())?, Signal::TERM);
            let obeyed = wait_until(PROGRAM, "it obeys SIGTERM", || match child.try_wait() {
                Ok(Some(_)) => Ok(()),
                other => Err(format!("{other:?}")),
            });
            if obeyed.is_err() {
                child.kill()?;
            }
        }
        Ok(ended.is_err())
    }
}

fn read_all(source: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut source) = source {
            // What came before an error is what there is to compare.
            let _ = source.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Whether the subject answers like Circus's housekeeping: refused for a moment, for no reason of the client's.
fn is_housekeeping(subject: Subject, observed: &[u8], golden: &str) -> bool {
    let text = "arbiter is already running manage_watchers command";
    subject == Subject::Circus && !golden.contains(text) && String::from_utf8_lossy(observed).contains(text)
}
