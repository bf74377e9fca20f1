//! The interactive shell: `circusctl` without a command. Reads lines from a terminal with editing, history and completion,
//! or from a pipe as they are, and carries out each as a command.
//!
//! It behaves as Circus's (spec m) but for one thing: a line that makes no sense is told and does not end the shell. It keeps
//! no connection between lines.

pub(crate) mod editor;
pub(crate) mod input;

use std::cell::RefCell;

use crate::cli::{self, ENDPOINT_VARIABLE, Settings, Typed};
use crate::commands::listen::SINCE;
use crate::commands::{Action, COMMANDS, Command};
use crate::daemon::Daemon;
use crate::failure::{Exit, Failure};
use crate::parser::{CIRCUS_VERSION, long_help};
use crate::print::{complain, show};
use crate::request::Arguments;
use crate::run::Lookup;
use crate::session;
use input::{GARBLED, Input, Lines};

/// Circus's prompt.
const PROMPT: &str = "(circusctl) ";

/// Reads and carries out lines until the end of the input. Only a failure of our own streams ends it with another status
/// than 0.
///
/// # Errors
/// No usable endpoint, or no usable stdin or stdout.
pub fn run(runtime: &tokio::runtime::Runtime, settings: Settings, lookup: Lookup<'_>) -> Result<Exit, Failure> {
    let daemon = RefCell::new(Daemon::new(runtime, &settings, lookup(ENDPOINT_VARIABLE))?);
    let mut shell = Shell { daemon: &daemon, settings, lookup, last: String::new() };
    show(&format!("circusctl {CIRCUS_VERSION}")).map_err(Failure::Stdout)?;
    shell.line("status")?;
    shell.last.clear();
    let mut lines = Lines::open(runtime, &daemon, lookup)?;
    loop {
        match lines.next(PROMPT)? {
            Input::Line(line) => {
                if shell.line(&line)? == Next::End {
                    break;
                }
            }
            Input::Dropped => {}
            Input::Garbled => complain(GARBLED),
            Input::End => break,
            Input::Interrupted => return Ok(Exit::Failed),
        }
    }
    show("").map_err(Failure::Stdout)?;
    Ok(Exit::Done)
}

/// What comes after a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Line,
    End,
}

struct Shell<'a> {
    daemon: &'a RefCell<Daemon<'a>>,
    settings: Settings,
    lookup: Lookup<'a>,
    /// What an empty line repeats.
    last: String,
}

impl Shell<'_> {
    /// Carries out one line.
    fn line(&mut self, typed: &str) -> Result<Next, Failure> {
        let line = match typed.trim() {
            "" => self.last.clone(),
            line => line.to_owned(),
        };
        self.last.clone_from(&line);
        let done = match line.as_str() {
            "" => Ok(()),
            "EOF" => return Ok(Next::End),
            line => self.command(line),
        };
        match done {
            Ok(()) => {}
            Err(failure @ (Failure::Stdout(_) | Failure::Runtime(_) | Failure::Input(_))) => {
                return Err(failure);
            }
            Err(
                failure @ (Failure::Usage(_)
                | Failure::Argument(_)
                | Failure::Daemon(_)
                | Failure::Upgrade(_)
                | Failure::Listen(_)
                | Failure::Replay(_)
                | Failure::Tail(_)
                | Failure::Drill(_)
                | Failure::Kernel(_)),
            ) => complain(&failure.to_string()),
        }
        Ok(Next::Line)
    }

    fn command(&self, line: &str) -> Result<(), Failure> {
        // `?` is short for help, with or without a space behind it.
        let line = line.strip_prefix('?').map_or_else(|| line.to_owned(), |topic| format!("help {topic}"));
        let Ok(words) = shell_words::split(&line) else {
            complain("error: a quote is open at the end of the line");
            return Ok(());
        };
        let Some((first, rest)) = words.split_first() else {
            return Ok(());
        };
        if first == "help" {
            return help(rest.first().map(String::as_str));
        }
        let Some(command) = Command::find(first) else {
            return show(&format!("*** Unknown syntax: {line}")).map_err(Failure::Stdout);
        };
        match cli::parse_words(command, rest.to_vec())? {
            Typed::Show(text) => show(text.trim_end()).map_err(Failure::Stdout),
            // How it ended has been printed.
            Typed::Arguments(arguments) => self.carry_out(command, &arguments).map(|_| ()),
        }
    }

    fn carry_out(&self, command: &'static Command, arguments: &Arguments) -> Result<Exit, Failure> {
        command.check(arguments)?;
        match command.action {
            Action::Ask(action) => {
                let request = action.request(command, arguments)?;
                let mut daemon = self.daemon.borrow_mut();
                session::ask(&mut daemon, self.settings.format, action, &request)
            }
            Action::Listen if arguments.value(SINCE.name).is_some() => {
                session::replay_events(&mut self.daemon.borrow_mut(), arguments)
            }
            Action::Listen => {
                let mut events = self.daemon.borrow_mut().its_events()?;
                session::print_events(&mut events, arguments.words())
            }
            Action::Upgrade => session::upgrade(&mut self.daemon.borrow_mut(), &self.settings),
            Action::Tail => session::tail(self.daemon.borrow().runtime(), &self.settings, arguments, self.lookup),
            Action::Drill => session::drill(&mut self.daemon.borrow_mut(), &self.settings, arguments, self.lookup),
            Action::Kernel => session::print_kernel(&self.settings, arguments, self.lookup),
            Action::Attach => session::attach(&self.settings, arguments, self.lookup),
        }
    }
}

/// The list of commands, or one command's long help.
fn help(topic: Option<&str>) -> Result<(), Failure> {
    let text = match topic.map(|topic| (topic, Command::find(topic))) {
        None => overview(),
        Some((_, Some(command))) => long_help(command).trim_end().to_owned(),
        Some(("help", None)) => "help [COMMAND]: list the commands, or explain one".to_owned(),
        Some((topic, None)) => format!("*** No help on {topic}"),
    };
    show(&text).map_err(Failure::Stdout)
}

fn overview() -> String {
    let width = COMMANDS.iter().map(|command| command.name.len()).max().unwrap_or_default();
    let mut lines: Vec<String> =
        COMMANDS.iter().map(|command| format!("{:width$}  {}", command.name, command.summary)).collect();
    lines.insert(0, "Commands (help COMMAND explains one):".to_owned());
    lines.push("An empty line repeats the last command; Ctrl-D leaves.".to_owned());
    lines.join("\n")
}
