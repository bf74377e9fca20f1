//! The closed sets of what can happen to the core and of what it can want.

use super::Holes;
use super::authority::Peer;
use super::ring::{Capture, Captured, Ring};
use ringmaster_protocol::message::{
    Exit, ExitStatus, Lifetime, Listen, Notice, ProcessId, Refusal, Reply, Request, Rusage, SocketAddress, Spawn,
    Target,
};
use ringmaster_protocol::ring::Stream;

/// A connection; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// The time, taken once for each turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// `CLOCK_BOOTTIME`: for durations.
    pub boot_ns: u64,
    /// `CLOCK_REALTIME`: for people.
    pub real_ns: u64,
}

/// To whom an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    /// Which connection.
    pub client: ClientId,
    /// Number of the message that is answered.
    pub message: u16,
    /// Its request id; `None` for a cast, which is never answered.
    pub request: Option<u32>,
}

/// A process that was made, or found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its id.
    pub id: ProcessId,
    /// Its pid.
    pub pid: i32,
    /// Nanoseconds since the Unix epoch at its start.
    pub started_ns: u64,
    /// The rings of its captured streams, and whether their pipes are open.
    pub rings: [Option<(Ring, bool)>; 2],
    /// The number of its next record.
    pub seq: u64,
    /// When it had ended already.
    pub exit: Option<Exit>,
}

/// Whom the result of a signal concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalFor {
    /// A client asked.
    Client(ReplyTo),
    /// The lease has run out.
    Stop,
    /// Is anything left of the tree?
    Probe,
}

/// What can happen.
#[derive(Debug)]
pub enum Input {
    /// A client that may talk to us has connected.
    Connected {
        /// Its connection.
        client: ClientId,
        /// Who it is (`SO_PEERCRED`), and what it may do.
        peer: Peer,
    },
    /// A connection is gone.
    Disconnected {
        /// Which.
        client: ClientId,
    },
    /// A request that could be read.
    Request {
        /// From whom.
        to: ReplyTo,
        /// What.
        request: Box<Request>,
    },
    /// A request that could not be read.
    Unreadable {
        /// From whom.
        to: ReplyTo,
        /// Why.
        refusal: Refusal,
    },
    /// There is room for notices on a connection.
    Room {
        /// Which.
        client: ClientId,
        /// How many notices.
        notices: usize,
    },
    /// The outcome of [`Effect::Start`].
    Started {
        /// Who asked.
        to: ReplyTo,
        /// What was asked for.
        spawn: Box<Spawn>,
        /// What became of it.
        outcome: Result<Box<Made>, Refusal>,
    },
    /// A process of a former core was found again.
    Adopted {
        /// What had been asked for (without program and environment).
        spawn: Box<Spawn>,
        /// As found.
        made: Box<Made>,
    },
    /// A pipe is readable, or has rested.
    Readable {
        /// Whose.
        process: ProcessId,
        /// Which.
        stream: Stream,
    },
    /// The outcome of [`Effect::Widen`], when there is one.
    Widened {
        /// Whose.
        process: ProcessId,
        /// Which.
        stream: Stream,
        /// Bytes that the pipe takes now.
        room: u64,
    },
    /// The outcome of [`Effect::Capture`].
    Captured {
        /// Whose.
        process: ProcessId,
        /// Which.
        stream: Stream,
        /// How it went.
        outcome: Captured,
    },
    /// A process has ended; its pipes were drained as far as their rings allow.
    Ended {
        /// Which.
        process: ProcessId,
        /// How.
        status: ExitStatus,
        /// What it used.
        rusage: Rusage,
        /// Nanoseconds since the Unix epoch at which it was seen.
        realtime_ns: u64,
        /// Bytes of its output that are still in the pipes.
        pending: [u64; 2],
    },
    /// Descendants of some process, orphaned to the keeper, may have ended.
    OrphanEnded,
    /// The outcome of [`Effect::Signal`].
    Signalled {
        /// Which process.
        process: ProcessId,
        /// Whom it concerns.
        purpose: SignalFor,
        /// Whom it reached.
        outcome: Result<Vec<i32>, Refusal>,
    },
    /// The outcome of [`Effect::Bind`].
    Bound {
        /// Who asked; `None` at recovery.
        to: Option<ReplyTo>,
        /// What was asked for.
        listen: Box<Listen>,
        /// The number in children.
        number: u32,
        /// The address as bound.
        outcome: Result<SocketAddress, Refusal>,
    },
    /// The outcome of [`Effect::StoreValue`].
    ValueStored {
        /// Who asked; `None` at recovery.
        to: Option<ReplyTo>,
        /// Its name.
        name: String,
        /// Its file.
        number: u64,
        /// Whether it is there.
        outcome: Result<(), Refusal>,
    },
    /// The outcome of [`Effect::LoadValue`].
    ValueLoaded {
        /// Who asked.
        to: ReplyTo,
        /// The value.
        outcome: Result<Vec<u8>, Refusal>,
    },
    /// A person forgets a process, whether it lives or not.
    Abandon {
        /// Who; the answer is a refusal or done.
        to: ReplyTo,
        /// Which.
        process: ProcessId,
    },
    /// SIGTERM or SIGINT.
    Terminate,
    /// A deadline has come.
    Tick,
}

