//! The line editor of the terminal: rustyline with a history file, and what the tab key does in the shell.

use std::cell::RefCell;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use crate::completion::{Candidate, in_shell, split};
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::print::complain;
use crate::run::Lookup;
use crate::shell::input::Input;

/// Lines the history file keeps: weeks of typing, and still read in no time.
const HISTORY_LINES: usize = 1000;

/// Lines from a person. `H` is what the tab key does.
pub struct LineEditor<H: Helper> {
    editor: Editor<H, FileHistory>,
    /// Where the history is kept; `None` when it is not.
    history: Option<PathBuf>,
}

impl<H: Helper> LineEditor<H> {
    /// Takes the terminal and reads the history of that name.
    ///
    /// # Errors
    /// [`Failure::Input`] when the terminal cannot be used.
    pub fn open(helper: H, history: &str, lookup: Lookup<'_>) -> Result<Self, Failure> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            // A line that begins with a space is not kept, as in bash: `set` may carry a secret.
            .history_ignore_space(true)
            .max_history_size(HISTORY_LINES)
            .map_err(failed)?
            .build();
        let mut editor = Editor::with_config(config).map_err(failed)?;
        editor.set_helper(Some(helper));
        let history = history_file(history, lookup).filter(|file| match prepare(&mut editor, file) {
            Ok(()) => true,
            Err(reason) => {
                complain(&format!("the history is not kept: {}: {reason}", file.display()));
                false
            }
        });
        Ok(Self { editor, history })
    }

    /// Waits for a line.
    ///
    /// # Errors
    /// [`Failure::Input`] when the terminal is gone.
    pub fn next(&mut self, prompt: &str) -> Result<Input, Failure> {
        match self.editor.readline(prompt) {
            Ok(line) => {
                self.keep(&line);
                Ok(Input::Line(line))
            }
            Err(ReadlineError::Interrupted) => Ok(Input::Dropped),
            Err(ReadlineError::Eof) => Ok(Input::End),
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => Ok(Input::Garbled),
            Err(error) => Err(failed(error)),
        }
    }

    /// At once, so that a shell that is killed has kept it, and two shells do not overwrite each other's lines.
    fn keep(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        let kept = match (self.editor.add_history_entry(line), &self.history) {
            (Ok(true), Some(file)) => self.editor.append_history(file),
            (Ok(_), _) => Ok(()),
            (Err(error), _) => Err(error),
        };
        if let Err(reason) = kept {
            complain(&format!("the history is kept no longer: {reason}"));
            self.history = None;
        }
    }
}

fn failed(error: ReadlineError) -> Failure {
    Failure::Input(error.to_string())
}

/// `$XDG_STATE_HOME/circusctl/NAME`, or in `~/.local/state` (XDG Base Directory Specification 0.8).
fn history_file(name: &str, lookup: Lookup<'_>) -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = PathBuf::from(lookup(name)?);
        path.is_absolute().then_some(path)
    };
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("circusctl").join(name))
}

/// Reads the history, or makes the folder for it.
fn prepare(editor: &mut Editor<impl Helper, FileHistory>, file: &Path) -> Result<(), ReadlineError> {
    if file.exists() {
        return editor.load_history(file);
    }
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    Ok(())
}

/// What the tab key does in the shell: commands, and watchers that circusd knows.
pub struct TabKey<'a> {
    /// Whom to ask.
    pub daemon: &'a RefCell<Daemon<'a>>,
}

impl Completer for TabKey<'_> {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, _context: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let split = split(line.get(..position).unwrap_or(line));
        let found = in_shell(&split.before, &split.partial, &mut || self.daemon.borrow_mut().watchers());
        Ok((split.start, found.into_iter().map(pair).collect()))
    }
}

/// Shown as it is, inserted quoted and with a space; the beginning of a topic goes on.
fn pair(candidate: Candidate) -> Pair {
    let quoted = shell_words::quote(&candidate.word);
    let replacement = if quoted.ends_with('.') { quoted.into_owned() } else { format!("{quoted} ") };
    Pair { display: candidate.word, replacement }
}

impl Hinter for TabKey<'_> {
    type Hint = String;
}
impl Highlighter for TabKey<'_> {}
impl Validator for TabKey<'_> {}
impl Helper for TabKey<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_the_history() {
        let place = |variables: &[(&str, &str)]| {
            history_file("history", &|name| {
                let found = variables.iter().find(|(known, _)| *known == name)?;
                Some(found.1.into())
            })
        };
        let expected = |path: &str| Some(PathBuf::from(path));
        assert_eq!(place(&[]), None);
        assert_eq!(place(&[("HOME", "/h")]), expected("/h/.local/state/circusctl/history"));
        assert_eq!(place(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]), expected("/s/circusctl/history"));
        assert_eq!(place(&[("HOME", "/h"), ("XDG_STATE_HOME", "s")]), expected("/h/.local/state/circusctl/history"));
    }

    #[test]
    fn words_are_inserted_so_that_they_are_read_back() {
        let inserted = |word: &str| {
            let about = String::new();
            pair(Candidate { word: word.into(), about }).replacement
        };
        assert_eq!(inserted("stop"), "stop ");
        assert_eq!(inserted("with space"), "'with space' ");
        assert_eq!(inserted("watcher."), "watcher.");
    }
}
