//! Where the shell's lines come from: a person at a terminal, or anything else.

use std::cell::RefCell;
use std::io::{self, BufRead as _, IsTerminal};

use tokio::runtime::Runtime;

use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::interrupt::Signals;
use crate::print::prompt;
use crate::run::Lookup;
use crate::shell::editor::{LineEditor, TabKey};

/// What is said of a line that is no text.
pub const GARBLED: &str = "error: the line is not UTF-8 and is left out";

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A line, with or without its end.
    Line(String),
    /// A line that was given up with Ctrl-C.
    Dropped,
    /// A line that is no text.
    Garbled,
    /// Nothing more comes.
    End,
    /// A signal ended the wait.
    Interrupted,
}

/// The source of lines.
pub enum Lines<'a> {
    /// A terminal on both sides.
    Edited(Box<LineEditor<TabKey<'a>>>),
    /// A pipe or a file: the prompt is printed all the same, as Circus does. A signal ends it, also one that came while a
    /// command ran.
    Plain(&'a Runtime, Signals),
}

impl<'a> Lines<'a> {
    /// Chooses by what stdin and stdout are.
    ///
    /// # Errors
    /// [`Failure::Input`] when the terminal cannot be used, [`Failure::Runtime`] when signals cannot be caught.
    pub fn open(runtime: &'a Runtime, daemon: &'a RefCell<Daemon<'a>>, lookup: Lookup<'_>) -> Result<Self, Failure> {
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            LineEditor::open(TabKey { daemon }, "history", lookup).map(|editor| Self::Edited(Box::new(editor)))
        } else {
            let _inside = runtime.enter();
            Ok(Self::Plain(runtime, Signals::catch().map_err(Failure::Runtime)?))
        }
    }

    /// Shows the prompt and waits.
    ///
    /// # Errors
    /// [`Failure::Input`], or [`Failure::Stdout`] when the prompt cannot be written.
    pub fn next(&mut self, text: &str) -> Result<Input, Failure> {
        match self {
            Self::Edited(editor) => editor.next(text),
            Self::Plain(runtime, signals) => {
                prompt(text).map_err(Failure::Stdout)?;
                runtime.block_on(plain_line(signals))
            }
        }
    }
}

/// In a thread of its own, because signals have to be waited for, too.
async fn plain_line(signals: &mut Signals) -> Result<Input, Failure> {
    let reader = tokio::task::spawn_blocking(|| {
        let mut line = Vec::new();
        io::stdin().lock().read_until(b'\n', &mut line).map(|_count| line)
    });
    tokio::select! {
        read = reader => match read.map_err(io::Error::other).flatten() {
            Ok(line) if line.is_empty() => Ok(Input::End),
            Ok(line) => Ok(String::from_utf8(line).map_or(Input::Garbled, Input::Line)),
            Err(reason) => Err(Failure::Input(reason.to_string())),
        },
        () = signals.any() => Ok(Input::Interrupted),
    }
}
