//! Shell patterns as Python's `fnmatch` knows them: `*`, `?`, `[seq]`, `[!seq]`; no escapes, no braces.
//!
//! For names (spec a.8, c.7), not for paths: `*` also matches a slash.

/// One element of a pattern.
#[derive(Debug)]
enum Token {
    /// `*`
    Any,
    /// `?`
    One,
    /// A character of its own.
    Literal(char),
    /// `[a-cx]`, `[!a-cx]`
    Set { negated: bool, ranges: Vec<(char, char)> },
}

impl Token {
    fn accepts(&self, c: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Literal(literal) => *literal == c,
            Self::Set { negated, ranges } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated,
        }
    }
}

/// Whether the whole of `name` matches `pattern`. Case counts; lower both for Circus's commands.
///
/// Takes time proportional to the product of the lengths, whatever the pattern.
pub fn matches(name: &str, pattern: &str) -> bool {
    let tokens = parse(pattern);
    // The positions in the pattern that the part of the name seen so far can have led to.
    let mut reached = vec![false; tokens.len().saturating_add(1)];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    pass_stars(&tokens, &mut reached);
    for c in name.chars() {
        let mut next = vec![false; reached.len()];
        for (index, token) in tokens.iter().enumerate() {
            if !reached.get(index).copied().unwrap_or_default() || !token.accepts(c) {
                continue;
            }
            let after = if matches!(token, Token::Any) { index } else { index.saturating_add(1) };
            if let Some(cell) = next.get_mut(after) {
                *cell = true;
            }
        }
        pass_stars(&tokens, &mut next);
        reached = next;
    }
    reached.last().copied().unwrap_or_default()
}

/// A star may match nothing: where it is reached, so is what follows it.
fn pass_stars(tokens: &[Token], reached: &mut [bool]) {
    for (index, token) in tokens.iter().enumerate() {
        let here = reached.get(index).copied().unwrap_or_default();
        if let (Token::Any, true, Some(next)) = (token, here, reached.get_mut(index.saturating_add(1))) {
            *next = true;
        }
    }
}

fn parse(pattern: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '*' => Token::Any,
            '?' => Token::One,
            '[' => match set(rest.as_str()) {
                Some((token, after)) => {
                    rest = after.chars();
                    token
                }
                None => Token::Literal('['),
            },
            c => Token::Literal(c),
        });
    }
    tokens
}

/// A set after its opening bracket, and what follows it. Without a closing bracket it is no set.
fn set(text: &str) -> Option<(Token, &str)> {
    let (negated, body) = match text.strip_prefix('!') {
        Some(body) => (true, body),
        None => (false, text),
    };
    // A bracket at the very start is a member.
    let (first, searched) = match body.strip_prefix(']') {
        Some(searched) => ("]", searched),
        None => ("", body),
    };
    let (members, after) = searched.split_once(']')?;
    let members: Vec<char> = first.chars().chain(members.chars()).collect();
    Some((Token::Set { negated, ranges: ranges(&members) }, after))
}

/// `a-c` is a range, a dash at either end a member, and a range from high to low holds nothing.
fn ranges(members: &[char]) -> Vec<(char, char)> {
    let mut ranges = Vec::new();
    let mut rest = members;
    loop {
        rest = match rest {
            [] => return ranges,
            [low, '-', high, tail @ ..] => {
                ranges.push((*low, *high));
                tail
            }
            [one, tail @ ..] => {
                ranges.push((*one, *one));
                tail
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_patterns() {
        for (name, pattern, expected) in [
            ("web", "*", true),
            ("", "*", true),
            ("", "", true),
            ("web", "w?b", true),
            ("web", "WEB", false),
            ("d", "[cd]", true),
            ("d", "[!cd]", false),
            ("b", "[a-c]", true),
            ("b", "[c-a]", false),
            ("]", "[]]", true),
            ("[x", "[x", true),
            ("-", "[a-]", true),
            ("a/b", "a*b", true),
            ("abcabd", "*abd", true),
            ("ab", "a", false),
        ] {
            assert_eq!(matches(name, pattern), expected, "{name:?} against {pattern:?}");
        }
    }

    proptest! {
        #[test]
        fn a_literal_matches_itself_and_stars_match_all(name in "[a-z/.]{0,20}", other in any::<String>()) {
            prop_assert!(matches(&name, &name));
            prop_assert!(matches(&name, "**"));
            matches(&name, &other);
        }
    }
}
