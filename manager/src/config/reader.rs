//! The Circus INI dialect (spec a.1): text to an ordered document of sections and entries, each with its line.
//!
//! No typing, no expansion, no files: those are `watchers`, `expand` and `include`. The dialect differs from other INI
//! readers in nearly every corner (`rem` comments, `;` after white space only, first value wins, merged sections).

use super::problem::{ConfigError, Place};
use crate::options::python::{is_space, strip};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// The section whose keys appear in every other one.
const DEFAULT_SECTION: &str = "DEFAULT";

/// One `key = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As written, without white space at its end.
    pub key: String,
    /// Stripped; continuation lines are joined by newlines.
    pub value: String,
    /// The key's line.
    pub place: Place,
}

/// One section, merged from all its occurrences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Between the brackets, as written.
    pub name: String,
    /// The first header's line.
    pub place: Place,
    /// In order of first appearance; keys are unique.
    pub entries: Vec<Entry>,
}

/// An entry as a section sees it.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// The entry.
    pub entry: &'a Entry,
    /// It comes from `[DEFAULT]`, so the section's writer may not have meant it.
    pub from_default: bool,
}

/// A key that was given again in the same section and file, and is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat {
    /// The section.
    pub section: String,
    /// The key.
    pub key: String,
    /// The ignored line.
    pub place: Place,
    /// The line that counts.
    pub first: Place,
}

/// All files read so far, merged: the first value of a key wins, so the main file overrides its includes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// In order of first appearance.
    pub sections: Vec<Section>,
    /// `[DEFAULT]`.
    pub defaults: Vec<Entry>,
    /// Ignored repetitions.
    pub repeats: Vec<Repeat>,
    /// Where each section is, by its name: a file may have thousands.
    places: HashMap<String, usize>,
}

impl Document {
    /// Adds the text of one more file and returns the lines that are no INI.
    pub fn add(&mut self, file: &Arc<Path>, text: &str) -> Vec<ConfigError> {
        let mut reader = Reader { document: self, target: None, open: Open::Nothing, errors: Vec::new() };
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        for (index, line) in text.split('\n').enumerate() {
            reader.line(line, Place { file: Arc::clone(file), line: index.saturating_add(1) });
        }
        reader.errors
    }

    /// The section of that name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.get(*self.places.get(name)?)
    }

    /// What a section holds: its own entries and those of `[DEFAULT]` that it does not override.
    pub fn items<'a>(&'a self, section: &'a Section) -> Vec<Item<'a>> {
        let overridden = |entry: &&Entry| section.entries.iter().any(|own| own.key == entry.key);
        let defaults = self.defaults.iter().filter(|entry| !overridden(entry));
        let defaults = defaults.map(|entry| Item { entry, from_default: true });
        defaults.chain(section.entries.iter().map(|entry| Item { entry, from_default: false })).collect()
    }
}

/// Where entries go at present.
#[derive(Debug, Clone, Copy)]
enum Target {
    Defaults,
    Section(usize),
    /// Lines before the first header, already reported once.
    Nowhere,
}

/// What an indented line continues.
#[derive(Debug, Clone, Copy)]
enum Open {
    /// Nothing: an indented line is an option of its own.
    Nothing,
    /// The target's entry at this index.
    Entry(usize),
    /// An ignored repetition, whose continuation is ignored with it.
    Ignored,
}

struct Reader<'a> {
    document: &'a mut Document,
    target: Option<Target>,
    open: Open,
    errors: Vec<ConfigError>,
}

impl Reader<'_> {
    fn line(&mut self, line: &str, place: Place) {
        if is_blank_or_comment(line) {
            return;
        }
        if line.starts_with(is_space) && self.target.is_some() && !matches!(self.open, Open::Nothing) {
            self.continuation(line);
        } else if let Some(name) = header(line) {
            self.header(name, place);
        } else if let Some(target) = self.target {
            match option(line) {
                Some((key, value)) => self.option(target, key, value, place),
                None => self.errors.push(ConfigError::NoDelimiter { place, line: strip(line).to_owned() }),
            }
        } else {
            self.errors.push(match line.starts_with('\u{feff}') {
                true => ConfigError::ByteOrderMark(place),
                false => ConfigError::NoSection { place, line: strip(line).to_owned() },
            });
            self.target = Some(Target::Nowhere);
        }
    }

    fn continuation(&mut self, line: &str) {
        let (Open::Entry(index), Some(target)) = (self.open, self.target) else {
            return;
        };
        if let Some(entry) = self.entries(target).and_then(|entries| entries.get_mut(index)) {
            entry.value.push('\n');
            entry.value.push_str(strip(line));
        }
    }

    fn header(&mut self, name: &str, place: Place) {
        self.open = Open::Nothing;
        if name == DEFAULT_SECTION {
            self.target = Some(Target::Defaults);
            return;
        }
        let Document { sections, places, .. } = &mut *self.document;
        let index = places.get(name).copied().unwrap_or_else(|| {
            let index = sections.len();
            places.insert(name.to_owned(), index);
            sections.push(Section { name: name.to_owned(), place, entries: Vec::new() });
            index
        });
        self.target = Some(Target::Section(index));
    }

    fn option(&mut self, target: Target, key: &str, value: &str, place: Place) {
        // Every section has this key already: its own title.
        if key == "__name__" && matches!(target, Target::Section(_)) {
            self.open = Open::Ignored;
            return;
        }
        let Some(entries) = self.entries(target) else {
            return;
        };
        let first = entries.iter().find(|entry| entry.key == key).map(|entry| entry.place.clone());
        let open = match (key.is_empty(), &first) {
            // A key of no characters cannot be continued.
            (true, _) => Open::Nothing,
            (false, Some(_)) => Open::Ignored,
            (false, None) => Open::Entry(entries.len()),
        };
        match first {
            Some(first) => self.repeat(target, key, place, first),
            None => entries.push(Entry { key: key.to_owned(), value: value.to_owned(), place }),
        }
        self.open = open;
    }

    fn repeat(&mut self, target: Target, key: &str, place: Place, first: Place) {
        if first.file != place.file {
            return;
        }
        let section = match target {
            Target::Defaults | Target::Nowhere => DEFAULT_SECTION,
            Target::Section(index) => match self.document.sections.get(index) {
                Some(section) => section.name.as_str(),
                None => return,
            },
        };
        let repeat = Repeat { section: section.to_owned(), key: key.to_owned(), place, first };
        self.document.repeats.push(repeat);
    }

    fn entries(&mut self, target: Target) -> Option<&mut Vec<Entry>> {
        match target {
            Target::Defaults => Some(&mut self.document.defaults),
            Target::Section(index) => self.document.sections.get_mut(index).map(|section| &mut section.entries),
            Target::Nowhere => None,
        }
    }
}

