//! `set`: changes options of a watcher. Texts become JSON values here, by the type that the options table gives a key.

use ringmaster_manager::options::{
    Expected, HOOK_NAMES, Kind, Overflow, Signal, WatcherOption, WatcherOptions, python, size,
};
use serde_json::{Map, Value, json};

use super::{Action, Arity, Ask, Command, Complete, WAITING, insert_flag, insert_word, just_ok};
use crate::request::{ArgumentError, Arguments, Properties};

pub(super) const COMMAND: Command = Command {
    name: "set",
    arguments: "NAME KEY VALUE...",
    summary: "Change options of a watcher",
    details: "Any number of pairs KEY VALUE. Booleans are yes, no, true, false, on, off, 1, 0; stop_signal is a name or a \
              number; env is NAME=VALUE,NAME=VALUE and replaces the whole environment; hooks is \
              NAME:CALLABLE,NAME:CALLABLE. An option that a running process cannot change in place, such as cmd, \
              replaces the processes by a graceful reload. The change outlives circusd; reloadconfig goes back to the \
              file.",
    arity: Arity::new(3, usize::MAX),
    options: &[WAITING],
    completes: &[Complete::Watcher, Complete::SettableOption],
    action: Action::Ask(Ask { properties, answer: just_ok }),
};

/// A key that circusd takes and forgets, as Circus does (spec c.8); it has no row in the table.
const FORGOTTEN_KEY: &str = "retry_in";

/// The settings of a stream that Circus sends as integers; all others go as text.
const INTEGER_STREAM_SETTINGS: &[&str] = &["max_bytes", "backup_count"];

fn properties(arguments: &Arguments) -> Result<Properties, ArgumentError> {
    let mut properties = Properties::new();
    insert_word(&mut properties, "name", arguments, 0);
    insert_flag(&mut properties, WAITING, arguments);
    let words = arguments.words().get(1..).unwrap_or_default();
    let (pairs, rest) = words.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(ArgumentError::Count { wording: "List of key/values is invalid" });
    }
    let mut options = Map::new();
    for [key, text] in pairs {
        let key = key.to_lowercase();
        let value = value(&key, text)?;
        options.insert(key, value);
    }
    properties.insert("options".into(), options.into());
    Ok(properties)
}

/// The value that is sent for `key`, which is in lower case.
fn value(key: &str, text: &str) -> Result<Value, ArgumentError> {
    let unknown = || ArgumentError::UnknownKey { key: key.to_owned() };
    if key == FORGOTTEN_KEY {
        return float(text).ok_or_else(|| ArgumentError::value(key, Expected::Period, text));
    }
    let row = WatcherOption::find(key).filter(|row| row.settable).ok_or_else(unknown)?;
    let member = key.strip_prefix(row.name).and_then(|rest| rest.strip_prefix(row.separator?));
    match (&row.kind, member) {
        (Kind::Hooks(_), None) => hooks(text),
        (Kind::Hooks(_), Some(name)) => hook_name(name).map(|_| text.into()),
        (Kind::Stream(..), Some(setting)) => stream_setting(key, setting, text),
        (Kind::Stream(..) | Kind::Rlimits(_), None) => Err(unknown()),
        (kind, _) => match plain(kind, text) {
            Some(Ok(value)) => Ok(value),
            Some(Err(expected)) => Err(ArgumentError::value(key, expected, text)),
            None => env(key, text),
        },
    }
}

/// Values of kinds that are one number, word or text; `None` for `env`.
fn plain(kind: &Kind<WatcherOptions>, text: &str) -> Option<Result<Value, Expected>> {
    let result = match kind {
        Kind::Flag(_) | Kind::MaybeFlag(_) => python::to_bool(text).map(Value::from).ok_or(Expected::Boolean),
        Kind::Count(_) | Kind::Processes(_) | Kind::Whole(_) => integer(text).ok_or(Expected::Count),
        Kind::Integer(_) => integer(text).ok_or(Expected::Integer),
        Kind::Retries(_) => integer(text).ok_or(Expected::Retries),
        Kind::Port(_) => integer(text).ok_or(Expected::Port),
        Kind::Octal(_) => python::to_octal(text).map(Value::from).ok_or(Expected::Octal),
        Kind::WholeSeconds(_) | Kind::FloatSeconds(_) => float(text).ok_or(Expected::Seconds),
        Kind::Period(_) => float(text).ok_or(Expected::Period),
        Kind::Signal(_) => signal(text).ok_or(Expected::Signal),
        Kind::Rlimits(_) if text.is_empty() => Ok(Value::Null),
        Kind::Rlimits(_) => integer(text).ok_or(Expected::RlimitValue),
        Kind::Env(_) => return None,
        Kind::Size(_, range) => {
            let fits = |bytes: &u64| (range.least..=range.most).contains(bytes);
            size(text).filter(fits).map(Value::from).ok_or(Expected::Size(*range))
        }
        Kind::Overflow(_) => Overflow::parse(text).map(|_| text.into()).ok_or(Expected::Overflow),
        Kind::Text(_)
        | Kind::MaybeText(_)
        | Kind::TextUnlessEmpty(_)
        | Kind::Metrics(_)
        | Kind::MaybePath(_)
        | Kind::Directory(_)
        | Kind::Args(_)
        | Kind::Identity(_)
        | Kind::Stream(..)
        | Kind::Hooks(_)
        | Kind::Family(_)
        | Kind::SocketKind(_) => Ok(text.into()),
    };
    Some(result)
}

fn integer(text: &str) -> Option<Value> {
    python::to_int(text).map(Value::from)
}

/// Always a float on the wire, as Circus sends it.
fn float(text: &str) -> Option<Value> {
    python::to_float(text).map(Value::from)
}

fn signal(text: &str) -> Option<Value> {
    Signal::parse(text).ok().map(|signal| signal.number().into())
}

fn stream_setting(key: &str, setting: &str, text: &str) -> Result<Value, ArgumentError> {
    if INTEGER_STREAM_SETTINGS.contains(&setting) {
        return integer(text).ok_or_else(|| ArgumentError::value(key, Expected::Integer, text));
    }
    Ok(text.into())
}

/// `A=b,C=d`, the form in which `options` shows it. Circus's own command line cannot send it (spec n.2).
fn env(key: &str, text: &str) -> Result<Value, ArgumentError> {
    let mut variables = Map::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        match part.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                variables.insert(name.trim().to_owned(), value.into());
            }
            Some(_) | None => {
                return Err(ArgumentError::NotPairs {
                    key: key.to_owned(),
                    expected: "NAME=VALUE,NAME=VALUE",
                    given: part.to_owned(),
                });
            }
        }
    }
    Ok(variables.into())
}

/// `before_start:mod.fn,after_stop:mod.fn2`.
fn hooks(text: &str) -> Result<Value, ArgumentError> {
    let mut hooks = Map::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let fields: Vec<&str> = part.split(':').map(str::trim).collect();
        let [name, callable] = fields.as_slice() else {
            return Err(ArgumentError::NotPairs {
                key: "hooks".to_owned(),
                expected: "NAME:CALLABLE,NAME:CALLABLE",
                given: part.to_owned(),
            });
        };
        hooks.insert(hook_name(name)?.to_owned(), json!(callable));
    }
    Ok(hooks.into())
}

fn hook_name(name: &str) -> Result<&str, ArgumentError> {
    if HOOK_NAMES.contains(&name) {
        Ok(name)
    } else {
        Err(ArgumentError::UnknownHook { name: name.to_owned(), known: HOOK_NAMES })
    }
}
