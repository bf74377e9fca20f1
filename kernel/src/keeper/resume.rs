//! Taking over from another program of the same core: after an upgrade, a rollback, or the death of the keeper.
//!
//! The command line says which descriptors are what ([`Ward::words`]). A dry run reads the same words and a copy of the
//! state, touches nothing, and says one line; a program that does not say it is not executed.

use super::{Keeper, Original, Ward, start};
use crate::instance::Instance;
use crate::limits::RING_MEMORY;
use crate::policy::POLICY;
use crate::print::show;
use crate::say::say;
use crate::shell::{Options, Place, ServeError, Verbosity};
use crate::state::StateFile;
use crate::sys;
use rustix::process::Rlimit;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What a program says that can take over: this, and its version.
pub const READY: &str = "papa can take over: ";

/// Why a program cannot take over.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// A word of the command line.
    #[error("resume: {option} is {value:?}; expected {expected}")]
    Word {
        /// Which option.
        option: &'static str,
        /// As given; empty when it is missing.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// The instance or its state.
    #[error("{0}")]
    Serve(#[from] ServeError),
    /// The trial cannot say that all is well.
    #[error("cannot write to stdout: {0}")]
    Stdout(#[source] std::io::Error),
}

/// Options that have a value.
const VALUED: &[&str] = &[
    "--directory",
    "--directory-fd",
    "--lock-fd",
    "--listener-fd",
    "--tcp-fd",
    "--previous-fd",
    "--umask",
    "--open-files",
    "--oom-score-adj",
    "-u",
    "-p",
    "--ring-memory",
    "--policy",
    "--dry-run",
];

/// Options that have none.
const FLAGS: [&str; 2] = ["-d", "--daemonize"];

/// Says of the option behind it that a build may do without it. One that does not know it hands it on to the next program.
pub const OPTIONAL: &str = "--optional";

/// The words of [`Ward::words`], read but not yet believed.
#[derive(Debug)]
struct Words {
    known: HashMap<&'static str, OsString>,
    /// Optional options that this build does not know, with their values.
    unknown: Vec<[OsString; 2]>,
}

impl Words {
    fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, ResumeError> {
        let (mut found, mut unknown) = (HashMap::new(), Vec::new());
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            if word == OPTIONAL {
                let [option, value] = [(); 2].map(|()| words.next().unwrap_or_default());
                match VALUED.iter().find(|known| option == **known) {
                    Some(known) => drop(found.insert(*known, value)),
                    None => unknown.push([option, value]),
                }
                continue;
            }
            let named = |known: &&str| OsStr::new(known) == word.as_os_str();
            if let Some(option) = VALUED.iter().copied().find(named) {
                found.insert(option, words.next().unwrap_or_default());
            } else if let Some(flag) = FLAGS.into_iter().find(named) {
                found.insert(flag, OsString::new());
            } else {
                let value = word.to_string_lossy().into_owned();
                return Err(ResumeError::Word { option: "an option", value, expected: "one that this build knows" });
            }
        }
        Ok(Self { known: found, unknown })
    }

    fn text(&self, option: &'static str) -> Option<String> {
        self.known.get(option).map(|value| value.to_string_lossy().into_owned())
    }

    fn number<T: std::str::FromStr>(&self, option: &'static str) -> Result<Option<T>, ResumeError> {
        let read = |value: String| {
            value.parse().map_err(|_not_a_number| ResumeError::Word { option, value, expected: "a number" })
        };
        self.text(option).map(read).transpose()
    }

    fn descriptor(&self, option: &'static str) -> Result<Option<OwnedFd>, ResumeError> {
        let Some(number) = self.number(option)? else {
            return Ok(None);
        };
        match sys::inherited(number) {
            Some(descriptor) => Ok(Some(descriptor)),
            None => Err(ResumeError::Word {
                option,
                value: number.to_string(),
                expected: "the number of an open descriptor",
            }),
        }
    }

    fn options(&self) -> Result<Options, ResumeError> {
        Ok(Options {
            directory: self.known.get("--directory").map(PathBuf::from).unwrap_or_default(),
            socket: self.known.get("-u").map(PathBuf::from),
            port: self.number("-p")?,
            ring_memory: self.number("--ring-memory")?.unwrap_or(RING_MEMORY),
            policy: self.known.get("--policy").map_or_else(|| POLICY.into(), PathBuf::from),
            verbosity: if self.known.contains_key("-d") { Verbosity::Debug } else { Verbosity::Quiet },
            place: if self.known.contains_key("--daemonize") { Place::Background } else { Place::Foreground },
        })
    }

    fn original(&self) -> Result<Original, ResumeError> {
        let wrong = |option, value: &str, expected| ResumeError::Word { option, value: value.to_owned(), expected };
        let umask = self.text("--umask").unwrap_or_default();
        let files = self.text("--open-files").unwrap_or_default();
        let limit = |text: &str| if text == "-" { Some(None) } else { text.parse().ok().map(Some) };
        let limits = files
            .split_once(':')
            .and_then(|(soft, hard)| Some(Rlimit { current: limit(soft)?, maximum: limit(hard)? }));
        Ok(Original {
            umask: u32::from_str_radix(&umask, 8).map_err(|_digits| wrong("--umask", &umask, "an octal number"))?,
            open_files: limits.ok_or_else(|| wrong("--open-files", &files, "SOFT:HARD"))?,
            oom_score_adj: self.number("--oom-score-adj")?,
        })
    }
}

fn needed(option: &'static str, descriptor: Option<OwnedFd>) -> Result<OwnedFd, ResumeError> {
    descriptor.ok_or(ResumeError::Word { option, value: String::new(), expected: "a descriptor" })
}

/// Takes over and keeps. Gives the exit status.
pub fn resume(words: impl IntoIterator<Item = OsString>) -> Result<u8, ResumeError> {
    let words = Words::read(words)?;
    if let Some(copy) = words.known.get("--dry-run") {
        return dry_run(&words, Path::new(copy));
    }
    let options = words.options()?;
    start::panic_is_death();
    start::own_signals()?;
    // Whoever executed this program let everything stay.
    sys::close_all_on_exec();
    let [directory, lock, listener] = ["--directory-fd", "--lock-fd", "--listener-fd"]
        .map(|option| words.descriptor(option).and_then(|descriptor| needed(option, descriptor)));
    let directory = directory?;
    let state = crate::shell::inherited::state(&directory)?;
    let instance = Instance::adopt(&options.directory, directory, lock?);
    if let Err(error) = instance.restore() {
        say(&error.to_string());
    }
    // Nobody is served meanwhile, and the host is the one that the program before has tried.
    let guarantees = start::guarantees(&instance, &state, state.header().held()).unwrap_or_else(|error| {
        say(&error.to_string());
        Vec::new()
    });
    let ward = Ward {
        guarantees,
        state,
        instance,
        listener: listener?,
        tcp: words.descriptor("--tcp-fd")?,
        previous: words.descriptor("--previous-fd")?,
        original: words.original()?,
        unknown: words.unknown,
        options,
    };
    if let Err(error) = ward.take_charge() {
        // A full disk has no room for the pid file. Nobody but us keeps the children, so we do.
        say(&error.to_string());
    }
    Ok(Keeper::new(ward).run())
}

/// Reads the same words and a copy of the state, and says so.
fn dry_run(words: &Words, copy: &Path) -> Result<u8, ResumeError> {
    words.options()?;
    words.original()?;
    let wrong = |expected| ResumeError::Word { option: "--dry-run", value: copy.display().to_string(), expected };
    let folder = copy.parent().ok_or_else(|| wrong("a path with a directory"))?;
    let name = copy.file_name().and_then(OsStr::to_str).ok_or_else(|| wrong("a path with a name"))?;
    let folder = std::fs::File::open(folder).map_err(|_missing| wrong("a file that can be read"))?;
    let state: StateFile = crate::shell::open_state_at(&folder, name)?;
    let slots = state.used().len();
    show(&format!("{READY}{} ({slots} processes)\n", env!("CARGO_PKG_VERSION"))).map_err(ResumeError::Stdout)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Words, ResumeError> {
        Words::read(text.split_whitespace().map(OsString::from))
    }

    #[test]
    fn what_is_optional_and_unknown_is_handed_on() {
        let words = read("-d --optional --ring-memory 70000 --optional --colour blue -p 1").unwrap();
        assert_eq!(words.unknown, [["--colour", "blue"].map(OsString::from)]);
        let options = words.options().unwrap();
        assert_eq!((options.ring_memory, options.port, options.verbosity), (70_000, Some(1), Verbosity::Debug));
    }

    #[test]
    fn what_is_unknown_and_not_optional_is_refused() {
        let error = read("-d --colour blue").unwrap_err().to_string();
        assert_eq!(error, "resume: an option is \"--colour\"; expected one that this build knows");
    }
}
