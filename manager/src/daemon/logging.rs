//! circusd's own log (spec b.3): where its lines go, one or more places at a time. How a line looks is in `line`.

use super::line::LineFormat;
use super::syslog::{SyslogError, SyslogSender, SyslogTarget};
use crate::cli::LogLevel;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error: `-`.
    Terminal,
    /// Standard output; only a logger configuration can ask for it.
    Output,
    /// A file, appended to.
    File(PathBuf),
    /// A syslog daemon.
    Syslog(SyslogTarget),
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The text names no syslog daemon.
    #[error(transparent)]
    Syslog(#[from] SyslogError),
    /// The syslog daemon cannot be reached.
    #[error("cannot reach the syslog daemon {target:?}: {source}")]
    Reach {
        /// Which.
        target: SyslogTarget,
        /// Why.
        source: io::Error,
    },
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
            Some(text) => match SyslogTarget::parse(text) {
                Some(target) => Ok(Self::Syslog(target?)),
                None => Ok(Self::File(std::path::absolute(text).unwrap_or_else(|_| PathBuf::from(text)))),
            },
        }
    }
}

/// One place for lines, with what is written there and how it looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlet {
    /// Where.
    pub target: LogTarget,
    /// The least important lines that are written.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LineFormat,
}

/// The log; a clone is the same one.
#[derive(Debug, Clone, Default)]
pub struct LogFile(Vec<LogWriter>);

/// One place of the log.
#[derive(Debug, Clone)]
struct LogWriter(Arc<Mutex<Sink>>);

#[derive(Debug)]
enum Sink {
    Terminal,
    Output,
    File { path: PathBuf, file: File },
    Syslog(SyslogSender),
}

impl LogFile {
    /// Opens log files anew, for those who have moved them away.
    pub fn reopen(&self) {
        for LogWriter(sink) in &self.0 {
            let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
            if let Sink::File { path, file } = &mut *sink
                && let Ok(fresh) = append(path)
            {
                *file = fresh;
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

impl Sink {
    fn open(target: &LogTarget) -> Result<Self, LoggingError> {
        match target {
            LogTarget::Terminal => Ok(Self::Terminal),
            LogTarget::Output => Ok(Self::Output),
            LogTarget::File(path) => {
                let file = append(path).map_err(|source| LoggingError::Open { path: path.clone(), source })?;
                Ok(Self::File { path: path.clone(), file })
            }
            LogTarget::Syslog(target) => {
                let sender = SyslogSender::open(target.clone());
                let reached = sender.map_err(|source| LoggingError::Reach { target: target.clone(), source });
                Ok(Self::Syslog(reached?))
            }
        }
    }

    /// One whole line. A file that has been moved away or removed is opened anew first.
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Terminal => io::stderr().write_all(line),
            Self::Output => io::stdout().write_all(line),
            Self::Syslog(sender) => sender.send(line),
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
struct Line<'a>(&'a LogWriter);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sink = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        sink.line(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self)
    }
}

/// Sends everything that is logged from now on to these places.
pub fn start_logging(outlets: &[Outlet]) -> Result<LogFile, LoggingError> {
    let mut log = LogFile::default();
    let mut layers = Vec::new();
    for Outlet { target, level, format } in outlets {
        let writer = LogWriter(Arc::new(Mutex::new(Sink::open(target)?)));
        let format = match target {
            LogTarget::Syslog(target) => format.clone().for_syslog(target),
            LogTarget::Terminal | LogTarget::Output | LogTarget::File(_) => format.clone(),
        };
        let layer = tracing_subscriber::fmt::layer().event_format(format).with_writer(writer.clone());
        layers.push(layer.with_filter(filter(*level)));
        log.0.push(writer);
    }
    // A restart within the same process keeps the first one; only its files may change.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layers));
    Ok(log)
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Critical | LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    }
}
