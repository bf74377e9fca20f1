//! Output in which every byte is known from its offset: numbered lines. Writer and checker make them with the same code,
//! so that a checker compares memory and needs no parser, and finds out only for what differs what it is instead.

/// Bytes of a line, with its end.
pub const LINE: usize = 64;

/// Digits of the number.
const DIGITS: usize = 16;

/// Bytes of the tag in front of it.
const TAG: usize = 12;

/// Lines of one writer and stream, one after the other.
#[derive(Debug, Clone)]
pub struct Lines {
    line: [u8; LINE],
}

impl Lines {
    /// From line `number` on. `tag` says whose they are; at most 12 bytes of it count.
    pub fn new(tag: &str, number: u64) -> Self {
        let filling = "abcdefghijklmnopqrstuvwxyz012345678";
        let text = format!("{tag:<TAG$.TAG$}{number:0DIGITS$}{filling:<0$}", LINE - TAG - DIGITS - 1);
        let mut line = [b'\n'; LINE];
        for (place, byte) in line.iter_mut().zip(text.bytes()) {
            *place = byte;
        }
        Self { line }
    }

    /// Adds the next line to `bytes`.
    pub fn append(&mut self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.line);
        for digit in self.line.iter_mut().skip(TAG).take(DIGITS).rev() {
            if *digit < b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
        }
    }
}

/// The bytes from `offset` on, `length` of them.
pub fn bytes_at(tag: &str, offset: u64, length: usize) -> Vec<u8> {
    let line = u64::try_from(LINE).unwrap_or(1);
    let before = usize::try_from(offset % line).unwrap_or(0);
    let mut lines = Lines::new(tag, offset / line);
    let mut bytes = Vec::with_capacity(before + length + LINE);
    while bytes.len() < before + length {
        lines.append(&mut bytes);
    }
    bytes.truncate(before + length);
    bytes.drain(..before);
    bytes
}

/// The offset at which a whole line of that writer and stream belongs.
pub fn offset_of(tag: &str, line: &[u8]) -> Option<u64> {
    let number = std::str::from_utf8(line.get(TAG..TAG + DIGITS)?).ok()?.parse().ok()?;
    let mut whole = Vec::new();
    Lines::new(tag, number).append(&mut whole);
    (whole == line).then(|| number * u64::try_from(LINE).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_known_from_its_offset() {
        let whole = bytes_at("w1.out", 0, 700);
        assert_eq!(whole.iter().filter(|byte| **byte == b'\n').count(), 10);
        assert_eq!(bytes_at("w1.out", 130, 300), whole[130..430]);
        assert_ne!(bytes_at("w1.err", 130, 300), whole[130..430]);
        assert_eq!(bytes_at("w", 64 * 99, 64), bytes_at("w", 64 * 100 - 64, 64));
    }

    #[test]
    fn a_line_tells_where_it_belongs() {
        let line = bytes_at("w1.out", 640, 64);
        assert_eq!(offset_of("w1.out", &line), Some(640));
        assert_eq!(offset_of("w2.out", &line), None);
        assert_eq!(offset_of("w1.out", &line[1..]), None);
    }
}
