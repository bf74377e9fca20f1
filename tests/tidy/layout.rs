//! Rules about folders, dependencies and the wire.

use super::{files, report};
use anyhow::{Context, Result, ensure};
use regex::Regex;
use ringmaster_tests::program::repository;
use std::fs;

/// The folders that the design names; others begin with a dot.
const FOLDERS: &[&str] = &["kernel", "manager", "ctl", "protocol", "tests", "docs"];

/// The files that two builds exchange bytes by.
const WIRE: &[&str] = &["protocol/src/frame.rs", "protocol/src/message/", "protocol/src/ring.rs"];

#[test]
fn only_the_folders_of_the_design() -> Result<()> {
    let mut complaints = Vec::new();
    for entry in fs::read_dir(repository())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let known = FOLDERS.contains(&name.as_str()) || name == "target" || name.starts_with('.');
        if entry.file_type()?.is_dir() && !known {
            complaints.push(name);
        }
    }
    report("a folder that the design does not name", &complaints)
}

/// The wire changes only together with its document: the document holds a hash of the files that define the bytes.
#[test]
fn the_wire_is_what_the_document_says() -> Result<()> {
    let text: String = files(&["rs"])?
        .into_iter()
        .filter(|file| WIRE.iter().any(|wire| file.path.starts_with(wire)))
        .map(|file| format!("{}\n{}\n", file.path, file.text))
        .collect();
    let line = format!("Hash of the wire files: `{:016x}`", fnv1a(text.as_bytes()));
    let document = fs::read_to_string(repository().join("docs/PROTOCOL.md")).context("docs/PROTOCOL.md")?;
    ensure!(
        document.contains(&line),
        "the files of the wire have changed; bring docs/PROTOCOL.md up to date and let it say\n{line}"
    );
    Ok(())
}

/// FNV-1a, 64 bits: a tripwire for people, not a seal.
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Every dependency says in one line what it replaces.
#[test]
fn every_dependency_has_its_reason() -> Result<()> {
    let manifest = fs::read_to_string(repository().join("Cargo.toml"))?;
    let (_, table) = manifest.split_once("[workspace.dependencies]").context("the table of dependencies")?;
    let table = table.split_once("\n[").map_or(table, |(table, _)| table);
    let name = Regex::new(r"(?m)^([a-z][a-z0-9_-]*) *=")?;
    let path = "docs/adr/0001-dependencies.md";
    let reasons = fs::read_to_string(repository().join(path)).context(path)?;
    let complaints: Vec<String> = name
        .captures_iter(table)
        .filter_map(|captures| captures.get(1).map(|name| name.as_str().to_owned()))
        .filter(|name| !name.starts_with("ringmaster-") && !reasons.contains(&format!("`{name}`")))
        .collect();
    report("not in docs/adr/0001-dependencies.md", &complaints)
}
