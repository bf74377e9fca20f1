//! Every bound of the core, with its reason. Those of the protocol itself are in `ringmaster_protocol::limits`.

use rustix::event::Timespec;
use std::time::Duration;

/// Connections at once. A manager, a few tools; each costs at most [`CLIENT_BACKLOG`] plus one frame.
pub const MAX_CLIENTS: usize = 256;

/// Connections of users who are neither our own nor root, all together: a quarter, so that the owner always finds room.
pub const MAX_STRANGERS: usize = 64;

/// Connections of one such user.
pub const MAX_USER_CLIENTS: usize = 16;

/// Processes of one such user. Each may keep two rings of 2 MiB: 256 MiB in all.
pub const MAX_USER_PROCESSES: usize = 64;

/// Values of one such user: with `MAX_VALUE`, 4 MiB.
pub const MAX_USER_VALUES: usize = 16;

/// Processes that one core knows, living or not yet forgotten. Half of the usual `pid_max` of 32,768.
pub const MAX_PROCESSES: usize = 16_384;

/// Listening sockets: their numbers in children start at 3 and must stay below the usual soft limit of 1,024.
pub const MAX_SOCKETS: usize = 512;

/// Stored values; with `MAX_VALUE` of 256 KiB each this bounds the directory.
pub const MAX_VALUES: usize = 1024;

/// Prefixes that one connection watches: a manager needs one.
pub const MAX_WATCHES: usize = 16;

/// Descriptors that spawning leaves free, so that the core can always accept a client, open /proc and hand out files; half of them are
/// those that it holds for itself (33).
pub const FD_RESERVE: u64 = 72;

/// Descriptors that one captured child costs: two pipes, the pidfd, the process file.
pub const FDS_PER_PROCESS: u64 = 4;

/// Bytes waiting for one client beyond which its requests are not read and its notices not written. What it holds at
/// most is this plus one reply (1 MiB).
pub const CLIENT_BACKLOG: usize = 64 << 10;

/// Bytes read from one client in a turn.
pub const CLIENT_READ: usize = 64 << 10;

/// How long the requests of one client are read and handled in a turn before others have theirs. Its answers are sent together
/// at the end of it: a handful of processes are made meanwhile.
pub const CLIENT_SHARE: Duration = Duration::from_millis(2);

/// Bytes moved by one splice: a pipe of the largest unprivileged size in one call.
pub const SPLICE_MAX: u64 = 1 << 20;

/// Captures of one stream in a turn, so that one fast child does not starve the others.
pub const CAPTURES_PER_TURN: usize = 8;

/// Bytes that make room at once when the oldest output is dropped: enough for one full pipe.
pub const DROP_STEP: u64 = 64 << 10;

/// Bytes of memory for all rings, unless `papa --ring-memory` says otherwise: 113 full rings of the default size, and a host with
/// 1 GiB keeps three quarters of it.
pub const RING_MEMORY: u64 = 256 << 20;

/// Bytes that each ring may hold however little memory is free: a few long lines, so that every stream has its say.
pub const RING_FLOOR: u64 = 16 << 10;

/// Bytes that are free in a spill file before its pages are given back: one call for many acknowledgements, and nothing that
/// a quota would notice.
pub const SPILL_STEP: u64 = 1 << 20;

/// Bytes that a pipe takes unless it is told otherwise (pipe(7)).
pub const PIPE_USUAL: u64 = 64 << 10;

/// Bytes of a pipe that is written to so fast that the usual one is full too soon: four times as many looks are spared, and what lies in
/// it still fits into a processor's cache.
pub const PIPE_WIDE: u64 = 256 << 10;

/// Pipes with so much room at once: an eighth of what a user has for all pipes before the system makes new ones small (pipe(7),
/// `pipe-user-pages-soft`).
pub const MAX_WIDE: usize = 32;

/// The longest that a busy pipe rests between two looks. So much later may a line come, and its time be, when others came just
/// before it: nobody sees it.
pub const REST_MOST: Duration = Duration::from_millis(1);

/// A rest that would be shorter is none: the system's timers are not more exact (prctl(2), `PR_SET_TIMERSLACK`).
pub const REST_LEAST: Duration = Duration::from_micros(50);

