//! From bytes to words: lines, the backslash, Python's notion of a blank (spec of Papa, section 2).

use crate::limits::MAX_LINE;

/// What arrived and was not read yet.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were handed out already.
    consumed: usize,
    /// Bytes of `buffer` that are known to hold no end of a line.
    searched: usize,
}

impl Lines {
    /// Takes bytes as they arrive. `false`: more than a line's length waits to be read.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        if self.consumed > 0 {
            self.buffer.drain(..self.consumed);
            self.searched = self.searched.saturating_sub(self.consumed);
            self.consumed = 0;
        }
        self.buffer.extend_from_slice(bytes);
        self.buffer.len() <= MAX_LINE
    }

    /// The next whole line without its end and its outer blanks; bytes that are not UTF-8 become U+FFFD.
    pub fn next(&mut self) -> Option<String> {
        let start = self.searched.max(self.consumed);
        let rest = self.buffer.get(start..).unwrap_or_default();
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let end = start + length;
        let line = self.buffer.get(self.consumed..end).unwrap_or_default();
        let line = String::from_utf8_lossy(line).trim_matches(is_blank).to_owned();
        self.consumed = end + 1;
        self.searched = self.consumed;
        Some(line)
    }

    /// Whether a whole line waits.
    pub fn is_ready(&self) -> bool {
        let rest = self.buffer.get(self.consumed..).unwrap_or_default();
        rest.contains(&b'\n')
    }
}

/// What Python's `str.strip` takes away.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Splits a line at spaces. A backslash at the end of a word keeps the space and goes on with the next word; one at the end
/// of the line leaves the word open, and only then its outer blanks stay.
pub fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut open: Option<String> = None;
    for part in line.split(' ').filter(|part| !part.is_empty()) {
        let mut word = open.take().unwrap_or_default();
        match part.strip_suffix('\\') {
            Some(part) => {
                word.push_str(part);
                word.push(' ');
                open = Some(word);
            }
            None => {
                word.push_str(part);
                words.push(word.trim_matches(is_blank).to_owned());
            }
        }
    }
    words.extend(open);
    words
}

/// Methods of RFC 9110 and RFC 5789, and the first word of HTTP/2 (RFC 9113).
const METHODS: &[&str] = &["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PRI", "PUT", "TRACE"];

/// A handshake of TLS and the major number of its version (RFC 8446, section 5.1). What follows may hold whole lines of
/// somebody else's choice, in a session ticket.
const TLS: &str = "\u{16}\u{3}";

/// The request of a browser, or of a page in one, that was talked into connecting here.
pub fn is_browser(line: &str) -> bool {
    if line.starts_with(TLS) {
        return true;
    }
    let mut words = line.split(' ');
    let method = words.next().unwrap_or_default();
    METHODS.contains(&method) && words.next_back().is_some_and(|last| last.starts_with("HTTP/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_backslash_keeps_a_space() {
        let words = |line| split(line).join("|");
        assert_eq!(words(r"set n one  two\ \ \ three"), "set|n|one|two   three");
        assert_eq!(words(r"set n end\"), "set|n|end ");
        assert_eq!(words(r"set n \ lead"), "set|n|lead");
        assert_eq!(words("\\"), " ");
        assert_eq!(words("set\ta b"), "set\ta|b");
        assert_eq!(words(""), "");
    }

    #[test]
    fn a_line_ends_at_lf_and_loses_its_blanks() {
        let mut lines = Lines::default();
        assert!(lines.push(b" get a\r\nget \xff"));
        assert!(lines.is_ready());
        assert_eq!(lines.next().as_deref(), Some("get a"));
        assert_eq!(lines.next(), None);
        assert!(lines.push(b"b\x1f\n\n"));
        assert_eq!(lines.next().as_deref(), Some("get \u{fffd}b"));
        assert_eq!(lines.next().as_deref(), Some(""));
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn a_line_over_the_limit_is_noticed() {
        let mut lines = Lines::default();
        assert!(lines.push(&vec![b'x'; MAX_LINE]));
        assert!(!lines.push(b"x"));
    }

    #[test]
    fn browsers_are_told_from_people() {
        assert!(is_browser("GET / HTTP/1.1"));
        assert!(is_browser("PRI * HTTP/2.0"));
        assert!(is_browser("\u{16}\u{3}\u{1}\u{2}\u{0}..."));
        assert!(!is_browser("get HTTP/1.1"));
        assert!(!is_browser("GET a"));
        assert!(!is_browser("SET a HTTP/1.1"));
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_lines(text in "[a \\\\\r\n\t]{0,60}", cut in 1usize..9) {
            let whole = {
                let mut lines = Lines::default();
                prop_assert!(lines.push(text.as_bytes()));
                std::iter::from_fn(|| lines.next()).collect::<Vec<_>>()
            };
            let mut lines = Lines::default();
            let mut seen = Vec::new();
            for chunk in text.as_bytes().chunks(cut) {
                prop_assert!(lines.push(chunk));
                seen.extend(std::iter::from_fn(|| lines.next()));
            }
            prop_assert_eq!(seen, whole);
        }

        #[test]
        fn what_the_client_library_escapes_comes_back(words in prop::collection::vec("[a-z\"=$]{1,4}( [a-z]{1,3}){0,2}", 1..6)) {
            let line: Vec<String> = words.iter().map(|word| word.replace(' ', "\\ ")).collect();
            prop_assert_eq!(split(&line.join(" ")), words);
        }
    }
}
