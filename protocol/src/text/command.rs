//! The table of commands and how they are abbreviated; what each does is in the file of its subject.

use super::TextError;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Leave when nothing is owned.
    ExitIfIdle,
    /// Show a value.
    Get,
    /// Explain.
    Help,
    /// Show processes.
    ListProcesses,
    /// Show sockets.
    ListSockets,
    /// Show values.
    ListValues,
    /// Start a process.
    MakeProcess,
    /// Make a socket.
    MakeSocket,
    /// End the conversation.
    Quit,
    /// Forget processes.
    RemoveProcesses,
    /// Close sockets.
    RemoveSockets,
    /// Forget values.
    RemoveValues,
    /// Store a value.
    Set,
    /// Send a signal.
    Signal,
    /// Tell about the core.
    Status,
    /// Show the newest output.
    Tail,
    /// Follow output.
    WatchProcesses,
}

/// One first word: alone a command, or with one of several second words.
#[derive(Debug)]
struct First {
    word: &'static str,
    then: Then,
}

#[derive(Debug)]
enum Then {
    Done(Command),
    Second(&'static [(&'static str, Command)]),
}

/// Sorted: an abbreviation means the first that begins with it. `signal`, `status` and `tail` are ours; they sort behind
/// Papa's words, so that Papa's abbreviations mean what they always did.
const TABLE: &[First] = &[
    alone("exit-if-idle", Command::ExitIfIdle),
    alone("get", Command::Get),
    alone("help", Command::Help),
    First {
        word: "list",
        then: Then::Second(&[
            ("processes", Command::ListProcesses),
            ("sockets", Command::ListSockets),
            ("values", Command::ListValues),
        ]),
    },
    First { word: "make", then: Then::Second(&[("process", Command::MakeProcess), ("socket", Command::MakeSocket)]) },
    alone("quit", Command::Quit),
    First {
        word: "remove",
        then: Then::Second(&[
            ("processes", Command::RemoveProcesses),
            ("sockets", Command::RemoveSockets),
            ("values", Command::RemoveValues),
        ]),
    },
    alone("set", Command::Set),
    alone("signal", Command::Signal),
    alone("status", Command::Status),
    alone("tail", Command::Tail),
    First { word: "watch", then: Then::Second(&[("processes", Command::WatchProcesses)]) },
];

const fn alone(word: &'static str, command: Command) -> First {
    First { word, then: Then::Done(command) }
}

/// Finds the command that the first words mean; gives the words behind it.
pub fn find(words: &[String]) -> Result<(Command, &[String]), TextError> {
    let (first, rest) = look_up(words)?;
    if first.word == "exit-if-idle" && words.first().is_some_and(|word| word.to_lowercase() != first.word) {
        return Err(TextError::Abbreviated);
    }
    second(first, rest)
}

/// Finds the command to explain: leaving may be abbreviated, and a first word may come alone (`None`).
pub fn find_topic(words: &[String]) -> Result<Topic, TextError> {
    let (first, rest) = look_up(words)?;
    if rest.is_empty() {
        return Ok(Topic::First(first.word));
    }
    second(first, rest).map(|(command, _)| Topic::Whole(command))
}

/// The words that can go on with what is typed so far of a line, for the tab key: where the last word begins, and its
/// candidates.
pub fn continuations(line: &str) -> (usize, Vec<&'static str>) {
    let start = line.rfind(' ').map_or(0, |space| space + 1);
    let (before, partial) = line.split_at_checked(start).unwrap_or((line, ""));
    let beginning = partial.to_lowercase();
    let known: Vec<&str> = match before.split_whitespace().collect::<Vec<_>>().as_slice() {
        [] | ["help"] => TABLE.iter().map(|first| first.word).collect(),
        [first] => match TABLE.iter().find(|known| known.word == first.to_lowercase()).map(|known| &known.then) {
            Some(Then::Second(table)) => table.iter().map(|(word, _)| *word).collect(),
            Some(Then::Done(_)) | None => Vec::new(),
        },
        _ => Vec::new(),
    };
    (start, known.into_iter().filter(|word| word.starts_with(&beginning)).collect())
}

/// What is to be explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// A first word.
    First(&'static str),
    /// A command.
    Whole(Command),
}

fn look_up(words: &[String]) -> Result<(&'static First, &[String]), TextError> {
    let (word, rest) = words.split_first().ok_or(TextError::UnknownCommand(String::new()))?;
    let word = word.to_lowercase();
    let exact = TABLE.iter().find(|first| first.word == word);
    let first = exact.or_else(|| TABLE.iter().find(|first| first.word.starts_with(&word)));
    first.map(|first| (first, rest)).ok_or(TextError::UnknownCommand(word))
}

fn second<'a>(first: &First, rest: &'a [String]) -> Result<(Command, &'a [String]), TextError> {
    let table = match first.then {
        Then::Done(command) => return Ok((command, rest)),
        Then::Second(table) => table,
    };
    let choices = || table.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    let Some((word, rest)) = rest.split_first() else {
        return Err(TextError::SecondMissing(first.word, choices()));
    };
    let word = word.to_lowercase();
    let found = table.iter().find(|(known, _)| known.starts_with(&word));
    match found {
        Some((_, command)) => Ok((*command, rest)),
        None => Err(TextError::SecondWrong(first.word, choices())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(line: &str) -> Result<Command, TextError> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        find(&words).map(|(command, _)| command)
    }

    #[test]
    fn abbreviations_are_those_of_papa() {
        for (line, command) in [
            ("LIST SOCKETS", Command::ListSockets),
            ("l p", Command::ListProcesses),
            ("rem sock", Command::RemoveSockets),
            ("r v", Command::RemoveValues),
            ("m p x", Command::MakeProcess),
            ("w p", Command::WatchProcesses),
            ("s a", Command::Set),
            ("g a", Command::Get),
            ("q", Command::Quit),
            ("h", Command::Help),
            ("st", Command::Status),
            ("si", Command::Signal),
            ("t", Command::Tail),
            ("exit-if-idle", Command::ExitIfIdle),
        ] {
            assert_eq!(found(line), Ok(command), "{line}");
        }
        assert_eq!(found("e"), Err(TextError::Abbreviated));
        assert_eq!(found("Nosuch"), Err(TextError::UnknownCommand("nosuch".into())));
        assert!(matches!(found("make sockets x"), Err(TextError::SecondWrong("make", _))));
        assert!(matches!(found("watch"), Err(TextError::SecondMissing("watch", _))));
    }

    #[test]
    fn words_go_on_as_the_table_has_them() {
        assert_eq!(continuations("s"), (0, vec!["set", "signal", "status"]));
        assert_eq!(continuations("list p"), (5, vec!["processes"]));
        assert_eq!(continuations("help ma"), (5, vec!["make"]));
        assert_eq!(continuations("tail x"), (5, vec![]));
        assert_eq!(continuations("MAKE ").1, ["process", "socket"]);
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(TABLE.is_sorted_by_key(|first| first.word));
    }

    proptest! {
        #[test]
        fn any_words_find_something_or_an_error(line in "\\PC{0,30}") {
            let words = super::super::words::split(&line);
            let _ = (find(&words), find_topic(&words));
        }
    }
}
