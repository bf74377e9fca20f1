//! A whole running stack for a story: sandbox, configuration, `circusd`, and a client that talks to it.

use crate::daemon::{Daemon, Subject, subject};
use crate::driver::Driver;
use crate::sandbox::Sandbox;
use crate::wait::{NotYet, wait_until};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long circusd may take to start, to answer, or to end. Generous: other tests share the machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A stack. Stories start it, do something to it, and [`Stack::end`] it.
#[derive(Debug)]
pub struct Stack {
    /// Where it lives.
    pub sandbox: Sandbox,
    /// Its ZMQ client.
    pub driver: Driver,
    /// The running circusd.
    pub daemon: Option<Daemon>,
    subject: Subject,
}

impl Stack {
    /// Writes `circus.ini` with the endpoints of the sandbox, the lines `circus` in its first section and then `rest`.
    pub fn new(name: &str, circus: &str, rest: &str) -> Result<Self> {
        let stack = Self::empty(name, subject())?;
        stack.configure(circus, rest)?;
        Ok(stack)
    }

    /// A stack of a given implementation, without a configuration yet.
    pub fn empty(name: &str, subject: Subject) -> Result<Self> {
        let (sandbox, driver) = (Sandbox::new(name)?, Driver::start()?);
        Ok(Self { sandbox, driver, daemon: None, subject })
    }

    /// Writes the configuration as [`Stack::new`] does; for one that depends on the sandbox's own paths or ports.
    pub fn configure(&self, circus: &str, rest: &str) -> Result<()> {
        self.sandbox.write("circus.ini", &format!("{}{circus}\n{rest}", self.sandbox.circus_section()))?;
        Ok(())
    }

    /// Starts circusd and waits until it answers.
    pub fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.await_answer()
    }

    /// Starts circusd and does not wait for anything.
    pub fn spawn(&mut self) -> Result<()> {
        self.daemon = Some(self.sandbox.start(self.subject, &["circus.ini"])?);
        Ok(())
    }

    /// Waits until every watcher that starts by itself is active.
    pub fn await_answer(&mut self) -> Result<()> {
        let endpoint = self.sandbox.endpoint();
        let request = [br#"{"command": "status"}"#.to_vec()];
        let (driver, daemon) = (&mut self.driver, &mut self.daemon);
        let answered = wait_until(PATIENCE, "circusd answers and has started its watchers", || {
            if daemon.as_mut().is_some_and(|daemon| !daemon.is_running()) {
                return Err(NotYet::never("circusd has ended"));
            }
            let answers = driver
                .exchange(&endpoint, "DEALER", &request, Duration::from_millis(300))
                .map_err(|error| error.to_string())?;
            let frame = answers.first().and_then(|answer| answer.frames.first()).ok_or("no answer")?;
            let text = String::from_utf8_lossy(frame).into_owned();
            if text.contains("\"starting\"") { Err(text.into()) } else { Ok(()) }
        });
        answered.map_err(|error| error.context(self.sandbox.logs()))
    }

    /// One call through the real `circus.client`; an error status is an error.
    pub fn call(&mut self, command: &str, properties: &Value) -> Result<Value> {
        let reply = self.driver.call(&self.sandbox.endpoint(), command, properties)?;
        ensure!(reply.get("status") != Some(&json!("error")), "{command} {properties}: {reply}");
        Ok(reply)
    }

    /// The processes of a watcher.
    pub fn pids(&mut self, watcher: &str) -> Result<Vec<i32>> {
        let reply = self.call("list", &json!({"name": watcher}))?;
        let pids = reply.get("pids").and_then(Value::as_array).with_context(|| reply.to_string())?;
        Ok(pids.iter().filter_map(|pid| i32::try_from(pid.as_i64()?).ok()).collect())
    }

    /// The processes of each watcher by their number within it.
    pub fn wids(&mut self, watcher: &str) -> Result<BTreeMap<i64, i32>> {
        let reply = self.call("stats", &json!({"name": watcher}))?;
        let infos = reply.get("info").and_then(Value::as_object).with_context(|| reply.to_string())?;
        infos
            .iter()
            .map(|(pid, info)| {
                let wid = info.get("wid").and_then(Value::as_i64).with_context(|| info.to_string())?;
                Ok((wid, pid.parse()?))
            })
            .collect()
    }

    /// Waits until a watcher has exactly `count` processes and gives them.
    pub fn await_count(&mut self, watcher: &str, count: usize) -> Result<Vec<i32>> {
        wait_until(PATIENCE, &format!("{watcher} has {count} processes"), || match self.pids(watcher) {
            Ok(pids) if pids.len() == count => Ok(pids),
            Ok(pids) => Err(format!("{pids:?}")),
            Err(error) => Err(format!("{error:#}")),
        })
    }

    /// The processes of the implementation itself: circusd and the core.
    pub fn own_processes(&self) -> Vec<i32> {
        let is_core = |pid: i32| {
            let program = std::fs::read_link(format!("/proc/{pid}/exe"));
            program.is_ok_and(|program| program.file_name().is_some_and(|name| name == "papa"))
        };
        let manager = self.daemon.iter().map(Daemon::pid);
        let all = self.sandbox.processes();
        manager.chain(all.iter().map(|process| process.pid).filter(|pid| is_core(*pid))).collect()
    }

    /// Ends circusd as nothing can resist.
    pub fn kill_daemon(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("circusd was started")?;
        daemon.signal(Signal::KILL)?;
        let code = daemon.wait(PATIENCE)?;
        ensure!(code == -9, "circusd ended with {code} before it was killed\n{}", daemon.stderr());
        Ok(())
    }

    /// `quit`, and the right exit status.
    pub fn quit(&mut self) -> Result<()> {
        self.call("quit", &json!({"waiting": true}))?;
        let mut daemon = self.daemon.take().context("circusd was started")?;
        let code = daemon.wait(PATIENCE)?;
        ensure!(code == 0, "circusd ended with {code} after quit\n{}", daemon.stderr());
        Ok(())
    }

    /// The end of a story: services that would outlive circusd are stopped first; then nothing may be left.
    pub fn end(mut self) -> Result<()> {
        if self.daemon.is_none() {
            self.start()?;
        }
        self.call("stop", &json!({"waiting": true}))?;
        self.quit()?;
        self.sandbox.finish()
    }
}
