//! How Python reads and writes plain values: `int()`, `float()`, Circus's `to_bool`, and `repr()`.
//!
//! Configuration files and error texts were made for Python, so the same spellings are accepted (`1_000`, ` 7 `)
//! and the same quoting is shown. Not for anything that leaves as JSON: that is serde's business.

use serde_json::Value;

/// White space as Python's `str.strip` and `str.isspace` see it: Unicode's plus the four separators U+001C–U+001F.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `str.strip()`.
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Circus's boolean words (spec a.5): yes, true, on, 1 and no, false, off, 0, in any case, surrounded by spaces or not.
pub fn to_bool(text: &str) -> Option<bool> {
    match strip(text).to_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Some(true),
        "no" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// `int(text)`: optional sign, decimal digits, single underscores between digits, surrounding spaces.
///
/// `None` for anything else and for numbers beyond 64 bits, which no option has a use for.
pub fn to_int(text: &str) -> Option<i64> {
    digits_in_base(text, 10)
}

/// `int(text, 8)`: as [`to_int`] in base 8, with an optional `0o` before the digits.
pub fn to_octal(text: &str) -> Option<i64> {
    digits_in_base(text, 8)
}

/// `float(text)` for finite numbers: `2`, `.5`, `1e3`, `1_0.5`. `None` for text, and for `nan` and `inf`.
pub fn to_float(text: &str) -> Option<f64> {
    let plain = without_underscores(strip(text))?;
    plain.parse::<f64>().ok().filter(|number| number.is_finite())
}

fn digits_in_base(text: &str, base: u32) -> Option<i64> {
    let text = strip(text);
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let rest = match rest.strip_prefix("0o").or_else(|| rest.strip_prefix("0O")) {
        Some(digits) if base == 8 => digits.strip_prefix('_').unwrap_or(digits),
        Some(_) | None => rest,
    };
    let digits = without_underscores(rest)?;
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), base).ok()
}

/// Drops underscores when each stands between two digits, as PEP 515 asks; `None` otherwise.
fn without_underscores(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut before: Option<char> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '_' {
            let between_digits =
                before.is_some_and(|b| b.is_ascii_digit()) && chars.peek().is_some_and(char::is_ascii_digit);
            if !between_digits {
                return None;
            }
        } else {
            plain.push(c);
        }
        before = Some(c);
    }
    Some(plain)
}

/// `repr(value)` of a value that came as JSON: `'x'`, `1`, `True`, `None`, `{'a': [1, 'b']}`.
pub fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => repr_str(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(repr).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(key, value)| format!("{}: {}", repr_str(key), repr(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// `str(value)`: as [`repr`], but a text is itself.
pub fn display(value: &Value) -> String {
    value.as_str().map_or_else(|| repr(value), str::to_owned)
}

/// `repr(text)`: single quotes, or double quotes when the text holds only single ones.
pub fn repr_str(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut shown = String::with_capacity(text.len() + 2);
    shown.push(quote);
    for c in text.chars() {
        match c {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if c == quote => shown.extend(['\\', c]),
            c if u32::from(c) < 0x20 || u32::from(c) == 0x7f => {
                shown.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c => shown.push(c),
        }
    }
    shown.push(quote);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_as_python_reads_them() {
        for (text, number) in [("1_0", Some(10)), (" 7 ", Some(7)), ("+3", Some(3)), ("-1", Some(-1)), ("007", Some(7))]
        {
            assert_eq!(to_int(text), number, "{text:?}");
        }
        for text in ["", "2.5", "1__0", "_1", "1_", "x", "- 1", "0o7", "99999999999999999999"] {
            assert_eq!(to_int(text), None, "{text:?}");
        }
        assert_eq!(to_octal("022"), Some(18));
        assert_eq!(to_octal("0o22"), Some(18));
        assert_eq!(to_octal("9"), None);
        assert_eq!(to_float("1_0.5"), Some(10.5));
        assert_eq!(to_float(".5"), Some(0.5));
        assert_eq!(to_float("nan"), None);
        assert_eq!(to_float("1e400"), None);
    }

    #[test]
    fn booleans() {
        assert_eq!(to_bool(" YES "), Some(true));
        assert_eq!(to_bool("Off"), Some(false));
        assert_eq!(to_bool("y"), None);
        assert_eq!(to_bool(""), None);
    }

    #[test]
    fn reprs() {
        assert_eq!(repr(&json!({"bogus": "x", "n": [1, true, null]})), "{'bogus': 'x', 'n': [1, True, None]}");
        assert_eq!(repr_str("it's"), "\"it's\"");
        assert_eq!(repr_str("a\n'\""), "'a\\n\\'\"'");
    }
}
