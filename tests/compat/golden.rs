//! The transcripts as data: what was done with the real Circus 0.19 and what it answered.
//!
//! The format is described in `tests/data/golden/circus/README.md`.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One transcript.
#[derive(Debug, Deserialize)]
pub struct Transcript {
    pub ini: String,
    pub files: BTreeMap<String, String>,
    pub steps: Vec<Step>,
    pub startup_events: Vec<RecordedEvent>,
    #[serde(default)]
    pub final_events: Vec<RecordedEvent>,
    pub after: Vec<Action>,
    pub circusd_exit_code: Option<i32>,
    pub settings: Settings,
    pub log: Vec<String>,
    #[serde(default)]
    pub files_written: BTreeMap<String, String>,
    /// What is on a terminal of 40 lines with `circus-top` in it.
    #[serde(default)]
    pub circus_top: Vec<String>,
}

/// Topic and JSON text.
pub type RecordedEvent = (String, String);

/// How the transcript was taken, and what of it is known to vary.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Seconds between the start of circusd and the first step.
    pub start_delay: f64,
    /// The steps begin without a running circusd.
    pub no_autostart: bool,
    /// Absent or true: `quit` is sent after the last step.
    pub quit: Option<bool>,
    /// Kinds of events that may or may not be seen, by step or `*`.
    pub racy_events: BTreeMap<String, Vec<String>>,
    /// Kinds of events that may or may not be seen, by watcher.
    pub racy_watchers: BTreeMap<String, Vec<String>>,
    /// Watchers whose processes die and are replaced all the time.
    pub cyclic: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct Step {
    #[serde(default)]
    pub before: Vec<Action>,
    #[serde(default)]
    pub events: Vec<RecordedEvent>,
    #[serde(flatten)]
    pub kind: Kind,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Kind {
    Zmq(Exchange),
    Cli(Run),
    Process(Run),
    Note { check: Option<Probe> },
}

/// A request to the control endpoint.
#[derive(Debug, Deserialize)]
pub struct Exchange {
    pub socket: String,
    pub request_frames: Vec<Payload>,
    pub replies: Vec<Reply>,
    /// Other values that are right as well, by dotted path in the reply.
    #[serde(default)]
    pub accept: BTreeMap<String, Vec<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Payload {
    Text(String),
    Bytes { hex: String },
}

#[derive(Debug, Deserialize)]
pub struct Reply {
    pub frames: Vec<String>,
}

/// A program that is run to its end.
#[derive(Debug, Deserialize)]
pub struct Run {
    pub argv: Vec<String>,
    pub stdin: Option<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    pub stdout: Option<Text>,
    #[serde(default)]
    pub stdout_contains: Vec<String>,
    pub stderr: Option<Text>,
    #[serde(default)]
    pub stderr_contains: Vec<String>,
    /// A number, or `"killed"` when it had to be ended.
    pub exit_code: Value,
    /// Seconds after which it is ended.
    pub limit: Option<f64>,
    pub interrupt: Option<Interrupt>,
}

/// A program that is ended by SIGINT, and the process that dies while it runs.
#[derive(Debug, Deserialize)]
pub struct Interrupt {
    pub after: f64,
    pub kill: Option<Victim>,
}

#[derive(Debug, Deserialize)]
pub struct Victim {
    pub watcher: String,
    pub index: usize,
    pub after: f64,
}

/// What a program wrote.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Text {
    Exact(String),
    /// A help screen with these words.
    Help {
        mentions: Vec<String>,
    },
    /// A usage line of argparse.
    Usage {
        #[serde(rename = "usage")]
        _usage: bool,
    },
    /// A Python traceback that ends so.
    Traceback {
        traceback: String,
    },
    /// Log lines, without time and process number.
    Log {
        log: Vec<String>,
    },
}

/// What the one who took the transcript did beside talking to circusd.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Action {
    Sleep {
        s: f64,
    },
    BindPid {
        var: String,
        watcher: String,
        index: usize,
    },
    BindPids {
        var: String,
        watcher: String,
    },
    Kill {
        var: String,
        index: Option<usize>,
        signal: i32,
    },
    SignalDaemon {
        signal: String,
    },
    WaitExit {
        s: f64,
    },
    Occupy {
        port: String,
        var: String,
    },
    Close {
        var: String,
    },
    StartDaemon {
        args: Vec<String>,
        config: String,
        delay: f64,
    },
    Rename {
        src: String,
        dst: String,
    },
    /// `circus.ini` is this from now on.
    WriteIni {
        text: String,
    },
    UnlinkIni,
    /// Each bound process is said to live, `count` times.
    Heartbeats {
        port: String,
        var: String,
        count: u32,
        every: f64,
    },
}

