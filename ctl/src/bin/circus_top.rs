//! The `circus-top` program; everything is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ringmaster_ctl::top::main()
}
