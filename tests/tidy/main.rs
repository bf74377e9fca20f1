//! Rules of the house that are tests (STYLE of the project, habit 18): they read the repository, not the programs.
#![forbid(unsafe_code)]

mod documents;
mod layout;
mod man;
mod manual;
mod metrics;
mod sources;

use anyhow::{Context, Result};
use ringmaster_tests::program::repository;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are not ours.
const SKIPPED: &[&str] = &["target", ".git"];

/// One file of the repository.
struct SourceFile {
    /// From the top folder, with slashes.
    path: String,
    text: String,
}

/// All text files with one of these endings.
fn files(endings: &[&str]) -> Result<Vec<SourceFile>> {
    let top = repository();
    let mut found = Vec::new();
    collect(&top, &top, &mut found)?;
    let wanted = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| endings.contains(&ending))
    };
    found
        .into_iter()
        .filter(wanted)
        .map(|path| {
            let text = fs::read_to_string(top.join(&path)).with_context(|| path.display().to_string())?;
            Ok(SourceFile { path: path.display().to_string(), text })
        })
        .collect()
}

fn collect(top: &Path, folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if SKIPPED.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(top, &entry.path(), found)?;
        } else {
            found.push(entry.path().strip_prefix(top)?.to_path_buf());
        }
    }
    Ok(())
}

/// Fails with all complaints at once.
fn report(rule: &str, complaints: &[String]) -> Result<()> {
    anyhow::ensure!(complaints.is_empty(), "{rule}:\n{}", complaints.join("\n"));
    Ok(())
}
