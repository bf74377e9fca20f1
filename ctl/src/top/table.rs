//! What is known from messages: topics of two parts are sums, of three parts one process or socket (spec e). Pure.

use super::arguments::Sort;
use super::view::{Direction, View};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Where sockets are.
const SOCKETS: &str = "sockets";

/// Processes and sockets that are remembered; a publisher of nonsense must not fill our memory.
const ROWS_LIMIT: usize = 100_000;

/// One process, as published.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// Its number.
    pub pid: i64,
    /// What it is, when it is one of Circus's own.
    pub name: Option<String>,
    /// Percent of one CPU.
    pub cpu: Option<f64>,
    /// Percent of the host's memory.
    pub mem: Option<f64>,
    /// Seconds.
    pub age: Option<f64>,
    seen: Instant,
}

/// One listening socket, as published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// `host:port` or a path.
    pub address: String,
    /// How busy (spec e).
    pub reads: u64,
}

/// The latest of everything.
#[derive(Debug, Default)]
pub struct Table {
    watchers: BTreeMap<String, BTreeMap<i64, Process>>,
    sockets: BTreeMap<i64, Socket>,
    rows: usize,
}

impl Table {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// One message. What is none of ours is ignored.
    pub fn take(&mut self, topic: &[u8], payload: &[u8], now: Instant) {
        let Ok(topic) = std::str::from_utf8(topic) else { return };
        let Ok(Value::Object(fields)) = serde_json::from_slice(payload) else { return };
        let mut parts = topic.split('.').skip(1);
        let (Some(watcher), Some(row), None) = (parts.next(), parts.next(), parts.next()) else { return };
        let Ok(number) = row.parse::<i64>() else { return };
        if self.rows >= ROWS_LIMIT {
            return;
        }
        let is_new = if watcher == SOCKETS {
            let address = fields.get("address").and_then(Value::as_str).unwrap_or_default().to_owned();
            let reads = fields.get("reads").and_then(Value::as_u64).unwrap_or_default();
            self.sockets.insert(number, Socket { address, reads }).is_none()
        } else {
            let process = process(number, &fields, now);
            self.watchers.entry(watcher.to_owned()).or_default().insert(number, process).is_none()
        };
        self.rows += usize::from(is_new);
    }

    /// Forgets processes without news.
    pub fn forget(&mut self, now: Instant, after: Duration) {
        for processes in self.watchers.values_mut() {
            processes.retain(|_, process| now.saturating_duration_since(process.seen) <= after);
        }
        self.watchers.retain(|_, processes| !processes.is_empty());
        self.rows = self.sockets.len() + self.watchers.values().map(BTreeMap::len).sum::<usize>();
    }

    /// Watchers by name with their processes in the order that is wanted.
    pub fn watchers(&self, view: &View) -> Vec<(&str, Vec<&Process>)> {
        let shown = self.watchers.iter().filter(|(name, _)| view.shows(name));
        shown.map(|(name, processes)| (name.as_str(), sorted(processes.values().collect(), view))).collect()
    }

    /// The names of all watchers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.watchers.keys().map(String::as_str)
    }

    /// How many processes are listed for people, those left out for want of room included.
    pub fn count(&self, view: &View) -> usize {
        self.watchers.iter().filter(|(name, _)| view.lists(name)).map(|(_, processes)| processes.len()).sum()
    }

    /// Sockets by number.
    pub fn sockets(&self) -> impl Iterator<Item = (i64, &Socket)> {
        self.sockets.iter().map(|(fd, socket)| (*fd, socket))
    }

    /// `{"watchers": {NAME: {"processes": […], "cpu": mean, "mem": sum, "age": oldest}}, "sockets": […]}`.
    pub fn to_json(&self, view: &View) -> Value {
        let one = |process: &&Process| {
            json!({
                "pid": process.pid, "name": process.name, "cpu": process.cpu, "mem": process.mem, "age": process.age
            })
        };
        let watchers: Map<String, Value> = self
            .watchers(view)
            .into_iter()
            .map(|(name, processes)| {
                let (cpu, mem, age) = totals(&processes);
                let all: Vec<Value> = processes.iter().map(one).collect();
                (name.to_owned(), json!({ "processes": all, "cpu": cpu, "mem": mem, "age": age }))
            })
            .collect();
        let sockets: Vec<Value> = self
            .sockets()
            .map(|(fd, socket)| json!({ "fd": fd, "address": socket.address, "reads": socket.reads }))
            .collect();
        json!({ "watchers": watchers, "sockets": sockets })
    }
}