/// A descriptor that goes beside a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachment {
    /// The process file, read-only.
    Process(ProcessId),
    /// The listening socket of that name.
    Socket(String),
}

/// What the core wants done, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Answer.
    Reply {
        /// To whom; never a cast.
        to: ReplyTo,
        /// What.
        reply: Box<Reply>,
        /// Beside it.
        attachment: Option<Attachment>,
    },
    /// Refuse.
    Refuse {
        /// To whom; never a cast.
        to: ReplyTo,
        /// Why.
        refusal: Refusal,
    },
    /// Tell.
    Notify {
        /// Whom.
        client: ClientId,
        /// What.
        notice: Notice,
    },
    /// Make a process.
    Start {
        /// Who asks; the descriptors sent with the request are the client's.
        to: ReplyTo,
        /// What.
        spawn: Box<Spawn>,
    },
    /// Move bytes.
    Capture {
        /// Whose.
        process: ProcessId,
        /// Which.
        stream: Stream,
        /// How.
        capture: Capture,
    },
    /// Do not wait for a pipe.
    Pause {
        /// Whose.
        process: ProcessId,
        /// Which.
        stream: Stream,
    },
    /// Wait for it again.
    Resume {
        /// Whose.
        process: ProcessId,
        /// Which.
        stream: Stream,
    },
    /// Look at a pipe that nobody waits for: as [`Input::Readable`].
    Look {
        /// Whose.
        process: ProcessId,
        /// Which.
        stream: Stream,
    },
    /// Give a pipe more room, if the system lets us.
    Widen {
        /// Whose.
        process: ProcessId,
        /// Which.
        stream: Stream,
    },
    /// A pipe has come to its end.
    Close {
        /// Whose.
        process: ProcessId,
        /// Which.
        stream: Stream,
    },
    /// Note how far a stream is acknowledged.
    SaveAck {
        /// Whose.
        process: ProcessId,
        /// Which.
        stream: Stream,
        /// Bytes acknowledged in all.
        acked: u64,
        /// Bytes lost in all; stored before `acked`, so that their sum is never beyond the truth.
        lost: u64,
        /// The first record still needed.
        first_record: u64,
    },
    /// Give pages of the process file back.
    Thin {
        /// Whose.
        process: ProcessId,
        /// Which.
        stream: Stream,
        /// What nobody will read.
        holes: Holes,
    },
    /// Note an end, then reap.
    SaveExit {
        /// Whose.
        process: ProcessId,
        /// The end.
        exit: Exit,
    },
    /// Note another lifetime of a process for a later core.
    SaveLifetime {
        /// Which.
        process: ProcessId,
        /// From now on.
        lifetime: Lifetime,
    },
    /// Forget a process: its slot, its file.
    Release {
        /// Which.
        process: ProcessId,
    },
    /// Note the bytes lost by forgotten processes.
    SaveLost {
        /// Total.
        bytes: u64,
    },
    /// Note the lease.
    SaveLease {
        /// Leases given so far.
        epoch: u64,
        /// Whether one is out.
        leased: bool,
        /// Its grace.
        grace_ms: u64,
    },
    /// Send a signal.
    Signal {
        /// To which process.
        process: ProcessId,
        /// Which.
        signal: i32,
        /// To whom of it.
        target: Target,
        /// Whom the result concerns.
        purpose: SignalFor,
    },
    /// Make a listening socket.
    Bind {
        /// Who asks.
        to: ReplyTo,
        /// What.
        listen: Box<Listen>,
        /// The number in children.
        number: u32,
    },
    /// Close it, remove its file.
    Unbind {
        /// Which.
        name: String,
    },
    /// Write a value.
    StoreValue {
        /// Who asks.
        to: ReplyTo,
        /// Its name.
        name: String,
        /// Its file.
        number: u64,
        /// The value.
        value: Vec<u8>,
    },
    /// Read a value.
    LoadValue {
        /// Who asks.
        to: ReplyTo,
        /// Its file.
        number: u64,
    },
    /// Remove a value.
    DropValue {
        /// Its file.
        number: u64,
    },
    /// Become another program.
    Upgrade {
        /// Who asks.
        to: ReplyTo,
        /// Its path; `None`: the one before.
        program: Option<Vec<u8>>,
    },
    /// Tell the log.
    Log {
        /// What.
        text: String,
    },
    /// Nothing is left to own: end.
    Exit,
}
