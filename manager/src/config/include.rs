//! Reading the main file and what its `include` and `include_dir` name (spec a.2).

use super::environment::{Environment, Variables};
use super::problem::{ConfigError, ConfigErrors, Place, Problem, ProblemKind, Severity};
use super::reader::Document;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The longest file that is read. Hundreds of times any real configuration; keeps a device or a log file named by
/// mistake from filling the memory.
pub const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// All files of a configuration, merged.
pub struct Files {
    /// What they say.
    pub document: Document,
    /// Which were read, the main one first.
    pub paths: Vec<PathBuf>,
    /// Includes that matched nothing or could not be read.
    pub problems: Vec<Problem>,
}

/// Reads the main file and its includes.
///
/// Matches of one pattern come in alphabetical order (Circus: in the directory's own order, which changes from machine
/// to machine). `include` inside an included file is ignored, as in Circus.
///
/// # Errors
/// A main file that is missing or unreadable, and every line of any file that is no INI.
pub fn read(main: &Path, process_env: &Environment) -> Result<Files, ConfigErrors> {
    let mut files = Files { document: Document::default(), paths: vec![main.to_owned()], problems: Vec::new() };
    let text = read_text(main)?;
    let mut errors = files.document.add(&Arc::from(main), &text);

    for pattern in patterns(&files.document, main, process_env) {
        let found = matching_files(&pattern.path);
        if found.is_empty() {
            let kind = ProblemKind::IncludeWithoutMatch(pattern.path.clone());
            files.problems.push(pattern.problem(kind));
        }
        for path in found {
            match read_text(&path) {
                Ok(text) => {
                    errors.extend(files.document.add(&Arc::from(path.as_path()), &text));
                    files.paths.push(path);
                }
                // Circus goes on without a file that it cannot open.
                Err(ConfigError::Unreadable { path: file, source }) => {
                    let kind = ProblemKind::IncludeSkipped { file, reason: source.to_string() };
                    files.problems.push(pattern.problem(kind));
                }
                Err(error @ ConfigError::Missing(_)) => {
                    let kind = ProblemKind::IncludeSkipped { file: path, reason: error.to_string() };
                    files.problems.push(pattern.problem(kind));
                }
                Err(other) => errors.push(other),
            }
        }
    }
    if errors.is_empty() { Ok(files) } else { Err(ConfigErrors { errors, problems: files.problems }) }
}

/// One pattern of `include` or `include_dir`.
struct Pattern {
    /// Absolute, or relative to the main file's folder and joined with it.
    path: String,
    /// The option's line.
    place: Place,
}

impl Pattern {
    fn problem(&self, kind: ProblemKind) -> Problem {
        let section = "circus".to_owned();
        Problem { place: self.place.clone(), section, severity: Severity::Warning, kind }
    }
}

fn patterns(document: &Document, main: &Path, process_env: &Environment) -> Vec<Pattern> {
    let Some(circus) = document.section("circus") else {
        return Vec::new();
    };
    let items = document.items(circus);
    let variables = Variables::new(&[process_env]);
    let folder = main.parent().unwrap_or_else(|| Path::new(""));
    let mut patterns = Vec::new();
    for (key, suffix) in [("include", ""), ("include_dir", "*.ini")] {
        let Some(item) = items.iter().find(|item| item.entry.key == key) else {
            continue;
        };
        for word in variables.expand(&item.entry.value).split_whitespace() {
            let path = if suffix.is_empty() { PathBuf::from(word) } else { Path::new(word).join(suffix) };
            let path = folder.join(path).to_string_lossy().into_owned();
            patterns.push(Pattern { path, place: item.entry.place.clone() });
        }
    }
    patterns
}

/// As Python's `glob.glob`: hidden files only when the pattern says so, `**` like `*`.
fn matching_files(pattern: &str) -> Vec<PathBuf> {
    let mut flat = pattern.to_owned();
    while flat.contains("**") {
        flat = flat.replace("**", "*");
    }
    let options =
        glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    match glob::glob_with(&flat, options) {
        // A folder on the way that cannot be listed holds no matches.
        Ok(paths) => paths.filter_map(Result::ok).collect(),
        // Not a pattern, e.g. a lone bracket: the name itself.
        Err(_not_a_pattern) => {
            let path = PathBuf::from(pattern);
            if path.exists() { vec![path] } else { Vec::new() }
        }
    }
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source: io::Error| {
        if source.kind() == io::ErrorKind::NotFound {
            ConfigError::Missing(path.to_owned())
        } else {
            ConfigError::Unreadable { path: path.to_owned(), source }
        }
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err(ConfigError::TooLong { path: path.to_owned(), limit: MAX_FILE_BYTES });
    }
    decode(path, bytes)
}

/// UTF-8 or an error with the line of the first other byte.
fn decode(path: &Path, bytes: Vec<u8>) -> Result<String, ConfigError> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count();
        ConfigError::NotText(Place { file: Arc::from(path), line: line.saturating_add(1) })
    })
}
