//! One target under libFuzzer: `RINGMASTER_FUZZ_TARGET` names it, libFuzzer takes the command line.
#![no_main]

#[path = "../../targets/mod.rs"]
mod targets;

use libfuzzer_sys::{Corpus, fuzz_target};
use peak_alloc::PeakAlloc;
use std::sync::LazyLock;
use targets::{TARGETS, Target};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var("RINGMASTER_FUZZ_TARGET").unwrap_or_default();
    let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    Target::find(&name).unwrap_or_else(|| panic!("RINGMASTER_FUZZ_TARGET is {name:?}; expected one of {known:?}"))
});

fuzz_target!(|input: &[u8]| -> Corpus {
    if input.len() > TARGET.longest {
        return Corpus::Reject;
    }
    TARGET.round(input);
    Corpus::Keep
});
