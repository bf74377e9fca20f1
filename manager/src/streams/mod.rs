//! Output of children into log files and onto the terminal, on a thread of its own: the scribe.
//!
//! ```text
//! core's notices ─→ loop ─→ Order ─→ [mailbox] ─→ worker: read process file → plan lines → render → append ─→ ScribeReport ─→ loop ─→ Ack
//! ```
//! Bytes never pass through the loop: it forwards how far a stream has come, the scribe reads the process file itself
//! ([`ringmaster_protocol::ring`]) and tells how far it has written. A slow disk therefore stops nothing but logs.
//!
//! * a *class* ([`CLASSES`]) turns the settings of a section into a [`StreamSetup`]: where output goes and how it looks;
//! * [`render`] is the pure part: records and bytes in, bytes of the file out;
//! * [`sink`] is the one writer of a path, with rotation;
//! * [`worker`] holds the state of all processes and the one place where appending and acknowledging meet.
//!
//! * [`journal`] is why each byte is in a file once, whatever instant circusd is killed at.
//!
//! * [`python`] is for classes that are no part of circusd: each stream of them has a Python of its own.

mod compose;
mod compression;
mod cursor;
mod failpoint;
mod fancy_stdout_stream;
mod file_stream;
mod journal;
mod journald_stream;
mod json_file_stream;
mod loss;
mod mailbox;
mod moment;
mod per_stream;
mod plan;
mod process;
mod python;
mod python_stream;
mod queue_stream;
mod render;
mod report;
mod retention;
mod rotation;
mod schedule;
mod scribe;
mod settings;
mod sink;
mod stdout_stream;
mod syslog_stream;
mod tap;
mod time_format;
mod timed_rotating_file_stream;
mod watched_file_stream;
mod worker;
mod wrapping;

pub use loss::{Loss, LossReason};
pub use mailbox::{Attach, Order, WatcherKey};
pub use python::{ClassReport, ClassWord, PythonError, PythonPlace};
pub use report::{Action, ScribeReport, Trouble};
pub use scribe::Scribe;
pub use settings::{SettingRow, StreamError};
pub use tap::Tap;

use crate::options::{StreamClass, StreamOptions};
use render::Look;
use settings::Settings;
use sink::{Address, Upkeep};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One stream class: everything that help, checks and the scribe know of it.
#[derive(Debug)]
pub struct StreamClassRow {
    /// As written in `stdout_stream.class`, in Circus's spelling.
    pub name: &'static str,
    /// One sentence for help.
    pub summary: &'static str,
    /// The settings that it reads.
    pub settings: &'static [SettingRow],
    /// What somebody who chooses it should know, said once at load.
    pub note: Option<&'static str>,
    /// Turns settings into a setup, or names the one that is wrong.
    build: fn(&Settings<'_>) -> Result<StreamSetup, StreamError>,
}

/// The built-in stream classes (spec h), those that Circus does not have, and last the one that stands for all classes in Python.
pub const CLASSES: &[StreamClassRow] = &[
    file_stream::ROW,
    watched_file_stream::ROW,
    timed_rotating_file_stream::ROW,
    stdout_stream::ROW,
    fancy_stdout_stream::ROW,
    queue_stream::ROW,
    json_file_stream::ROW,
    syslog_stream::ROW,
    journald_stream::ROW,
    python_stream::ROW,
];

/// What a configured stream comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct StreamSetup {
    target: Target,
    look: Look,
}

/// Where output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// A file; `None`: a temporary one is made.
    File { path: Option<PathBuf>, upkeep: Upkeep },
    /// A datagram socket.
    Socket(Address),
    /// An object of that class, made with these keyword arguments.
    Python { class: String, settings: BTreeMap<String, String> },
    /// circusd's own stdout.
    Stdout,
    /// Taken and thrown away.
    Nowhere,
}

/// Whether `options` can be used; the error names key, value and what is expected.
pub fn validate(options: &StreamOptions) -> Result<(), StreamError> {
    setup(options).map(drop)
}

/// The settings that the class of `options` does not read. Circus accepts and ignores them (spec h), so they are worth a warning.
pub fn unknown_settings(options: &StreamOptions) -> Vec<String> {
    let row = match (&options.class, row_of(&options.class)) {
        (StreamClass::BuiltIn(_), Ok(row)) => row,
        // A class in Python gets all of them, and knows itself what to do with them.
        (StreamClass::Python(_), _) | (_, Err(_)) => return Vec::new(),
    };
    let known = |key: &str| row.settings.iter().any(|setting| setting.key == key);
    let unknown = options.settings.keys().filter(|key| !known(key));
    unknown.cloned().collect()
}

/// What somebody who chose the class of `options` should know.
pub fn note(options: &StreamOptions) -> Option<&'static str> {
    row_of(&options.class).ok()?.note
}

