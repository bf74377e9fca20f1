//! The part of circusd that writes logs, as a program of its own that starts in a millisecond.
//!
//! `tested-scribe INSTANCE PROCESS-FILE`: the first line of standard input is a [`Beginning`], each further one a [`Word`], both in
//! JSON. On standard output: `a STREAM OFFSET` acknowledges, `d` says that the last words are written, `! …` is a complaint.
#![forbid(unsafe_code)]
#![allow(clippy::wildcard_enum_match_arm, reason = "whatever else is told is a complaint")]

mod words;

use anyhow::{Context, Result};
use ringmaster_manager::options::{StreamClass, StreamOptions};
use ringmaster_manager::streams::{Attach, Order, PythonPlace, Scribe, ScribeReport, WatcherKey};
use ringmaster_protocol::message::ProcessId;
use ringmaster_protocol::ring::Stream;
use std::fs::File;
use std::io::{BufRead, Write, stdin, stdout};
use words::{Beginning, PID, STARTED_NS, Word};

const PROCESS: ProcessId = ProcessId(1);

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let instance = arguments.next().context("INSTANCE is missing")?;
    let file = arguments.next().context("PROCESS-FILE is missing")?;
    let mut lines = stdin().lock().lines();
    let beginning: Beginning = serde_json::from_str(&lines.next().context("a beginning")??)?;
    let scribe = Scribe::start(instance.into(), tell)?;
    let watcher = WatcherKey::new("w");
    let [out, err] = &beginning.states;
    let attach = Attach {
        process: PROCESS,
        watcher: watcher.clone(),
        pid: PID,
        wid: 1,
        file: File::open(file)?.into(),
        streams: [*out, *err],
        started_ns: STARTED_NS,
    };
    let class = || StreamClass::BuiltIn("FileStream".to_owned());
    let [stdout, stderr] =
        beginning.streams.map(|settings| settings.map(|settings| StreamOptions { class: class(), settings }));
    scribe.orders([
        Order::Known { processes: [PROCESS].into() },
        Order::SetStreams { watcher, stdout, stderr, python: PythonPlace::default() },
        Order::Attach(attach),
    ]);
    for line in lines {
        match serde_json::from_str(&line?)? {
            Word::Advanced { heads, records } => {
                let [out, err] = heads;
                let [out_records, err_records] = records;
                let all = [(Stream::Stdout, out, out_records), (Stream::Stderr, err, err_records)];
                scribe.orders(all.map(|(stream, head, records)| Order::Advance {
                    process: PROCESS,
                    stream,
                    head,
                    records,
                }));
            }
            Word::Ended { heads } => scribe.order(Order::Ended { process: PROCESS, heads }),
        }
    }
    scribe.stop();
    Ok(())
}

/// Nobody is there any more when this fails: the test has killed us or is about to.
fn tell(report: ScribeReport) {
    let line = match report {
        ScribeReport::Consumed { stream, offset, .. } => format!("a {} {offset}\n", stream.index()),
        ScribeReport::Drained { .. } => "d\n".to_owned(),
        ScribeReport::Flushed { .. } | ScribeReport::Stopped { by_panic: false } | ScribeReport::Rotated { .. } => {
            return;
        }
        other => format!("! {other:?}\n"),
    };
    let _ = stdout().write_all(line.as_bytes());
    let _ = stdout().flush();
}
