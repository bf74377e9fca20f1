//! The plugin resource_watcher: a watcher that is over or under a limit in more than `max_count` looks in a row is restarted
//! (spec j). With `process_children` each child of its processes is held to the same limits, and gets `child_signal` instead.
//!
//! Each look that is beyond a limit is counted by a statsd server, too.

use super::statsd::{Statsd, part};
use super::usage::{Usage, bytes};
use super::{Host, PluginError, SettingError, Settings, ticks};
use crate::client::{Caller, Object};
use crate::options::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;

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

/// What one look shows: the largest and the smallest of some processes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Look {
    max: Usage,
    min: Usage,
}

impl Look {
    fn at(usage: Usage) -> Self {
        Self { max: usage, min: usage }
    }

    fn and(self, other: Self) -> Self {
        let both = |pick: fn(f64, f64) -> f64, a: Usage, b: Usage| Usage {
            cpu: pick(a.cpu, b.cpu),
            percent: pick(a.percent, b.percent),
            bytes: pick(a.bytes, b.bytes),
        };
        Self { max: both(f64::max, self.max, other.max), min: both(f64::min, self.min, other.min) }
    }
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
            Memory::Percent(limit) => look.max.percent > limit,
            Memory::Bytes(limit) => look.max.bytes > limit,
        };
        let under = |limit: Memory| match limit {
            Memory::Percent(limit) => look.min.percent < limit,
            Memory::Bytes(limit) => look.min.bytes < limit,
        };
        // Both shares of what is allowed together; memory in bytes has no share of the host.
        let health = match self.max_mem {
            Some(Memory::Percent(_)) => self.health.is_some_and(|limit| look.max.cpu + look.max.percent > 2.0 * limit),
            Some(Memory::Bytes(_)) | None => false,
        };
        let checks = [
            ("over_cpu", self.max_cpu.is_some_and(|limit| look.max.cpu > limit)),
            ("under_cpu", self.min_cpu.is_some_and(|limit| look.min.cpu < limit)),
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

/// A process of the watcher, or a child of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Child {
    parent: i64,
    pid: i64,
}

/// Runs it.
pub async fn run(host: Host) -> PluginError {
    let Host { caller, settings, .. } = host;
    let mut statsd = match Statsd::new(&settings, "app") {
        Ok(statsd) => statsd,
        Err(error) => return error,
    };
    let (mut plugin, mut ticks) = match read(caller, &settings) {
        Ok((plugin, period)) => (plugin, ticks(period)),
        Err(error) => return error.into(),
    };
    loop {
        ticks.tick().await;
        plugin.look(&mut statsd).await;
    }
}

struct ResourceWatcher {
    caller: Caller,
    watcher: String,
    limits: Limits,
    /// What children get that are beyond a limit; `None`: nobody looks at them.
    child_signal: Option<Signal>,
    counters: Counters,
    children: BTreeMap<Child, Counters>,
}

fn read(caller: Caller, settings: &Settings) -> Result<(ResourceWatcher, std::time::Duration), SettingError> {
    let watcher = settings.text("watcher").or(settings.text("service"));
    let missing = SettingError::Missing { key: "watcher", expected: "the name of a watcher" };
    let signal = settings.read("child_signal", "a signal as 15 or TERM", |text| Signal::parse(text).ok())?;
    let with_children = settings.read("process_children", "True or False", truth)?.unwrap_or(false);
    let plugin = ResourceWatcher {
        caller,
        watcher: watcher.ok_or(missing)?.to_owned(),
        limits: Limits::read(settings)?,
        child_signal: with_children.then(|| signal.unwrap_or(Signal::TERM)),
        counters: Counters::default(),
        children: BTreeMap::new(),
    };
    Ok((plugin, settings.period("loop_rate", 60.0)?))
}

impl ResourceWatcher {
    async fn look(&mut self, statsd: &mut Statsd) {
        let bucket = format!("_resource_watcher.{}", part(&self.watcher));
        let reply = match self.caller.call("stats", json!({ "name": self.watcher })).await {
            Ok(reply) => reply,
            Err(error) => {
                tracing::warn!("{error}");
                return statsd.count(&format!("{bucket}.error")).await;
            }
        };
        if let Some(look) = look(&reply) {
            let beyond = self.limits.violations(&look);
            tell(statsd, &bucket, &beyond).await;
            if let Some(limit) = self.counters.count(&beyond, self.limits.max_count) {
                tracing::info!("{}: {limit} more than {} times", self.watcher, self.limits.max_count);
                statsd.count(&format!("{bucket}.restarting")).await;
                self.caller.order("restart", &self.watcher).await;
                // Its children are others from now on.
                return self.children.clear();
            }
        }
        if let Some(signal) = self.child_signal {
            self.look_at_children(&children(&reply), signal, statsd, &bucket).await;
        }
    }