/// Mean of CPU, sum of memory, largest age, of what is known.
pub fn totals(processes: &[&Process]) -> (f64, f64, f64) {
    let sum = |value: fn(&Process) -> Option<f64>| processes.iter().filter_map(|one| value(one)).sum::<f64>();
    let count = f64::from(u32::try_from(processes.len().max(1)).unwrap_or(u32::MAX));
    let age = processes.iter().filter_map(|one| one.age).fold(0.0, f64::max);
    (sum(|one| one.cpu) / count, sum(|one| one.mem), age)
}

fn sorted<'a>(mut processes: Vec<&'a Process>, view: &View) -> Vec<&'a Process> {
    let key: fn(&Process) -> f64 = match view.sort {
        Sort::Cpu => |process| process.cpu.unwrap_or_default(),
        Sort::Mem => |process| process.mem.unwrap_or_default(),
        Sort::Age => |process| process.age.unwrap_or_default(),
        Sort::Pid => |_| 0.0,
    };
    // They come in the order of their numbers, which a stable sort keeps where the values are equal.
    processes.sort_by(|a, b| key(b).total_cmp(&key(a)));
    if view.direction == Direction::Reversed {
        processes.reverse();
    }
    processes
}

/// Numbers may be `N/A`.
fn process(pid: i64, fields: &Map<String, Value>, now: Instant) -> Process {
    let number = |key: &str| fields.get(key).and_then(Value::as_f64);
    let name = fields.get("name").and_then(Value::as_str).map(str::to_owned);
    Process { pid, name, cpu: number("cpu"), mem: number("mem"), age: number("age"), seen: now }
}

#[cfg(test)]
mod tests {
    use super::super::arguments::Arguments;
    use super::super::keys::Key;
    use super::*;
    use clap::Parser as _;

    fn view(words: &[&str]) -> View {
        View::new(&Arguments::parse_from([&["circus-top"], words].concat()))
    }

    fn table(now: Instant) -> Table {
        let mut table = Table::default();
        table.take(b"stat.web.7", br#"{"cpu": 2.0, "mem": 1.0, "age": 5.0, "name": null}"#, now);
        table.take(b"stat.web.8", br#"{"cpu": 10.0, "mem": 0.5, "age": "N/A"}"#, now);
        table.take(b"stat.web", br#"{"pid": [7, 8]}"#, now);
        table.take(b"stat.a.b.c", b"{}", now);
        table.take(b"stat.sockets.3", br#"{"address": "h:80", "reads": 4}"#, now);
        table
    }

    #[test]
    fn the_busiest_process_is_first_and_an_unknown_number_spoils_nothing() {
        let table = table(Instant::now());
        let pids = |view: &View| -> Vec<i64> {
            table.watchers(view).iter().flat_map(|(_, all)| all.iter().map(|one| one.pid)).collect()
        };
        assert_eq!(pids(&view(&[])), [8, 7]);
        assert_eq!(pids(&view(&["--sort", "mem"])), [7, 8]);
        assert_eq!(pids(&view(&["--watcher", "other"])), [0; 0]);
        let mut reversed = view(&["--sort", "pid"]);
        assert_eq!(pids(&reversed), [7, 8]);
        reversed.press(Key::Reverse, &[], 1);
        assert_eq!(pids(&reversed), [8, 7]);
        let json = table.to_json(&view(&[]));
        assert_eq!(json["watchers"]["web"]["cpu"], json!(6.0));
        assert_eq!(json["sockets"], json!([{ "fd": 3, "address": "h:80", "reads": 4 }]));
    }

    #[test]
    fn a_process_without_news_is_forgotten() {
        let now = Instant::now();
        let mut table = table(now);
        table.forget(now + Duration::from_secs(4), Duration::from_secs(3));
        assert!(table.is_empty());
    }
}
