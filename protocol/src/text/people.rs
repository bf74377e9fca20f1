//! What Papa does not have: `status`, `tail`, `signal`.

use super::names::select_known;
use super::options::integer;
use super::output::{Run, record_before, runs};
use super::{Host, TextError};
use crate::message::{ProcessInfo, Reply, Signal, Status, Target};
use crate::ring::Stream;
use crate::status;

/// Lines that `tail` shows when it is not told how many.
const LINES: i64 = 10;

/// Bytes of each stream in which `tail` looks for its lines: a screen or two.
const LOOK_BACK: u64 = 16 << 10;

/// `status`.
pub fn status(host: &mut impl Host) -> Result<String, TextError> {
    let Reply::StatusReply(reply) = host.ask(Status::default().into())? else {
        return Ok(String::new());
    };
    Ok(status::text(&reply))
}

/// `tail NAME [LINES]`: what was written last, acknowledged or not, as far as the ring still has it.
pub fn tail(host: &impl Host, words: &[String]) -> Result<Vec<u8>, TextError> {
    let (name, rest) = words.split_first().ok_or(TextError::Usage("tail NAME [LINES]"))?;
    let lines = rest.first().map_or(Ok(LINES), |text| integer(text))?;
    let lines = usize::try_from(lines).unwrap_or(0);
    let mut text = Vec::new();
    for info in select_known(std::slice::from_ref(name), host.processes())? {
        text.extend(last_lines(newest(host, &info), lines));
    }
    Ok(text)
}

fn newest(host: &impl Host, info: &ProcessInfo) -> Vec<u8> {
    let mut found: Vec<Run> = Vec::new();
    for (stream, state) in Stream::ALL.into_iter().zip(&info.streams).filter(|(_, state)| state.head > 0) {
        let from = state.head.saturating_sub(LOOK_BACK);
        let record = record_before(host, info.id, stream, state, from);
        found.extend(runs(host, info.id, stream, state, (from, record), LOOK_BACK));
    }
    found.sort_by_key(|run| run.seq);
    let bytes = found.iter().map(|run| host.output(info.id, run.stream, run.from, run.to));
    // Pages that were given back read as zeroes.
    bytes.flat_map(|bytes| bytes.into_iter().skip_while(|byte| *byte == 0)).collect()
}

fn last_lines(mut bytes: Vec<u8>, lines: usize) -> Vec<u8> {
    let body = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let ends = body.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let begin = match lines {
        0 => bytes.len(),
        lines => ends.rev().nth(lines - 1).map_or(0, |(at, _)| at + 1),
    };
    bytes.split_off(begin.min(bytes.len()))
}

/// `signal NAME SIGNAL`: to the processes that run, not to their children. Gives what it did.
pub fn signal(host: &mut impl Host, words: &[String]) -> Result<String, TextError> {
    let usage = || TextError::Usage("signal NAME SIGNAL");
    let (name, rest) = words.split_first().ok_or_else(usage)?;
    let word = rest.first().ok_or_else(usage)?;
    let signal = number(word).ok_or_else(|| TextError::Signal(word.clone()))?;
    let mut lines = Vec::new();
    for info in select_known(std::slice::from_ref(name), host.processes())? {
        if info.exit.is_some() {
            lines.push(format!("{} has ended", info.name));
            continue;
        }
        let (process, target) = (info.id, Target::Main);
        host.ask(Signal { process, signal, target, ext: Vec::new() }.into())?;
        lines.push(format!("{} pid={} signal={signal}", info.name, info.pid));
    }
    Ok(lines.join("\n"))
}

/// Names of signal(7) as Linux numbers them on x86-64 and arm64.
const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("WINCH", 28),
];

fn number(word: &str) -> Option<i32> {
    let upper = word.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let by_name = SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    by_name.or_else(|| word.parse().ok().filter(|number| (1..=64).contains(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        assert_eq!((number("term"), number("SIGUSR1"), number("9")), (Some(15), Some(10), Some(9)));
        assert_eq!((number("0"), number("65"), number("nosuch")), (None, None, None));
    }

    #[test]
    fn the_last_lines_are_whole() {
        let last = |text: &str, lines| String::from_utf8(last_lines(text.into(), lines)).unwrap();
        assert_eq!(last("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last("a\nb\nc", 1), "c");
        assert_eq!((last("a\n", 5), last("a\n", 0), last("", 3)), ("a\n".into(), String::new(), String::new()));
    }
}
