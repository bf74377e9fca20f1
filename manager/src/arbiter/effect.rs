//! What the arbiter wants done. The shell does it, in order, and knows nothing about why.

use super::{About, SocketChange, Write};
use crate::endpoints::ClientId;
use crate::hooks::HookCall;
use crate::metrics::Snapshot;
use crate::options::{Identity, Signal, StreamOptions};
use crate::process::{Launch, Wid};
use crate::streams::PythonPlace;
use crate::watcher::WatcherId;
use ringmaster_protocol::message::{ProcessId, Target};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// Who is to be answered, when somebody is.
#[derive(Debug, Clone, PartialEq)]
pub struct Asker {
    /// The connection; `None` for a cast and for what circusd does by itself.
    pub client: Option<ClientId>,
    /// Comes back with the answer.
    pub id: Value,
    /// What is noted of the time that the answer takes.
    pub timing: Option<Timing>,
}

/// When which command arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Its name.
    pub command: &'static str,
    /// When, on the monotonic clock.
    pub arrived: Duration,
}

impl Asker {
    /// For what nobody waits for.
    pub fn nobody() -> Self {
        Self { client: None, id: Value::Null, timing: None }
    }
}

/// A question about processes that only /proc can answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    /// `dstats`: circusd itself.
    Own,
    /// `stats` of all watchers: `(name, processes)`.
    All(Vec<(String, Vec<Sampled>)>),
    /// `stats` of one watcher.
    Watcher(String, Vec<Sampled>),
    /// `stats` of one process; the value is echoed as it was sent.
    Process(Value, Sampled),
}

/// A process to look at, with what only the manager knows of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampled {
    /// Its pid.
    pub pid: i32,
    /// Seconds since the Unix epoch.
    pub started: f64,
    /// Its number.
    pub wid: u32,
    /// Bytes of its output that are in no log.
    pub lost: u64,
}

/// How circusd ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The process ends.
    Quit,
    /// The configuration is read again and everything begins anew in the same process (spec b.6).
    Restart,
    /// Nothing ends but this program, which another one replaces in the same process.
    Upgrade,
    /// Everything was left to another program, when somebody asked circusd to end: a further life is to do that.
    CalledOff,
}

/// Everything that the arbiter can want.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send one payload to one client.
    Reply {
        /// Whom.
        client: ClientId,
        /// What.
        payload: Vec<u8>,
        /// Since when it is waited for; of no interest to the shell.
        timing: Option<Timing>,
    },
    /// Publish one event.
    Publish {
        /// `watcher.NAME.EVENT`.
        topic: String,
        /// JSON.
        payload: Vec<u8>,
        /// What is remembered of it; of no interest to the shell.
        about: About,
    },
    /// Note events, before anything else of this turn is done.
    Journal(JournalWrite),
    /// Ask the core for a process; comes back as `Event::Spawned`.
    Spawn(Box<Launch>),
    /// Ask the core to send a signal.
    Signal {
        /// Which process.
        process: ProcessId,
        /// `None`: 0, which only looks.
        signal: Option<Signal>,
        /// Whom it reaches.
        target: Target,
        /// What to do with the answer.
        then: AfterSignal,
    },
    /// The end of a process is taken care of; the core may forget it.
    Forget(ProcessId),
    /// A process is left to itself: it outlives every circusd from now on.
    LeaveAlone(ProcessId),
    /// Have the output of a process taken from its ring, through the streams of its watcher.
    Attach {
        /// Which process.
        process: ProcessId,
        /// Its number.
        wid: Wid,
        /// Whose streams.
        watcher: WatcherId,
    },
    /// Open the streams of a watcher.
    OpenStreams {
        /// Whose.
        watcher: WatcherId,
        /// For messages.
        name: String,
        /// Where stdout goes; `None`: captured output is discarded.
        stdout: Option<StreamOptions>,
        /// Where stderr goes.
        stderr: Option<StreamOptions>,
        /// What classes in Python have of the watcher.
        python: PythonPlace,
    },
    /// Close the streams of a watcher, after what it has written is in them.
    CloseStreams(WatcherId),
    /// Open log files anew (reload of everything).
    ReopenLogs,
    /// Look at processes; comes back as `Event::Sampled`, with the hook that is to see the facts first.
    Sample(Asker, Box<Sample>, Option<Box<HookCall>>),
    /// Tell what there is to be told in figures.
    Show(Box<Snapshot>),
    /// Call a hook; comes back as `Event::HookDone`.
    RunHook(Box<HookCall>),
    /// See whether a user and a group exist; comes back as `Event::Identified`.
    Identify {
        /// Who sent the request.
        client: ClientId,
        /// The request.
        payload: Vec<u8>,
        /// User.
        uid: Option<Identity>,
        /// Group.
        gid: Option<Identity>,
        /// When the request arrived.
        arrived: Option<Duration>,
    },
    /// Read the configuration again; comes back as `Event::ConfigRead`.
    ReadConfig,
    /// Close and bind sockets; comes back as `Event::Rebound`.
    Rebind(Box<SocketChange>),
    /// Look at these sockets, by their names at the core, and at no others; the first connection to each comes as
    /// `Event::Knocked`, after which it is not looked at any more.
    AwaitConnections(BTreeSet<String>),
    /// Have the core keep a value for the next circusd, or forget it; comes back as `Event::Stored`.
    Keep(Write),
    /// Have the program on disk try itself out; comes back as `Event::Tried`.
    TryUpgrade,
    /// Leave the loop.
    Finish(Ending),
}

/// What becomes of the journal of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalWrite {
    /// These lines follow.
    Append(Vec<u8>),
    /// This is all of it.
    Anew(Vec<u8>),
}

impl JournalWrite {
    /// Both in one: what comes after `before`.
    pub fn after(before: Option<Self>, write: Self) -> Self {
        match (before, write) {
            (Some(Self::Append(lines)), Self::Append(more)) => Self::Append([lines, more].concat()),
            (Some(Self::Anew(lines)), Self::Append(more)) => Self::Anew([lines, more].concat()),
            (_, write) => write,
        }
    }
}

/// What to do with the core's answer to a signal.
#[derive(Debug, Clone, PartialEq)]
pub enum AfterSignal {
    /// Nothing.
    Ignore,
    /// Publish a `kill` event for every pid that it reached.
    Announce(WatcherId),
    /// Answer the client; with this payload if it reached nobody.
    Answer(Asker, Vec<u8>),
}

#[cfg(test)]
mod tests {
    use super::JournalWrite::{self, Anew, Append};

    #[test]
    fn writes_in_a_row_are_one() {
        let all = [Append(vec![1]), Append(vec![2]), Anew(vec![3]), Append(vec![4]), Append(vec![5])];
        let joined = |count: usize| {
            all[..count].iter().cloned().fold(None, |before, write| Some(JournalWrite::after(before, write)))
        };
        let expected = [Append(vec![1]), Append(vec![1, 2]), Anew(vec![3]), Anew(vec![3, 4]), Anew(vec![3, 4, 5])];
        for (count, expected) in (1..).zip(expected) {
            assert_eq!(joined(count), Some(expected));
        }
    }
}
