//! How a log line looks: a format string of Python's `logging` module, read once (spec b.3).
//!
//! Circus's own format is the default; a logger configuration may name another one.

use std::fmt::{self, Write};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::syslog::SyslogTarget;

/// Circus's line.
const CIRCUS: &str = "%(asctime)s %(name)s[%(process)d] [%(levelname)s] %(message)s";

/// Circus's date in files and on the terminal.
const CIRCUS_DATE: &str = "%Y-%m-%d %H:%M:%S";

/// Circus's date for syslog.
const SYSLOG_DATE: &str = "%b %d %H:%M:%S";

/// The logger's name in every line.
const LOGGER: &str = "circus";

/// A field of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Time,
    Milliseconds,
    Name,
    Pid,
    Level,
    Message,
}

/// Python's names of the fields that are known here.
const FIELDS: &[(&str, Field)] = &[
    ("asctime", Field::Time),
    ("msecs", Field::Milliseconds),
    ("name", Field::Name),
    ("process", Field::Pid),
    ("levelname", Field::Level),
    ("message", Field::Message),
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field, Width),
}

/// A field's width as printf(3) has it: digits, `-` for the left, `0` for zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Width {
    columns: usize,
    left: bool,
    zeros: bool,
}

/// Why a format cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineFormatError {
    /// A field that only a Python program has.
    #[error(
        "%({0}) cannot be written by circusd; it knows {known}",
        known = FIELDS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    )]
    Field(String),
    /// Something else behind a percent sign.
    #[error("'{0}' is no format of Python's %-style")]
    Form(String),
    /// strftime(3) does not know it.
    #[error("datefmt '{0}' cannot be written")]
    Date(String),
}

/// In the zone of this machine.
fn now() -> jiff::Zoned {
    jiff::Timestamp::now().to_zoned(crate::time_zone::local())
}

/// One kind of line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineFormat {
    parts: Vec<Part>,
    date: String,
    /// Python's own date has milliseconds behind a comma.
    milliseconds: bool,
    /// In front of the line, for a syslog daemon.
    syslog: Option<SyslogTarget>,
}

impl LineFormat {
    /// Circus's line.
    pub fn circus() -> Self {
        Self {
            parts: parts(CIRCUS).unwrap_or_default(),
            date: CIRCUS_DATE.to_owned(),
            milliseconds: false,
            syslog: None,
        }
    }

    /// From `format` and `datefmt` of Python; each missing one has Python's default.
    pub fn python(format: Option<&str>, date: Option<&str>) -> Result<Self, LineFormatError> {
        let wanted = date.unwrap_or(CIRCUS_DATE);
        if jiff::fmt::strtime::format(wanted, &now()).is_err() {
            return Err(LineFormatError::Date(wanted.to_owned()));
        }
        Ok(Self {
            parts: parts(format.unwrap_or("%(message)s"))?,
            date: wanted.to_owned(),
            milliseconds: date.is_none(),
            syslog: None,
        })
    }

    /// The same for a syslog daemon; Circus's own line gets the date of syslog.
    pub(super) fn for_syslog(mut self, target: &SyslogTarget) -> Self {
        if self == Self::circus() {
            SYSLOG_DATE.clone_into(&mut self.date);
        }
        self.syslog = Some(target.clone());
        self
    }

    fn write(&self, out: &mut impl Write, level: Level, message: &str) -> fmt::Result {
        let now = now();
        if let Some(syslog) = &self.syslog {
            write!(out, "<{}>", syslog.priority(level))?;
        }
        for part in &self.parts {
            let (field, width) = match part {
                Part::Text(text) => {
                    out.write_str(text)?;
                    continue;
                }
                Part::Field(field, width) => (field, width),
            };
            let milliseconds = now.millisecond();
            let text = match field {
                Field::Time if self.milliseconds => format!("{},{milliseconds:03}", now.strftime(&self.date)),
                Field::Time => now.strftime(&self.date).to_string(),
                Field::Milliseconds => milliseconds.to_string(),
                Field::Name => LOGGER.to_owned(),
                Field::Pid => std::process::id().to_string(),
                Field::Level => level_name(level).to_owned(),
                Field::Message => message.to_owned(),
            };
            width.write(out, &text)?;
        }
        out.write_char('\n')
    }
}

