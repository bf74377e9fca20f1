//! The `circusctl` program: hands the process's arguments and environment to the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ringmaster_ctl::run::main(std::env::args_os(), &|name| std::env::var_os(name))
}
