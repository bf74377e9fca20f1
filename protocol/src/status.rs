//! What a core says of itself: the question as bytes, the answer from bytes, and the answer as it is shown.
//!
//! `papa status`, `circusctl kernel` and the command `status` of the text protocol show the same rows and the same JSON;
//! they are written here once. Sockets, deadlines and exit codes are the callers'.

use crate::frame::{Frame, FrameError, FrameReader, Kind, PREFACE};
use crate::message::{
    DEATHS, Hello, LAST_UPGRADE, PROTOCOL, Refusal, Reply, Request, Role, SAFE_MODE, Status, StatusReply,
};
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
    /// The question how the core does, and the bytes that ask it. `build`: name and version of who asks.
    pub fn new(build: &str) -> (Self, Vec<u8>) {
        Self::about(build, Status::default())
    }

    /// Any one request, and the bytes that ask it.
    pub fn about(build: &str, request: impl Into<Request>) -> (Self, Vec<u8>) {
        let (build, role) = (build.to_owned(), Role::Tool);
        let hello = Hello { oldest: PROTOCOL, newest: PROTOCOL, build, role, ext: Vec::new() };
        let mut bytes = PREFACE.to_vec();
        // Two requests of a few bytes are below every limit.
        Request::from(hello).frame(1).encode(&mut bytes);
        request.into().frame(2).encode(&mut bytes);
        (Self { reader: FrameReader::new() }, bytes)
    }

    /// Takes bytes as they arrive; gives the core's status when it is complete.
    ///
    /// # Errors
    /// See [`NoAnswer`]; nothing more is to be expected then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<StatusReply>, NoAnswer> {
        match self.push_any(bytes)? {
            Some(Reply::StatusReply(reply)) => Ok(Some(reply)),
            Some(_) => Err(NoAnswer::Nonsense),
            None => Ok(None),
        }
    }

    /// Takes bytes as they arrive; gives the answer, whatever it is.
    ///
    /// # Errors
    /// See [`NoAnswer`]; nothing more is to be expected then.
    pub fn push_any(&mut self, bytes: &[u8]) -> Result<Option<Reply>, NoAnswer> {
        self.reader.push(bytes);
        while let Some(frame) = self.reader.next_frame()? {
            if let Some(reply) = understand(&frame)? {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }
}

fn understand(frame: &Frame) -> Result<Option<Reply>, NoAnswer> {
    match frame.kind {
        Kind::Refusal => {
            let refusal = Refusal::decode(frame.message, &frame.body);
            Err(refusal.map_or(NoAnswer::Nonsense, NoAnswer::Refused))
        }
        Kind::Reply => match Reply::decode(frame.message, &frame.body) {
            Ok(Reply::Welcome(_)) => Ok(None),
            Ok(reply) => Ok(Some(reply)),
            Err(_) => Err(NoAnswer::Nonsense),
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
    let more = [
        (
            "restarts",
            restarts(reply)
                .map(|[kernel, keeper, upgrades]| format!("kernel {kernel}, keeper {keeper}, upgrades {upgrades}")),
        ),
        ("upgrade", last_upgrade(reply)),
        ("safe mode", addition(reply, SAFE_MODE).map(|_| "it takes no requests but this one for a moment".to_owned())),
    ];
    let more = more.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let mut out = String::new();
    // Writing to a String cannot fail.
    for (name, value) in rows.into_iter().chain(more) {
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

/// What came of the last upgrade, if there was one; see [`LAST_UPGRADE`].
pub fn last_upgrade(reply: &StatusReply) -> Option<String> {
    addition(reply, LAST_UPGRADE).map(|text| String::from_utf8_lossy(text).into_owned())
}

/// Deaths of the kernel half and of the keeper, and upgrades; see [`DEATHS`]. `None`: a core that does not count them.
pub fn restarts(reply: &StatusReply) -> Option<[u64; 3]> {
    let (numbers, _) = addition(reply, DEATHS)?.as_chunks::<8>();
    let numbers: Vec<u64> = numbers.iter().map(|number| u64::from_le_bytes(*number)).collect();
    numbers.try_into().ok()
}

/// Whether the core takes no requests for a moment; see [`SAFE_MODE`].
pub fn is_in_safe_mode(reply: &StatusReply) -> bool {
    addition(reply, SAFE_MODE).is_some()
}

fn addition(reply: &StatusReply, tag: u16) -> Option<&[u8]> {
    reply.ext.iter().find(|(known, _)| *known == tag).map(|(_, bytes)| bytes.as_slice())
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
        "restarts": restarts(reply).map(|[kernel, keeper, upgrades]| {
            json!({"kernel": kernel, "keeper": keeper, "upgrades": upgrades})
        }),
        "last_upgrade": last_upgrade(reply),
        "safe_mode": is_in_safe_mode(reply),
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
        assert_eq!(json(&alone)["restarts"], Value::Null);
    }

    #[test]
    fn additions_are_shown_when_they_are_there() {
        let deaths = [1, 2, 3].map(u64::to_le_bytes).concat();
        let ext = vec![(DEATHS, deaths), (LAST_UPGRADE, b"done: x".to_vec()), (SAFE_MODE, vec![])];
        let reply = StatusReply { ext, ..reply() };
        let shown = text(&reply);
        for row in ["restarts     kernel 1, keeper 2, upgrades 3\n", "upgrade      done: x\n", "safe mode    it takes"]
        {
            assert!(shown.contains(row), "{row} is missing in {shown}");
        }
        assert_eq!((&json(&reply)["restarts"]["keeper"], &json(&reply)["safe_mode"]), (&json!(2), &json!(true)));
    }
}
