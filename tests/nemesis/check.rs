//! Whether what came is what was to come: output byte by byte, and the ends of children.

use crate::children::{Expected, Role};
use crate::tally::Tally;
use anyhow::Result;
use ringmaster_protocol::message::{Exit, ExitStatus};
use ringmaster_protocol::ring::{Stream, StreamEntry};
use ringmaster_tests::numbered::{LINE, bytes_at, offset_of};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What is in the file from `from` to `head`, as the protocol says: data first, then `low`; what lies below it is gone.
pub fn fetch(file: &File, stream: Stream, from: u64, head: u64) -> Result<(Vec<u8>, u64)> {
    let mut bytes = [0; 64];
    file.read_exact_at(&mut bytes, StreamEntry::position(stream))?;
    let entry = StreamEntry::decode(&bytes);
    let begin = from.max(entry.low).min(head);
    let mut fresh = vec![0; usize::try_from(head - begin)?];
    let mut done = 0;
    for piece in entry.pieces(begin, head) {
        let length = usize::try_from(piece.length)?;
        file.read_exact_at(&mut fresh[done..done + length], piece.at)?;
        done += length;
    }
    let mut low = [0; 8];
    file.read_exact_at(&mut low, StreamEntry::position(stream) + StreamEntry::LOW_AT)?;
    let low = u64::from_le_bytes(low).clamp(begin, head);
    fresh.drain(..usize::try_from(low - begin)?);
    Ok((fresh, low))
}

/// Compares with what was written; a difference is told in lines.
pub fn compare(tag: &str, offset: u64, found: &[u8], tally: &mut Tally) {
    let wanted = bytes_at(tag, offset, found.len());
    if wanted == found {
        tally.right_bytes += u64::try_from(found.len()).unwrap_or(0);
        return;
    }
    let same = wanted.iter().zip(found).take_while(|(one, other)| one == other).count();
    let at = offset + u64::try_from(same).unwrap_or(0);
    // The first whole line after the difference says how far the two are apart.
    let next = found[same..].windows(LINE).take(4 * LINE).find_map(|line| offset_of(tag, line));
    let place = found[same..].windows(LINE).take(4 * LINE).position(|line| offset_of(tag, line).is_some());
    let text = match (next, place) {
        (Some(belongs), Some(place)) => {
            let is = at + u64::try_from(place).unwrap_or(0);
            tally.lost_bytes += belongs.saturating_sub(is);
            tally.repeated_bytes += is.saturating_sub(belongs);
            format!("at {is} comes what belongs to {belongs}")
        }
        _ => {
            tally.wrong_bytes += u64::try_from(found.len() - same).unwrap_or(0);
            let shown = &found[same..(same + 200).min(found.len())];
            format!("at {at} comes {:?}", String::from_utf8_lossy(shown))
        }
    };
    tally.complain(format!("{tag}: {text}"));
}

/// What is to be said of a child's end.
pub enum Verdict {
    Right,
    Excused,
    Wrong(String),
    Missing(String),
    LostWords(u64, String),
}

/// Whether a child's end is as it must be.
pub fn verdict(name: &str, expected: &Expected, exit: Exit, folder: &Path) -> Verdict {
    if exit.status == ExitStatus::Unknown {
        return if expected.may_be_unknown {
            Verdict::Excused
        } else {
            Verdict::Missing(format!("{name}: nobody knows how it ended; right is {:?}", expected.code))
        };
    }
    if exit.status != expected.code {
        return Verdict::Wrong(format!("{name}: ended with {:?}; right is {:?}", exit.status, expected.code));
    }
    let Some(seen) = &expected.seen else { return Verdict::Right };
    match expected.role {
        Role::Acceptor => Verdict::Right,
        Role::Short => {
            let wanted = format!("last words of {name}\n");
            if seen.words == wanted.as_bytes() || (expected.may_be_unknown && seen.words.is_empty()) {
                return Verdict::Right;
            }
            let found = String::from_utf8_lossy(&seen.words);
            let missing = u64::try_from(wanted.len().saturating_sub(seen.words.len())).unwrap_or(0);
            Verdict::LostWords(missing.max(1), format!("{name}: its last words are {found:?}"))
        }
        Role::Writer => {
            let total = std::fs::read_to_string(folder.join(format!("{name}.total"))).unwrap_or_default();
            let totals: Vec<u64> = total.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            if totals == seen.at {
                return Verdict::Right;
            }
            let lost = totals.iter().zip(seen.at).map(|(wrote, read)| wrote.abs_diff(read)).sum();
            Verdict::LostWords(lost, format!("{name}: wrote {totals:?}, came {:?}", seen.at))
        }
    }
}

#[test]
fn what_is_lost_or_twice_or_wrong_is_counted() {
    let tag = "w1.out";
    let count = |bytes: &[u8]| {
        let mut tally = Tally::default();
        compare(tag, 100, bytes, &mut tally);
        [tally.right_bytes, tally.lost_bytes, tally.repeated_bytes, tally.wrong_bytes]
    };
    assert_eq!(count(&bytes_at(tag, 100, 5000)), [5000, 0, 0, 0]);
    let joined = |from| [bytes_at(tag, 100, 1000), bytes_at(tag, from, 2000)].concat();
    assert_eq!(count(&joined(1107)), [0, 7, 0, 0]);
    assert_eq!(count(&joined(1050)), [0, 0, 50, 0]);
    assert_eq!(count(&[bytes_at(tag, 100, 1000), vec![b'?'; 30]].concat()), [0, 0, 0, 30]);
}
