//! Completion of command lines: what may stand where the cursor is. The interactive shell and the shells' scripts share it.
//!
//! Everything comes from the tables of commands and options and, for watchers, from circusd. What the answer looks like on
//! a terminal is not decided here.

mod candidates;
mod line;
mod scripts;

use std::ffi::OsString;

pub use candidates::{Candidate, in_command_line, in_shell};
pub use line::{Split, split};
pub use scripts::{Shell, script};

use crate::cli::{ENDPOINT_VARIABLE, Format, Settings};
use crate::daemon::Daemon;
use crate::failure::{Exit, Failure};
use crate::print::show;
use crate::run::Lookup;

/// The value of `AUTO_COMPLETE` that our own scripts use. Any other value is Circus's way.
const OURS: &str = "lines";

/// What a shell asks for by the environment variable `AUTO_COMPLETE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Circus's way: `COMP_WORDS` is the line and `COMP_CWORD` the number of the word, the program being 0. The answer is
    /// one line of words, and the exit status is 1 (spec m).
    Words {
        /// The words before that one.
        before: Vec<String>,
        /// Its beginning.
        partial: String,
    },
    /// Our scripts' way: `COMP_LINE` is the line up to the cursor. The answer is a line `WORD<tab>DESCRIPTION` for each word.
    Line(String),
}

impl Asked {
    /// Reads the environment; `None` when nobody asks.
    pub fn by(lookup: Lookup<'_>) -> Option<Self> {
        let text = |name: &str| lookup(name).map(|value| value.to_string_lossy().into_owned());
        if text("AUTO_COMPLETE")? == OURS {
            return Some(Self::Line(text("COMP_LINE").unwrap_or_default()));
        }
        let line = text("COMP_WORDS").unwrap_or_default();
        let mut words = line.split_whitespace().skip(1).map(str::to_owned);
        let position = text("COMP_CWORD")?.trim().parse::<usize>().ok()?.checked_sub(1)?;
        let before = words.by_ref().take(position).collect();
        Some(Self::Words { before, partial: words.next().unwrap_or_default() })
    }
}

/// Prints what `asked` asks for.
///
/// # Errors
/// [`Failure::Stdout`].
pub fn print(runtime: &tokio::runtime::Runtime, asked: &Asked, lookup: Lookup<'_>) -> Result<Exit, Failure> {
    let complete = |before: &[String], partial: &str| {
        in_command_line(before, partial, &mut || watchers(runtime, before, lookup(ENDPOINT_VARIABLE)))
    };
    let (text, exit) = match asked {
        Asked::Words { before, partial } => {
            let words: Vec<String> = complete(before, partial)
                .into_iter()
                .map(|candidate| candidate.word)
                // A list of words has no way to say this one.
                .filter(|word| !word.contains(char::is_whitespace))
                .collect();
            (words.join(" "), Exit::Failed)
        }
        Asked::Line(line) => {
            let split = split(line);
            let before = split.before.get(1..).unwrap_or_default();
            let lines: Vec<String> = complete(before, &split.partial)
                .into_iter()
                .map(|candidate| format!("{}\t{}", candidate.word, candidate.about))
                .collect();
            (lines.join("\n"), Exit::Done)
        }
    };
    if !text.is_empty() {
        show(&text).map_err(Failure::Stdout)?;
    }
    Ok(exit)
}

/// The watchers of the daemon that the line so far means. A tunnel is not built for a completion.
fn watchers(runtime: &tokio::runtime::Runtime, before: &[String], variable: Option<OsString>) -> Vec<(String, String)> {
    let value = |option: &str| {
        let joined = format!("{option}=");
        let parts = before.iter().find_map(|word| word.strip_prefix(&joined));
        let next = before.iter().skip_while(|word| *word != option).nth(1);
        parts.or(next.map(String::as_str)).map(str::to_owned)
    };
    let is_listening = before.iter().any(|word| word == "listen");
    let settings = Settings {
        // To listen, --endpoint is another one.
        endpoint: value("--endpoint").filter(|_| !is_listening),
        patience: None,
        format: Format::Text,
        ssh: None,
    };
    if value("--ssh").is_some() {
        return Vec::new();
    }
    match Daemon::new(runtime, &settings, variable) {
        Ok(mut daemon) => daemon.watchers(),
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(variables: &[(&str, &str)]) -> Option<Asked> {
        Asked::by(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1.into())
        })
    }

    #[test]
    fn the_environment_asks_in_two_ways() {
        assert_eq!(asked(&[]), None);
        let circus = asked(&[("AUTO_COMPLETE", "1"), ("COMP_WORDS", "circusctl list al"), ("COMP_CWORD", "2")]);
        let expected = Asked::Words { before: vec!["list".into()], partial: "al".into() };
        assert_eq!(circus, Some(expected));
        let ours = asked(&[("AUTO_COMPLETE", "lines"), ("COMP_LINE", "circusctl st")]);
        assert_eq!(ours, Some(Asked::Line("circusctl st".into())));
    }
}
