//! Every limit of the protocols, with its reason.

/// Bytes of one frame's body. A spawn request carries an environment of at most `ARG_MAX`-like size (Linux allows a
/// single argument of 128 KiB and most environments are far below 1 MiB); anything larger is a mistake or an attack.
pub const MAX_BODY: usize = 1 << 20;

/// Bytes of one line of the text protocol, and of what may wait to be read in it: as much as a frame's body
/// ([`MAX_BODY`]), so that whatever can be asked for in one protocol can be in the other.
pub const MAX_LINE: usize = 1 << 20;

/// Bytes of one answer of the text protocol: room for the longest value and many names, and still no flood.
pub const MAX_TEXT_REPLY: usize = 4 << 20;

/// Bytes of output after which a watcher's batch ends: what follows waits for the acknowledgement.
pub const TEXT_BATCH: u64 = 256 << 10;

/// File descriptors beside one frame: stdio of the caller plus a few sockets. `SCM_MAX_FD` of Linux is 253.
pub const MAX_FDS: usize = 16;

/// Bytes of a name (process, socket, value). Long enough for `circus.<watcher>.<wid>`; it is part of file names' budget (255).
pub const MAX_NAME: usize = 200;

/// Bytes of the manager's own note on a process (watcher, wid, digest of the options).
pub const MAX_NOTE: usize = 16 << 10;

/// Bytes of one stored value.
pub const MAX_VALUE: usize = 256 << 10;

/// Entries in one page of a listing: keeps the reply under [`MAX_BODY`] with the longest names and notes.
pub const MAX_PAGE: u32 = 50;

/// Bytes of output that one stream keeps. The design's default ring (DESIGN §2).
pub const DEFAULT_RING: u64 = 2 << 20;

/// Smallest ring: one pipe's content, so that a burst of a dying child always fits.
pub const MIN_RING: u64 = 64 << 10;

/// Largest ring: beyond it spilling to a file is the right tool.
pub const MAX_RING: u64 = 1 << 30;

/// Largest quota of a stream that is spilled: 1 TiB, far below where file positions end (8 EiB).
pub const MAX_SPILL: u64 = 1 << 40;

/// Most records of one stream. Those of a full ring of 64 MiB; larger ones share them. The core keeps 8 bytes of each in
/// memory, and reads them one by one when it takes over.
pub const MAX_RECORDS: u64 = 1 << 18;
