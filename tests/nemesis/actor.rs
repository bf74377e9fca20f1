//! `nemesis-actor`: what the nemesis lets a core run, and what it gives to it as an upgrade.
//!
//! `write NAME RATE FOLDER CODE` writes numbered lines on both streams, RATE bytes a second on each, until FOLDER/stop is
//! there; leaves in FOLDER/NAME.total how many. `end NAME DELAY FOLDER CODE` notes itself in FOLDER/ran, waits DELAY
//! milliseconds, says its last words and ends with CODE, or of signal N when CODE is `sN`. `accept` serves the listening
//! socket on descriptor 0; `drain NAME FOLDER CODE` serves who waits there, then ends like `end`. `resume …` says the right words in a dry run; when it is to take over, it does what its own
//! file name says: `dies`, `ends`, `hangs`.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail};
use ringmaster_tests::numbered::Lines;
use ringmaster_tests::wait::pass;
use rustix::process::Signal;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two portions of a writer: long enough that fifty of them leave the processor alone.
const TICK: Duration = Duration::from_millis(40);

/// The largest single write. Neither a multiple of a line nor of a page, so that portions end anywhere.
const LARGEST: usize = 12_345;

/// Ticks of output that a writer that had to wait catches up with at once.
const CATCH_UP: u64 = 8;

fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["write", name, rate, folder, code] => write(name, rate.parse()?, Path::new(folder), code),
        ["end", name, delay, folder, code] => end(name, delay.parse()?, Path::new(folder), code),
        ["accept"] => accept(),
        ["drain", name, folder, code] => drain(name, Path::new(folder), code),
        ["resume", words @ ..] => Ok(resume(words)),
        other => bail!("unknown words {other:?}"),
    }
}

/// One stream of a writer.
struct Output {
    file: File,
    lines: Lines,
    waiting: Vec<u8>,
    written: u64,
}

impl Output {
    fn new(tag: &str, stream: impl AsFd) -> Result<Self> {
        let file = File::from(stream.as_fd().try_clone_to_owned()?);
        Ok(Self { file, lines: Lines::new(tag, 0), waiting: Vec::new(), written: 0 })
    }

    /// Writes until `due` bytes are written in all.
    fn write_to(&mut self, due: u64) -> Result<()> {
        while self.written < due {
            let missing = usize::try_from(due - self.written)?.min(LARGEST);
            while self.waiting.len() < missing {
                self.lines.append(&mut self.waiting);
            }
            let done = self.file.write(self.waiting.get(..missing).context("it was filled")?)?;
            self.waiting.drain(..done);
            self.written += u64::try_from(done)?;
        }
        Ok(())
    }
}

fn write(name: &str, rate: u64, folder: &Path, code: &str) -> Result<ExitCode> {
    let mut streams = [
        Output::new(&format!("{name}.out"), std::io::stdout())?,
        Output::new(&format!("{name}.err"), std::io::stderr())?,
    ];
    let (begin, mut due, mut last) = (Instant::now(), 0, 0);
    let stop = folder.join("stop");
    while !stop.exists() {
        let now = u64::try_from(begin.elapsed().as_micros())?;
        let tick = u64::try_from(TICK.as_micros())?;
        due += (now - last).min(CATCH_UP * tick) * rate / 1_000_000;
        last = now;
        for stream in &mut streams {
            stream.write_to(due)?;
        }
        pass(TICK);
    }
    let [out, err] = streams.map(|stream| stream.written);
    fs::write(folder.join(format!("{name}.total")), format!("{out} {err}"))?;
    end_with(code)
}

fn end(name: &str, delay: u64, folder: &Path, code: &str) -> Result<ExitCode> {
    // One small write to a file opened for appending is whole, whoever else writes.
    OpenOptions::new().append(true).create(true).open(folder.join("ran"))?.write_all(format!("{name}\n").as_bytes())?;
    pass(Duration::from_millis(delay));
    File::from(std::io::stdout().as_fd().try_clone_to_owned()?).write_all(words_of(name).as_bytes())?;
    end_with(code)
}

/// Serves whoever waits, then ends as `end` does.
fn drain(name: &str, folder: &Path, code: &str) -> Result<ExitCode> {
    let listener = TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    while let Ok((mut connection, _)) = listener.accept() {
        let _ = connection.write_all(b"served\n");
    }
    end(name, 0, folder, code)
}

fn words_of(name: &str) -> String {
    format!("last words of {name}\n")
}

fn end_with(code: &str) -> Result<ExitCode> {
    if let Some(number) = code.strip_prefix('s') {
        let signal = Signal::from_named_raw(number.parse()?).context("a signal")?;
        rustix::process::kill_process(rustix::process::getpid(), signal)?;
        pass(Duration::from_secs(60));
    }
    Ok(ExitCode::from(code.parse::<u8>()?))
}

fn accept() -> Result<ExitCode> {
    let listener = TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    loop {
        let (mut connection, _) = listener.accept()?;
        // A client that has gone is the client's affair.
        let _ = connection.write_all(b"served\n");
    }
}

/// A program that promises to take over.
fn resume(words: &[&str]) -> ExitCode {
    if words.contains(&"--dry-run") {
        println!("{}99 (a liar)", ringmaster_kernel::keeper::READY);
        return ExitCode::SUCCESS;
    }
    let own = std::env::current_exe().unwrap_or_default();
    match own.file_name().and_then(|name| name.to_str()) {
        Some("ends") => ExitCode::SUCCESS,
        Some("hangs") => {
            pass(Duration::from_secs(3600));
            ExitCode::FAILURE
        }
        Some(_) | None => std::process::abort(),
    }
}
