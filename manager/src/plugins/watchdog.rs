//! The plugin watchdog: processes tell over UDP that they live; one that is silent for `loop_rate` times `max_count` seconds
//! is killed, and circusd replaces it (spec j).

use super::{Host, PluginError, SettingError, ticks};
use crate::client::{Caller, Heard, WatcherEvent};
use regex::Regex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::Instant;

/// Bytes of one heartbeat; what is longer is cut.
const HEARTBEAT: usize = 1024;

/// What is watched, and how.
struct Rule {
    watchers: Regex,
    message: Regex,
    silence: Duration,
    stop_signal: Option<String>,
    graceful_timeout: Option<f64>,
}

/// The processes that should be heard from.
#[derive(Debug, Default)]
struct Alive {
    processes: BTreeMap<i32, (String, Instant)>,
}

impl Alive {
    fn heard(&mut self, pid: i32, now: Instant) {
        if let Some((_, last)) = self.processes.get_mut(&pid) {
            *last = now;
        }
    }

    /// Takes those that have been silent for too long.
    fn take_silent(&mut self, silence: Duration, now: Instant) -> Vec<(i32, String)> {
        let silent = |last: Instant| now.saturating_duration_since(last) > silence;
        let taken: Vec<(i32, String)> = self
            .processes
            .iter()
            .filter(|(_, (_, last))| silent(*last))
            .map(|(pid, (watcher, _))| (*pid, watcher.clone()))
            .collect();
        for (pid, _) in &taken {
            self.processes.remove(pid);
        }
        taken
    }
}

/// Runs it.
pub async fn run(mut host: Host) -> PluginError {
    let (rule, period, address) = match rule(&host) {
        Ok(read) => read,
        Err(error) => return error.into(),
    };
    let socket = match UdpSocket::bind(&address).await {
        Ok(socket) => socket,
        Err(source) => return PluginError::Listen { address, source },
    };
    let mut alive = Alive::default();
    let mut ticks = ticks(period);
    let mut heartbeat = [0; HEARTBEAT];
    loop {
        tokio::select! {
            heard = host.events.next() => match heard {
                Heard::Event(event) => follow(&mut alive, &rule, &event),
                Heard::Connected => ask(&host.caller, &mut alive, &rule).await,
            },
            received = socket.recv(&mut heartbeat) => {
                let bytes = received.ok().and_then(|length| heartbeat.get(..length)).unwrap_or_default();
                if let Some(pid) = pid_in(&rule.message, &String::from_utf8_lossy(bytes)) {
                    alive.heard(pid, Instant::now());
                }
            }
            _ = ticks.tick() => {
                for (pid, watcher) in alive.take_silent(rule.silence, Instant::now()) {
                    kill(&host.caller, &rule, pid, &watcher).await;
                }
            }
        }
    }
}

fn rule(host: &Host) -> Result<(Rule, Duration, String), SettingError> {
    let settings = &host.settings;
    let period = settings.period("loop_rate", 60.0)?;
    let pattern = |key, default: &str| {
        let read = settings.read(key, "a regular expression", |text| Regex::new(text).ok())?;
        match read.map_or_else(|| Regex::new(default).ok(), Some) {
            Some(pattern) => Ok(pattern),
            None => Err(SettingError::Missing { key, expected: "a regular expression" }),
        }
    };
    let port = settings.integer("port", 1664)?;
    let max_count = u32::try_from(settings.integer("max_count", 3)?).unwrap_or(0);
    let rule = Rule {
        // Python's `match` asks for the beginning only.
        watchers: pattern("watchers_regex", ".*")?,
        message: pattern("msg_regex", "^(?P<pid>.*);(?P<timestamp>.*)$")?,
        silence: period.saturating_mul(max_count),
        stop_signal: settings.text("watchers_stop_signal").map(str::to_owned),
        graceful_timeout: settings.read("watchers_graceful_timeout", "seconds", |text| text.parse().ok())?,
    };
    Ok((rule, period, format!("{}:{port}", settings.text("ip").unwrap_or("127.0.0.1"))))
}

fn pid_in(message: &Regex, text: &str) -> Option<i32> {
    message.captures(text)?.name("pid")?.as_str().trim().parse().ok()
}

fn is_watched(rule: &Rule, watcher: &str) -> bool {
    rule.watchers.find(watcher).is_some_and(|found| found.start() == 0)
}

fn follow(alive: &mut Alive, rule: &Rule, event: &WatcherEvent) {
    match (event.kind.as_str(), event.pid()) {
        ("spawn", Some(pid)) if is_watched(rule, &event.watcher) => {
            alive.processes.insert(pid, (event.watcher.clone(), Instant::now()));
        }
        ("reap", Some(pid)) => drop(alive.processes.remove(&pid)),
        ("stop", _) => alive.processes.retain(|_, (watcher, _)| *watcher != event.watcher),
        _ => {}
    }
}

/// Who there is; each has all its time from now.
async fn ask(caller: &Caller, alive: &mut Alive, rule: &Rule) {
    let list = match caller.call("list", json!({})).await {
        Ok(list) => list,
        Err(error) => return tracing::warn!("{error}"),
    };
    alive.processes.clear();
    let names = list.get("watchers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for watcher in names.filter(|name| is_watched(rule, name)) {
        let Ok(reply) = caller.call("list", json!({ "name": watcher })).await else { continue };
        let pids = reply.get("pids").and_then(Value::as_array).into_iter().flatten();
        for pid in pids.filter_map(|pid| i32::try_from(pid.as_i64()?).ok()) {
            alive.processes.insert(pid, (watcher.to_owned(), Instant::now()));
        }
    }
}

async fn kill(caller: &Caller, rule: &Rule, pid: i32, watcher: &str) {
    let mut properties = json!({ "name": watcher, "pid": pid });
    if let Some(fields) = properties.as_object_mut() {
        fields.extend(rule.stop_signal.as_ref().map(|signal| ("signum".to_owned(), json!(signal))));
        fields.extend(rule.graceful_timeout.map(|timeout| ("graceful_timeout".to_owned(), json!(timeout))));
    }
    tracing::info!("{watcher}: process {pid} is silent and is killed");
    if let Err(error) = caller.call("kill", properties).await {
        tracing::warn!("{watcher}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_silent_is_taken_once() {
        let start = Instant::now();
        let mut alive = Alive::default();
        for pid in [1, 2] {
            alive.processes.insert(pid, ("w".to_owned(), start));
        }
        let later = start + Duration::from_secs(4);
        alive.heard(2, later);
        assert_eq!(alive.take_silent(Duration::from_secs(3), later), [(1, "w".to_owned())]);
        assert_eq!(alive.take_silent(Duration::from_secs(3), later), []);
    }

    #[test]
    fn a_heartbeat_names_its_process() {
        let message = Regex::new("^(?P<pid>.*);(?P<timestamp>.*)$").unwrap();
        assert_eq!(pid_in(&message, "41;1795187219.5"), Some(41));
        assert_eq!(pid_in(&message, "nobody"), None);
    }
}
