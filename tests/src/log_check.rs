//! Reading the rotated logs of a writer again: is every line there, in order, and how many twice?

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// What one stream's logs hold.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Different numbers seen.
    pub lines: u64,
    /// Whole lines that came again.
    pub repeated: u64,
    /// Lines that are none of the writer's: where output was repeated from the middle of a line.
    pub broken: u64,
    /// Numbers that never came.
    pub lost: u64,
}

/// Checks `path` and its rotated predecessors (`path.1` is the youngest). The writer calls the stream `stream`. The
/// last line must be the one with which a writer ends.
pub fn check(path: &Path, stream: &str) -> Result<Tally> {
    let mut text = Vec::new();
    for file in generations(path)? {
        text.extend(fs::read(&file).with_context(|| file.display().to_string())?);
    }
    let text = String::from_utf8(text).context("the writer writes ASCII")?;
    let (tally, ended) = count(&text, stream);
    ensure!(ended, "{}: the writer's last line is missing; {tally:?}", path.display());
    Ok(tally)
}

/// The files of one log, oldest first.
///
/// # Errors
/// The folder cannot be read.
pub fn generations(path: &Path) -> Result<Vec<PathBuf>> {
    let folder = path.parent().context("a log lies in a folder")?;
    let name = path.file_name().and_then(|name| name.to_str()).context("a name")?;
    let mut older = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?.file_name();
        let suffix = entry.to_str().and_then(|entry| entry.strip_prefix(name)?.strip_prefix('.'));
        older.extend(suffix.and_then(|suffix| suffix.parse::<u32>().ok()));
    }
    older.sort_unstable_by(|one, other| other.cmp(one));
    let mut files: Vec<PathBuf> = older.iter().map(|number| folder.join(format!("{name}.{number}"))).collect();
    files.push(path.to_path_buf());
    Ok(files)
}

/// Counts; and whether the end of the writer is there.
fn count(text: &str, stream: &str) -> (Tally, bool) {
    let mut tally = Tally::default();
    let mut next = 0;
    let mut ended = false;
    for line in text.lines() {
        match read(line, stream) {
            None => tally.broken += 1,
            Some((number, _)) if number < next => tally.repeated += 1,
            Some((number, is_end)) => {
                tally.lost += number - next;
                tally.lines += 1;
                next = number + 1;
                ended |= is_end;
            }
        }
    }
    (tally, ended)
}

/// Number of a whole line of the writer, and whether it is its last one.
fn read(line: &str, stream: &str) -> Option<(u64, bool)> {
    let (number, filling) = line.strip_prefix(stream)?.strip_prefix(':')?.split_once(':')?;
    let whole = filling == "END" || (filling.len() == 40 && filling.bytes().all(|byte| byte == b'x'));
    whole.then_some(())?;
    Some((number.parse().ok()?, filling == "END"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u64) -> String {
        format!("w.out:{number}:{}\n", "x".repeat(40))
    }

    fn counted(lines: &[String]) -> Tally {
        count(&lines.concat(), "w.out").0
    }

    #[test]
    fn all_lines_in_order() {
        let tally = counted(&[line(0), line(1), "w.out:2:END\n".to_owned()]);
        assert_eq!(tally, Tally { lines: 3, ..Tally::default() });
    }

    #[test]
    fn a_gap_is_lost_and_an_old_number_repeated() {
        let tally = counted(&[line(0), line(3), line(2), line(4)]);
        assert_eq!(tally, Tally { lines: 3, repeated: 1, lost: 2, broken: 0 });
    }

    #[test]
    fn a_repetition_from_the_middle_of_a_line_loses_nothing() {
        // `w.out:1:xxx` was cut, then output went on from the middle of line 0.
        let cut = format!("{}w.out:1:xxx", line(0));
        let again = format!("xxx\n{}{}", line(1), line(2));
        assert_eq!(counted(&[cut, again]), Tally { lines: 3, repeated: 0, broken: 1, lost: 0 });
    }
}
