//! What one process uses, out of an answer to `stats` (spec c.9), where sizes are texts such as `9.98M`.

use serde_json::Value;

/// Units of sizes, base 1024.
const UNITS: &str = "BKMGTPEZY";

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Percent of one CPU.
    pub cpu: f64,
    /// Percent of the host's memory.
    pub percent: f64,
    /// Resident memory.
    pub bytes: f64,
}

impl Usage {
    /// From the object of a process; `None` for a sentence about an ended one, or without the numbers.
    pub fn read(info: &Value) -> Option<Self> {
        let number = |key: &str| info.get(key).and_then(Value::as_f64);
        let bytes = info.get("mem_info1").and_then(Value::as_str).and_then(bytes)?;
        Some(Self { cpu: number("cpu")?, percent: number("mem")?, bytes })
    }
}

/// `9.98M` in bytes.
pub fn bytes(text: &str) -> Option<f64> {
    let unit = text.chars().last()?.to_ascii_uppercase();
    let power = i32::try_from(UNITS.chars().position(|known| known == unit)?).ok()?;
    let number: f64 = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim().parse().ok()?;
    Some(number * 1024_f64.powi(power))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_process_is_read_and_a_sentence_is_none() {
        let info = json!({ "mem_info1": "1.50K", "cpu": 2, "mem": 0.1 });
        assert_eq!(Usage::read(&info), Some(Usage { cpu: 2.0, percent: 0.1, bytes: 1536.0 }));
        assert_eq!(Usage::read(&json!("No such process (stopped?)")), None);
        assert_eq!(Usage::read(&json!({ "mem_info1": "N/A", "cpu": "N/A", "mem": "N/A" })), None);
        assert_eq!(bytes("much"), None);
    }
}
