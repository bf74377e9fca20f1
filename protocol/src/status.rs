//! What a core says of itself: the question as bytes, the answer from bytes, and the answer as it is shown.
//!
//! `papa status`, `circusctl kernel` and the command `status` of the text protocol show the same rows and the same JSON;
//! they are written here once. Sockets, deadlines and exit codes are the callers'.

use crate::frame::{Frame, FrameError, FrameReader, Kind, PREFACE};
use crate::message::{Hello, PROTOCOL, Refusal, Reply, Request, Role, Status, StatusReply};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// Why what came is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The bytes are not frames.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// The core said no.
    #[error("the core refused: {0}")]
    Refused(Refusal),
    /// Something that no core says.
    #[error("the core gave an answer that cannot be read")]
    Nonsense,
}

/// One question, asked over a connection of its own.
#[derive(Debug)]
pub struct Question {
    reader: FrameReader,
}

impl Question {
    /// The question, and the bytes that ask it. `build`: name and version of who asks.
    pub fn new(build: &str) -> (Self, Vec<u8>) {
        let (build, role) = (build.to_owned(), Role::Tool);
        let hello = Hello { oldest: PROTOCOL, newest: PROTOCOL, build, role, ext: Vec::new() };
        let mut bytes = PREFACE.to_vec();
        // Two requests of a few bytes are below every limit.
        Request::from(hello).frame(1).encode(&mut bytes);
        Request::from(Status::default()).frame(2).encode(&mut bytes);
        (Self { reader: FrameReader::new() }, bytes)
    }

    /// Takes bytes as they arrive; gives the answer when it is complete.
    ///
    /// # Errors
    /// See [`NoAnswer`]; nothing more is to be expected then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<StatusReply>, NoAnswer> {
        self.reader.push(bytes);
        while let Some(frame) = self.reader.next_frame()? {
            if let Some(reply) = understand(&frame)? {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }
}

fn understand(frame: &Frame) -> Result<Option<StatusReply>, NoAnswer> {
    match frame.kind {
        Kind::Refusal => {
            let refusal = Refusal::decode(frame.message, &frame.body);
            Err(refusal.map_or(NoAnswer::Nonsense, NoAnswer::Refused))
        }
        Kind::Reply => match Reply::decode(frame.message, &frame.body) {
            Ok(Reply::StatusReply(reply)) => Ok(Some(reply)),
            Ok(Reply::Welcome(_)) => Ok(None),
            Ok(_) | Err(_) => Err(NoAnswer::Nonsense),
        },
        Kind::Notice => Ok(None),
        Kind::Request | Kind::Cast => Err(NoAnswer::Nonsense),
    }
}

/// The answer for people: a row for each fact, then one for each guarantee.
pub fn text(reply: &StatusReply) -> String {
    let lease = reply.lease.as_ref().map_or_else(
        || "nobody".to_owned(),
        |lease| format!("{} (pid {}, epoch {})", lease.holder, lease.pid, lease.epoch),
    );
    let rows = [
        ("version", reply.version.clone()),
        ("keeper pid", reply.keeper_pid.to_string()),
        ("kernel pid", reply.kernel_pid.to_string()),
        ("uptime", format!("{}.{:03} s", reply.uptime_ms / 1000, reply.uptime_ms % 1000)),
        ("managed by", lease),
        ("processes", reply.processes.to_string()),
        ("sockets", reply.sockets.to_string()),
        ("values", reply.values.to_string()),
        ("clients", reply.clients.to_string()),
        ("buffered", format!("{} bytes", reply.buffered_bytes)),
        ("lost", format!("{} bytes", reply.lost_bytes)),
    ];
    let mut out = String::new();
    // Writing to a String cannot fail.
    for (name, value) in rows {
        let _ = writeln!(out, "{name:<12} {value}");
    }
    let width = reply.guarantees.iter().map(|guarantee| guarantee.name.len()).max();
    let width = width.unwrap_or(0);
    for guarantee in &reply.guarantees {
        let sign = if guarantee.holds { "yes" } else { "no" };
        let _ = writeln!(out, "{:<width$} {sign:<3}  {}", guarantee.name, guarantee.reason);
    }
    out
}

/// The answer for programs. `started` is in seconds since the Unix epoch, `lease` is null when nobody holds it.
pub fn json(reply: &StatusReply) -> Value {
    let guarantees = reply.guarantees.iter();
    let guarantees = guarantees.map(|one| json!({"name": one.name, "holds": one.holds, "reason": one.reason}));
    let lease = reply.lease.as_ref();
    let lease = lease.map(|lease| json!({"holder": lease.holder, "pid": lease.pid, "epoch": lease.epoch}));
    json!({
        "version": reply.version,
        "keeper_pid": reply.keeper_pid,
        "kernel_pid": reply.kernel_pid,
        "started": Duration::from_nanos(reply.started_ns).as_secs_f64(),
        "uptime_s": Duration::from_millis(reply.uptime_ms).as_secs_f64(),
        "lease": lease,
        "processes": reply.processes,
        "sockets": reply.sockets,
        "values": reply.values,
        "clients": reply.clients,
        "buffered_bytes": reply.buffered_bytes,
        "lost_bytes": reply.lost_bytes,
        "guarantees": guarantees.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Guarantee, LeaseInfo};

    fn reply() -> StatusReply {
        StatusReply {
            version: "1.2.3".into(),
            keeper_pid: 10,
            kernel_pid: 11,
            started_ns: 1_500_000_000,
            uptime_ms: 61_005,
            processes: 3,
            sockets: 2,
            values: 1,
            clients: 2,
            buffered_bytes: 4096,
            lost_bytes: 0,
            lease: Some(LeaseInfo { pid: 12, holder: "circusd".into(), epoch: 4 }),
            guarantees: vec![Guarantee { name: "some-promise".into(), holds: false, reason: "a \"test\"".into() }],
            ext: Vec::new(),
        }
    }

    #[test]
    fn the_answer_is_found_whatever_its_portions() {
        let (mut question, asked) = Question::new("test");
        assert!(asked.starts_with(&PREFACE));
        let mut bytes = Vec::new();
        assert!(Reply::from(reply()).frame(2).encode(&mut bytes));
        let (last, first) = bytes.split_last().unwrap();
        assert_eq!(question.push(first), Ok(None));
        assert_eq!(question.push(&[*last]), Ok(Some(reply())));
    }

    #[test]
    fn a_refusal_and_nonsense_are_told_apart() {
        let refused = |frame: Frame| {
            let mut bytes = Vec::new();
            assert!(frame.encode(&mut bytes));
            Question::new("test").0.push(&bytes).unwrap_err()
        };
        assert_eq!(refused(Refusal::NoHello.frame(2, 2)), NoAnswer::Refused(Refusal::NoHello));
        assert_eq!(refused(Request::from(Status::default()).frame(1)), NoAnswer::Nonsense);
    }

    #[test]
    fn rows_for_people_and_an_object_for_programs() {
        let shown = text(&reply());
        for row in
            ["uptime       61.005 s\n", "managed by   circusd (pid 12, epoch 4)\n", "some-promise no   a \"test\"\n"]
        {
            assert!(shown.contains(row), "{row} is missing in {shown}");
        }
        let shown = json(&reply());
        assert_eq!((shown["started"].as_f64(), shown["uptime_s"].as_f64()), (Some(1.5), Some(61.005)));
        assert_eq!((&shown["lease"]["epoch"], &shown["guarantees"][0]["reason"]), (&json!(4), &json!("a \"test\"")));
        let alone = StatusReply { lease: None, ..reply() };
        assert_eq!(json(&alone)["lease"], Value::Null);
    }
}
