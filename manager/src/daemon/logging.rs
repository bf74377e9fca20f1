//! Log lines as Circus writes them (spec b.3): `2026-11-20 12:00:00 circus[4711] [INFO] text`.

use crate::cli::LogLevel;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error: `-`.
    Terminal,
    /// A file, appended to.
    File(PathBuf),
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// syslog is not there yet.
    #[error("log output {0} is not supported yet; expected a file name or -")]
    Syslog(String),
    /// The file cannot be opened.
    #[error("cannot open the log file {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl LogTarget {
    /// Reads `--log-output` or `logoutput`.
    pub fn parse(text: Option<&str>) -> Result<Self, LoggingError> {
        match text {
            None | Some("-" | "") => Ok(Self::Terminal),
            Some(text) if text.starts_with("syslog:") => Err(LoggingError::Syslog(text.to_owned())),
            Some(path) => Ok(Self::File(std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path)))),
        }
    }
}

/// The log; a clone is the same one.
#[derive(Debug, Clone)]
pub struct LogFile(Arc<Mutex<Sink>>);

#[derive(Debug)]
enum Sink {
    Terminal,
    File { path: PathBuf, file: File },
}

impl LogFile {
    fn open(target: &LogTarget) -> Result<Self, LoggingError> {
        let sink = match target {
            LogTarget::Terminal => Sink::Terminal,
            LogTarget::File(path) => {
                let file = append(path).map_err(|source| LoggingError::Open { path: path.clone(), source })?;
                Sink::File { path: path.clone(), file }
            }
        };
        Ok(Self(Arc::new(Mutex::new(sink))))
    }

    /// Opens a log file anew, for those who have moved it away.
    pub fn reopen(&self) {
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Sink::File { path, file } = &mut *sink
            && let Ok(fresh) = append(path)
        {
            *file = fresh;
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

impl Sink {
    /// One whole line. A file that has been moved away or removed is opened anew first.
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Terminal => io::stderr().write_all(line),
            Self::File { path, file } => {
                let there = std::fs::metadata(&*path).ok();
                let same = |ours: &std::fs::Metadata| {
                    there.is_some_and(|there| there.ino() == ours.ino() && there.dev() == ours.dev())
                };
                if !file.metadata().is_ok_and(|ours| same(&ours))
                    && let Ok(fresh) = append(path)
                {
                    *file = fresh;
                }
                file.write_all(line)
            }
        }
    }
}

/// Gathers one line and writes it whole.
#[derive(Debug)]
pub struct Line<'a> {
    log: &'a LogFile,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sink = self.log.0.lock().unwrap_or_else(PoisonError::into_inner);
        sink.line(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { log: self }
    }
}

/// Circus's line format.
struct CircusLine;

impl<S, N> FormatEvent<S, N> for CircusLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S");
        let level = level_name(*event.metadata().level());
        write!(out, "{now} circus[{}] [{level}] ", std::process::id())?;
        context.format_fields(out.by_ref(), event)?;
        writeln!(out)
    }
}

fn level_name(level: Level) -> &'static str {
    if level == Level::ERROR {
        "ERROR"
    } else if level == Level::WARN {
        "WARNING"
    } else if level == Level::INFO {
        "INFO"
    } else {
        "DEBUG"
    }
}

/// Sends everything that is logged from now on to `target`.
pub fn start_logging(target: &LogTarget, level: LogLevel) -> Result<LogFile, LoggingError> {
    let log = LogFile::open(target)?;
    let filter = match level {
        LogLevel::Critical | LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let subscriber =
        tracing_subscriber::fmt().event_format(CircusLine).with_writer(log.clone()).with_max_level(filter).finish();
    // A restart within the same process keeps the first one; only its file may change.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(log)
}
