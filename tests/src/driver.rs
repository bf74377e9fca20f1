//! ZMQ through the real libzmq and the real `circus.client`: a Python program that does what it is told, line by line.

use crate::venv::Venv;
use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// What an answer may take longer than the time that the request itself names.
const PATIENCE: Duration = Duration::from_secs(60);

/// One message from a PUB socket.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Seconds since the Unix epoch at which it arrived.
    pub at: f64,
    /// First frame.
    pub topic: String,
    /// Second frame, as JSON.
    pub body: Value,
}

/// An answer from a ROUTER socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// All frames.
    pub frames: Vec<Vec<u8>>,
}

/// The program; ends with the value.
#[derive(Debug)]
pub struct Driver {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Driver {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/driver.py");
        let mut child = Command::new(Venv::get()?.program("python"))
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("a pipe was asked for")?;
        let output = BufReader::new(child.stdout.take().context("a pipe was asked for")?);
        Ok(Self { child, input, output })
    }

    /// Waits until it can be asked. Python imports for a fifth of a second of processor time, which nobody wants in a measurement.
    pub fn await_ready(&mut self) -> Result<()> {
        self.events(Duration::ZERO, None).map(drop)
    }

    /// Subscribes to everything on a PUB endpoint; it need not exist yet.
    pub fn subscribe(&mut self, endpoint: &str) -> Result<()> {
        self.ask(&json!({"op": "subscribe", "endpoint": endpoint}), Duration::ZERO)?;
        Ok(())
    }

    /// The events that have come and those of the next `span`; stops early when `count` are there.
    pub fn events(&mut self, span: Duration, count: Option<usize>) -> Result<Vec<Event>> {
        let answer = self.ask(&json!({"op": "events", "for": span.as_secs_f64(), "count": count}), span)?;
        let events = answer.get("events").and_then(Value::as_array).context("events")?;
        events.iter().map(read_event).collect()
    }

    /// Sends one message on a fresh socket (`DEALER`, `REQ`) and gives what comes back within `wait`.
    pub fn exchange(
        &mut self,
        endpoint: &str,
        socket: &str,
        frames: &[Vec<u8>],
        wait: Duration,
    ) -> Result<Vec<Answer>> {
        let frames: Vec<String> = frames.iter().map(|frame| to_hex(frame)).collect();
        let request = json!({"op": "exchange", "endpoint": endpoint, "socket": socket, "frames": frames,
            "wait": wait.as_secs_f64()});
        let answer = self.ask(&request, wait)?;
        let replies = answer.get("replies").and_then(Value::as_array).context("replies")?;
        replies.iter().map(|reply| Ok(Answer { frames: read_frames(reply)? })).collect()
    }

    /// One call through `circus.client.CircusClient`.
    pub fn call(&mut self, endpoint: &str, command: &str, properties: &Value) -> Result<Value> {
        let limit = Duration::from_secs(20);
        let request = json!({"op": "call", "endpoint": endpoint, "command": command,
            "properties": properties, "timeout": limit.as_secs_f64()});
        let mut answer = self.ask(&request, limit)?;
        match answer.get_mut("reply") {
            Some(reply) => Ok(reply.take()),
            None => bail!("circus.client, {command}: {answer}"),
        }
    }

    /// Seconds of each of `count` calls, one after the other over one connection of `CircusClient`.
    pub fn round_trips(&mut self, endpoint: &str, count: usize) -> Result<Vec<f64>> {
        let request = json!({"op": "round_trips", "endpoint": endpoint, "count": count});
        let answer = self.ask(&request, Duration::from_secs(60))?;
        let seconds = answer.get("seconds").and_then(Value::as_array).context("seconds")?;
        Ok(seconds.iter().filter_map(Value::as_f64).collect())
    }

    fn ask(&mut self, request: &Value, takes: Duration) -> Result<Value> {
        writeln!(self.input, "{request}").context("the ZMQ driver has ended")?;
        self.await_line(takes + PATIENCE)?;
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("the ZMQ driver ended at {request}");
        }
        let answer: Value = serde_json::from_str(&line)?;
        if let Some(error) = answer.get("error") {
            bail!("the ZMQ driver could not do {request}: {error}");
        }
        Ok(answer)
    }

    fn await_line(&mut self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        while self.output.buffer().is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(self.output.get_ref(), PollFlags::IN)];
            match poll(&mut fds, Some(&Timespec::try_from(left)?)) {
                Ok(0) => bail!("the ZMQ driver gave no answer within {limit:?}"),
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_event(event: &Value) -> Result<Event> {
    let frames = read_frames(event)?;
    let [topic, body] = frames.as_slice() else {
        bail!("an event has two frames, not {}", frames.len());
    };
    Ok(Event {
        at: event.get("at").and_then(Value::as_f64).unwrap_or_default(),
        topic: String::from_utf8_lossy(topic).into_owned(),
        body: serde_json::from_slice(body).context("the second frame of an event is JSON")?,
    })
}

fn read_frames(value: &Value) -> Result<Vec<Vec<u8>>> {
    let frames = value.get("frames").and_then(Value::as_array).context("frames")?;
    frames.iter().map(|frame| from_hex(frame.as_str().context("a frame is text")?)).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of a hexadecimal text.
pub fn from_hex(text: &str) -> Result<Vec<u8>> {
    (0..text.len() / 2)
        .map(|at| {
            let digits = text.get(at * 2..at * 2 + 2).context("two digits a byte")?;
            Ok(u8::from_str_radix(digits, 16)?)
        })
        .collect()
}
