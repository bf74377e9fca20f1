//! Rules about source files.

use super::{SourceFile, files, report};
use anyhow::Result;
use regex::Regex;

/// More than this belongs in two files.
const LONGEST_FILE: usize = 500;

/// Lines of code, without tests, comments and empty lines, that a part of the core may have (docs/adr/0021-size-of-the-core.md).
const SIZES: &[(&str, usize)] = &[("kernel/src/", 10_110), ("kernel/src/keeper/", 605)];

/// The only folder with unsafe code.
const UNSAFE_DOOR: &str = "kernel/src/sys/";

/// The crate that has that folder and therefore cannot forbid it as a whole.
const UNSAFE_CRATE: &str = "kernel/src/lib.rs";

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "types", "misc"];

#[test]
fn unsafe_code_lives_behind_one_door() -> Result<()> {
    let word = Regex::new(r"\bunsafe\s*(\{|fn|impl|extern|trait)")?;
    let outside = |file: &&SourceFile| !file.path.starts_with(UNSAFE_DOOR);
    let complaints = complain(&files(&["rs"])?, outside, |line| word.is_match(line));
    report("unsafe code outside of kernel/src/sys", &complaints)
}

#[test]
fn every_other_crate_forbids_unsafe_code() -> Result<()> {
    let root = Regex::new(r"^(\w+/src/(lib|main)\.rs|tests/\w+/main\.rs)$")?;
    let complaints: Vec<String> = files(&["rs"])?
        .into_iter()
        .filter(|file| root.is_match(&file.path) && file.path != UNSAFE_CRATE)
        .filter(|file| !file.text.contains("#![forbid(unsafe_code)]"))
        .map(|file| file.path)
        .collect();
    report("no #![forbid(unsafe_code)] in", &complaints)
}

#[test]
fn no_file_is_too_long() -> Result<()> {
    let complaints: Vec<String> = files(&["rs", "py"])?
        .iter()
        .map(|file| (file, file.text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(file, lines)| format!("{}: {lines} lines", file.path))
        .collect();
    report("longer than 500 lines", &complaints)
}

#[test]
fn the_core_does_not_grow() -> Result<()> {
    let files = files(&["rs"])?;
    let code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    let size = |folder: &str| -> usize {
        let inside = files.iter().filter(|file| file.path.starts_with(folder));
        inside.map(|file| without_tests(&file.text).lines().filter(code).count()).sum()
    };
    let complaints: Vec<String> = SIZES
        .iter()
        .map(|(folder, most)| (folder, size(folder), most))
        .filter(|(_, found, most)| found > most)
        .map(|(folder, found, most)| format!("{folder}: {found} lines, {most} are allowed"))
        .collect();
    report("larger than docs/adr/0021-size-of-the-core.md allows", &complaints)
}

/// What comes before the tests of a file.
fn without_tests(text: &str) -> &str {
    text.split_once("#[cfg(test)]\nmod tests {").map_or(text, |(code, _)| code)
}

#[test]
fn every_module_says_what_it_is_for() -> Result<()> {
    let complaints: Vec<String> =
        files(&["rs"])?.into_iter().filter(|file| !file.text.starts_with("//! ")).map(|file| file.path).collect();
    report("does not begin with a //! paragraph", &complaints)
}

#[test]
fn modules_have_names_that_say_something() -> Result<()> {
    let complaints: Vec<String> = files(&["rs"])?
        .into_iter()
        .map(|file| file.path)
        .filter(|path| path.trim_end_matches(".rs").split('/').any(|part| EMPTY_NAMES.contains(&part)))
        .collect();
    report("a name that says nothing", &complaints)
}

#[test]
fn nobody_sleeps() -> Result<()> {
    let call = Regex::new(r"(thread|time)::sleep\b|\bsleep\(Duration")?;
    // tokio's timers belong to the manager's shell; a test never waits for time alone.
    let is_std = |line: &str| call.is_match(line) && !line.contains("tokio::time::sleep");
    let complaints = complain(&files(&["rs"])?, |file| file.path != "tests/tidy/sources.rs", is_std);
    report("thread::sleep hides races; wait for a condition", &complaints)
}

#[test]
fn nobody_prints_with_the_macros() -> Result<()> {
    // They end a program in a panic when stdout or stderr is full or closed; each crate has a module `print` that does not.
    let call = Regex::new(r"\b(e?println?|dbg)!")?;
    let product = Regex::new(r"^(kernel|manager|ctl|protocol)/src/")?;
    let code = |file: SourceFile| SourceFile { text: without_tests(&file.text).to_owned(), ..file };
    let ours = |file: &SourceFile| product.is_match(&file.path) && !file.path.contains("/tests");
    let files: Vec<SourceFile> = files(&["rs"])?.into_iter().filter(ours).map(code).collect();
    report("println! and its like, which panic", &complain(&files, |_| true, |line| call.is_match(line)))
}

#[test]
fn nothing_names_the_place_where_it_was_written() -> Result<()> {
    let patterns = [concat!("/wo", "rk/"), concat!("../sha", "red"), concat!("/tmp/", "wt"), concat!("/tmp/", "brief")];
    let all = files(&["rs", "py", "md", "toml", "ini", "json", "yml", "txt"])?;
    let complaints = complain(&all, |_| true, |line| patterns.iter().any(|pattern| line.contains(pattern)));
    report("a path of somebody's machine", &complaints)
}

/// `file:line: text` of every code line (no comment) that matches.
fn complain(
    files: &[SourceFile],
    concerned: impl Fn(&&SourceFile) -> bool,
    matches: impl Fn(&str) -> bool,
) -> Vec<String> {
    let of_file = |file: &SourceFile| -> Vec<String> {
        let lines = file.text.lines().enumerate();
        lines
            .filter(|(_, line)| !line.trim_start().starts_with("//") && matches(line))
            .map(|(index, line)| format!("{}:{}: {}", file.path, index + 1, line.trim()))
            .collect()
    };
    files.iter().filter(concerned).flat_map(of_file).collect()
}
