//! Doing a transcript's steps again and noting every difference.

use crate::events::{self, Observed};
use crate::golden::{Exchange, Kind, Payload, Probe, Run, Transcript};
use crate::stage::Stage;
use crate::{judge, text};
use anyhow::{Context, Result};
use ringmaster_tests::wait::wait_until;
use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

/// How long the answer of a request may take.
const ANSWER: Duration = Duration::from_secs(20);

/// How long it may take when the circusd that was started has ended: a `--daemon` one may be there instead.
const ORPHAN: Duration = Duration::from_secs(2);

/// How long to look whether an answer comes that should not.
const SILENCE: Duration = Duration::from_millis(1500);

/// How long the core may take to hold what it should.
const SETTLED: Duration = Duration::from_secs(5);

/// How long circusd may take to end.
const END: Duration = Duration::from_secs(30);

/// What of a step differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Reply,
    Events,
    ExitCode,
    Stdout,
    Stderr,
    Log,
    Files,
    Check,
    Top,
}

/// One difference between a transcript and what was seen now.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Number of the step; `None` for what belongs to the whole.
    pub step: Option<usize>,
    pub what: What,
    pub golden: String,
    pub observed: String,
}

/// Replays `transcript` on `stage`, from the start of circusd to its end.
pub fn replay(transcript: &Transcript, stage: &mut Stage) -> Result<Vec<Finding>> {
    let mut replay = Replay { stage, found: Vec::new(), observed: Observed::default() };
    replay.start(transcript)?;
    for (at, step) in transcript.steps.iter().enumerate() {
        replay.step(at, step).with_context(|| format!("step {at}"))?;
    }
    replay.top(transcript)?;
    replay.end(transcript)?;
    replay.found.extend(events::compare(transcript, &replay.observed));
    Ok(replay.found)
}

struct Replay<'a> {
    stage: &'a mut Stage,
    found: Vec<Finding>,
    observed: Observed,
}

