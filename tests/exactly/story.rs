//! One story: a process writes, the scribe is killed again and again, and in the end the files are compared.

use crate::core::Core;
use crate::dice::Dice;
use crate::reference::{self, Look};
use crate::words::{Beginning, Settings};
use anyhow::{Context, Result, ensure};
use ringmaster_protocol::ring::Stream;
use ringmaster_tests::program::profile_dir;
use ringmaster_tests::wait::pass;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Where the two streams go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// Only stdout, in pieces that know nothing of lines.
    Pieces,
    /// Only stdout, whole lines: also the ends of the files are compared.
    Lines,
    /// Both into one file.
    OneFile,
    /// Each into a file of its own.
    TwoFiles,
}

/// One combination.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Where.
    pub aim: Aim,
    /// How it looks.
    pub look: Look,
    /// How old files are compressed.
    pub compress: Option<&'static str>,
}

const fn plain(aim: Aim, look: Look) -> Case {
    Case { aim, look, compress: None }
}

/// All of them.
pub const CASES: &[Case] = &[
    plain(Aim::Pieces, Look::Raw),
    plain(Aim::Pieces, Look::Prefixed),
    plain(Aim::Lines, Look::Raw),
    plain(Aim::Lines, Look::Prefixed),
    plain(Aim::OneFile, Look::Raw),
    plain(Aim::OneFile, Look::Prefixed),
    plain(Aim::TwoFiles, Look::Prefixed),
    Case { aim: Aim::Lines, look: Look::Raw, compress: Some("zstd") },
    Case { aim: Aim::TwoFiles, look: Look::Prefixed, compress: Some("gzip") },
];

/// A log is rotated at this size.
const MAX_BYTES: usize = 200_000;

/// One in so many passages of a failpoint kills.
const ODDS: u64 = 15;

/// How long the last life may take to write the rest.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happened.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Lives that ended at a failpoint.
    pub at_failpoints: u64,
    /// Lives that were ended from outside.
    pub at_random: u64,
    /// Bytes in all files.
    pub bytes: u64,
    /// Files.
    pub files: u64,
}

/// Plays one story of `kills` kills.
pub fn play(case: Case, kills: u64, seed: u64, tally: &mut Tally) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("ringmaster-exactly-").tempdir()?;
    let mut story = Story {
        case,
        core: Core::new(&folder.path().join("process"))?,
        folder: folder.path().to_owned(),
        dice: Dice::new(seed),
        number: 0,
        held: [Vec::new(), Vec::new()],
    };
    fs::create_dir(folder.path().join("instance"))?;
    for _ in 0..kills {
        story.life(tally)?;
    }
    story.last_life()?;
    story.compare(tally)
}

struct Story {
    case: Case,
    core: Core,
    folder: PathBuf,
    dice: Dice,
    /// Of the next line.
    number: u64,
    /// What did not fit.
    held: [Vec<u8>; 2],
}

