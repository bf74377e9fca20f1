//! The commands: each file says how its words become request properties and how its reply becomes text.
//!
//! [`COMMANDS`] is the only list of them; parsing, help, completion and tests walk it. A new command is one file and
//! one row. Nothing here touches a socket or a stream.

use crate::reply::{Answer, Reply};
use crate::request::{ArgumentError, Arguments, Properties, Request};

mod add;
pub mod attach;
mod decr;
mod drill;
mod dstats;
mod get;
mod globaloptions;
mod incr;
mod ipython;
pub mod kernel;
mod kill;
mod list;
pub mod listen;
mod listsockets;
mod numprocesses;
mod numwatchers;
mod options;
mod quit;
mod reload;
mod reloadconfig;
mod restart;
mod rm;
mod set;
mod signal;
mod start;
mod stats;
mod status;
mod stop;
pub mod tail;
mod upgrade;

/// Every command of the command line, in the order of the help.
pub const COMMANDS: &[Command] = &[
    add::COMMAND,
    attach::COMMAND,
    decr::COMMAND,
    drill::COMMAND,
    dstats::COMMAND,
    get::COMMAND,
    globaloptions::COMMAND,
    incr::COMMAND,
    ipython::COMMAND,
    kernel::COMMAND,
    kill::COMMAND,
    list::COMMAND,
    listen::COMMAND,
    listsockets::COMMAND,
    numprocesses::COMMAND,
    numwatchers::COMMAND,
    options::COMMAND,
    quit::COMMAND,
    reload::COMMAND,
    reloadconfig::COMMAND,
    restart::COMMAND,
    rm::COMMAND,
    set::COMMAND,
    signal::COMMAND,
    start::COMMAND,
    stats::COMMAND,
    status::COMMAND,
    stop::COMMAND,
    tail::COMMAND,
    upgrade::COMMAND,
];

/// One command of the command line.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// The word people type, which is also the daemon's name for it.
    pub name: &'static str,
    /// Its words as the usage line shows them, options left out.
    pub arguments: &'static str,
    /// One line for the list of commands.
    pub summary: &'static str,
    /// What `circusctl --help COMMAND` adds.
    pub details: &'static str,
    /// How many words it takes.
    pub arity: Arity,
    /// Options after the command word.
    pub options: &'static [CommandOption],
    /// What its words are, for completion; the last one goes on if there are more words, unless it is a watcher: no command
    /// takes two.
    pub completes: &'static [Complete],
    /// Who is asked, and how.
    pub action: Action,
}

/// Who answers a command.
#[derive(Debug, Clone, Copy)]
pub enum Action {
    /// circusd, over its control endpoint.
    Ask(Ask),
    /// circusd, over its event endpoint, until somebody ends it. The words are topics.
    Listen,
    /// circusd, and then the one that replaces it.
    Upgrade,
    /// The core, for what it has captured.
    Tail,
    /// circusd and the core, the hard way.
    Drill,
    /// The core, over the socket of its instance.
    Kernel,
    /// The core, over the same socket and in Papa's text protocol, for as long as somebody types.
    Attach,
}

/// A command that is one request and one reply.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// Makes the request's properties of the arguments.
    pub properties: fn(&Arguments) -> Result<Properties, ArgumentError>,
    /// Makes the text of the reply.
    pub answer: fn(&Reply) -> Answer,
}

impl Ask {
    /// Checks the arguments of `command`, whose action this is, and makes the request.
    ///
    /// # Errors
    /// What [`ArgumentError`] lists.
    pub fn request(&self, command: &Command, arguments: &Arguments) -> Result<Request, ArgumentError> {
        command.check(arguments)?;
        Ok(Request { command: command.name, properties: (self.properties)(arguments)? })
    }
}

/// What a word of a command line can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Complete {
    /// The name of a watcher; circusd knows them.
    Watcher,
    /// An option as `options` shows it.
    ShownOption,
    /// The key of a pair that `set` takes.
    SettableOption,
    /// An option of circusd itself.
    GlobalOption,
    /// A signal's name.
    Signal,
    /// One of the two streams.
    Stream,
    /// The beginning of an event's topic.
    Topic,
    /// Free text.
    Free,
}

