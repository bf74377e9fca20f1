//! The INI form of a logger configuration (`logging.config.fileConfig`) as the JSON form: sections `logger_X`, `handler_X`
//! and `formatter_X`, and the arguments of handlers, which are Python there.

use crate::config::{Document, Section};
use crate::options::python::{to_bool, to_int};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::Arc;

/// The same in the shape of a `dictConfig`.
pub(super) fn to_dict(path: &Path, text: &str) -> Result<Value, String> {
    let mut document = Document::default();
    let errors = document.add(&Arc::from(path), text);
    if let Some(error) = errors.first() {
        return Err(error.to_string());
    }
    let (mut loggers, mut handlers, mut formatters) = (Map::new(), Map::new(), Map::new());
    let mut root = Value::Null;
    for section in &document.sections {
        if section.name == "logger_root" {
            root = logger(section);
        } else if let Some(id) = section.name.strip_prefix("logger_") {
            let name = value(section, "qualname").unwrap_or(id).to_owned();
            loggers.insert(name, logger(section));
        } else if let Some(id) = section.name.strip_prefix("handler_") {
            handlers.insert(id.to_owned(), handler(section));
        } else if let Some(id) = section.name.strip_prefix("formatter_") {
            let formatter = json!({"format": value(section, "format"), "datefmt": value(section, "datefmt")});
            formatters.insert(id.to_owned(), formatter);
        }
    }
    Ok(json!({"loggers": loggers, "handlers": handlers, "formatters": formatters, "root": root}))
}

fn value<'a>(section: &'a Section, key: &str) -> Option<&'a str> {
    section.entries.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
}

fn logger(section: &Section) -> Value {
    let handlers = value(section, "handlers").unwrap_or_default().split(',').map(str::trim);
    let handlers: Vec<&str> = handlers.filter(|id| !id.is_empty()).collect();
    let propagate = value(section, "propagate").and_then(to_bool).unwrap_or(true);
    json!({"level": value(section, "level"), "handlers": handlers, "propagate": propagate})
}

fn handler(section: &Section) -> Value {
    let arguments = value(section, "args").unwrap_or_default();
    let quoted = quoted(arguments);
    let mut handler = json!({
        "class": value(section, "class"),
        "level": value(section, "level"),
        "formatter": value(section, "formatter"),
    });
    let Some(object) = handler.as_object_mut() else {
        return handler;
    };
    if arguments.contains("sys.stdout") {
        object.insert("stream".to_owned(), json!("ext://sys.stdout"));
    }
    if let Some(first) = &quoted {
        object.insert("filename".to_owned(), json!(first));
        let port = arguments.split([',', '(', ')']).find_map(|word| to_int(word).filter(|port| *port > 0));
        let address = if first.starts_with('/') { json!(first) } else { json!([first, port.unwrap_or(514)]) };
        object.insert("address".to_owned(), address);
    }
    if let Some((_, facility)) = arguments.rsplit_once("LOG_") {
        let name: String = facility.chars().take_while(char::is_ascii_alphanumeric).collect();
        object.insert("facility".to_owned(), json!(name));
    }
    handler
}

/// The first text in quotes.
fn quoted(arguments: &str) -> Option<String> {
    let (_, rest) = arguments.split_once(['\'', '"'])?;
    rest.split_once(['\'', '"']).map(|(text, _)| text.to_owned())
}
