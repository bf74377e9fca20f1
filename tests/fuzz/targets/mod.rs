//! The table of fuzz targets: plain functions of bytes, the same for the replay by `cargo test` and for libFuzzer.
//!
//! A target feeds the bytes to the code and checks what must hold of the outcome; a panic is a finding. It starts nothing,
//! talks to nobody and depends on nothing but the bytes. What a round may allocate and how long an input is at most
//! stands in the table; [`Target::round`] holds the first, the callers the second.

mod bytes;
mod circus;
mod config;
mod core;
mod http;
mod process_file;
mod state;
mod state_file;
mod text;
mod wire;
mod world;
mod zmtp;

use peak_alloc::PeakAlloc;

/// One way in for bytes that somebody else has written.
pub struct Target {
    /// On the command line, and of its corpus.
    pub name: &'static str,
    /// One round.
    pub run: fn(&[u8]),
    /// Bytes that one round may hold at once, on top of the input.
    pub cap: usize,
    /// Bytes of the longest input.
    pub longest: usize,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Every target. The caps are several times what the seeds need, and a small part of what a length in the input could ask for.
pub const TARGETS: &[Target] = &[
    // A reader holds what it was given, the frames are copies, and here all of them are kept twice.
    Target { name: "frames", run: wire::frames, cap: 128 * KIB, longest: 4 * KIB },
    // serde reserves at most 1 MiB for a list before its first entry has been read, and lists nest twice.
    Target { name: "messages", run: wire::messages, cap: 4 * MIB, longest: 4 * KIB },
    Target { name: "ring", run: wire::ring, cap: KIB, longest: KIB },
    Target { name: "process-file", run: process_file::process_file, cap: 128 * KIB, longest: 16 * KIB },
    // A ring has its records in a queue that doubles.
    Target { name: "state", run: state::state, cap: 256 * KIB, longest: 2 * KIB },
    Target { name: "state-file", run: state_file::state_file, cap: 256 * KIB, longest: KIB },
    // A refused request may hold one reserved list (see `messages`).
    Target { name: "core", run: core::core, cap: 4 * MIB, longest: 4 * KIB },
    // A batch is 256 KiB of output, which a line of text may double.
    Target { name: "text", run: text::text, cap: 8 * MIB, longest: 4 * KIB },
    // Two bytes are a message, and here all of them are kept twice.
    Target { name: "zmtp", run: zmtp::zmtp, cap: 512 * KIB, longest: 4 * KIB },
    Target { name: "http", run: http::http, cap: 128 * KIB, longest: 12 * KIB },
    // A JSON value is many times as large as its text: `[[[[` or `{"":{"":`.
    Target { name: "call", run: circus::call, cap: 4 * MIB, longest: 4 * KIB },
    Target { name: "ini", run: config::ini, cap: 2 * MIB, longest: 4 * KIB },
    Target { name: "expand", run: config::expansion, cap: 512 * KIB, longest: 2 * KIB },
    Target { name: "config", run: config::configuration, cap: 4 * MIB, longest: 4 * KIB },
];

impl Target {
    /// The target of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// One round, and the bytes that it held at most. It panics when these are more than the cap.
    pub fn round(&self, input: &[u8]) -> usize {
        let before = PeakAlloc.current_usage();
        PeakAlloc.reset_peak_usage();
        (self.run)(input);
        let held = PeakAlloc.peak_usage().saturating_sub(before);
        assert!(held <= self.cap, "{}: a round held {held} bytes, at most {} are allowed", self.name, self.cap);
        held
    }
}
