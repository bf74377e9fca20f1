//! circusd inside of a Rust program: the same watchers, commands and events, without a program of its own.
//!
//! A [`Manager`] is a configuration that could be read; [`Manager::start`] runs it on a thread and gives a [`Handle`] to call
//! commands and hear events. Everything else is as in `circusd`: processes are the core's children and outlive this program as
//! their configuration says, the endpoints are served, `circusctl` works.
//!
//! What it leaves to the program: signals, logging (it speaks through `tracing`), the umask and the limit of open files. What
//! it cannot do: replace the program by another one (`upgrade` is refused).

use crate::arbiter::Ending;
use crate::config::{self, Config, ConfigErrors, Problem};
use crate::daemon::LogFile;
use crate::process::Heritage;
use crate::run::{BEFORE_START, STARTS, environment};
use crate::shell::{self, Door, Ended, Knock, Plan, Signals, StartError};
use ringmaster_protocol::circus::to_json;
use serde_json::{Map, Value, json};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

pub use crate::shell::Announcement;

/// Calls that may wait for the loop, which takes microseconds for each.
const WAITING_CALLS: usize = 256;

/// Events that may wait for whoever hears them, before further ones are left out.
const WAITING_EVENTS: usize = 1000;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// There is no core, or an endpoint cannot be served.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system gives no thread or no event loop.
    #[error("cannot start the manager: {0}")]
    System(#[from] io::Error),
    /// More calls are under way than may wait.
    #[error("too many calls are under way")]
    Busy,
    /// The manager has ended.
    #[error("the manager has ended")]
    Ended,
    /// The command was refused.
    #[error("'{command}' is refused: {reason}")]
    Refused {
        /// The command.
        command: String,
        /// As clients see it.
        reason: String,
    },
    /// The manager's thread has panicked, which is a defect.
    #[error("the manager has ended by a defect")]
    Defect,
}

/// A configuration that can be run.
#[derive(Debug)]
pub struct Manager {
    config: Config,
}

impl Manager {
    /// Reads a configuration file, in Circus's dialect, with its includes. Nothing is started.
    ///
    /// # Errors
    /// [`EmbeddedError::Config`]: what `circusd --check` would say.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, EmbeddedError> {
        let path = std::path::absolute(path)?;
        Ok(Self { config: config::load(&path, &environment())? })
    }

    /// What is wrong with the configuration and lets the rest start.
    pub fn problems(&self) -> &[Problem] {
        &self.config.problems
    }

    /// Finds or starts the core (`papa`, beside this program, on PATH, or `papa_path`), binds the endpoints and starts the
    /// watchers. Comes back when commands are taken; watchers may still be starting.
    ///
    /// # Errors
    /// Everything that keeps `circusd` from starting.
    pub fn start(self) -> Result<Handle, EmbeddedError> {
        let (knocks, door) = mpsc::channel(WAITING_CALLS);
        let (open, opened) = sync_channel(1);
        let door = Door { knocks: door, open: Some(open), subscribers: Vec::new() };
        let thread = std::thread::Builder::new().name("circusd".to_owned()).spawn(move || lives(self.config, door))?;
        match opened.recv() {
            Ok(()) => Ok(Handle { knocks, thread }),
            // The thread has ended, and says why.
            Err(_gone) => Err(ended(thread).err().unwrap_or(EmbeddedError::Ended)),
        }
    }
}

/// A running manager. Dropping it leaves the manager running for as long as the program does; a program that ends then is to
/// its services like a circusd that was killed.
#[derive(Debug)]
pub struct Handle {
    knocks: mpsc::Sender<Knock>,
    thread: JoinHandle<Result<(), EmbeddedError>>,
}

impl Handle {
    /// One command, as a client would send it, and the properties of its reply. Waits for the reply: in asynchronous code,
    /// call it where blocking is allowed.
    ///
    /// # Errors
    /// The command is refused, or the manager has ended.
    pub fn call(&self, command: &str, properties: Value) -> Result<Map<String, Value>, EmbeddedError> {
        let request = json!({ "id": "1", "command": command, "properties": properties });
        let (answer, reply) = sync_channel(1);
        self.knock(Knock::Call { payload: to_json(&request), answer })?;
        let reply: Vec<u8> = reply.recv().map_err(|_gone| EmbeddedError::Ended)?;
        let fields: Map<String, Value> = serde_json::from_slice(&reply).unwrap_or_default();
        if fields.get("status").and_then(Value::as_str) == Some("error") {
            let reason = fields.get("reason").and_then(Value::as_str).unwrap_or("no reason given").to_owned();
            return Err(EmbeddedError::Refused { command: command.to_owned(), reason });
        }
        Ok(fields)
    }

    /// Events from now on whose topic (`watcher.NAME.EVENT`) begins with `prefix`; all of them with an empty one.
    ///
    /// # Errors
    /// [`EmbeddedError::Busy`], [`EmbeddedError::Ended`].
    pub fn subscribe(&self, prefix: &str) -> Result<Events, EmbeddedError> {
        let (events, heard) = sync_channel(WAITING_EVENTS);
        self.knock(Knock::Subscribe { prefix: prefix.to_owned(), events })?;
        Ok(Events { heard })
    }

    /// Stops what does not outlive the manager, and waits for its end.
    ///
    /// # Errors
    /// What has ended the manager before.
    pub fn quit(self) -> Result<(), EmbeddedError> {
        match self.call("quit", json!({ "waiting": true })) {
            Ok(_) | Err(EmbeddedError::Ended) => ended(self.thread),
            Err(error) => Err(error),
        }
    }

    fn knock(&self, knock: Knock) -> Result<(), EmbeddedError> {
        self.knocks.try_send(knock).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => EmbeddedError::Busy,
            mpsc::error::TrySendError::Closed(_) => EmbeddedError::Ended,
        })
    }
}

/// Events, for as long as somebody hears them. Whoever falls behind by a thousand loses new ones.
#[derive(Debug)]
pub struct Events {
    heard: Receiver<Announcement>,
}

impl Events {
    /// The next one; `None`: there is none within `limit`.
    ///
    /// # Errors
    /// [`EmbeddedError::Ended`], after the last one.
    pub fn next(&self, limit: Duration) -> Result<Option<Announcement>, EmbeddedError> {
        match self.heard.recv_timeout(limit) {
            Ok(announcement) => Ok(Some(announcement)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(EmbeddedError::Ended),
        }
    }
}

fn ended(thread: JoinHandle<Result<(), EmbeddedError>>) -> Result<(), EmbeddedError> {
    thread.join().unwrap_or(Err(EmbeddedError::Defect))
}

/// One life after another, as `run` has them: before a `restart` of everything the file is read again.
fn lives(mut config: Config, mut door: Door) -> Result<(), EmbeddedError> {
    let mut starts = 0;
    loop {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match runtime.block_on(shell::run(plan(config.clone()), &mut Some(Signals::None), Some(&mut door))) {
            Ok(Ended { ending: Ending::Restart, file }) => {
                starts = 0;
                config = file.map_or(config, |file| *file);
            }
            Ok(Ended { ending: Ending::Quit | Ending::Upgrade | Ending::CalledOff, .. }) => return Ok(()),
            Err(error) if error.is_core_gone() && starts < STARTS => {
                starts += 1;
                runtime.block_on(async { tokio::time::sleep(BEFORE_START).await });
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn plan(config: Config) -> Plan {
    Plan {
        environment: environment(),
        working_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        heritage: Heritage::of_this_process(config.circus.umask),
        log: LogFile::default(),
        program: None,
        config,
    }
}