impl Width {
    fn write(self, out: &mut impl Write, text: &str) -> fmt::Result {
        let Self { columns, left, zeros } = self;
        match (left, zeros) {
            (true, _) => write!(out, "{text:<columns$}"),
            (false, true) => write!(out, "{text:0>columns$}"),
            (false, false) => write!(out, "{text:>columns$}"),
        }
    }
}

fn parts(format: &str) -> Result<Vec<Part>, LineFormatError> {
    let form = |rest: &str| LineFormatError::Form(format!("%{rest}"));
    let mut parts = Vec::new();
    let mut rest = format;
    while let Some((text, after)) = rest.split_once('%') {
        parts.push(Part::Text(text.to_owned()));
        if let Some(after) = after.strip_prefix('%') {
            parts.push(Part::Text("%".to_owned()));
            rest = after;
            continue;
        }
        let (name, after) =
            after.strip_prefix('(').and_then(|after| after.split_once(')')).ok_or_else(|| form(after))?;
        let field = FIELDS.iter().find(|(known, _)| *known == name).map(|(_, field)| *field);
        let field = field.ok_or_else(|| LineFormatError::Field(name.to_owned()))?;
        let (flags, after) = after.split_once(['s', 'd', 'f']).ok_or_else(|| form(after))?;
        let digits = flags.trim_start_matches('-').split('.').next().unwrap_or_default();
        let columns = if digits.is_empty() { Ok(0) } else { digits.parse() };
        let columns = columns.or(Err(form(flags)))?;
        parts.push(Part::Field(
            field,
            Width { columns, left: flags.starts_with('-'), zeros: digits.starts_with('0') && columns > 0 },
        ));
        rest = after;
    }
    parts.push(Part::Text(rest.to_owned()));
    Ok(parts)
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG | Level::TRACE => "DEBUG",
    }
}

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut message = String::new();
        context.format_fields(Writer::new(&mut message), event)?;
        self.write(&mut out, *event.metadata().level(), &message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: &LineFormat) -> String {
        let mut line = String::new();
        format.write(&mut line, Level::WARN, "text").unwrap();
        line
    }

    #[test]
    fn a_line_looks_as_circus_writes_it() {
        let text = line(&LineFormat::circus());
        let (date, rest) = text.split_at(19);
        assert!(jiff::civil::DateTime::strptime(CIRCUS_DATE, date).is_ok(), "{date}");
        assert_eq!(rest, format!(" circus[{}] [WARNING] text\n", std::process::id()));
    }

    #[test]
    fn formats_of_python_are_read() {
        let format = LineFormat::python(Some("%(levelname)-8s|%(name)8s|100%% %(message)s"), Some("%H")).unwrap();
        assert_eq!(line(&format), "WARNING |  circus|100% text\n");
        assert_eq!(line(&LineFormat::python(None, None).unwrap()), "text\n");
        let dated = line(&LineFormat::python(Some("%(asctime)s"), None).unwrap());
        assert_eq!((dated.len(), dated.as_bytes()[19]), (24, b','), "{dated}");
        let error = LineFormat::python(Some("%(funcName)s"), None).unwrap_err();
        assert!(
            error.to_string().starts_with("%(funcName) cannot be written by circusd; it knows asctime, "),
            "{error}"
        );
        assert!(LineFormat::python(Some("%s"), None).is_err());
    }

    #[test]
    fn syslog_gets_its_priority_and_its_date() {
        let target = SyslogTarget::parse("syslog://localhost?local0").unwrap().unwrap();
        let text = line(&LineFormat::circus().for_syslog(&target));
        let rest = text.strip_prefix("<132>").unwrap();
        assert!(rest.ends_with(&format!(" circus[{}] [WARNING] text\n", std::process::id())), "{text}");
    }
}
