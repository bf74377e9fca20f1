//! `loggerconfig`: a configuration of Python's `logging` module, as far as a program that is no Python can follow it
//! (spec b.3).
//!
//! Read are JSON (`dictConfig`) and INI (`fileConfig`): the loggers `circus` and root, their levels, their handlers that
//! write to a file, a terminal or syslog, and formats of the %-style. Everything else leaves a note that says what is not
//! done. YAML is not read.

use super::line::LineFormat;
use super::logger_ini;
use super::logging::{LogTarget, Outlet};
use super::syslog::SyslogTarget;
use crate::cli::LogLevel;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Longest file that is read; keeps a log file named by mistake from filling the memory.
const MAX_BYTES: u64 = 1024 * 1024;

/// The logger of Circus.
const CIRCUS: &str = "circus";

/// Handler classes that are known, by the end of their dotted name, and what of them is not done.
const CLASSES: &[(&str, Class, Option<&str>)] = &[
    ("StreamHandler", Class::Stream, None),
    ("FileHandler", Class::File, None),
    ("WatchedFileHandler", Class::File, None),
    ("RotatingFileHandler", Class::File, Some("the file is not rotated by circusd; rotate it with logrotate")),
    ("TimedRotatingFileHandler", Class::File, Some("the file is not rotated by circusd; rotate it with logrotate")),
    ("SysLogHandler", Class::Syslog, None),
];

#[derive(Debug, Clone, Copy)]
enum Class {
    Stream,
    File,
    Syslog,
}

/// What was understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LoggerConfig {
    /// Where lines go; empty when nothing of it can be done.
    pub outlets: Vec<Outlet>,
    /// What is not done, in words.
    pub notes: Vec<String>,
}

/// Why circusd does not start with it.
#[derive(Debug, thiserror::Error)]
pub enum LoggerConfigError {
    /// The file is none that Python's logging could read.
    #[error("logger configuration {}: expected a file named *.ini, *.json or *.yaml, or default", .0.display())]
    Kind(PathBuf),
    /// It cannot be read.
    #[error("logger configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what its name says.
    #[error("logger configuration {}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Reads the file that `--logger-config` or `loggerconfig` names; `default` is no file.
pub fn read(name: &str) -> Result<Option<LoggerConfig>, LoggerConfigError> {
    if name.trim().eq_ignore_ascii_case("default") || name.is_empty() {
        return Ok(None);
    }
    let path = Path::new(name);
    let kind = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_lowercase();
    let content = |reason: String| LoggerConfigError::Content { path: path.to_owned(), reason };
    let config = match kind.as_str() {
        "json" => serde_json::from_str(&text(path)?).map_err(|error| content(error.to_string()))?,
        "ini" => logger_ini::to_dict(path, &text(path)?).map_err(content)?,
        "yaml" => {
            let note = format!("{name}: YAML is not read; write it as JSON, or use loglevel and logoutput");
            return Ok(Some(LoggerConfig { outlets: Vec::new(), notes: vec![note] }));
        }
        _ => return Err(LoggerConfigError::Kind(path.to_owned())),
    };
    Ok(Some(understand(name, &config)))
}

fn text(path: &Path) -> Result<String, LoggerConfigError> {
    let read = |source| LoggerConfigError::Read { path: path.to_owned(), source };
    let mut bytes = String::new();
    let file = std::fs::File::open(path).map_err(read)?;
    std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_BYTES), &mut bytes).map_err(read)?;
    Ok(bytes)
}

/// The handlers of the logger `circus`, and those of its parents unless it keeps its lines to itself.
fn understand(name: &str, config: &Value) -> LoggerConfig {
    let mut found = LoggerConfig::default();
    let logger = config.get("loggers").and_then(|loggers| loggers.get(CIRCUS));
    let root = config.get("root").or_else(|| config.get("loggers").and_then(|loggers| loggers.get("")));
    let own = [logger, root].into_iter().flatten().find_map(level);
    let lowest = own.unwrap_or(LogLevel::Warning);
    let propagates = logger.and_then(|logger| logger.get("propagate")).and_then(Value::as_bool).unwrap_or(true);
    let mut wanted = handlers(logger);
    if propagates {
        wanted.extend(handlers(root));
    }
    for id in wanted {
        let Some(handler) = config.get("handlers").and_then(|handlers| handlers.get(id)) else {
            found.notes.push(format!("{name}: there is no handler {id}"));
            continue;
        };
        match outlet(config, handler, lowest, &mut |note| found.notes.push(format!("{name}: handler {id}: {note}"))) {
            Some(outlet) if !found.outlets.contains(&outlet) => found.outlets.push(outlet),
            Some(_) | None => {}
        }
    }
    if found.outlets.is_empty() {
        found.notes.push(format!("{name}: no handler of it can be used; the log goes where logoutput says"));
    }
    found
}

