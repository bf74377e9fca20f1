//! What differs between two watchers, option by option.

use super::kind::Kind;
use super::{Change, Seconds, WATCHER_OPTIONS, WatcherOptions};

impl<S> Kind<S> {
    /// Whether both hold the same value. `0` and `0.0` seconds are the same.
    pub fn same(&self, a: &S, b: &S) -> bool {
        match self {
            Self::Flag(field) => (field.get)(a) == (field.get)(b),
            Self::MaybeFlag(field) => (field.get)(a) == (field.get)(b),
            Self::Count(field) | Self::Processes(field) => (field.get)(a) == (field.get)(b),
            Self::Whole(field) => (field.get)(a) == (field.get)(b),
            Self::Integer(field) => (field.get)(a) == (field.get)(b),
            Self::Port(field) => (field.get)(a) == (field.get)(b),
            Self::Octal(field) => (field.get)(a) == (field.get)(b),
            Self::WholeSeconds(field) | Self::FloatSeconds(field) => {
                let seconds = |s: &S| Seconds::duration(*(field.get)(s));
                seconds(a) == seconds(b)
            }
            Self::Period(field) => (field.get)(a).total_cmp((field.get)(b)).is_eq(),
            Self::Text(field) => (field.get)(a) == (field.get)(b),
            Self::MaybeText(field) | Self::TextUnlessEmpty(field) => (field.get)(a) == (field.get)(b),
            Self::MaybePath(field) | Self::Directory(field) => (field.get)(a) == (field.get)(b),
            Self::Args(field) => (field.get)(a) == (field.get)(b),
            Self::Identity(field) => (field.get)(a) == (field.get)(b),
            Self::Signal(field) => (field.get)(a) == (field.get)(b),
            Self::Retries(field) => (field.get)(a) == (field.get)(b),
            Self::Size(field, _) => (field.get)(a) == (field.get)(b),
            Self::Overflow(field) => (field.get)(a) == (field.get)(b),
            Self::Metrics(field) => (field.get)(a) == (field.get)(b),
            Self::Env(field) => (field.get)(a) == (field.get)(b),
            Self::Stream(_, field) => (field.get)(a) == (field.get)(b),
            Self::Rlimits(field) => (field.get)(a) == (field.get)(b),
            Self::Hooks(field) => (field.get)(a) == (field.get)(b),
            Self::Family(field) => (field.get)(a) == (field.get)(b),
            Self::SocketKind(field) => (field.get)(a) == (field.get)(b),
        }
    }
}

/// The options in which two watchers differ, custom keys and the name included, each with what a change of it leads to.
pub fn differences(a: &WatcherOptions, b: &WatcherOptions) -> Vec<(String, Change)> {
    let rows = WATCHER_OPTIONS.iter().filter(|row| !row.kind.same(a, b));
    let mut found: Vec<(String, Change)> = rows.map(|row| (row.name.to_owned(), row.change)).collect();
    if a.name != b.name {
        found.push(("name".to_owned(), Change::Reload));
    }
    let mut custom: Vec<&String> = a.extra.keys().chain(b.extra.keys()).collect();
    custom.sort_unstable();
    custom.dedup();
    // A custom key may stand in the command as $(circus.KEY).
    let custom = custom.into_iter().filter(|key| a.extra.get(*key) != b.extra.get(*key));
    found.extend(custom.map(|key| (key.clone(), Change::Reload)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_difference_is_seen_and_spelling_is_none() {
        let a = WatcherOptions::new("a");
        let mut b = a.clone();
        b.warmup_delay = Seconds::Fractional(0.0);
        assert_eq!(differences(&a, &b), []);
        b.numprocesses = 3;
        b.extra.insert("mine".to_owned(), "1".to_owned());
        let names: Vec<String> = differences(&a, &b).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["numprocesses", "mine"]);
    }
}
