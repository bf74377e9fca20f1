//! Greeting, status, watching, the lease and the end.

use super::Ext;
use serde::{Deserialize, Serialize};

/// What a client is to the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Takes the lease and watches.
    Manager,
    /// Asks and goes.
    Tool,
}

/// The first request of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The lowest protocol version that the client speaks.
    pub oldest: u16,
    /// The highest.
    pub newest: u16,
    /// Name and version of the client, for people.
    pub build: String,
    /// What it is.
    pub role: Role,
    /// Later additions.
    pub ext: Ext,
}

/// The answer to [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version that both speak from now on.
    pub protocol: u16,
    /// Name and version of the core.
    pub build: String,
    /// Drawn at random when the instance's state file is made: the same number means the same processes and offsets.
    pub instance_id: u64,
    /// The process that owns the children.
    pub keeper_pid: i32,
    /// The process that answers.
    pub kernel_pid: i32,
    /// Later additions.
    pub ext: Ext,
}

/// Nothing to say but that it is done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Done {
    /// Later additions.
    pub ext: Ext,
}

/// Asks what the core is and how it does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    /// Later additions.
    pub ext: Ext,
}

/// One promise of the design, and whether it holds on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarantee {
    /// Short stable name, e.g. `exit-status-after-core-death`.
    pub name: String,
    /// Whether it holds.
    pub holds: bool,
    /// Why, in a sentence.
    pub reason: String,
}

/// Who holds the lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseInfo {
    /// Pid of the manager by `SO_PEERCRED`.
    pub pid: i32,
    /// Its words about itself.
    pub holder: String,
    /// Counts the leases of the instance.
    pub epoch: u64,
}

/// The answer to [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReply {
    /// Version of the core.
    pub version: String,
    /// The process that owns the children.
    pub keeper_pid: i32,
    /// The process that answers.
    pub kernel_pid: i32,
    /// Nanoseconds since the Unix epoch at which this core started.
    pub started_ns: u64,
    /// Milliseconds since then, by the monotonic clock.
    pub uptime_ms: u64,
    /// Living processes and those whose end nobody has acknowledged.
    pub processes: u64,
    /// Listening sockets.
    pub sockets: u64,
    /// Stored values.
    pub values: u64,
    /// Connected clients.
    pub clients: u64,
    /// Output not acknowledged yet.
    pub buffered_bytes: u64,
    /// Output dropped since the instance was made.
    pub lost_bytes: u64,
    /// The lease, when one is held.
    pub lease: Option<LeaseInfo>,
    /// Which of the promises hold.
    pub guarantees: Vec<Guarantee>,
    /// Later additions.
    pub ext: Ext,
}

/// Asks for notices about all processes whose name begins with `prefix`, present and future. Their present state is
/// told at once. While the watcher also holds the lease, a full ring makes the child wait instead of dropping output.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Watch {
    /// Beginning of the names, e.g. `circus.`.
    pub prefix: String,
    /// Later additions.
    pub ext: Ext,
}

/// Asks to be this instance's manager. Refused while another connection holds the lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeLease {
    /// For people, e.g. `circusd 0.1.0, /etc/circus.ini`.
    pub holder: String,
    /// Milliseconds that leased processes live on when the connection breaks without [`PutLease`].
    pub grace_ms: u64,
    /// Later additions.
    pub ext: Ext,
}

/// The answer to [`TakeLease`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leased {
    /// Counts the leases of the instance.
    pub epoch: u64,
    /// Later additions.
    pub ext: Ext,
}

/// Gives the lease back: leased processes that still live are stopped by the core now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PutLease {
    /// Later additions.
    pub ext: Ext,
}

/// Notice: another manager has the lease; this one must stop acting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseLost {
    /// The new epoch.
    pub epoch: u64,
    /// Later additions.
    pub ext: Ext,
}

/// Asks the core to end if it owns no process, no socket and no value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExitIfIdle {
    /// Later additions.
    pub ext: Ext,
}

/// The answer to [`ExitIfIdle`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exiting {
    /// Whether the core ends.
    pub exits: bool,
    /// Later additions.
    pub ext: Ext,
}

/// Asks the core to become another build of itself, in place: no child, no byte of output, no exit status and no waiting
/// connection is lost. The program is tried on a copy of the state first; one that cannot take over is refused with its
/// own words. Only for the core's own user and root.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Upgrade {
    /// Path of the program; `None`: the one before the last upgrade.
    pub program: Option<Vec<u8>>,
    /// Later additions.
    pub ext: Ext,
}

/// The answer to [`Upgrade`]: the program has said that it can take over, and is given the instance now. The connection ends
/// when it has; it goes on when the program cannot be executed. [`LAST_UPGRADE`] tells what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrading {
    /// What the program says of itself.
    pub version: String,
    /// Later additions.
    pub ext: Ext,
}

/// Tag in [`StatusReply::ext`]: what came of the last upgrade, as text. It begins with `done`, `refused` or `fell back`.
pub const LAST_UPGRADE: u16 = 1;

/// Tag in [`StatusReply::ext`]: three little-endian numbers of 8 bytes: how often the kernel half and the keeper half have died
/// since the instance was made, and how many upgrades there were.
pub const DEATHS: u16 = 3;

/// Tag in [`StatusReply::ext`], without bytes: the core has crashed several times and takes no requests for a moment.
pub const SAFE_MODE: u16 = 5;
