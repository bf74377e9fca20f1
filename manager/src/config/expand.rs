//! `$(circus.NAME)`, `$NAME` in environment values, and `$WID` (spec a.3).
//!
//! Pure text functions; what a name means is the caller's lookup: the environment while a file is read, everything
//! about a process when it is spawned.

use std::collections::BTreeMap;

/// The two spellings: opening and closing.
const FORMS: [(&str, &str); 2] = [("$(", ")"), ("((", "))")];

/// Replaces every `$(circus.NAME)` and `((circus.NAME))`, in any case, by what `lookup` gives for NAME.
///
/// `lookup` gets NAME in lower case without the leading `circus.`: `wid`, `env.home`, `sockets.web`. A name that it does
/// not know stays as it is written, as does everything else with a dollar sign. Values are not expanded again.
pub fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        match variable(rest) {
            Some((name, after)) => {
                let written = rest.strip_suffix(after).unwrap_or(rest);
                match known_name(&name).and_then(lookup) {
                    Some(value) => expanded.push_str(&value),
                    None => expanded.push_str(written),
                }
                rest = after;
            }
            None => {
                let mut chars = rest.chars();
                expanded.extend(chars.next());
                rest = chars.as_str();
            }
        }
    }
    expanded
}

/// A variable at the start of `text`: its name in lower case without the first `circus.`, and what follows it.
fn variable(text: &str) -> Option<(String, &str)> {
    FORMS.iter().find_map(|(opening, closing)| {
        let inside = text.strip_prefix(opening)?;
        let (prefix, inside) = inside.split_at_checked("circus.".len())?;
        if !prefix.eq_ignore_ascii_case("circus.") {
            return None;
        }
        let end = inside.find(|c| !is_name_char(c)).unwrap_or(inside.len());
        let (name, after) = inside.split_at_checked(end)?;
        let after = after.strip_prefix(closing)?;
        (!name.is_empty()).then(|| (name.to_lowercase(), after))
    })
}

/// `[A-Za-z0-9_.-]` and the other letters and digits of Unicode.
fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// Circus takes a second `circus.` as the first one, and no other name that begins with `circus`.
fn known_name(name: &str) -> Option<&str> {
    match name.strip_prefix("circus") {
        None => Some(name),
        Some(rest) => rest.strip_prefix('.'),
    }
}

/// Replaces `$NAME` (upper case, digits, underscores, beginning with a letter) by the variable's value; nothing when it
/// is not set. `${NAME}` and `$name` stay (spec a.3 item 4).
pub fn substitute_names(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut substituted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        substituted.push_str(before);
        let is_in_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let end = after.find(|c| !is_in_name(c)).unwrap_or(after.len());
        match after.split_at_checked(end) {
            Some((name, tail)) if name.starts_with(|c: char| c.is_ascii_uppercase()) => {
                substituted.push_str(environment.get(name).map_or("", String::as_str));
                rest = tail;
            }
            Some(_) | None => {
                substituted.push('$');
                rest = after;
            }
        }
    }
    substituted.push_str(rest);
    substituted
}

/// Replaces the old spelling `$WID` by the worker's number (spec a.3 item 6: documented, broken in 0.19, honoured here).
pub fn expand_wid(text: &str, wid: u32) -> String {
    text.replace("$WID", &wid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_np(text: &str) -> String {
        expand(text, &|name| (name == "env.np").then(|| "7".to_owned()))
    }

    #[test]
    fn both_forms_in_any_case() {
        assert_eq!(with_np("$(circus.env.NP) ((CIRCUS.env.np)) $(Circus.Env.Np)"), "7 7 7");
    }

    #[test]
    fn everything_else_stays() {
        let text =
            "$(env.NP) ${circus.env.NP} $(circus.env.NOPE) $NP $(circus.) $(circus.env.NP ((circus.env.NP) %d {x}";
        assert_eq!(with_np(text), text);
    }

    #[test]
    fn neighbours() {
        assert_eq!(with_np("$((circus.env.NP))"), "$7");
        assert_eq!(with_np("((($(circus.env.NP)"), "(((7");
        assert_eq!(with_np("809$(circus.env.np)é"), "8097é");
        assert_eq!(with_np("$(circus.circus.env.np)$(circus.circusenv.np)"), "7$(circus.circusenv.np)");
    }

    #[test]
    fn names_in_environment_values() {
        let environment = BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]);
        let shown = |text| substitute_names(text, &environment);
        assert_eq!(shown("$HOME/x:$UNDEFINED_VAR:$lower:${HOME}"), "/root/x::$lower:${HOME}");
        assert_eq!(shown("$$HOME$1$"), "$/root$1$");
    }

    #[test]
    fn wid() {
        assert_eq!(expand_wid("-u fly.py $WID", 3), "-u fly.py 3");
    }

    proptest! {
        #[test]
        fn expanding_never_panics(text in "([$()\\{\\}.a-zA-Zé€_ -]|circus\\.|\\$\\(circus\\.env\\.NP\\)){0,40}") {
            with_np(&text);
            substitute_names(&text, &BTreeMap::new());
        }

        #[test]
        fn a_lookup_that_knows_nothing_changes_nothing(text in any::<String>()) {
            prop_assert_eq!(expand(&text, &|_| None), text);
        }
    }
}