fn setup(options: &StreamOptions) -> Result<StreamSetup, StreamError> {
    let row = row_of(&options.class)?;
    let (StreamClass::BuiltIn(written) | StreamClass::Python(written)) = &options.class;
    (row.build)(&Settings::new(row.name, written, &options.settings))
}

fn row_of(class: &StreamClass) -> Result<&'static StreamClassRow, StreamError> {
    match class {
        StreamClass::BuiltIn(name) => CLASSES.iter().find(|row| row.name == name).ok_or_else(|| {
            StreamError::UnknownClass { class: name.clone(), known: CLASSES.iter().map(|row| row.name).collect() }
        }),
        StreamClass::Python(_) => Ok(&python_stream::ROW),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(class: &str, settings: &[(&str, &str)]) -> StreamOptions {
        StreamOptions {
            class: StreamClass::BuiltIn(class.to_owned()),
            settings: settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        }
    }

    fn text(class: &str, settings: &[(&str, &str)]) -> String {
        validate(&options(class, settings)).unwrap_err().to_string()
    }

    #[test]
    fn class_names_are_unique_and_every_setting_is_described() {
        for row in CLASSES {
            assert_eq!(CLASSES.iter().filter(|other| other.name == row.name).count(), 1);
            assert!(!row.summary.is_empty());
            assert!(row.settings.iter().all(|setting| !setting.expected.is_empty()));
        }
    }

    #[test]
    fn errors_name_key_value_and_expectation() {
        assert_eq!(
            text("FileStream", &[("max_bytes", "10MB")]),
            "FileStream: max_bytes is \"10MB\"; expected a whole number of bytes, 0 for no rotation"
        );
        assert_eq!(
            text("FileStream", &[("backup_count", "x")]),
            "FileStream: backup_count is \"x\"; expected a whole number of old files to keep"
        );
        assert!(text("FileStream", &[("filename", "")]).contains("filename is \"\"; expected"));
        assert!(text("FileStream", &[("time_format", "%!")]).contains("time_format is \"%!\"; expected"));
        assert_eq!(
            text("Filestream", &[]),
            "there is no stream class \"Filestream\"; expected one of FileStream, WatchedFileStream, \
             TimedRotatingFileStream, StdoutStream, FancyStdoutStream, QueueStream, JsonFileStream, SyslogStream, \
             JournaldStream, package.module.Class"
        );
    }

    #[test]
    fn every_class_name_that_options_know_is_a_class_and_the_other_way_round() {
        let names: Vec<&str> = CLASSES.iter().map(|row| row.name).collect();
        assert_eq!(names, [crate::options::STREAM_CLASS_NAMES, &[python_stream::ROW.name]].concat());
    }

    #[test]
    fn rotation_by_time_needs_a_unit_and_an_interval() {
        let timed = |settings: &[(&str, &str)]| validate(&options("TimedRotatingFileStream", settings));
        for when in ["S", "m", "H", "d", "midnight", "W0", "w6"] {
            assert_eq!(timed(&[("rotate_when", when)]), Ok(()));
        }
        assert!(timed(&[]).is_err());
        assert!(timed(&[("rotate_when", "W7")]).is_err());
        for interval in ["0", "-1", "x", ""] {
            let error = timed(&[("rotate_when", "S"), ("rotate_interval", interval)]).unwrap_err();
            assert_eq!(error.key(), Some("rotate_interval"), "{error}");
        }
    }

    /// Circus takes any text for true; `False` is what people write who mean false.
    #[test]
    fn utc_is_false_when_it_says_so() {
        for (text, utc) in [("1", true), ("x", true), ("True", true), ("", false), ("False", false), ("no", false)] {
            let options = options("TimedRotatingFileStream", &[("rotate_when", "S"), ("utc", text)]);
            let Target::File { upkeep, .. } = setup(&options).unwrap().target else { unreachable!() };
            let rotation::Rotation::ByTime(schedule) = upkeep.rotation else { unreachable!() };
            let zone = if utc { jiff::tz::TimeZone::UTC } else { crate::time_zone::local() };
            assert_eq!(schedule.zone, zone, "{text:?}");
        }
    }

    #[test]
    fn settings_as_circus_takes_them_are_accepted() {
        let settings = [
            ("filename", "x.log"),
            ("max_bytes", " 1073741824 "),
            ("backup_count", "-1"),
            ("time_format", "%Y-%m-%d %H:%M:%S.%f"),
            ("refresh_time", "0.3"),
        ];
        let options = options("FileStream", &settings);
        assert_eq!(validate(&options), Ok(()));
        assert_eq!(unknown_settings(&options), ["refresh_time"]);
    }
}
