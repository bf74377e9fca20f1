//! What of a table is shown, and in which order: the command line's wishes, and what keys have made of them. Pure.

use super::arguments::{Arguments, Sort};
use super::keys::Key;

/// Watchers that Circus does not show under their own names: their processes are in `circus`.
const HELPERS: [&str; 2] = ["circusd-stats", "circushttpd"];

/// Processes shown of one watcher among others, as in Circus.
const PROCESSES_SHOWN: usize = 10;

/// Which end of an order comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The largest first; of numbers the smallest.
    Usual,
    /// The other way round.
    Reversed,
}

/// What comes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another picture.
    Repaint,
    /// The end.
    Quit,
}

/// How a table is looked at.
#[derive(Debug, Clone)]
pub struct View {
    /// Order of processes.
    pub sort: Sort,
    /// Its direction.
    pub direction: Direction,
    /// Those of the command line; none: all.
    watchers: Vec<String>,
    /// The one that is shown alone.
    focus: Option<String>,
    /// Lines of the table that are above the screen.
    pub above: usize,
}

impl View {
    /// As the command line wants it.
    pub fn new(arguments: &Arguments) -> Self {
        let watchers = arguments.watcher.iter().map(|name| in_topics(name)).collect();
        Self { sort: arguments.sort, direction: Direction::Usual, watchers, focus: None, above: 0 }
    }

    /// Whether a watcher is to be shown, by its name in topics.
    pub fn shows(&self, watcher: &str) -> bool {
        match &self.focus {
            Some(focus) => focus == watcher,
            None if self.watchers.is_empty() => true,
            None => self.watchers.iter().any(|name| name == watcher),
        }
    }

    /// The same for people, for whom helpers are part of `circus` unless they ask for them.
    pub fn lists(&self, watcher: &str) -> bool {
        self.shows(watcher) && (self.is_narrow() || !HELPERS.contains(&watcher))
    }

    /// Whether not everything is wanted; sockets are no watcher's then.
    pub fn is_narrow(&self) -> bool {
        self.focus.is_some() || !self.watchers.is_empty()
    }

    /// How many processes of a watcher are listed.
    pub fn processes(&self) -> usize {
        if self.focus.is_some() { usize::MAX } else { PROCESSES_SHOWN }
    }

    /// The watcher that is shown alone.
    pub fn focus(&self) -> Option<&str> {
        self.focus.as_deref()
    }

    /// Does what a key says. `watchers` are all that could be shown, `page` is how many lines the screen shows.
    pub fn press(&mut self, key: Key, watchers: &[String], page: usize) -> Next {
        match key {
            Key::Sort(sort) => self.sort = sort,
            Key::Reverse => {
                self.direction = match self.direction {
                    Direction::Usual => Direction::Reversed,
                    Direction::Reversed => Direction::Usual,
                };
            }
            Key::NextWatcher => {
                let at = |focus: &String| watchers.iter().position(|name| name == focus);
                let next = self.focus.as_ref().map_or(Some(0), |focus| Some(at(focus)? + 1));
                self.focus = next.and_then(|next| watchers.get(next)).cloned();
                self.above = 0;
            }
            Key::Up => self.above = self.above.saturating_sub(1),
            Key::Down => self.above = self.above.saturating_add(1),
            Key::PageUp => self.above = self.above.saturating_sub(page),
            Key::PageDown => self.above = self.above.saturating_add(page),
            Key::Home => self.above = 0,
            Key::Quit => return Next::Quit,
        }
        Next::Repaint
    }

    /// The lines of a table of `total` that a screen of `page` shows now; never beyond its end.
    pub fn window(&mut self, total: usize, page: usize) -> std::ops::Range<usize> {
        self.above = self.above.min(total.saturating_sub(page));
        self.above..total.min(self.above.saturating_add(page))
    }
}

/// The name of a watcher in topics, of ours (dots as `-`) and of Circus's.
fn in_topics(name: &str) -> String {
    name.to_lowercase().replace(' ', "_").replace('.', "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn view(words: &[&str]) -> View {
        View::new(&Arguments::parse_from([&["circus-top"], words].concat()))
    }

    #[test]
    fn watchers_of_the_command_line_and_of_keys() {
        let mut all = view(&[]);
        assert!(all.lists("a") && !all.lists("circusd-stats") && all.shows("circusd-stats"));
        let names = ["a".to_owned(), "b".to_owned()];
        let mut seen = Vec::new();
        for _ in 0..4 {
            all.press(Key::NextWatcher, &names, 10);
            seen.push(all.focus().map(str::to_owned));
        }
        assert_eq!(seen, [Some("a".to_owned()), Some("b".to_owned()), None, Some("a".to_owned())]);
        assert!(all.lists("a") && !all.lists("b"));
        // The watcher may have gone meanwhile.
        all.press(Key::NextWatcher, &[], 10);
        assert_eq!(all.focus(), None);
        let some = view(&["--watcher", "My web.1"]);
        assert!(some.lists("my_web-1") && !some.lists("b"));
    }

    #[test]
    fn the_window_stays_in_the_table() {
        let mut view = view(&[]);
        assert_eq!(view.window(3, 10), 0..3);
        for (key, expected) in
            [(Key::PageDown, 10..20), (Key::Down, 11..21), (Key::PageDown, 15..25), (Key::Home, 0..10)]
        {
            view.press(key, &[], 10);
            assert_eq!(view.window(25, 10), expected);
        }
        view.press(Key::PageDown, &[], 10);
        assert_eq!(view.window(25, 10), 10..20);
        assert_eq!(view.window(12, 10), 2..12, "the table has become shorter");
        assert_eq!(view.window(12, 100), 0..12, "the screen has become larger");
        assert_eq!(view.press(Key::Quit, &[], 10), Next::Quit);
    }

    #[test]
    fn keys_sort() {
        let mut view = view(&["--sort", "age"]);
        view.press(Key::Sort(Sort::Mem), &[], 10);
        view.press(Key::Reverse, &[], 10);
        assert_eq!((view.sort, view.direction), (Sort::Mem, Direction::Reversed));
        view.press(Key::Reverse, &[], 10);
        assert_eq!(view.direction, Direction::Usual);
    }
}
