//! `NAME=VALUE` words behind the name of a socket or a process, and the numbers in them.

use super::TextError;

/// Options in the order of their first mention, and the words behind them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    pairs: Vec<(String, String)>,
}

impl Options {
    /// The longest run of words with `=`; the last of a name counts. A value in quotes loses them.
    pub fn take(words: &[String]) -> (Self, &[String]) {
        let mut options = Self::default();
        let mut rest = words;
        while let Some((word, behind)) = rest.split_first()
            && let Some((name, value)) = word.split_once('=')
        {
            let inner = value.strip_prefix('"').and_then(|inner| inner.strip_suffix('"'));
            let value = if value == "\"" { "" } else { inner.unwrap_or(value) };
            match options.pairs.iter_mut().find(|(known, _)| known == name) {
                Some((_, before)) => value.clone_into(before),
                None => options.pairs.push((name.to_owned(), value.to_owned())),
            }
            rest = behind;
        }
        (options, rest)
    }

    /// Takes an option out.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(known, _)| known == name)?;
        Some(self.pairs.remove(at).1)
    }

    /// Takes all out whose names begin with `prefix`; gives the rest of their names, in the order of the names.
    pub fn remove_all(&mut self, prefix: &str) -> Vec<(String, String)> {
        let (taken, left) = std::mem::take(&mut self.pairs).into_iter().partition(|(name, _)| name.starts_with(prefix));
        self.pairs = left;
        let strip = |(name, value): (String, String)| (name.strip_prefix(prefix).unwrap_or(&name).to_owned(), value);
        let taken: Vec<(String, String)> = taken;
        let mut taken: Vec<_> = taken.into_iter().map(strip).collect();
        taken.sort();
        taken
    }

    /// All that are left as `NAME=VALUE`, sorted.
    pub fn sorted(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        texts.sort();
        texts
    }

    /// Everything must have been taken out.
    pub fn finish(self, what: &'static str) -> Result<(), TextError> {
        match self.pairs.into_iter().next() {
            Some((name, _)) => Err(TextError::UnknownOption(what, name)),
            None => Ok(()),
        }
    }
}

/// A whole number as Python's `int` reads it, within 64 bits.
pub fn integer(text: &str) -> Result<i64, TextError> {
    let digits = text.trim().replace('_', "");
    digits.parse().map_err(|_error| TextError::Number(text.to_owned()))
}

/// A size: a number with k, m or g behind it, or without.
pub fn size(text: &str) -> Result<i64, TextError> {
    let unit = text.chars().next_back().filter(|unit| !unit.is_ascii_digit());
    let Some(unit) = unit else {
        return integer(text);
    };
    let shift = match unit.to_ascii_lowercase() {
        'k' => 10,
        'm' => 20,
        'g' => 30,
        other => {
            let number = text.strip_suffix(unit).unwrap_or_default();
            integer(number)?;
            return Err(TextError::Word(other.to_string()));
        }
    };
    let number = integer(text.strip_suffix(unit).unwrap_or_default())?;
    Ok(number.saturating_mul(1 << shift))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn options_end_at_the_first_word_without_an_equals_sign() {
        let words: Vec<String> = ["a=1", "b=x=y", "a=\"2 3\"", "q=\"", "p=", "run", "c=4"].map(str::to_owned).into();
        let (mut options, rest) = Options::take(&words);
        assert_eq!(rest, ["run", "c=4"]);
        let mut get = |name| options.remove(name).unwrap();
        assert_eq!((get("a"), get("b")), ("2 3".into(), "x=y".into()));
        assert_eq!((get("q"), get("p")), (String::new(), String::new()));
        assert_eq!(options.finish("socket"), Ok(()));
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!((size("100"), size("2K"), size("1m")), (Ok(100), Ok(2048), Ok(1 << 20)));
        assert_eq!(size("abc"), Err(TextError::Number("ab".into())));
        assert_eq!(size("1q"), Err(TextError::Word("q".into())));
        assert_eq!(size(""), Err(TextError::Number(String::new())));
    }

    proptest! {
        #[test]
        fn any_words_are_read(words in prop::collection::vec("\\PC{0,8}", 0..6)) {
            let (mut options, rest) = Options::take(&words);
            options.remove_all("env.");
            prop_assert!(rest.first().is_none_or(|word| !word.contains('=')));
            let _ = words.first().map(|word| (integer(word), size(word)));
        }
    }
}
