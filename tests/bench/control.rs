//! A control round trip: the real `circus.client` asks how many watchers there are.

use crate::{Figure, Peer, median};
use anyhow::{Context, Result};
use ringmaster_tests::sandbox::Sandbox;
use ringmaster_tests::stack::Stack;
use ringmaster_tests::venv::Venv;
use std::path::Path;

/// Requests, one after the other.
const REQUESTS: usize = 2000;

pub fn measure(peer: Peer) -> Result<Vec<Figure>> {
    let times = match peer.subject() {
        None => bare()?,
        Some(subject) => {
            let mut stack = Stack::empty("bench-control", subject)?;
            stack.configure("", "[watcher:a]\ncmd = sleep 3600\n")?;
            stack.start()?;
            let times = stack.driver.round_trips(&stack.sandbox.endpoint(), REQUESTS)?;
            stack.end()?;
            times
        }
    };
    let value = median(&times).context("requests")? * 1e6;
    Ok(vec![Figure {
        name: "control round trip, us",
        value,
    }])
}

/// libzmq's ROUTER that sends everything back.
fn bare() -> Result<Vec<f64>> {
    let sandbox = Sandbox::new("bench-echo")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/echo.py");
    let endpoint = sandbox.endpoint();
    let mut echo = sandbox
        .command(Venv::get()?.program("python"))
        .arg(script)
        .arg(&endpoint)
        .spawn()?;
    let times = ringmaster_tests::driver::Driver::start()?.round_trips(&endpoint, REQUESTS);
    echo.kill()?;
    echo.wait()?;
    times
}
