//! Whether classes of a configuration can be imported, tried in Pythons that end at once, before anything depends on it.
//!
//! To import is to run people's code, so this is done when circusd starts and when it reads its file again, never by `--check`.

use super::{IMPORTING, ImportFailure, python3, start};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

/// What the worker runs.
const SOURCE: &str = include_str!("trial.py");

/// How long an import may take: the largest packages take a few seconds from a cold disk.
const LONGEST: Duration = Duration::from_secs(20);

/// The longest answer.
const MAX_ANSWER: u64 = 1 << 20;

/// One class to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Its dotted name.
    pub target: String,
    /// Folders in front of `sys.path`, separated by colons.
    pub path: Option<String>,
    /// The whole environment of the Python; `None`: circusd's.
    pub environment: Option<BTreeMap<String, String>>,
}

/// Why a class cannot be used, or why that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrialError {
    /// It is not there, or its module raises.
    #[error(transparent)]
    NoImport(#[from] ImportFailure),
    /// There is no Python.
    #[error("cannot start python3: {0}")]
    NoPython(String),
    /// The import has not come to an end; it may be slow.
    #[error("'{target}' is not imported after {} s", LONGEST.as_secs())]
    TooSlow {
        /// As configured.
        target: String,
    },
    /// The interpreter went down.
    #[error("the Python that imports '{target}' has ended ({status})")]
    Ended {
        /// As configured.
        target: String,
        /// How.
        status: String,
    },
}

impl TrialError {
    /// Whether the class will certainly not work.
    pub fn is_final(&self) -> bool {
        match self {
            Self::NoImport(_) | Self::NoPython(_) | Self::Ended { .. } => true,
            Self::TooSlow { .. } => false,
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "said", rename_all = "snake_case")]
enum Answer {
    Fine,
    NoImport(ImportFailure),
}

/// Tries all of them side by side and gives the outcomes in the same order. Blocks the thread, at most as long as an import may take.
pub fn try_all(trials: &[Trial]) -> Vec<Result<(), TrialError>> {
    std::thread::scope(|scope| {
        let running: Vec<_> = trials.iter().map(|trial| scope.spawn(|| try_one(trial))).collect();
        let died = |_| Err(TrialError::NoPython("the thread that waits for it has ended".to_owned()));
        running.into_iter().map(|thread| thread.join().unwrap_or_else(died)).collect()
    })
}

fn try_one(trial: &Trial) -> Result<(), TrialError> {
    let mut command = python3();
    if let Some(environment) = &trial.environment {
        command.env_clear().envs(environment);
    }
    // What a module prints when it is imported is said again by the Python that uses it.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let failed = |error: std::io::Error| TrialError::NoPython(error.to_string());
    let (mut child, socket) = start(command, "circusd-import", &[IMPORTING, SOURCE]).map_err(failed)?;
    let answer = ask(socket, trial);
    // It may have ended by itself; then there is nothing to kill.
    let _ = child.kill();
    let status = child.wait().map_err(failed)?;
    match answer {
        Ok(Some(Answer::Fine)) => Ok(()),
        Ok(Some(Answer::NoImport(failure))) => Err(failure.into()),
        Ok(None) => Err(TrialError::Ended { target: trial.target.clone(), status: status.to_string() }),
        Err(_) => Err(TrialError::TooSlow { target: trial.target.clone() }),
    }
}

/// `None`: it has ended without an answer. An error: it has not answered in time.
fn ask(mut socket: UnixStream, trial: &Trial) -> std::io::Result<Option<Answer>> {
    let order = json!({ "target": trial.target, "path": trial.path });
    socket.set_read_timeout(Some(LONGEST))?;
    if socket.write_all(format!("{order}\n").as_bytes()).is_err() {
        return Ok(None);
    }
    let mut line = Vec::new();
    match BufReader::new(socket.take(MAX_ANSWER)).read_until(b'\n', &mut line) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
        outcome => outcome?,
    };
    Ok(serde_json::from_slice(&line).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(target: &str, folder: &std::path::Path) -> Trial {
        Trial { target: target.to_owned(), path: Some(folder.display().to_string()), environment: None }
    }

    #[test]
    fn outcomes_are_those_of_the_import() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("fine.py"), "class Stream: pass\nnumber = 3\nprint('hello')\n").unwrap();
        std::fs::write(folder.path().join("exits.py"), "import os\nos._exit(3)\n").unwrap();
        std::fs::write(folder.path().join("broken.py"), "def f(:\n").unwrap();
        let names = ["fine.Stream", "fine.number", "fine.Nothing", "exits.Stream", "broken.f", "no_such_module.x"];
        let outcomes = try_all(&names.map(|name| trial(name, folder.path())));
        let texts: Vec<String> = outcomes
            .iter()
            .map(|outcome| outcome.as_ref().map_or_else(ToString::to_string, |()| "fine".to_owned()))
            .collect();
        let place = format!("; searched: {}", folder.path().display());
        assert_eq!(texts[0], "fine");
        for (text, beginning) in texts.iter().zip([
            "fine",
            "cannot import 'fine.number': TypeError: 3 is not callable",
            "cannot import 'fine.Nothing': AttributeError: module 'fine' has no attribute 'Nothing'",
            "the Python that imports 'exits.Stream' has ended (exit status: 3)",
            "cannot import 'broken.f': SyntaxError: ",
            "cannot import 'no_such_module.x': ModuleNotFoundError: No module named 'no_such_module'",
        ]) {
            assert!(text.starts_with(beginning), "{text}");
            assert!(!text.starts_with("cannot import") || text.contains(&place), "{text}");
        }
    }

    #[test]
    fn an_environment_of_its_own_decides_which_python() {
        let environment = Some(BTreeMap::from([("PATH".to_owned(), "/no/such/folder".to_owned())]));
        let outcome = try_all(&[Trial { target: "json.loads".to_owned(), path: None, environment }]);
        assert!(matches!(&outcome[..], [Err(TrialError::NoPython(_))]), "{outcome:?}");
    }
}
