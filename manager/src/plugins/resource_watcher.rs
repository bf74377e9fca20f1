//! The plugin resource_watcher: a watcher that is over or under a limit in more than `max_count` looks in a row is restarted
//! (spec j). With `process_children = 1` children of its processes that are over a limit get `child_signal` instead.

use super::{Host, PluginError, SettingError, Settings};
use crate::client::Object;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::time::{MissedTickBehavior, interval};

/// A limit of memory.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Memory {
    /// Of the host's.
    Percent(f64),
    /// Resident.
    Bytes(f64),
}

/// The limits.
#[derive(Debug, Clone, PartialEq)]
struct Limits {
    max_cpu: Option<f64>,
    min_cpu: Option<f64>,
    max_mem: Option<Memory>,
    min_mem: Option<Memory>,
    health: Option<f64>,
    max_count: u32,
}

/// What one look shows: the largest and smallest of a watcher's processes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Look {
    max_cpu: f64,
    min_cpu: f64,
    max_percent: f64,
    min_percent: f64,
    max_bytes: f64,
    min_bytes: f64,
}

/// Looks in a row that were beyond each limit.
#[derive(Debug, Default)]
struct Counters(BTreeMap<&'static str, u32>);

impl Limits {
    fn read(settings: &Settings) -> Result<Self, SettingError> {
        let memory = |key| settings.read(key, "percent, or a size as 200M", memory);
        Ok(Self {
            max_cpu: Some(settings.number("max_cpu", 90.0)?),
            min_cpu: settings.read("min_cpu", "a number", |text| text.parse().ok())?,
            max_mem: Some(memory("max_mem")?.unwrap_or(Memory::Percent(90.0))),
            min_mem: memory("min_mem")?,
            health: Some(settings.number("health_threshold", 75.0)?),
            max_count: u32::try_from(settings.integer("max_count", 3)?).unwrap_or(0),
        })
    }

    /// The names of the limits that a look is beyond.
    fn violations(&self, look: &Look) -> Vec<&'static str> {
        let over = |limit: Memory| match limit {
            Memory::Percent(limit) => look.max_percent > limit,
            Memory::Bytes(limit) => look.max_bytes > limit,
        };
        let under = |limit: Memory| match limit {
            Memory::Percent(limit) => look.min_percent < limit,
            Memory::Bytes(limit) => look.min_bytes < limit,
        };
        // Both shares of what is allowed together; memory in bytes has no share of the host.
        let health = match self.max_mem {
            Some(Memory::Percent(_)) => self.health.is_some_and(|limit| look.max_cpu + look.max_percent > 2.0 * limit),
            Some(Memory::Bytes(_)) | None => false,
        };
        let checks = [
            ("over_cpu", self.max_cpu.is_some_and(|limit| look.max_cpu > limit)),
            ("under_cpu", self.min_cpu.is_some_and(|limit| look.min_cpu < limit)),
            ("over_memory", self.max_mem.is_some_and(over)),
            ("under_memory", self.min_mem.is_some_and(under)),
            ("over_health", health),
        ];
        checks.into_iter().filter(|(_, beyond)| *beyond).map(|(name, _)| name).collect()
    }
}

