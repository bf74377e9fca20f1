//! The requests we send are the ones Circus's own `circusctl` sends, recorded in `data/requests.txt`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has to fail")]

use std::ffi::OsString;

use ringmaster_ctl::cli::{self, Call, Invocation};
use ringmaster_ctl::commands::{Action, COMMANDS};
use ringmaster_ctl::request::{ArgumentError, Request};
use serde_json::{Value, json};

/// What Circus's command line gets wrong, and ours sends right (spec n.2), so it is not in the recording: kill drops
/// `--waiting` and sends numbers as strings, rm drops its flags, set cannot send env.
const OURS: &[(&str, &str)] = &[
    ("rm k1 --nostop --waiting", r#"{"command": "rm", "properties": {"name": "k1", "nostop": true, "waiting": true}}"#),
    ("rm --nostop k1", r#"{"command": "rm", "properties": {"name": "k1", "nostop": true}}"#),
    (
        "set a env A=b,C=d=e,D=",
        r#"{"command": "set", "properties": {"name": "a", "options": {"env": {"A": "b", "C": "d=e", "D": ""}}}}"#,
    ),
    ("set a env ''", r#"{"command": "set", "properties": {"name": "a", "options": {"env": {}}}}"#),
    (
        "set a rlimit_nofile ''",
        r#"{"command": "set", "properties": {"name": "a", "options": {"rlimit_nofile": null}}}"#,
    ),
    ("kill alpha", r#"{"command": "kill", "properties": {"name": "alpha", "waiting": false}}"#),
    ("kill alpha 12", r#"{"command": "kill", "properties": {"name": "alpha", "pid": 12, "waiting": false}}"#),
    (
        "kill alpha 12 --signum SIGHUP --graceful_timeout 1.5 --waiting",
        r#"{"command": "kill", "properties": {"name": "alpha", "pid": 12, "signum": "SIGHUP", "graceful_timeout": 1.5, "waiting": true}}"#,
    ),
    (
        "kill --signum 9 alpha",
        r#"{"command": "kill", "properties": {"name": "alpha", "signum": "9", "waiting": false}}"#,
    ),
];

/// Refused before anything is sent.
const REFUSED: &[(&str, &str)] = &[
    ("kill", "Invalid number of arguments"),
    ("kill alpha x", "PID: expected an integer, got 'x'"),
    ("kill alpha --graceful_timeout x", "--graceful_timeout: expected a number of seconds, got 'x'"),
    ("kill alpha --graceful_timeout nan", "--graceful_timeout: expected a number of seconds, got 'nan'"),
    ("kill alpha --graceful_timeout=-1", "--graceful_timeout: expected a number of seconds, got '-1'"),
    ("signal alpha", "Invalid number of arguments"),
    ("signal alpha 12 34 9", "Invalid number of arguments"),
    ("signal alpha x 9", "PID: expected an integer, got 'x'"),
    ("reload a b", "invalid number of arguments"),
    ("quit alpha", "Invalid number of arguments"),
    ("add k5", "Invalid number of arguments"),
    ("add", "Invalid number of arguments"),
    ("rm", "Invalid number of arguments"),
    ("rm a b", "Invalid number of arguments"),
    ("reloadconfig x", "Invalid number of arguments"),
    ("ipython x", "Invalid message"),
    ("set", "Invalid number of arguments"),
    ("set a b", "Invalid number of arguments"),
    ("set a b c d", "List of key/values is invalid"),
    ("set a bogus 1", "unknown key 'bogus'"),
    ("set a Stdout_Stream x", "unknown key 'stdout_stream'"),
    ("set a rlimit 1", "unknown key 'rlimit'"),
    ("set a numprocesses x", "numprocesses: expected a whole number, 0 or more, got 'x'"),
    (
        "set a graceful_timeout x",
        "graceful_timeout: expected a number of seconds such as 30 or 0.5, 0 or more, got 'x'",
    ),
    ("set a stdout_stream.max_bytes x", "stdout_stream.max_bytes: expected a whole number, got 'x'"),
    ("set a send_hup maybe", "send_hup: expected yes or no (also true, false, on, off, 1, 0), got 'maybe'"),
    (
        "set a stop_signal zork",
        "stop_signal: expected a signal name such as TERM, SIGINT or RTMIN+1, or a number from 1 to 64, got 'zork'",
    ),
    ("set a env A", "env: expected NAME=VALUE,NAME=VALUE, got 'A'"),
    ("set a env A=b,=c", "env: expected NAME=VALUE,NAME=VALUE, got '=c'"),
    ("set a hooks before_start", "hooks: expected NAME:CALLABLE,NAME:CALLABLE, got 'before_start'"),
    ("decr alpha 1.5", "NB: expected an integer, got '1.5'"),
];

fn typed(line: &str) -> Call {
    let words = std::iter::once("circusctl".to_owned()).chain(shell_words::split(line).unwrap()).map(OsString::from);
    match cli::parse(words) {
        Ok(Invocation::Call(call)) => call,
        other => panic!("'{line}' parses as {other:?}"),
    }
}

fn request(call: &Call) -> Result<Request, ArgumentError> {
    match call.command.action {
        Action::Ask(ask) => ask.request(call.command, &call.arguments),
        Action::Listen | Action::Kernel | Action::Attach | Action::Upgrade | Action::Tail | Action::Drill => {
            panic!("{} is no request", call.command.name)
        }
    }
}

#[test]
fn requests_are_those_of_circus() {
    let recorded: Vec<(&str, Value)> = include_str!("data/requests.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once('\t').unwrap())
        .map(|(line, request)| (line, serde_json::from_str(request).unwrap()))
        .collect();
    let ours = OURS.iter().map(|(line, request)| (*line, serde_json::from_str(request).unwrap()));
    let mut seen = Vec::new();
    for (line, expected) in recorded.into_iter().chain(ours) {
        let call = typed(line);
        let request = request(&call).unwrap();
        assert_eq!(json!({"command": request.command, "properties": request.properties}), expected, "{line}");
        seen.push(call.command.name);
    }
    let asked = COMMANDS.iter().filter(|command| matches!(command.action, Action::Ask(_)));
    for command in asked {
        assert!(seen.contains(&command.name), "no request recorded for {}", command.name);
    }
}

#[test]
fn bad_arguments_are_refused_before_anything_is_sent() {
    for (line, expected) in REFUSED {
        let call = typed(line);
        assert_eq!(request(&call).unwrap_err().to_string(), *expected, "{line}");
    }
}

#[test]
fn the_table_is_sorted_and_help_shows_each_row() {
    assert!(COMMANDS.is_sorted_by_key(|command| command.name));
    let show = |line: &str| match cli::parse(format!("circusctl {line}").split(' ').map(OsString::from)) {
        Ok(Invocation::Show(text)) => text,
        other => panic!("'{line}' parses as {other:?}"),
    };
    let all = show("--help");
    for command in COMMANDS {
        assert!(all.contains(command.name) && all.contains(command.summary), "{}", command.name);
        let short = show(&format!("{} --help", command.name));
        let long = show(&format!("--help {}", command.name));
        assert!(short.contains(command.arguments) && long.contains(command.arguments), "{short}\n{long}");
        assert!(long.len() > short.len(), "no details for {}", command.name);
        for option in command.options {
            assert!(short.contains(option.name) && long.contains(option.help), "{short}\n{long}");
        }
    }
}