impl Story {
    fn streams(&self) -> &'static [Stream] {
        match self.case.aim {
            Aim::Pieces | Aim::Lines => &[Stream::Stdout],
            Aim::OneFile | Aim::TwoFiles => &Stream::ALL,
        }
    }

    fn log(&self, stream: Stream) -> PathBuf {
        let name = if self.case.aim == Aim::TwoFiles { stream.name() } else { "log" };
        self.folder.join(name)
    }

    fn settings(&self, stream: Stream) -> Option<Settings> {
        self.streams().contains(&stream).then_some(())?;
        let mut settings = vec![
            ("filename", self.log(stream).display().to_string()),
            ("max_bytes", MAX_BYTES.to_string()),
            ("backup_count", "100000".to_owned()),
        ];
        if self.case.look == Look::Prefixed {
            settings.push(("time_format", "%Y-%m-%dT%H:%M:%S".to_owned()));
        }
        settings.extend(self.case.compress.map(|format| ("compress", format.to_owned())));
        Some(settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// The process writes for a while.
    fn feed(&mut self) -> Result<()> {
        for _ in 0..self.dice.below(12) {
            let streams = self.streams();
            let at = usize::try_from(self.dice.below(u64::try_from(streams.len())?))?;
            let stream = *streams.get(at).context("a stream")?;
            let mut bytes = std::mem::take(self.held.get_mut(at).context("a stream")?);
            if bytes.is_empty() {
                for _ in 0..=self.dice.below(60) {
                    self.line(stream, &mut bytes);
                }
            }
            let length = match self.case.aim {
                Aim::Pieces => usize::try_from(1 + self.dice.below(u64::try_from(bytes.len())?))?,
                Aim::Lines | Aim::OneFile | Aim::TwoFiles => bytes.len(),
            };
            let rest = bytes.split_off(length);
            let taken = self.core.write(stream, &bytes)?;
            *self.held.get_mut(at).context("a stream")? = if taken { rest } else { [bytes, rest].concat() };
        }
        Ok(())
    }

    fn line(&mut self, stream: Stream, out: &mut Vec<u8>) {
        let width = usize::try_from(self.dice.below(90)).unwrap_or(0);
        out.extend(format!("{}:{}:{:y<width$}\n", stream.name(), self.number, "").into_bytes());
        self.number += 1;
    }

    fn start(&mut self, failpoints: bool) -> Result<Life> {
        let mut command = Command::new(profile_dir()?.join("tested-scribe"));
        command.arg(self.folder.join("instance")).arg(self.folder.join("process")).env("TZ", "UTC");
        if failpoints {
            command.env("RINGMASTER_FAILPOINTS", format!("{}:{ODDS}", self.dice.below(1 << 40) + 1));
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("tested-scribe")?;
        let input = child.stdin.take().context("a pipe")?;
        let output = child.stdout.take().context("a pipe")?;
        let mut life = Life { child, input, output, heard: Vec::new() };
        let streams = Stream::ALL.map(|stream| self.settings(stream));
        life.say(&Beginning { states: self.core.states(), streams });
        Ok(life)
    }

    /// From a start to a kill.
    fn life(&mut self, tally: &mut Tally) -> Result<()> {
        let failpoints = self.dice.below(4) != 0;
        let mut life = self.start(failpoints)?;
        // A life with failpoints mostly ends at one; the others end at a random time.
        let longest = if failpoints { 40_000 } else { 12_000 };
        let end = Instant::now() + Duration::from_micros(self.dice.below(longest));
        while Instant::now() < end && !life.hung_up()? {
            self.feed()?;
            life.say(&self.core.advanced());
            pass(Duration::from_micros(self.dice.below(300)));
            self.hear(&mut life)?;
        }
        // Acknowledgements on their way reach the core, or are lost with the connection.
        if self.dice.below(2) == 0 {
            self.hear(&mut life)?;
        }
        let own = life.end()?;
        *if own { &mut tally.at_failpoints } else { &mut tally.at_random } += 1;
        Ok(())
    }

    /// Nothing goes wrong any more, and the rest is written.
    fn last_life(&mut self) -> Result<()> {
        let mut life = self.start(false)?;
        life.say(&self.core.ended());
        let begin = Instant::now();
        while !self.hear(&mut life)? {
            ensure!(begin.elapsed() < PATIENCE && !life.hung_up()?, "the last words are not written");
        }
        life.end()?;
        Ok(())
    }

    /// Takes in what the scribe has said; whether it has written the last words.
    fn hear(&mut self, life: &mut Life) -> Result<bool> {
        let mut drained = false;
        for line in life.listen()? {
            let mut words = line.split(' ');
            match (words.next(), words.next(), words.next()) {
                (Some("a"), Some(stream), Some(offset)) => {
                    let stream = if stream == "0" { Stream::Stdout } else { Stream::Stderr };
                    self.core.ack(stream, offset.parse()?)?;
                }
                (Some("d"), None, None) => drained = true,
                _ => anyhow::bail!("the scribe says {line}"),
            }
        }
        Ok(drained)
    }

    fn compare(&self, tally: &mut Tally) -> Result<()> {
        let logs: &[&[Stream]] = match self.case.aim {
            Aim::TwoFiles => &[&[Stream::Stdout], &[Stream::Stderr]],
            Aim::Pieces | Aim::Lines | Aim::OneFile => &[&Stream::ALL],
        };
        for streams in logs {
            let path = self.log(*streams.first().context("a stream")?);
            let files = generations(&path)?;
            let expected = reference::rendered(&self.core.arrivals, streams, self.case.look);
            let found = files.concat();
            ensure!(found == expected, "{}", difference(&found, &expected));
            if self.case.aim != Aim::Pieces {
                let sizes = |files: &[Vec<u8>]| files.iter().map(Vec::len).collect::<Vec<_>>();
                let cut = reference::cut(&expected, MAX_BYTES);
                ensure!(files == cut, "the files end elsewhere: {:?}, not {:?}", sizes(&files), sizes(&cut));
            }
            tally.bytes += u64::try_from(found.len())?;
            tally.files += u64::try_from(files.len())?;
        }
        Ok(())
    }
}

/// Where two texts part.
fn difference(found: &[u8], expected: &[u8]) -> String {
    let at = found.iter().zip(expected).take_while(|(one, other)| one == other).count();
    let around = |text: &[u8]| {
        let piece = text.get(at.saturating_sub(80)..text.len().min(at + 160)).unwrap_or_default();
        String::from_utf8_lossy(piece).into_owned()
    };
    format!(
        "the log differs at {at} ({} bytes, not {}):\n--- found\n{}\n--- expected\n{}",
        found.len(),
        expected.len(),
        around(found),
        around(expected)
    )
}

/// The files of a log, oldest first.
fn generations(path: &Path) -> Result<Vec<Vec<u8>>> {
    let mut files = vec![fs::read(path)?];
    for number in 1.. {
        let Some(bytes) = old_file(&format!("{}.{number}", path.display()))? else { break };
        files.push(bytes);
    }
    files.reverse();
    Ok(files)
}

/// An old file, compressed or not; plain when it is there as both, as after a kill in between. `None`: there is none.
fn old_file(name: &str) -> Result<Option<Vec<u8>>> {
    let read = |suffix: &str| fs::read(format!("{name}{suffix}")).ok();
    if let Some(bytes) = read("") {
        return Ok(Some(bytes));
    }
    if let Some(bytes) = read(".zst") {
        return Ok(Some(zstd::stream::decode_all(bytes.as_slice())?));
    }
    let Some(bytes) = read(".gz") else { return Ok(None) };
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain)?;
    Ok(Some(plain))
}

/// A running scribe.
struct Life {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    heard: Vec<u8>,
}

impl Life {
    /// One that has ended meanwhile hears nothing, which is as it should be.
    fn say(&mut self, word: &impl serde::Serialize) {
        if let Ok(mut line) = serde_json::to_vec(word) {
            line.push(b'\n');
            let _ = self.input.write_all(&line);
        }
    }

    /// Whole lines that are there.
    fn listen(&mut self) -> Result<Vec<String>> {
        loop {
            let mut ready = [PollFd::new(&self.output, PollFlags::IN)];
            if poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0 {
                break;
            }
            let mut buffer = [0; 4096];
            let count = self.output.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            self.heard.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
        let end = self.heard.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = self.heard.split_off(end);
        let text = String::from_utf8(std::mem::replace(&mut self.heard, rest))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    fn hung_up(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Kills it; whether it had killed itself before.
    fn end(mut self) -> Result<bool> {
        let own = self.hung_up()?;
        if !own {
            self.child.kill()?;
        }
        let status = self.child.wait()?;
        ensure!(status.signal() == Some(9), "the scribe ended with {status}");
        Ok(own)
    }
}
