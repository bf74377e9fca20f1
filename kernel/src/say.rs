//! What the core says on its standard error. It is for people, so it is never worth waiting for.
//!
//! A pipe or a terminal that nobody reads is full some time. A half that waited there would serve nobody, and a keeper would
//! start no other half. So a line that finds no room is left out, and the next one that finds some tells how many were.

use rustix::event::{PollFd, PollFlags};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a line, and of what it says of others: a pipe that is writable has room for a page (pipe(7)).
const LINE: usize = 4000;

/// Lines of this process that found no room since the last that did.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Says one line, in one piece, if there is room for it.
pub fn say(text: &str) {
    let mut error = std::io::stderr();
    let mut ready = [PollFd::new(&error, PollFlags::OUT)];
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    if !rustix::event::poll(&mut ready, Some(&now)).is_ok_and(|count| count > 0) {
        LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        return;
    }
    // Nobody is left to be told when that fails.
    let _ = error.write_all(line(text, LEFT_OUT.swap(0, Ordering::Relaxed)).as_bytes());
}

fn line(text: &str, left_out: u64) -> String {
    let mut line = match left_out {
        0 => format!("papa: {text}"),
        1 => format!("papa: (a line before this found no room) {text}"),
        _ => format!("papa: ({left_out} lines before this found no room) {text}"),
    };
    let fits = (0..=LINE.min(line.len())).rev().find(|at| line.is_char_boundary(*at));
    line.truncate(fits.unwrap_or(0));
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_of_those_before_it_and_fits_into_a_page() {
        assert_eq!(line("it is so", 0), "papa: it is so\n");
        assert_eq!(line("it is so", 7), "papa: (7 lines before this found no room) it is so\n");
        for length in LINE - 20..LINE + 20 {
            let long = line(&"ä".repeat(length), 0);
            assert!(long.len() <= LINE + 1 && long.ends_with("ä\n"), "{}", long.len());
        }
    }
}