/// How many words a command takes, and Circus's text when it gets another number.
#[derive(Debug, Clone, Copy)]
pub struct Arity {
    /// At least so many.
    pub least: usize,
    /// At most so many; `usize::MAX` for any number.
    pub most: usize,
    /// What Circus prints otherwise.
    pub otherwise: &'static str,
}

impl Arity {
    /// `least` to `most` words, with the text that most commands have.
    const fn new(least: usize, most: usize) -> Self {
        Self { least, most, otherwise: "Invalid number of arguments" }
    }

    /// The same with another text.
    const fn or(self, otherwise: &'static str) -> Self {
        Self { otherwise, ..self }
    }
}

/// An option after the command word.
#[derive(Debug, Clone, Copy)]
pub struct CommandOption {
    /// Its name without dashes.
    pub name: &'static str,
    /// Name of its value in the help; a flag has none.
    pub value: Option<&'static str>,
    /// One line for the help.
    pub help: &'static str,
}

/// Answer when the work is done, and with its result.
const WAITING: CommandOption =
    CommandOption { name: "waiting", value: None, help: "answer when the work is done, not when it has begun" };

/// How NAME selects watchers.
const MATCH: CommandOption = CommandOption {
    name: "match",
    value: Some("METHOD"),
    help: "how NAME selects watchers: glob (default), simple (the exact name) or regex",
};

impl Command {
    /// The row of a command word.
    pub fn find(name: &str) -> Option<&'static Command> {
        COMMANDS.iter().find(|command| command.name == name)
    }

    /// Checks the number of words.
    ///
    /// # Errors
    /// [`ArgumentError::Count`].
    pub fn check(&self, arguments: &Arguments) -> Result<(), ArgumentError> {
        let count = arguments.words().len();
        if count < self.arity.least || count > self.arity.most {
            return Err(ArgumentError::Count { wording: self.arity.otherwise });
        }
        Ok(())
    }

    /// What the word at `position`, counted from 0, is; `None` when there is no such word.
    pub fn completes_at(&self, position: usize) -> Option<Complete> {
        if position >= self.arity.most {
            return None;
        }
        let goes_on = self.arity.most == usize::MAX;
        let what = *self
            .completes
            .get(position)
            .or(self.completes.last().filter(|last| goes_on && **last != Complete::Watcher))?;
        // Keys and values take turns.
        let is_value = what == Complete::SettableOption && position.is_multiple_of(2);
        Some(if is_value { Complete::Free } else { what })
    }
}

/// Properties of a command whose only word is an optional watcher name.
fn optional_name(arguments: &Arguments) -> Result<Properties, ArgumentError> {
    let mut properties = Properties::new();
    insert_word(&mut properties, "name", arguments, 0);
    Ok(properties)
}

/// Properties of start, stop and restart: a pattern, how it matches, and whether to wait (spec c.7).
fn matching(arguments: &Arguments) -> Result<Properties, ArgumentError> {
    let mut properties = Properties::new();
    insert_word(&mut properties, "name", arguments, 0);
    properties.insert("waiting".into(), arguments.flag(WAITING.name).into());
    properties.insert("match".into(), arguments.value(MATCH.name).unwrap_or("glob").into());
    Ok(properties)
}

/// Sets a property when its flag was given: Circus's `rm` and `set` leave it out otherwise.
fn insert_flag(properties: &mut Properties, option: CommandOption, arguments: &Arguments) {
    if arguments.flag(option.name) {
        properties.insert(option.name.into(), true.into());
    }
}

/// Copies a word, if it is there, into a property.
fn insert_word(properties: &mut Properties, property: &str, arguments: &Arguments, position: usize) {
    if let Some(word) = arguments.word(position) {
        properties.insert(property.into(), word.into());
    }
}

/// The answer of commands that have nothing to show.
fn just_ok(reply: &Reply) -> Answer {
    reply.when_ok(|| "ok".to_owned())
}
