//! One value of every message, with every field set to something that tells it from its neighbours. Frozen together
//! with the bytes.

mod replies;
mod requests;

use ringmaster_protocol::message::{Ext, Keeping, Notice, Refusal, Reply, Request, SpawnStep};
use ringmaster_protocol::ring::{Record, Stream, StreamEntry};

/// A message in its direction.
#[derive(Debug, PartialEq)]
pub enum Sample {
    Request(Request),
    Cast(Request),
    Reply(Reply),
    Notice(Notice),
    Refusal(Refusal),
}

/// All samples, in the order of their lines within a file.
pub fn all() -> Vec<Sample> {
    let mut samples: Vec<Sample> = requests::all().into_iter().map(Sample::Request).collect();
    samples.push(Sample::Cast(requests::ack(Stream::Stderr).into()));
    samples.extend(replies::all().into_iter().map(Sample::Reply));
    samples.extend(replies::notices().into_iter().map(Sample::Notice));
    samples.extend(refusals().into_iter().map(Sample::Refusal));
    samples
}

/// A later build's addition with an odd tag, which an old build ignores.
fn ext() -> Ext {
    vec![(0x0101, vec![0xaa, 0xbb])]
}

/// Every addition about what is kept.
pub fn keepings() -> Vec<Keeping> {
    vec![Keeping::DropNewest, Keeping::Spill { directory: b"/var/spool/circus".to_vec(), quota: 1 << 30 }]
}

/// A request to which additions can be made.
pub fn plain_spawn() -> Sample {
    let mut requests = requests::all().into_iter();
    Sample::Request(requests.find(|request| matches!(request, Request::Spawn(_))).unwrap())
}

/// Number of variants of [`Refusal`].
pub const REFUSALS: usize = 14;

/// Position of a variant; a new one does not compile until it is here and in [`refusals`].
pub fn refusal_index(refusal: &Refusal) -> usize {
    match refusal {
        Refusal::Unsupported { .. } => 0,
        Refusal::Malformed { .. } => 1,
        Refusal::Version { .. } => 2,
        Refusal::NoHello => 3,
        Refusal::NotFound { .. } => 4,
        Refusal::NameTaken { .. } => 5,
        Refusal::NoLease => 6,
        Refusal::LeaseHeld { .. } => 7,
        Refusal::NotPermitted { .. } => 8,
        Refusal::Invalid { .. } => 9,
        Refusal::Limit { .. } => 10,
        Refusal::StillRunning { .. } => 11,
        Refusal::SpawnFailed { .. } => 12,
        Refusal::System { .. } => 13,
    }
}

/// One of each, and one of each step of a spawn.
pub fn refusals() -> Vec<Refusal> {
    let (what, name) = ("process".to_owned(), "circus.web.1".to_owned());
    let steps = [
        SpawnStep::Prepare,
        SpawnStep::Clone,
        SpawnStep::Descriptors,
        SpawnStep::Session,
        SpawnStep::Rlimit,
        SpawnStep::WorkingDirectory,
        SpawnStep::Groups,
        SpawnStep::Gid,
        SpawnStep::Uid,
        SpawnStep::Exec,
    ];
    let failed = |step| Refusal::SpawnFailed { step, subject: "/no/such".into(), errno: 2 };
    let mut all = vec![
        Refusal::Unsupported { message: 99 },
        Refusal::Malformed { reason: "2 bytes are left over".into() },
        Refusal::Version { oldest: 1, newest: 1 },
        Refusal::NoHello,
        Refusal::NotFound { what: what.clone(), name: name.clone() },
        Refusal::NameTaken { what, name: name.clone() },
        Refusal::NoLease,
        Refusal::LeaseHeld { pid: 4000, holder: "circusd".into() },
        Refusal::NotPermitted { reason: "it belongs to another user".into() },
        Refusal::Invalid { field: "ring".into(), value: "1".into(), expected: "65536 or more".into() },
        Refusal::Limit { limit: "processes".into(), value: 4096 },
        Refusal::StillRunning { name },
        Refusal::System { action: "bind".into(), errno: 98 },
    ];
    all.extend(steps.map(failed));
    all
}

/// Records of the process file.
pub fn records() -> Vec<Record> {
    let first = Record { seq: 0, offset: 0, realtime_ns: 0, boottime_ns: 0 };
    let later = Record { seq: 1, offset: 0x0203, realtime_ns: 1_795_186_751_000_000_001, boottime_ns: u64::MAX };
    vec![first, later]
}

/// Stream entries of the process file.
pub fn stream_entries() -> Vec<StreamEntry> {
    let used = StreamEntry { records_at: 4096, records: 512, data_at: 20_480, capacity: 2 << 20, low: 0x0102_0304 };
    vec![StreamEntry::default(), used]
}
