//! What Python and Circus 0.19 answered for texts of our own, recorded once: `shlex.split`, `fnmatch.fnmatch`,
//! Circus's variable expansion and its INI dialect. Our answers must be the same.
//!
//! `RINGMASTER_PYTHON_FACTS` names another folder with files of the same shape, for longer lists.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops where a fact is missing")]

use ringmaster_manager::config::{Document, expand, fnmatch, words};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn rows(file: &str) -> Vec<Value> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/python");
    let folder = std::env::var_os("RINGMASTER_PYTHON_FACTS").map_or(own, PathBuf::from);
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(rows.len() >= 100, "{file} holds only {} rows", rows.len());
    rows
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap()
}

#[test]
fn words_are_split_as_shlex_does() {
    for row in rows("shlex.json") {
        let answer = match words::split(text(&row, "text")) {
            Ok(words) => json!({"text": row["text"], "words": words}),
            Err(error) => json!({"text": row["text"], "error": error.to_string()}),
        };
        assert_eq!(answer, row);
    }
}

#[test]
fn patterns_match_as_fnmatch_does() {
    for row in rows("fnmatch.json") {
        assert_eq!(json!(fnmatch::matches(text(&row, "name"), text(&row, "pattern"))), row["matches"], "{row}");
    }
}

#[test]
fn variables_are_expanded_as_in_circus() {
    let known = BTreeMap::from([("env.np", "7"), ("wid", "3"), ("sockets.web", "9")]);
    let lookup = |name: &str| known.get(name).map(|value| (*value).to_owned());
    for row in rows("expand.json") {
        assert_eq!(json!(expand::expand(text(&row, "text"), &lookup)), row["expanded"], "{row}");
    }
}

#[test]
fn the_dialect_is_read_as_circus_reads_it() {
    for row in rows("dialect.json") {
        let mut document = Document::default();
        let errors = document.add(&Arc::from(Path::new("t.ini")), text(&row, "text"));
        assert_eq!(row.get("error").is_some(), !errors.is_empty(), "{row} {errors:?}");
        let Some(expected) = row["sections"].as_object() else {
            continue;
        };
        let names: Vec<&String> = document.sections.iter().map(|section| &section.name).collect();
        assert_eq!(names, expected.keys().collect::<Vec<_>>(), "{row}");
        for section in &document.sections {
            let items = document.items(section);
            let mut pairs: BTreeMap<&str, &str> =
                items.iter().map(|item| (item.entry.key.as_str(), item.entry.value.as_str())).collect();
            pairs.insert("__name__", &section.name);
            assert_eq!(json!(pairs), json!(sorted(&expected[&section.name])), "{row}");
        }
    }
}

fn sorted(object: &Value) -> BTreeMap<&String, &Value> {
    object.as_object().unwrap().iter().collect()
}
