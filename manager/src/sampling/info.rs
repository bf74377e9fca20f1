//! The process info object of `stats` and `dstats`, and how Circus writes its values (spec c.9).

use std::time::Duration;

use serde_json::{Map, Value, json};

/// What a client sees where the operating system does not let us look.
const NOT_AVAILABLE: &str = "N/A";

/// One process, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessInfo {
    /// Process id.
    pub pid: i32,
    /// Memory and time; `None` if we may not look.
    pub usage: Option<Usage>,
    /// Name of the real user, or the uid as text if it has none; `None` if we may not look.
    pub username: Option<String>,
    /// Name of the program; `None` if it has no arguments or we may not look.
    pub cmdline: Option<String>,
    /// Direct children without their own, by pid. Empty for a child.
    pub children: Vec<ProcessInfo>,
    /// Children there were beyond the limit; not part of the reply.
    pub children_left_out: usize,
}

/// Memory and time of a process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Resident memory in bytes.
    pub resident: u64,
    /// Virtual memory in bytes.
    pub virtual_memory: u64,
    /// CPU use since the previous sample, in percent of one CPU; 0 in the first sample.
    pub cpu_percent: f64,
    /// Resident memory in percent of the host's memory, to three places.
    pub memory_percent: f64,
    /// User and system time, reaped children included.
    pub cpu_time: Duration,
    /// Nice value.
    pub nice: i64,
    /// Seconds since the epoch when it started, to two places.
    pub create_time: f64,
    /// Seconds since it started.
    pub age: f64,
}

impl ProcessInfo {
    /// The object of the reply, keys in Circus's order. For a watcher's process the caller appends `started`
    /// and `wid`.
    pub fn to_object(&self) -> Map<String, Value> {
        let usage = |value: fn(&Usage) -> Value| self.usage.as_ref().map_or_else(not_available, value);
        let text = |value: &Option<String>| value.as_deref().map_or_else(not_available, Value::from);
        let children: Vec<Value> = self.children.iter().map(|child| Value::Object(child.to_object())).collect();
        [
            ("mem_info1", usage(|usage| json!(human_bytes(usage.resident)))),
            ("mem_info2", usage(|usage| json!(human_bytes(usage.virtual_memory)))),
            ("cpu", usage(|usage| json!(usage.cpu_percent))),
            ("mem", usage(|usage| json!(usage.memory_percent))),
            ("ctime", usage(|usage| json!(clock(usage.cpu_time)))),
            ("pid", json!(self.pid)),
            ("username", text(&self.username)),
            ("nice", usage(|usage| json!(usage.nice))),
            ("create_time", usage(|usage| json!(usage.create_time))),
            ("age", usage(|usage| json!(usage.age))),
            ("cmdline", text(&self.cmdline)),
            ("children", Value::Array(children)),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}

fn not_available() -> Value {
    Value::from(NOT_AVAILABLE)
}

/// Bytes with two decimals and a unit of base 1024: `9.98M`; below one K without decimals: `999B`.
fn human_bytes(bytes: u64) -> String {
    const UNITS: [(u32, char); 6] = [(60, 'E'), (50, 'P'), (40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')];
    for (shift, unit) in UNITS {
        if bytes >> shift > 0 {
            let hundredths = halves_to_even(u128::from(bytes) * 100, 1 << shift);
            return format!("{}.{:02}{unit}", hundredths / 100, hundredths % 100);
        }
    }
    format!("{bytes}B")
}

/// `dividend / divisor` rounded as Python rounds: exact halves, which page multiples often are, go to the even
/// neighbour.
fn halves_to_even(dividend: u128, divisor: u128) -> u128 {
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    let up = match (rest * 2).cmp(&divisor) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => quotient % 2 == 1,
        std::cmp::Ordering::Greater => true,
    };
    quotient + u128::from(up)
}

/// `M:SS.ff` as Circus writes it: minutes start over at 60 and no hours are shown; `ff` is the first two
/// characters of the microseconds without padding, so 0.2 s is `0:00.20`, but 0.05 s is `0:00.50`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let micros = time.subsec_micros().to_string();
    let fraction: String = micros.chars().take(2).collect();
    format!("{}:{:02}.{fraction}", seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected texts are those of Circus's `bytes2human` in 0.19.
    #[test]
    fn bytes_for_people() {
        for (bytes, expected) in [
            (0, "0B"),
            (999, "999B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1152, "1.12K"),
            (1153, "1.13K"),
            (1_179_648, "1.12M"),
            (1_441_792, "1.38M"),
            (1_048_575, "1024.00K"),
            (10_465_280, "9.98M"),
            (3_221_225_472, "3.00G"),
            (u64::MAX, "16.00E"),
        ] {
            assert_eq!(human_bytes(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn cpu_time_on_the_clock() {
        for (millis, expected) in [
            (0, "0:00.0"),
            (10, "0:00.10"),
            (50, "0:00.50"),
            (200, "0:00.20"),
            (61_230, "1:01.23"),
            (3_599_990, "59:59.99"),
            (3_600_000, "0:00.0"),
            (90_061_000, "1:01.0"),
        ] {
            assert_eq!(clock(Duration::from_millis(millis)), expected, "{millis} ms");
        }
    }

    fn sample(pid: i32, children: Vec<ProcessInfo>) -> ProcessInfo {
        let usage = Usage {
            resident: 10_433_331,
            virtual_memory: 13_400_801,
            cpu_percent: 0.0,
            memory_percent: 0.041,
            cpu_time: Duration::from_millis(200),
            nice: 0,
            create_time: 1_795_187_446.75,
            age: 0.75,
        };
        ProcessInfo {
            pid,
            usage: Some(usage),
            username: Some("root".into()),
            cmdline: Some("python".into()),
            children,
            children_left_out: 0,
        }
    }

    /// The object Circus 0.19 sent for a worker, up to `started` and `wid`.
    #[test]
    fn the_object_is_circuss() {
        let expected = r#"{"mem_info1":"9.95M","mem_info2":"12.78M","cpu":0.0,"mem":0.041,"ctime":"0:00.20","pid":9756,"username":"root","nice":0,"create_time":1795187446.75,"age":0.75,"cmdline":"python","children":[]}"#;
        assert_eq!(Value::Object(sample(9756, vec![]).to_object()).to_string(), expected);
        let parent = sample(1, vec![sample(2, vec![])]).to_object();
        assert_eq!(parent["children"], json!([sample(2, vec![]).to_object()]));
    }

    #[test]
    fn what_we_may_not_see_is_not_available() {
        let hidden = ProcessInfo { usage: None, username: None, cmdline: None, ..sample(7, vec![]) }.to_object();
        let keys: Vec<&str> =
            hidden.iter().filter(|(_, value)| **value == "N/A").map(|(key, _)| key.as_str()).collect();
        let expected =
            ["mem_info1", "mem_info2", "cpu", "mem", "ctime", "username", "nice", "create_time", "age", "cmdline"];
        assert_eq!(keys, expected);
        assert_eq!((&hidden["pid"], &hidden["children"]), (&json!(7), &json!([])));
    }
}
