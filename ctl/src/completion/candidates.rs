//! The words that fit at a place of a command line.

use ringmaster_manager::options::{
    GLOBAL_OPTIONS, HOOK_NAMES, Kind, RLIMIT_NAMES, SIGNAL_NAMES, Shown, WATCHER_OPTIONS, WatcherOption,
};

use crate::commands::tail::STREAMS;
use crate::commands::{COMMANDS, Command, Complete};
use crate::completion::Shell;
use crate::parser::parser;

/// A word that fits, and a few words about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The word, unquoted.
    pub word: String,
    /// What it is.
    pub about: String,
}

/// Asks for the watchers' names and states; called only when they are wanted.
pub type Watchers<'a> = &'a mut dyn FnMut() -> Vec<(String, String)>;

/// The words of the shell's own that are no commands.
const SHELL_WORDS: &[(&str, &str)] =
    &[("help", "List the commands, or explain one"), ("EOF", "Leave the shell, like Ctrl-D")];

/// Completes a line of the interactive shell.
pub fn in_shell(before: &[String], partial: &str, watchers: Watchers<'_>) -> Vec<Candidate> {
    let found = match before {
        [] => {
            let own = SHELL_WORDS.iter().map(|(word, about)| candidate(*word, *about));
            commands().into_iter().chain(own).collect()
        }
        [word] if word == "help" || word == "?" => commands(),
        [word, rest @ ..] => match Command::find(word) {
            Some(command) => in_command(command, rest, partial, watchers),
            None => Vec::new(),
        },
    };
    fitting(found, partial)
}

/// Completes a command line of `circusctl`; `before` is without the program's name.
pub fn in_command_line(before: &[String], partial: &str, watchers: Watchers<'_>) -> Vec<Candidate> {
    let globals = globals();
    let mut words = before.iter();
    let mut open = None;
    while let Some(word) = words.next() {
        if let Some(option) = globals.iter().find(|option| option.candidate.word == *word) {
            // The next word is its value.
            if option.takes_value && words.next().is_none() {
                open = Some(option);
            }
        } else if !word.starts_with('-') {
            let found = match Command::find(word) {
                Some(command) => in_command(command, words.as_slice(), partial, watchers),
                None => Vec::new(),
            };
            return fitting(found, partial);
        }
    }
    let found = match open {
        Some(option) => option.values.iter().map(|value| candidate(value.as_str(), "")).collect(),
        None if partial.starts_with('-') => globals.into_iter().map(|option| option.candidate).collect(),
        None => commands(),
    };
    fitting(found, partial)
}

/// What follows a command word.
fn in_command(command: &Command, before: &[String], partial: &str, watchers: Watchers<'_>) -> Vec<Candidate> {
    let takes_value = |word: &String| {
        let is_word = |name: &str| word.strip_prefix("--") == Some(name);
        command.options.iter().any(|option| option.value.is_some() && is_word(option.name))
    };
    if before.last().is_some_and(takes_value) {
        return Vec::new();
    }
    if partial.starts_with('-') {
        let help = candidate("--help", "Show this command's help");
        let options = command.options.iter().map(|option| candidate(format!("--{}", option.name), option.help));
        return options.chain([help]).collect();
    }
    let mut position = 0;
    let mut words = before.iter();
    while let Some(word) = words.next() {
        if takes_value(word) {
            words.next();
        } else if !word.starts_with("--") {
            position += 1;
        }
    }
    command.completes_at(position).map(|what| words_of(what, watchers)).unwrap_or_default()
}

fn words_of(what: Complete, watchers: Watchers<'_>) -> Vec<Candidate> {
    match what {
        Complete::Watcher => watchers().into_iter().map(|(name, status)| candidate(name, status)).collect(),
        Complete::ShownOption => WATCHER_OPTIONS.iter().filter_map(shown_option).collect(),
        Complete::SettableOption => {
            WATCHER_OPTIONS.iter().filter(|row| row.settable).flat_map(settable_option).collect()
        }
        Complete::GlobalOption => GLOBAL_OPTIONS.iter().map(|name| candidate(*name, "")).collect(),
        Complete::Signal => SIGNAL_NAMES.iter().map(|(name, number)| candidate(*name, number.to_string())).collect(),
        Complete::Stream => STREAMS.iter().map(|name| candidate(*name, "")).collect(),
        Complete::Topic => {
            let own = watchers().into_iter().map(|(name, _)| {
                let topic = name.to_lowercase().replace(' ', "_");
                candidate(format!("watcher.{topic}."), name)
            });
            [candidate("watcher.", "all watchers")].into_iter().chain(own).collect()
        }
        Complete::Free => Vec::new(),
    }
}

fn shown_option(row: &WatcherOption) -> Option<Candidate> {
    match row.shown {
        Shown::Plain | Shown::Null | Shown::WhenGiven => Some(candidate(row.name, row.help)),
        Shown::As(name) => Some(candidate(name, row.help)),
        Shown::Hidden => None,
    }
}

