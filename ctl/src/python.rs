//! Values written as Python writes them: `str()` for option lines, `json.dumps` for `--prettify`.
//!
//! Circus's texts are Python's (`True`, `2.0`, `{'filename': 'x'}`), and scripts read them. Not a Python
//! parser, and not used on the wire.

use std::fmt::Write as _;

use ringmaster_protocol::circus::to_json;
use serde_json::{Number, Value};

/// `str(value)`: strings bare, everything else as [`repr`].
pub fn text(value: &Value) -> String {
    match value {
        Value::String(string) => string.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => repr(value),
    }
}

/// `repr(value)` of what `json.loads` makes of the value.
pub fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number_text(number),
        Value::String(string) => quoted(string),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(repr).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{}: {}", quoted(key), repr(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

/// `repr` of a string: single quotes unless it holds some and no double ones.
fn quoted(string: &str) -> String {
    let quote = if string.contains('\'') && !string.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(string.len() + 2);
    out.push(quote);
    for character in string.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other if other == quote => {
                out.push('\\');
                out.push(other);
            }
            other if other.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\x{:02x}", u32::from(other));
            }
            other => out.push(other),
        }
    }
    out.push(quote);
    out
}

/// A JSON number as Python prints it: integers as they are, floats by `float.__repr__`.
fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float_text(float),
        Some(_) | None => number.to_string(),
    }
}

/// Rust's shortest form switches to an exponent at the same sizes as Python's; only the exponent's own
/// spelling differs (`1e16` against `1e+16`, `1e-7` against `1e-07`).
fn float_text(float: f64) -> String {
    let shortest = format!("{float:?}");
    let Some((mantissa, exponent)) = shortest.split_once('e') else {
        return shortest;
    };
    let (sign, digits) = exponent.strip_prefix('-').map_or(("+", exponent), |digits| ("-", digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// `json.dumps(value, indent=2, sort_keys=True)`: what `--json --prettify` prints.
pub fn pretty_json(value: &Value) -> String {
    let mut out = String::new();
    push_pretty(&mut out, value, 0);
    out
}

fn push_pretty(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::String(string) => push_json_string(out, string),
        Value::Array(items) if items.is_empty() => out.push_str("[]"),
        Value::Object(fields) if fields.is_empty() => out.push_str("{}"),
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                start_line(out, position, depth + 1);
                push_pretty(out, item, depth + 1);
            }
            end_block(out, ']', depth);
        }
        Value::Object(fields) => {
            let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (position, (key, item)) in sorted.into_iter().enumerate() {
                start_line(out, position, depth + 1);
                push_json_string(out, key);
                out.push_str(": ");
                push_pretty(out, item, depth + 1);
            }
            end_block(out, '}', depth);
        }
    }
}

fn start_line(out: &mut String, position: usize, depth: usize) {
    out.push_str(if position == 0 { "\n" } else { ",\n" });
    out.push_str(&"  ".repeat(depth));
}

fn end_block(out: &mut String, bracket: char, depth: usize) {
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
    out.push(bracket);
}

/// A JSON string as the protocol writes it: everything outside ASCII escaped.
fn push_json_string(out: &mut String, string: &str) {
    out.push_str(&String::from_utf8_lossy(&to_json(&Value::from(string))));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Expected texts are the output of Python 3.11.
    #[test]
    fn values_read_as_python_writes_them() {
        for (value, expected) in [
            (json!(null), "None"),
            (json!(true), "True"),
            (json!(2), "2"),
            (json!(2.0), "2.0"),
            (json!(0.129), "0.129"),
            (json!(0.0001), "0.0001"),
            (json!(0.00001), "1e-05"),
            (json!(2.5e-7), "2.5e-07"),
            (json!(1e16), "1e+16"),
            (json!(123456789012345680.0), "1.2345678901234568e+17"),
            (json!(-0.5), "-0.5"),
            (json!("bare it's"), "bare it's"),
            (
                json!({"q": [1, null, true, "it's", "é\n"], "z": 2.5e-7}),
                r#"{'q': [1, None, True, "it's", 'é\n'], 'z': 2.5e-07}"#,
            ),
            (json!(["a\"'b", "\u{1b}[0m"]), r#"['a"\'b', '\x1b[0m']"#),
        ] {
            assert_eq!(text(&value), expected);
        }
    }

    #[test]
    fn pretty_json_sorts_and_escapes() {
        let value = json!({"y": 1e20, "x": [1, {}, [], "é\u{1f600}\u{1}"], "n": {"b": null, "a": true}});
        let expected = "{\n  \"n\": {\n    \"a\": true,\n    \"b\": null\n  },\n  \"x\": [\n    1,\n    {},\n    [],\n    \
                        \"\\u00e9\\ud83d\\ude00\\u0001\"\n  ],\n  \"y\": 1e+20\n}";
        assert_eq!(pretty_json(&value), expected);
    }
}