impl Replay<'_> {
    fn start(&mut self, transcript: &Transcript) -> Result<()> {
        for (name, content) in &transcript.files {
            self.stage.write(name, content)?;
        }
        self.stage.configure(&transcript.ini)?;
        let pubsub = self.stage.pubsub.clone();
        self.stage.driver.subscribe(&pubsub)?;
        if !transcript.settings.no_autostart {
            self.stage.start_daemon(&[], "circus.ini")?;
            self.stage.await_control()?;
        }
        let pause = Duration::try_from_secs_f64(transcript.settings.start_delay)?;
        self.observed.startup = self.stage.driver.events(pause, None)?;
        Ok(())
    }

    fn step(&mut self, at: usize, step: &crate::golden::Step) -> Result<()> {
        for action in &step.before {
            let events = self.stage.act(action)?;
            self.observed.rest.extend(events.into_iter().map(|event| (at.saturating_sub(1), event)));
        }
        match &step.kind {
            Kind::Zmq(exchange) => self.exchange(at, exchange)?,
            Kind::Cli(run) | Kind::Process(run) => self.run(at, run)?,
            Kind::Note { check: Some(probe) } => self.check(at, probe)?,
            Kind::Note { check: None } => {}
        }
        let events = self.stage.driver.events(Duration::ZERO, None)?;
        self.observed.rest.extend(events.into_iter().map(|event| (at, event)));
        Ok(())
    }

    fn exchange(&mut self, at: usize, exchange: &Exchange) -> Result<()> {
        let mut frames = Vec::new();
        for payload in &exchange.request_frames {
            frames.push(match payload {
                Payload::Text(text) => self.stage.fill(text).into_bytes(),
                Payload::Bytes { hex } => ringmaster_tests::driver::from_hex(hex)?,
            });
        }
        let golden = match exchange.replies.first().map(|reply| reply.frames.as_slice()) {
            Some([frame]) => Some(self.stage.fill(frame)),
            _ => None,
        };
        let wait = match golden {
            Some(_) if self.stage.daemon_runs() => ANSWER,
            Some(_) => ORPHAN,
            None => SILENCE,
        };
        let answers = self.stage.exchange(&exchange.socket, &frames, wait, golden.as_deref())?;
        let observed: Vec<String> = answers
            .iter()
            .map(|answer| answer.frames.iter().map(|frame| String::from_utf8_lossy(frame)).collect())
            .collect();
        let difference = match (&golden, observed.as_slice()) {
            (None, []) => None,
            (None, [_, ..]) => Some("an answer where none comes".to_owned()),
            (Some(_), []) => Some("no answer".to_owned()),
            (Some(_), [_, _, ..]) => Some("more than one answer".to_owned()),
            (Some(golden), [observed]) => compare_replies(golden, observed, exchange),
        };
        if let Some(difference) = difference {
            self.note(at, What::Reply, golden.unwrap_or_default(), format!("{difference}: {}", observed.join(" | ")));
        }
        Ok(())
    }

    fn run(&mut self, at: usize, run: &Run) -> Result<()> {
        let Some(outcome) = self.stage.run(run)? else {
            return Ok(());
        };
        if json!(outcome.exit_code) != run.exit_code && !(outcome.ended_by_us && run.exit_code == "killed") {
            self.note(at, What::ExitCode, run.exit_code.to_string(), outcome.describe());
        }
        let subject = self.stage.subject_of(run);
        let sides = [
            (What::Stdout, &run.stdout, &run.stdout_contains, &outcome.stdout),
            (What::Stderr, &run.stderr, &run.stderr_contains, &outcome.stderr),
        ];
        for (what, golden, contains, observed) in sides {
            if contains.is_empty() {
                let golden = golden.as_ref().map(|golden| self.stage.fill_text(golden));
                let found = golden.as_ref().and_then(|golden| text::difference(run, golden, observed, subject));
                if let Some(difference) = found {
                    self.note(at, what, format!("{golden:?}"), difference);
                }
                continue;
            }
            // Process numbers in such a list are those of the day it was taken.
            let is_number = |part: &&String| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b',');
            let missing: Vec<&String> =
                contains.iter().filter(|part| !is_number(part) && !observed.contains(*part)).collect();
            if !missing.is_empty() {
                self.note(at, what, format!("{missing:?}"), observed.clone());
            }
        }
        Ok(())
    }

    fn check(&mut self, at: usize, probe: &Probe) -> Result<()> {
        let work = self.stage.sandbox.work();
        let read = |file: &str| std::fs::read_to_string(work.join(file)).unwrap_or_default();
        let problem = match probe {
            Probe::DaemonAlive { expect } => {
                let running = self.stage.daemon_runs();
                (running != *expect).then(|| format!("circusd runs: {running}"))
            }
            Probe::Pidfile { file, mode } => {
                let found = std::fs::metadata(work.join(file)).map(|file| format!("0o{:o}", file.permissions().mode()));
                let found = (read(file), found.unwrap_or_default());
                let wanted = (format!("{}\n", self.stage.daemon_pid()), mode.clone());
                (found != wanted).then(|| format!("{found:?}, not {wanted:?}"))
            }
            Probe::PidfileLive { file } => {
                let pid = read(file).trim().parse().unwrap_or(0);
                (!ringmaster_tests::processes::is_alive(pid)).then(|| format!("{pid} does not live"))
            }
            Probe::Absent { file, log, log_lines } => {
                let there = work.join(file).exists().then(|| format!("{file} is there"));
                there.or_else(|| text::missing_lines(log_lines, &read(log)))
            }
            Probe::Stat { files } => {
                let stat = |(name, wanted): (&String, &(String, u32, u32))| {
                    let found = std::fs::metadata(work.join(name))
                        .map(|file| (format!("0o{:o}", file.mode()), file.uid(), file.gid()));
                    (found.as_ref().ok() != Some(wanted)).then(|| format!("{name} is {found:?}, not {wanted:?}"))
                };
                let wrong: Vec<String> = files.iter().filter_map(stat).collect();
                (!wrong.is_empty()).then(|| wrong.join("; "))
            }
            Probe::DaemonLog { log_lines } => text::missing_lines(log_lines, &self.stage.daemon_log()),
            Probe::Core { processes, sockets } => {
                let wanted = (processes, sockets);
                let same = wait_until(SETTLED, "the core holds what Papa held", || {
                    let held = self.stage.held().map_err(|error| format!("{error:#}"))?;
                    if (&held.0, &held.1) == wanted { Ok(()) } else { Err(format!("{held:?}")) }
                });
                same.err().map(|error| error.to_string())
            }
            Probe::Alive { var, expect } => {
                let alive = self.stage.alive(var);
                (alive != *expect).then(|| format!("alive: {alive:?}"))
            }
            Probe::ZombieOrGone { var, expect } => {
                let ended: Vec<bool> = self.stage.alive(var).iter().map(|alive| !alive).collect();
                (ended != *expect).then(|| format!("ended: {ended:?}"))
            }
            Probe::Log { log, log_lines } => text::missing_lines(log_lines, &read(log)),
        };
        if let Some(problem) = problem {
            self.note(at, What::Check, format!("{probe:?}"), problem);
        }
        Ok(())
    }

    /// Looks at `circus-top`, if the transcript has it.
    fn top(&mut self, transcript: &Transcript) -> Result<()> {
        if !transcript.circus_top.is_empty()
            && let Err(error) = self.stage.top(&transcript.circus_top)
        {
            let (golden, observed) = (format!("{:?}", transcript.circus_top), format!("{error:#}"));
            self.found.push(Finding { step: None, what: What::Top, golden, observed });
        }
        Ok(())
    }

    /// `quit` or what the transcript does instead, and what is left to look at then.
    fn end(&mut self, transcript: &Transcript) -> Result<()> {
        let last = transcript.steps.len().saturating_sub(usize::from(transcript.final_events.is_empty()));
        for action in &transcript.after {
            self.stage.act(action)?;
        }
        if transcript.settings.quit.unwrap_or(true) {
            self.stage.quit(ANSWER)?;
        }
        if let Some(golden) = transcript.circusd_exit_code {
            let code = self.stage.wait_exit(END)?;
            if code != golden {
                self.note(last, What::ExitCode, golden.to_string(), code.to_string());
            }
        }
        let missing = events::count_after_startup(transcript).saturating_sub(self.observed.rest.len());
        let events = self.stage.driver.events(Duration::from_millis(500), Some(missing.max(1)))?;
        self.observed.rest.extend(events.into_iter().map(|event| (last, event)));
        if let Some(difference) = text::missing_lines(&transcript.log, &self.stage.daemon_log()) {
            self.found.push(Finding { step: None, what: What::Log, golden: String::new(), observed: difference });
        }
        for (name, golden) in &transcript.files_written {
            let moved = format!("{name}.moved");
            match transcript.files_written.get(&moved) {
                Some(before) => self.file(&[&moved, name], &format!("{before}{golden}"))?,
                None if name.ends_with(".moved") => {}
                None => self.file(&[name], golden)?,
            }
        }
        Ok(())
    }

    /// A file that a stream wrote, in front of it what was moved away: how much that was depends on the moment, but it is not
    /// nothing and neither is the rest. Time stamps and process numbers vary.
    fn file(&mut self, names: &[&str], golden: &str) -> Result<()> {
        let mut written = String::new();
        for name in names {
            let part = std::fs::read_to_string(self.stage.sandbox.work().join(name));
            let part = part.unwrap_or_else(|error| error.to_string());
            let is_missing = part.is_empty() && names.len() > 1;
            written.push_str(if is_missing { "<an empty file>" } else { &part });
        }
        let digits = regex::Regex::new(r"\d{4}.\d\d.\d\d(.*?)\d\d:\d\d:\d\d|\[\d+\]")?;
        let scrub = |text: &str| digits.replace_all(text, "<$1>").into_owned();
        if scrub(&written) != scrub(golden) {
            self.found.push(Finding {
                step: None,
                what: What::Files,
                golden: format!("{names:?}: {golden:?}"),
                observed: format!("{written:?}"),
            });
        }
        Ok(())
    }

    fn note(&mut self, step: usize, what: What, golden: String, observed: String) {
        self.found.push(Finding { step: Some(step), what, golden, observed });
    }
}

fn compare_replies(golden: &str, observed: &str, exchange: &Exchange) -> Option<String> {
    let parse = |text: &str| serde_json::from_str::<Value>(text);
    match (parse(golden), parse(observed)) {
        (Ok(golden), Ok(observed)) => {
            let found = judge::differences(&golden, &observed, &exchange.accept);
            (!found.is_empty()).then(|| found.join("; "))
        }
        // Python writes NaN, which is not JSON: compared as text but for the time.
        _ => {
            let time = regex::Regex::new(r#""time": [0-9.]+"#).ok()?;
            let same = time.replace(golden, "") == time.replace(observed, "");
            (!same).then(|| "differs".to_owned())
        }
    }
}