    async fn look_at_children(
        &mut self,
        children: &BTreeMap<Child, Usage>,
        signal: Signal,
        statsd: &mut Statsd,
        bucket: &str,
    ) {
        self.children.retain(|child, _| children.contains_key(child));
        for (child, usage) in children {
            let beyond = self.limits.violations(&Look::at(*usage));
            tell(statsd, bucket, &beyond).await;
            let counters = self.children.entry(*child).or_default();
            if let Some(limit) = counters.count(&beyond, self.limits.max_count) {
                let (watcher, pid) = (&self.watcher, child.pid);
                tracing::info!("{watcher}: {limit} more than {} times in child {pid}", self.limits.max_count);
                statsd.count(&format!("{bucket}.restarting")).await;
                let order = json!({ "name": watcher, "pid": child.parent, "childpid": pid, "signum": signal.number() });
                if let Err(error) = self.caller.call("signal", order).await {
                    tracing::warn!("{watcher}: child {pid}: {error}");
                }
            }
        }
    }
}

async fn tell(statsd: &mut Statsd, bucket: &str, violations: &[&str]) {
    for violation in violations {
        statsd.count(&format!("{bucket}.{violation}")).await;
    }
}

/// `1`, as Circus reads it, or a word.
fn truth(text: &str) -> Option<bool> {
    crate::options::python::to_int(text).map(|number| number != 0).or_else(|| crate::options::python::to_bool(text))
}

/// `90`, or `200M` as Circus writes sizes.
fn memory(text: &str) -> Option<Memory> {
    match text.parse() {
        Ok(percent) => Some(Memory::Percent(percent)),
        Err(_) => bytes(text).map(Memory::Bytes),
    }
}

/// The extremes of a watcher's processes; `None` when nothing is known of any.
fn look(reply: &Object) -> Option<Look> {
    let processes = reply.get("info")?.as_object()?;
    processes.values().filter_map(Usage::read).map(Look::at).reduce(Look::and)
}

/// The children of a watcher's processes and what each uses.
fn children(reply: &Object) -> BTreeMap<Child, Usage> {
    let processes = reply.get("info").and_then(Value::as_object).into_iter().flatten();
    let of_process = |(pid, info): (&String, &Value)| {
        let parent: i64 = pid.parse().ok()?;
        let children = info.get("children")?.as_array()?;
        let one = |info: &Value| Some((Child { parent, pid: info.get("pid")?.as_i64()? }, Usage::read(info)?));
        Some(children.iter().filter_map(one).collect::<Vec<_>>())
    };
    processes.filter_map(of_process).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: &Value) -> &Object {
        value.as_object().unwrap()
    }

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
        let seen = look(object(&reply)).unwrap();
        assert_eq!(limits.violations(&seen), ["over_memory"]);
        assert_eq!(look(object(&json!({ "info": {} }))), None);
    }

    #[test]
    fn a_child_is_held_to_the_limits_by_itself() {
        let limits = Limits::read(&Settings::parse("max_mem:10M:::max_cpu:50")).unwrap();
        let child = |pid: i64, cpu: f64| json!({ "pid": pid, "mem_info1": "1.00M", "cpu": cpu, "mem": 1.0 });
        let reply = json!({ "info": { "7": {
            "mem_info1": "1.00M", "cpu": 0.0, "mem": 1.0, "children": [child(8, 99.0), child(9, 1.0), "gone"],
        } } });
        let children = children(object(&reply));
        assert_eq!(limits.violations(&look(object(&reply)).unwrap()), [""; 0]);
        let beyond = |pid| limits.violations(&Look::at(children[&Child { parent: 7, pid }]));
        assert_eq!((children.len(), beyond(8), beyond(9)), (2, vec!["over_cpu"], vec![]));
    }

    #[test]
    fn settings_are_read_as_circus_reads_them() {
        let read =
            |text: &str| read(Caller::new("tcp://127.0.0.1:1"), &Settings::parse(text)).map(|(plugin, _)| plugin);
        assert_eq!(read("watcher:a").unwrap().child_signal, None);
        assert_eq!(read("service:a:::process_children:1").unwrap().child_signal, Some(Signal::TERM));
        let kill = read("watcher:a:::process_children:1:::child_signal:9").unwrap().child_signal;
        assert_eq!(kill.map(Signal::number), Some(9));
        let error = read("watcher:a:::child_signal:much").err().unwrap().to_string();
        assert_eq!(error, "child_signal = much: expected a signal as 15 or TERM");
    }

    #[test]
    fn sizes_and_percents() {
        assert_eq!(memory("90"), Some(Memory::Percent(90.0)));
        assert_eq!(memory("1.5K"), Some(Memory::Bytes(1536.0)));
        assert_eq!(memory("much"), None);
    }
}