/// One word, or for a family one for each member that is known.
fn settable_option(row: &WatcherOption) -> Vec<Candidate> {
    let family = |members: &[&str]| -> Vec<Candidate> {
        let separator = row.separator.map(String::from).unwrap_or_default();
        let member = |member: &&str| candidate(format!("{}{separator}{member}", row.name), row.help);
        members.iter().map(member).collect()
    };
    match &row.kind {
        Kind::Rlimits(_) => family(RLIMIT_NAMES),
        Kind::Stream(..) => family(&["class", "filename"]),
        Kind::Hooks(_) => [candidate(row.name, row.help)].into_iter().chain(family(HOOK_NAMES)).collect(),
        Kind::Flag(_)
        | Kind::MaybeFlag(_)
        | Kind::Count(_)
        | Kind::Processes(_)
        | Kind::Whole(_)
        | Kind::Integer(_)
        | Kind::Port(_)
        | Kind::Octal(_)
        | Kind::WholeSeconds(_)
        | Kind::FloatSeconds(_)
        | Kind::Period(_)
        | Kind::Text(_)
        | Kind::MaybeText(_)
        | Kind::TextUnlessEmpty(_)
        | Kind::MaybePath(_)
        | Kind::Directory(_)
        | Kind::Args(_)
        | Kind::Identity(_)
        | Kind::Signal(_)
        | Kind::Retries(_)
        | Kind::Size(..)
        | Kind::Overflow(_)
        | Kind::Metrics(_)
        | Kind::Env(_)
        | Kind::Family(_)
        | Kind::SocketKind(_) => vec![candidate(row.name, row.help)],
    }
}

fn commands() -> Vec<Candidate> {
    COMMANDS.iter().map(|command| candidate(command.name, command.summary)).collect()
}

/// A global option.
struct Global {
    candidate: Candidate,
    takes_value: bool,
    values: Vec<String>,
}

/// The global options as the parser has them.
fn globals() -> Vec<Global> {
    let parser = parser();
    let global = |arg: &clap::Arg| {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        Some(Global {
            candidate: candidate(format!("--{}", arg.get_long()?), help),
            takes_value: arg.get_action().takes_values(),
            values: if arg.get_long() == Some(Shell::OPTION) {
                Shell::NAMES.map(str::to_owned).into()
            } else {
                Vec::new()
            },
        })
    };
    parser.get_arguments().filter_map(global).collect()
}

fn candidate(word: impl Into<String>, about: impl Into<String>) -> Candidate {
    Candidate { word: word.into(), about: about.into() }
}

/// Those that begin with `partial`, whatever the case: watchers' names are looked up like that, too.
fn fitting(found: Vec<Candidate>, partial: &str) -> Vec<Candidate> {
    let partial = partial.to_lowercase();
    found.into_iter().filter(|candidate| candidate.word.to_lowercase().starts_with(&partial)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completion::split;

    fn words(line: &str, complete: fn(&[String], &str, Watchers<'_>) -> Vec<Candidate>) -> (Vec<String>, usize) {
        let split = split(line);
        let mut asked = 0;
        let found = complete(&split.before, &split.partial, &mut || {
            asked += 1;
            [("Beta", "active"), ("with space", "stopped")]
                .map(|(name, status)| (name.to_owned(), status.to_owned()))
                .into()
        });
        (found.into_iter().map(|candidate| candidate.word).collect(), asked)
    }

    #[test]
    fn lines_of_the_shell() {
        for (line, expected) in [
            ("st", "start stats status stop"),
            ("help l", "list listen listsockets"),
            ("E", "EOF"),
            ("stop ", "Beta,with space"),
            ("stop b", "Beta"),
            ("stop 'with s", "with space"),
            ("stop Beta ", ""),
            ("stop --match ", ""),
            ("stop --match glob B", "Beta"),
            ("stop --m", "--match"),
            ("signal Beta SIGH", "SIGHUP"),
            ("get Beta cmd num", "numprocesses"),
            ("set Beta rlimit_no", "rlimit_nofile"),
            ("set Beta cmd ", ""),
            ("set Beta cmd x hooks.before_sp", "hooks.before_spawn"),
            ("globaloptions pub", "pubsub_endpoint"),
            ("listen watcher.w", "watcher.with_space."),
            ("nosuch ", ""),
            ("--j", ""),
        ] {
            let expected: Vec<&str> =
                if line.starts_with("stop ") { expected.split(',').collect() } else { expected.split(' ').collect() };
            let expected: Vec<&str> = expected.into_iter().filter(|word| !word.is_empty()).collect();
            assert_eq!(words(line, in_shell).0, expected, "{line}");
        }
    }

    #[test]
    fn circusd_is_asked_only_for_watchers() {
        assert_eq!(words("st", in_shell).1, 0);
        assert_eq!(words("set Beta num", in_shell).1, 0);
        assert_eq!(words("stop ", in_shell).1, 1);
    }

    #[test]
    fn command_lines() {
        for (line, expected) in [
            ("st", "start stats status stop"),
            ("--endpoint tcp://h:1 st", "start stats status stop"),
            ("--endpoint ", ""),
            ("--json stop B", "Beta"),
            ("--endpoint=x stop B", "Beta"),
            ("--pret", "--prettify"),
            ("--completion ", "bash zsh fish"),
            ("nosuch s", ""),
        ] {
            let expected: Vec<&str> = expected.split(' ').filter(|word| !word.is_empty()).collect();
            assert_eq!(words(line, in_command_line).0, expected, "{line}");
        }
    }

    #[test]
    fn every_command_says_what_its_words_are() {
        for command in COMMANDS {
            let words = command.arity.most.min(3);
            let named = (0..words).filter(|position| command.completes_at(*position).is_some());
            let wants_watcher = command.arguments.contains("NAME") && command.name != "add";
            assert!(!wants_watcher || command.completes_at(0) == Some(Complete::Watcher), "{}", command.name);
            assert!(named.count() <= words, "{}", command.name);
        }
    }
}
