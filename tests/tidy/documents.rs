//! Rules about documents.

use super::{files, report};
use anyhow::{Context, Result};
use regex::Regex;
use ringmaster_tests::program::repository;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn no_link_is_dead() -> Result<()> {
    let link = Regex::new(r"\]\(([^)\s]+)\)")?;
    let mut complaints = Vec::new();
    for file in files(&["md"])? {
        let folder = repository().join(Path::new(&file.path).parent().context("a file lies in a folder")?);
        for target in link.captures_iter(&file.text).filter_map(|captures| captures.get(1)) {
            let target = target.as_str();
            let path = target.split('#').next().unwrap_or_default();
            let elsewhere = target.contains("://") || target.starts_with("mailto:") || path.is_empty();
            if !elsewhere && !folder.join(path).exists() {
                complaints.push(format!("{}: {target}", file.path));
            }
        }
    }
    report("links that lead nowhere", &complaints)
}

/// Every intended difference from Circus is explained to people, and nothing is explained that no test holds.
#[test]
fn every_difference_is_explained() -> Result<()> {
    let table = fs::read_to_string(repository().join("tests/compat/differences.rs"))?;
    let document = fs::read_to_string(repository().join("docs/COMPATIBILITY.md")).context("docs/COMPATIBILITY.md")?;
    let capture = |pattern: &str, text: &str| -> Result<BTreeSet<String>> {
        let pattern = Regex::new(pattern)?;
        let names = pattern.captures_iter(text).filter_map(|captures| captures.get(1));
        Ok(names.map(|name| name.as_str().to_owned()).collect())
    };
    let reasons = capture(r#""([a-z][a-z0-9-]+)",?\s*\)"#, &table)?;
    let explained = capture(r"(?m)^### `([a-z0-9-]+)`", &document)?;
    let mut complaints: Vec<String> = reasons
        .difference(&explained)
        .map(|name| format!("no section ### `{name}` in docs/COMPATIBILITY.md"))
        .collect();
    complaints.extend(explained.difference(&reasons).map(|name| format!("no test holds `{name}`")));
    report("differences and their explanations", &complaints)
}