/// A rest that is shorter is worth a larger pipe.
pub const REST_USUAL: Duration = Duration::from_micros(200);

/// Between two notices about a stream that rests: each leads to a batch of its reader, some dozen system calls in both daemons.
pub const NEWS: Duration = Duration::from_millis(1);

/// A manager that holds the lease and has not acknowledged for this long no longer holds up its children.
pub const PROGRESS: Duration = Duration::from_secs(5);

/// How long capture rests after the ring's file system refused (no space), and accepting after the table was full.
pub const RETRY: Duration = Duration::from_secs(1);

/// The longest grace of a lease: a day. Longer means that the processes should be persistent.
pub const MAX_GRACE_MS: u64 = 86_400_000;

/// Descendants remembered per process between two signals.
pub const MAX_REMEMBERED: usize = 4096;

/// Members of a group that are listed for the end of one of its processes, when many end. A list costs a quarter of a microsecond
/// for each member, so this is little beside what the end itself costs the system.
pub const LOOK_SHARE: usize = 8;

/// How long an ended process of a large group waits for others, before the group is looked at for what it has left, counted from the
/// last look: a list of 10,000 members takes a tenth of it.
pub const LOOK_PAUSE: Duration = Duration::from_millis(25);

/// How much less likely than others the core is killed when memory runs out (proc(5), `oom_score_adj`; -1000 is never): next
/// to last, so that a core that eats all memory itself can still be stopped.
pub const OOM_SCORE_ADJ: i32 = -900;

/// Groups that are looked at below the group of one process, which its members may make if they have the right to: a
/// container runtime makes a few for each container. Killing needs no list and reaches all.
pub const MAX_NESTED_GROUPS: usize = 1024;

/// How long a client that says nothing is taken for one that sends its preface; then it is greeted in Papa's manner.
pub const GREETING_DELAY: Duration = Duration::from_millis(25);

/// From the moment a client has read the first line of a watch to its first batch: time to return from its read.
pub const SETTLE: Duration = Duration::from_millis(5);

/// The same over TCP, where the other side's reading cannot be seen. Papa lives by the delay of acknowledgements, 40 ms.
pub const SETTLE_TCP: Duration = Duration::from_millis(60);

/// The longest pause between two looks whether that client has read.
pub const SETTLE_LONGEST: Duration = Duration::from_secs(1);

/// Notices written to one client in a turn before its socket is looked at again.
pub const NOTICES_PER_TURN: usize = 256;

/// Descriptors of processes of a former core that a turn adds to those that are waited for: a tenth of a millisecond.
pub const WATCHES_PER_TURN: usize = 256;

/// The first number of the places at which a child's descriptors are laid out: above the few that the core holds for itself
/// and, as a rule, above the numbers that children are given.
pub const STAGE_FIRST: i32 = 32;

/// How many such places: a child's three, and 13 listening sockets. One that has more is made in a slower way.
pub const STAGE_PLACES: usize = 16;

/// How long a start waits for the lock of a core that is dead: a process that it was making lets go of it when it runs its program.
pub const LET_GO: Duration = Duration::from_secs(5);

/// Between two looks at that lock.
pub const LOOK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };

/// Seconds after which a turn of the kernel half's loop is ended by SIGALRM: no turn takes a hundredth of it unless something
/// hangs, and nothing is lost by starting anew.
pub const TURN: u32 = 5;

/// The same for its start, which may have to find thousands of processes in /proc.
pub const RECOVERY: u32 = 60;

/// How long the keeper may take to note an end that the kernel half has seen. It takes microseconds unless somebody has stopped
/// it; then it is told to go on.
pub const NOTED: Duration = Duration::from_secs(5);

/// How long a kernel half that has crashed several times takes no requests: time for a person to look at its status.
pub const SAFE_MODE: Duration = Duration::from_secs(10);

/// How long the program of an upgrade may take to say that it can take over.
pub const TRIAL: Duration = Duration::from_secs(5);

/// How long an upgrade may take from the hand-over to the first turn of the new kernel half; then the old one takes back.
pub const COMMIT: Duration = Duration::from_secs(5);

/// Bytes that are read of what the program of an upgrade says in its dry run.
pub const TRIAL_WORDS: usize = 4096;
