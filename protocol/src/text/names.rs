//! Which of the known names a command means: names, beginnings (`web.*`), and pids or file numbers, as help promises.

use super::TextError;

/// What a pattern is compared with.
pub trait Named {
    /// Its name.
    fn name(&self) -> &str;
    /// Its pid or file number; `None` when it has none.
    fn number(&self) -> Option<u32>;
}

/// Whether one pattern means `thing`. A star counts only at the end.
fn means(pattern: &str, thing: &impl Named) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => thing.name().starts_with(beginning),
        None => thing.name() == pattern,
    }
}

fn is_number_of(pattern: &str, thing: &impl Named) -> bool {
    let digits = !pattern.is_empty() && pattern.bytes().all(|byte| byte.is_ascii_digit());
    digits && thing.number().is_some_and(|number| pattern.parse() == Ok(number))
}

/// Whether a value of that name is meant; no pattern at all means every one.
pub fn wants(patterns: &[String], name: &str) -> bool {
    let matches = |pattern: &String| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    };
    patterns.is_empty() || patterns.iter().any(matches)
}

/// Those that are meant; what matches nothing is ignored. A name goes before a number.
pub fn select<T: Named>(patterns: &[String], things: Vec<T>) -> Vec<T> {
    if patterns.is_empty() {
        return things;
    }
    let by_name: Vec<&String> = patterns.iter().filter(|pattern| is_known(pattern, &things)).collect();
    let by_number: Vec<&String> = patterns.iter().filter(|pattern| !is_known(pattern, &things)).collect();
    let wanted = |thing: &T| {
        by_name.iter().any(|pattern| means(pattern, thing))
            || by_number.iter().any(|pattern| is_number_of(pattern, thing))
    };
    things.into_iter().filter(wanted).collect()
}

/// Those that are meant; a plain word that means nothing is an error, and then nothing is selected.
pub fn select_known<T: Named>(patterns: &[String], things: Vec<T>) -> Result<Vec<T>, TextError> {
    let missing = patterns.iter().find(|pattern| {
        let known = is_known(pattern, &things) || things.iter().any(|thing| is_number_of(pattern, thing));
        !pattern.ends_with('*') && !known
    });
    match missing {
        Some(name) => Err(TextError::NotFound(name.clone())),
        None => Ok(select(patterns, things)),
    }
}

fn is_known<T: Named>(pattern: &str, things: &[T]) -> bool {
    things.iter().any(|thing| means(pattern, thing))
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Named for (&str, u32) {
        fn name(&self) -> &str {
            self.0
        }
        fn number(&self) -> Option<u32> {
            Some(self.1)
        }
    }

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn selected(line: &str) -> Result<Vec<u32>, TextError> {
        let things = vec![("a", 10), ("a.1", 11), ("11", 12), ("*x", 13)];
        Ok(select_known(&words(line), things)?.iter().map(|thing| thing.1).collect())
    }

    #[test]
    fn names_beginnings_and_numbers() {
        assert_eq!(selected(""), Ok(vec![10, 11, 12, 13]));
        assert_eq!(selected("a*"), Ok(vec![10, 11]));
        assert_eq!(selected("10 a"), Ok(vec![10]));
        assert_eq!(selected("11"), Ok(vec![12]), "a name goes before a number");
        assert_eq!(selected("*x"), Ok(vec![13]), "a star at the front is a letter");
        assert_eq!(selected("b*"), Ok(vec![]));
        assert_eq!(selected("a b"), Err(TextError::NotFound("b".into())));
    }

    #[test]
    fn a_list_ignores_what_it_does_not_know() {
        let things = vec![("a", 10), ("b", 11)];
        assert_eq!(select(&words("b nothere 99"), things), [("b", 11)]);
        assert!(wants(&words("a*"), "ab") && wants(&[], "x") && !wants(&words("b"), "a"));
    }
}
