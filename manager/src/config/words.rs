//! Splitting a command into words as Python's `shlex.split` does (POSIX mode, comments off; spec a.3 item 7).
//!
//! Other splitters follow the shell, where a backslash in double quotes also escapes `$`, a backquote and a newline;
//! Python's keeps the backslash there, and Circus files rely on Python.

/// Why a text cannot be split. The texts are Python's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// A quote is open at the end.
    #[error("No closing quotation")]
    OpenQuote,
    /// A backslash is the last character.
    #[error("No escaped character")]
    OpenEscape,
}

/// Where the splitter is.
#[derive(Clone, Copy)]
enum State {
    Plain,
    Quoted(char),
    /// After a backslash, in plain text or in double quotes.
    Escaped {
        in_quotes: bool,
    },
}

/// The words of `text`.
///
/// # Errors
/// [`WordsError`] when a quote or an escape is not finished.
pub fn split(text: &str) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    // `None` between words: an empty quotation makes an empty word, white space none.
    let mut word: Option<String> = None;
    let mut state = State::Plain;
    for c in text.chars() {
        state = match (state, c) {
            (State::Plain, ' ' | '\t' | '\r' | '\n') => {
                words.extend(word.take());
                State::Plain
            }
            (State::Plain, '\'' | '"') => {
                word.get_or_insert_default();
                State::Quoted(c)
            }
            (State::Plain, '\\') => {
                word.get_or_insert_default();
                State::Escaped { in_quotes: false }
            }
            (State::Plain, _) => {
                word.get_or_insert_default().push(c);
                State::Plain
            }
            (State::Quoted(quote), _) if c == quote => State::Plain,
            (State::Quoted('"'), '\\') => State::Escaped { in_quotes: true },
            (State::Quoted(quote), _) => {
                word.get_or_insert_default().push(c);
                State::Quoted(quote)
            }
            (State::Escaped { in_quotes }, _) => {
                let word = word.get_or_insert_default();
                if in_quotes && !matches!(c, '"' | '\\') {
                    word.push('\\');
                }
                word.push(c);
                if in_quotes { State::Quoted('"') } else { State::Plain }
            }
        };
    }
    match state {
        State::Plain => {
            words.extend(word);
            Ok(words)
        }
        State::Quoted(_) => Err(WordsError::OpenQuote),
        State::Escaped { .. } => Err(WordsError::OpenEscape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_split_without_panic(text in any::<String>()) {
            drop(split(&text));
        }

        #[test]
        fn a_word_in_single_quotes_comes_back(word in "[^']*") {
            prop_assert_eq!(split(&format!("'{word}'")), Ok(vec![word]));
        }
    }
}