/// `#` or `;` in the first column, or the word `rem` there in any case; a line of white space.
fn is_blank_or_comment(line: &str) -> bool {
    let first_word = line.split(is_space).next().unwrap_or_default();
    strip(line).is_empty() || line.starts_with(['#', ';']) || first_word.eq_ignore_ascii_case("rem")
}

/// `[name]`, up to the last bracket of the line.
fn header(line: &str) -> Option<&str> {
    let (name, _ignored) = line.strip_prefix('[')?.rsplit_once(']')?;
    (!name.is_empty()).then_some(name)
}

/// `key = value` or `key : value`; the first delimiter counts. The key keeps white space at its start.
fn option(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(['=', ':'])?;
    let value = strip(without_comment(value.trim_start_matches(is_space)));
    Some((key.trim_end_matches(is_space), if value == "\"\"" { "" } else { value }))
}

/// Cuts at the first `;` when white space stands before it. Later ones, and one at the very start, are text.
fn without_comment(value: &str) -> &str {
    match value.split_once(';') {
        Some((before, _)) if before.ends_with(is_space) => before,
        Some(_) | None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> (Document, Vec<ConfigError>) {
        let mut document = Document::default();
        let errors = document.add(&Arc::from(Path::new("t.ini")), text);
        (document, errors)
    }

    fn values(text: &str) -> Vec<(String, String, usize)> {
        let (document, errors) = read(text);
        assert!(errors.is_empty(), "{errors:?}");
        let entries = document.sections.into_iter().flat_map(|section| section.entries);
        entries.map(|entry| (entry.key, entry.value, entry.place.line)).collect()
    }

    #[test]
    fn lines_are_counted_over_comments_and_continuations() {
        let text = "# c\n[watcher:a]\ncmd = x\n\n  y\nrem = no\nargs : z ; c\n";
        assert_eq!(values(text), [("cmd".into(), "x\ny".into(), 3), ("args".into(), "z".into(), 7)]);
    }

    #[test]
    fn an_indented_first_option_keeps_its_indent_in_the_key() {
        assert_eq!(values("[s]\n  a = b\n"), [("  a".into(), "b".into(), 2)]);
    }

    #[test]
    fn the_continuation_of_a_repetition_is_ignored_with_it() {
        assert_eq!(values("[s]\na = 1\na = 2\n  3\n"), [("a".into(), "1".into(), 2)]);
        let (document, _) = read("[s]\na = 1\na = 2\n");
        assert_eq!(document.repeats.first().map(|repeat| (repeat.place.line, repeat.first.line)), Some((3, 2)));
    }

    #[test]
    fn every_bad_line_is_reported_with_its_number() {
        let (_, errors) = read("junk\nmore = junk\n[s]\nfoo\na = b\nbar\n");
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "t.ini:1: expected a section such as [circus] before 'junk'",
                "t.ini:4: expected 'key = value' instead of 'foo'",
                "t.ini:6: expected 'key = value' instead of 'bar'",
            ]
        );
    }

    #[test]
    fn a_byte_order_mark_is_no_section() {
        let (_, errors) = read("\u{feff}[watcher:a]\ncmd = x\n");
        assert!(matches!(errors.as_slice(), [ConfigError::ByteOrderMark(_)]));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in any::<String>()) {
            read(&text);
        }

        #[test]
        fn text_made_of_the_dialects_own_characters(text in "([\\[\\]=:;#rem \t\r\n\"a-c]|watcher:|DEFAULT){0,80}") {
            let (document, _) = read(&text);
            for section in &document.sections {
                for (index, entry) in section.entries.iter().enumerate() {
                    prop_assert!(section.entries.iter().skip(index + 1).all(|later| later.key != entry.key));
                    prop_assert_eq!(strip(&entry.value), entry.value.as_str());
                }
            }
        }
    }
}