fn handlers(logger: Option<&Value>) -> Vec<&str> {
    let list = logger.and_then(|logger| logger.get("handlers")).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn level(of: &Value) -> Option<LogLevel> {
    match of.get("level")?.as_str()?.to_uppercase().as_str() {
        "CRITICAL" | "FATAL" => Some(LogLevel::Critical),
        "ERROR" => Some(LogLevel::Error),
        "WARNING" | "WARN" => Some(LogLevel::Warning),
        "INFO" => Some(LogLevel::Info),
        "DEBUG" => Some(LogLevel::Debug),
        _ => None,
    }
}

fn outlet(config: &Value, handler: &Value, lowest: LogLevel, note: &mut impl FnMut(String)) -> Option<Outlet> {
    let class = handler.get("class").and_then(Value::as_str).unwrap_or_default();
    let short = class.rsplit('.').next().unwrap_or_default();
    let Some((_, class, missing)) = CLASSES.iter().find(|(known, ..)| *known == short) else {
        note(format!("class {class} is not known; nothing is written to it"));
        return None;
    };
    if let Some(missing) = missing {
        note((*missing).to_owned());
    }
    let target = match target(*class, handler) {
        Ok(target) => target,
        Err(reason) => {
            note(reason);
            return None;
        }
    };
    let id = handler.get("formatter").and_then(Value::as_str);
    let formatter = id.and_then(|id| config.get("formatters")?.get(id));
    let text = |key: &str| formatter.and_then(|formatter| formatter.get(key)).and_then(Value::as_str);
    let format = LineFormat::python(text("format"), text("datefmt")).unwrap_or_else(|error| {
        note(format!("{error}; its lines look as Circus's do"));
        LineFormat::circus()
    });
    // The stricter of both counts.
    let level = level(handler).map_or(lowest, |own| own.min(lowest));
    Some(Outlet { target, level, format })
}

fn target(class: Class, handler: &Value) -> Result<LogTarget, String> {
    let text = |key: &str| handler.get(key).and_then(Value::as_str);
    match class {
        Class::Stream => match text("stream").unwrap_or("ext://sys.stderr") {
            "ext://sys.stderr" => Ok(LogTarget::Terminal),
            "ext://sys.stdout" => Ok(LogTarget::Output),
            other => Err(format!("stream {other} is not known; nothing is written to it")),
        },
        Class::File => {
            let path = text("filename").ok_or("expected a filename")?;
            Ok(LogTarget::File(std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path))))
        }
        Class::Syslog => {
            let part = |at: usize| handler.get("address").and_then(|address| address.get(at));
            let address = match (text("address"), part(0).and_then(Value::as_str), part(1).and_then(Value::as_u64)) {
                (Some(path), ..) => path.to_owned(),
                (None, Some(host), Some(port)) => format!("{host}:{port}"),
                (None, ..) => "localhost:514".to_owned(),
            };
            let facility = text("facility").unwrap_or("user").trim_start_matches("LOG_").to_lowercase();
            let url = format!("syslog://{address}?{facility}");
            match SyslogTarget::parse(&url) {
                Some(target) => target.map(LogTarget::Syslog).map_err(|error| error.to_string()),
                None => Err(format!("{url} is no address")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(name: &str, content: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let name = path.to_str().unwrap().to_owned();
        (folder, name)
    }

    fn short(config: &LoggerConfig) -> Vec<(LogTarget, LogLevel)> {
        config.outlets.iter().map(|outlet| (outlet.target.clone(), outlet.level)).collect()
    }

    #[test]
    fn a_dict_in_json() {
        let dict = json!({
            "version": 1,
            "formatters": {"plain": {"format": "%(message)s"}, "odd": {"format": "%(lineno)d"}},
            "handlers": {
                "console": {"class": "logging.StreamHandler", "formatter": "odd", "stream": "ext://sys.stdout"},
                "file": {"class": "logging.handlers.RotatingFileHandler", "filename": "/log", "level": "ERROR",
                         "formatter": "plain", "maxBytes": 5},
                "mail": {"class": "logging.handlers.SMTPHandler"},
            },
            "loggers": {"circus": {"level": "DEBUG", "handlers": ["file", "mail", "file"]}},
            "root": {"level": "INFO", "handlers": ["console"]},
        });
        let (_folder, name) = file("log.json", &dict.to_string());
        let config = read(&name).unwrap().unwrap();
        let wanted = [(LogTarget::File("/log".into()), LogLevel::Error), (LogTarget::Output, LogLevel::Debug)];
        assert_eq!(short(&config), wanted);
        assert_eq!(config.outlets[1].format, LineFormat::circus());
        let notes = config.notes.join("\n");
        for part in ["handler file: the file is not rotated", "class logging.handlers.SMTPHandler", "%(lineno)"] {
            assert!(notes.contains(part), "{notes}");
        }
    }

    #[test]
    fn a_file_in_ini() {
        let ini = "[loggers]\nkeys=root,circus\n[handlers]\nkeys=a,b\n[formatters]\nkeys=f\n\
                   [logger_root]\nlevel=WARNING\nhandlers=a\n\
                   [logger_circus]\nlevel=INFO\nhandlers=b\nqualname=circus\npropagate=0\n\
                   [handler_a]\nclass=StreamHandler\nargs=(sys.stdout,)\n\
                   [handler_b]\nclass=handlers.SysLogHandler\nformatter=f\n\
                   args=(('log.example', 1514), handlers.SysLogHandler.LOG_DAEMON)\n\
                   [formatter_f]\nformat=%(name)s %(message)s\n";
        let (_folder, name) = file("log.ini", ini);
        let config = read(&name).unwrap().unwrap();
        let syslog = SyslogTarget::parse("syslog://log.example:1514?daemon").unwrap().unwrap();
        assert_eq!(short(&config), [(LogTarget::Syslog(syslog), LogLevel::Info)]);
        assert_eq!(config.notes, Vec::<String>::new());
    }

    #[test]
    fn what_is_no_configuration() {
        assert_eq!(read("default").unwrap(), None);
        assert!(matches!(read("/tmp/log.toml"), Err(LoggerConfigError::Kind(_))));
        assert!(matches!(read("/no/such/log.json"), Err(LoggerConfigError::Read { .. })));
        let (_folder, name) = file("log.json", "{");
        assert!(matches!(read(&name), Err(LoggerConfigError::Content { .. })));
        let yaml = read("log.yaml").unwrap().unwrap();
        assert!(yaml.outlets.is_empty() && yaml.notes[0].contains("YAML is not read"));
    }
}
