//! The harness of the tests: sandboxes, the real programs, the real Circus from PyPI, and waiting.
//!
//! What is tested lives in the test targets beside this folder. Nothing here knows what a right answer is.
#![forbid(unsafe_code)]

pub mod daemon;
pub mod dice;
pub mod driver;
pub mod link;
pub mod log_check;
pub mod numbered;
pub mod ports;
pub mod prober;
pub mod processes;
pub mod program;
pub mod redis;
pub mod sandbox;
pub mod scrape;
pub mod stack;
pub mod statsd;
pub mod terminal;
pub mod tool;
pub mod venv;
pub mod wait;
