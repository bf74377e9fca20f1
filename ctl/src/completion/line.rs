//! Cuts an unfinished line into words as a POSIX shell would: quotes may be open, nothing is an error.

/// A line up to the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The finished words without their quotes.
    pub before: Vec<String>,
    /// The word at the cursor without its quotes; empty when none has begun.
    pub partial: String,
    /// The byte of the line at which that word, with its quotes, begins.
    pub start: usize,
}

/// What surrounds a character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

/// Cuts `line`.
pub fn split(line: &str) -> Split {
    let mut before = Vec::new();
    let mut word: Option<(usize, String)> = None;
    let mut quote = Quote::None;
    let mut characters = line.char_indices();
    while let Some((at, character)) = characters.next() {
        if quote == Quote::None && character.is_whitespace() {
            before.extend(word.take().map(|(_, text)| text));
            continue;
        }
        let (_, text) = word.get_or_insert_with(|| (at, String::new()));
        match (quote, character) {
            (Quote::None, '\'') => quote = Quote::Single,
            (Quote::None, '"') => quote = Quote::Double,
            (Quote::Single, '\'') | (Quote::Double, '"') => quote = Quote::None,
            (Quote::None | Quote::Double, '\\') => {
                text.extend(characters.next().map(|(_, escaped)| escaped));
            }
            (Quote::None | Quote::Single | Quote::Double, other) => text.push(other),
        }
    }
    let (start, partial) = word.unwrap_or((line.len(), String::new()));
    Split { before, partial, start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_the_place_of_the_last() {
        for (line, before, partial, start) in [
            ("", &[][..], "", 0),
            ("st", &[], "st", 0),
            ("  stop ", &["stop"], "", 7),
            ("stop wi", &["stop"], "wi", 5),
            ("stop 'with sp", &["stop"], "with sp", 5),
            ("stop \"a \\\" b", &["stop"], "a \" b", 5),
            ("set a cmd 'x y' ar", &["set", "a", "cmd", "x y"], "ar", 16),
            ("stop with\\ sp", &["stop"], "with sp", 5),
            ("stop ''", &["stop"], "", 5),
            ("é \\", &["é"], "", 3),
        ] {
            let expected = Split {
                before: before.iter().map(|word| (*word).to_owned()).collect(),
                partial: partial.to_owned(),
                start,
            };
            assert_eq!(split(line), expected, "{line}");
        }
    }
}
