//! A whole running stack for a story: sandbox, configuration, `circusd`, and a client that talks to it.

use crate::daemon::{Daemon, subject};
use crate::driver::Driver;
use crate::sandbox::Sandbox;
use crate::wait::wait_until;
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
}

impl Stack {
    /// Writes `circus.ini` with the endpoints of the sandbox, the lines `circus` in its first section and then `rest`.
    pub fn new(name: &str, circus: &str, rest: &str) -> Result<Self> {
        let sandbox = Sandbox::new(name)?;
        let ini = format!("{}{circus}\n{rest}", sandbox.circus_section());
        sandbox.write("circus.ini", &ini)?;
        Ok(Self {
            sandbox,
            driver: Driver::start()?,
            daemon: None,
        })
    }

    /// Starts circusd and waits until it answers.
    pub fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.await_answer()
    }

    /// Starts circusd and does not wait for anything.
    pub fn spawn(&mut self) -> Result<()> {
        self.daemon = Some(self.sandbox.start(subject(), &["circus.ini"])?);
        Ok(())
    }

    /// Waits until every watcher that starts by itself is active.
    pub fn await_answer(&mut self) -> Result<()> {
        let endpoint = self.sandbox.endpoint();
        let request = [br#"{"command": "status"}"#.to_vec()];
        let (driver, daemon) = (&mut self.driver, &mut self.daemon);
        let answered = wait_until(PATIENCE, "circusd answers and has started its watchers", || {
            if daemon.as_mut().is_some_and(|daemon| !daemon.is_running()) {
                return Err("circusd has ended".to_owned());
            }
            let answers = driver
                .exchange(&endpoint, "DEALER", &request, Duration::from_millis(300))
                .map_err(|error| error.to_string())?;
            let frame = answers
                .first()
                .and_then(|answer| answer.frames.first())
                .ok_or("no answer")?;
            let text = String::from_utf8_lossy(frame).into_owned();
            if text.contains("\"starting\"") {
                Err(text)
            } else {
                Ok(())
            }
        });
        answered.map_err(|error| error.context(self.sandbox.logs()))
    }

    /// One call through the real `circus.client`; an error status is an error.
    pub fn call(&mut self, command: &str, properties: &Value) -> Result<Value> {
        let reply = self.driver.call(&self.sandbox.endpoint(), command, properties)?;
        ensure!(
            reply.get("status") != Some(&json!("error")),
            "{command} {properties}: {reply}"
        );
        Ok(reply)
    }

    /// The processes of a watcher.
    pub fn pids(&mut self, watcher: &str) -> Result<Vec<i32>> {
        let reply = self.call("list", &json!({"name": watcher}))?;
        let pids = reply
            .get("pids")
            .and_then(Value::as_array)
            .with_context(|| reply.to_string())?;
        Ok(pids
            .iter()
            .filter_map(|pid| i32::try_from(pid.as_i64()?).ok())
            .collect())
    }

    /// The processes of each watcher by their number within it.
    pub fn wids(&mut self, watcher: &str) -> Result<BTreeMap<i64, i32>> {
        let reply = self.call("stats", &json!({"name": watcher}))?;
        let infos = reply
            .get("info")
            .and_then(Value::as_object)
            .with_context(|| reply.to_string())?;
        infos
            .iter()
            .map(|(pid, info)| {
                let wid = info
                    .get("wid")
                    .and_then(Value::as_i64)
                    .with_context(|| info.to_string())?;
                Ok((wid, pid.parse()?))
            })
            .collect()
    }

    /// Waits until a watcher has exactly `count` processes and gives them.
    pub fn await_count(&mut self, watcher: &str, count: usize) -> Result<Vec<i32>> {
        wait_until(
            PATIENCE,
            &format!("{watcher} has {count} processes"),
            || match self.pids(watcher) {
                Ok(pids) if pids.len() == count => Ok(pids),
                Ok(pids) => Err(format!("{pids:?}")),
                Err(error) => Err(format!("{error:#}")),
            },
        )
    }

    /// Ends circusd as nothing can resist.
    pub fn kill_daemon(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("circusd was started")?;
        daemon.signal(Signal::KILL)?;
        let code = daemon.wait(PATIENCE)?;
        ensure!(
            code == -9,
            "circusd ended with {code} before it was killed\n{}",
            daemon.stderr()
        );
        Ok(())
    }

    /// `quit`, and the right exit status.
    pub fn quit(&mut self) -> Result<()> {
        self.call("quit", &json!({"waiting": true}))?;
        let mut daemon = self.daemon.take().context("circusd was started")?;
        let code = daemon.wait(PATIENCE)?;
        ensure!(
            code == 0,
            "circusd ended with {code} after quit\n{}",
            daemon.stderr()
        );
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