impl Counters {
    /// Counts a look; the limit that was missed too often, after which counting starts over.
    fn count(&mut self, violations: &[&'static str], max_count: u32) -> Option<&'static str> {
        self.0.retain(|name, _| violations.contains(name));
        for name in violations {
            *self.0.entry(name).or_default() += 1;
        }
        let exceeded = self.0.iter().find(|(_, count)| **count > max_count).map(|(name, _)| *name);
        if exceeded.is_some() {
            self.0.clear();
        }
        exceeded
    }
}

/// Runs it.
pub async fn run(host: Host) -> PluginError {
    let Host { caller, settings, .. } = host;
    let (watcher, period, limits) = match read(&settings) {
        Ok(read) => read,
        Err(error) => return error.into(),
    };
    let mut counters = Counters::default();
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let reply = match caller.call("stats", json!({ "name": watcher })).await {
            Ok(reply) => reply,
            Err(error) => {
                tracing::warn!("{error}");
                continue;
            }
        };
        let Some(look) = look(&reply) else { continue };
        if let Some(limit) = counters.count(&limits.violations(&look), limits.max_count) {
            tracing::info!("{watcher}: {limit} more than {} times", limits.max_count);
            caller.order("restart", &watcher).await;
        }
    }
}

fn read(settings: &Settings) -> Result<(String, std::time::Duration, Limits), SettingError> {
    let watcher = settings.text("watcher").or(settings.text("service"));
    let missing = SettingError::Missing { key: "watcher", expected: "the name of a watcher" };
    if settings.integer("process_children", 0)? != 0 {
        let value = settings.text("process_children").unwrap_or_default().to_owned();
        let expected = "0: children are not looked at in this version";
        return Err(SettingError::Value { key: "process_children".to_owned(), value, expected });
    }
    Ok((watcher.ok_or(missing)?.to_owned(), settings.period("loop_rate", 60.0)?, Limits::read(settings)?))
}

/// `90`, or `200M` as Circus writes sizes.
fn memory(text: &str) -> Option<Memory> {
    match text.parse() {
        Ok(percent) => Some(Memory::Percent(percent)),
        Err(_) => bytes(text).map(Memory::Bytes),
    }
}

/// `9.98M` in bytes, base 1024.
fn bytes(text: &str) -> Option<f64> {
    const UNITS: &str = "BKMGTPEZY";
    let unit = text.chars().last()?.to_ascii_uppercase();
    let power = i32::try_from(UNITS.chars().position(|known| known == unit)?).ok()?;
    let number: f64 = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim().parse().ok()?;
    Some(number * 1024_f64.powi(power))
}

/// The extremes of a watcher's processes; `None` when nothing is known of any.
fn look(reply: &Object) -> Option<Look> {
    let processes = reply.get("info")?.as_object()?;
    let one = |info: &Value| {
        let number = |key: &str| info.get(key).and_then(Value::as_f64);
        let resident = info.get("mem_info1").and_then(Value::as_str).and_then(bytes)?;
        let (cpu, percent) = (number("cpu")?, number("mem")?);
        Some(Look {
            max_cpu: cpu,
            min_cpu: cpu,
            max_percent: percent,
            min_percent: percent,
            max_bytes: resident,
            min_bytes: resident,
        })
    };
    processes.values().filter_map(one).reduce(|a, b| Look {
        max_cpu: a.max_cpu.max(b.max_cpu),
        min_cpu: a.min_cpu.min(b.min_cpu),
        max_percent: a.max_percent.max(b.max_percent),
        min_percent: a.min_percent.min(b.min_percent),
        max_bytes: a.max_bytes.max(b.max_bytes),
        min_bytes: a.min_bytes.min(b.min_bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_looks_in_a_row_count() {
        let mut counters = Counters::default();
        let over = ["over_memory"];
        assert_eq!(counters.count(&over, 1), None);
        assert_eq!(counters.count(&[], 1), None);
        assert_eq!(counters.count(&over, 1), None);
        assert_eq!(counters.count(&over, 1), Some("over_memory"));
        assert_eq!(counters.count(&over, 1), None);
    }

    #[test]
    fn a_leak_is_over_its_limit() {
        let limits = Limits::read(&Settings::parse("max_mem:10M")).unwrap();
        let info = |size: &str| json!({ "mem_info1": size, "cpu": 0.0, "mem": 1.0 });
        let reply = json!({ "info": { "7": info("9.98M"), "8": info("10.50M"), "9": "No such process (stopped?)" } });
        let seen = look(reply.as_object().unwrap()).unwrap();
        assert_eq!(limits.violations(&seen), ["over_memory"]);
        assert_eq!(look(json!({ "info": {} }).as_object().unwrap()), None);
    }

    #[test]
    fn sizes_and_percents() {
        assert_eq!(memory("90"), Some(Memory::Percent(90.0)));
        assert_eq!(memory("1.5K"), Some(Memory::Bytes(1536.0)));
        assert_eq!(memory("much"), None);
    }
}