/// What was looked at.
#[derive(Debug, Deserialize)]
#[serde(tag = "probe", rename_all = "snake_case")]
pub enum Probe {
    DaemonAlive {
        expect: bool,
    },
    Pidfile {
        file: String,
        mode: String,
    },
    PidfileLive {
        file: String,
    },
    Absent {
        file: String,
        log: String,
        log_lines: Vec<String>,
    },
    Log {
        log: String,
        log_lines: Vec<String>,
    },
    /// Type and mode, owner and group of files in the working folder.
    Stat {
        files: BTreeMap<String, (String, u32, u32)>,
    },
    /// Lines of the running circusd's own log.
    DaemonLog {
        log_lines: Vec<String>,
    },
    /// What the core, or Papa, holds under the names that Circus gives.
    Core {
        processes: Vec<String>,
        sockets: Vec<String>,
    },
    /// Which of the bound processes live.
    Alive {
        var: String,
        expect: Vec<bool>,
    },
    /// Which of the bound processes have ended.
    ZombieOrGone {
        var: String,
        expect: Vec<bool>,
    },
}

/// The folder of the transcripts.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/golden/circus")
}

impl Transcript {
    /// Reads one by name, and takes everything about the watchers `without` out of it.
    pub fn load(name: &str, without: &[&str]) -> anyhow::Result<Self> {
        let text = fs::read_to_string(folder().join(format!("{name}.json")))?;
        let mut transcript: Self = serde_json::from_str(&text)?;
        for watcher in without {
            transcript.remove_watcher(watcher);
        }
        Ok(transcript)
    }

    fn remove_watcher(&mut self, watcher: &str) {
        let mut kept = String::new();
        let mut inside = false;
        for line in self.ini.split_inclusive('\n') {
            if line.starts_with('[') {
                inside = line.trim_end() == format!("[watcher:{watcher}]");
            }
            if !inside {
                kept.push_str(line);
            }
        }
        self.ini = kept;
        let topic = format!("watcher.{watcher}.");
        let others = |event: &RecordedEvent| !event.0.starts_with(&topic);
        self.startup_events.retain(others);
        self.final_events.retain(others);
        let file = format!("{watcher}.");
        self.files_written.retain(|name, _| !name.starts_with(&file));
        let line = format!("INFO {watcher} ");
        self.log.retain(|logged| !logged.starts_with(&line));
        let in_list = format!(", \"{watcher}\"");
        let quoted = format!("\"{watcher}\"");
        // A step that asks for the watcher itself tells nothing without it.
        let mut carried = Vec::new();
        let mut steps = Vec::new();
        for mut step in std::mem::take(&mut self.steps) {
            step.events.retain(others);
            let its_file = format!("/{watcher}.");
            step.before.retain(|action| !matches!(action, Action::Rename { src, .. } if src.contains(&its_file)));
            let about_it = matches!(&step.kind, Kind::Zmq(exchange) if exchange.request_frames.iter().any(
                |frame| matches!(frame, Payload::Text(text) if text.contains(&quoted))));
            if let Kind::Zmq(exchange) = &mut step.kind {
                for frame in exchange.replies.iter_mut().flat_map(|reply| &mut reply.frames) {
                    *frame = frame.replace(&in_list, "").replace(&format!("{quoted}, "), "");
                }
            }
            if about_it {
                carried.extend(step.events);
            } else {
                steps.push(step);
            }
        }
        if let Some(last) = steps.last_mut() {
            last.events.extend(carried);
        }
        self.steps = steps;
    }
}
