//! What the logs must hold, made from what arrived by other code than circusd's: a few lines over the whole output at once.

use crate::core::Arrival;
use crate::words::PID;
use ringmaster_protocol::ring::Stream;
use std::time::{Duration, UNIX_EPOCH};

/// How a log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// As it is.
    Raw,
    /// `%Y-%m-%dT%H:%M:%S [PID] | ` before each line.
    Prefixed,
}

/// The text of the log into which `streams` go.
pub fn rendered(arrivals: &[Arrival], streams: &[Stream], look: Look) -> Vec<u8> {
    let mut text = Vec::new();
    let mut at_line_start = true;
    for arrival in arrivals.iter().filter(|arrival| streams.contains(&arrival.stream)) {
        for line in arrival.bytes.split_inclusive(|byte| *byte == b'\n') {
            if at_line_start && look == Look::Prefixed {
                text.extend(format!("{} [{PID}] | ", time(arrival.second)).into_bytes());
            }
            text.extend_from_slice(line);
            at_line_start = line.ends_with(b"\n");
        }
    }
    text
}

/// The files of a log of whole lines: each stays below `max_bytes`.
pub fn cut(text: &[u8], max_bytes: usize) -> Vec<Vec<u8>> {
    let mut files = vec![Vec::new()];
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match files.last_mut() {
            Some(file) if file.len() + line.len() < max_bytes => file.extend_from_slice(line),
            Some(_) | None => files.push(line.to_vec()),
        }
    }
    files
}

/// `%Y-%m-%dT%H:%M:%S` in UTC, for the first month of 1970.
fn time(second: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_secs(second);
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (day, rest) = (seconds / 86_400 + 1, seconds % 86_400);
    format!("1970-01-{day:02}T{:02}:{:02}:{:02}", rest / 3600, rest % 3600 / 60, rest % 60)
}
