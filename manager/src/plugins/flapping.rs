//! The plugin flapping: a watcher whose processes end `attempts` times within `window` seconds is stopped, started again after
//! `retry_in` seconds, and after `max_retry` such tries stopped for good (spec j).
//!
//! A watcher may have its own values as `flapping.NAME` options. They are asked for when the watcher's first end is heard of, and
//! again after each `updated`. What circusd's back-off does to a crash loop stays: this plugin only counts ends.

use super::{Host, PluginError, SettingError, Settings};
use crate::client::{Caller, Events, Heard, Object, WatcherEvent};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Ends of one watcher that are remembered; more attempts than that are as good as never.
const ATTEMPTS_LIMIT: i64 = 10_000;

/// What flapping is, for one watcher.
#[derive(Debug, Clone, PartialEq)]
struct Rule {
    active: bool,
    attempts: usize,
    window: f64,
    retry_in: Duration,
    /// `None`: for ever.
    max_retry: Option<u32>,
}

impl Rule {
    fn read(settings: &Settings) -> Result<Self, SettingError> {
        let attempts = settings.integer("attempts", 2)?.clamp(1, ATTEMPTS_LIMIT);
        Ok(Self {
            active: settings.flag("active", true)?,
            attempts: usize::try_from(attempts).unwrap_or(1),
            window: settings.number("window", 1.0)?,
            retry_in: settings.period("retry_in", 7.0)?,
            max_retry: u32::try_from(settings.integer("max_retry", 5)?).ok(),
        })
    }
}

/// What an end leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Nothing,
    /// Stop it, and start it after that time.
    Pause(Duration),
    /// Stop it.
    GiveUp,
}

/// One watcher's past.
#[derive(Debug, Default)]
struct History {
    /// Its own rule, once it was asked for.
    rule: Option<Rule>,
    ends: VecDeque<f64>,
    tries: u32,
}

impl History {
    fn ended(&mut self, rule: &Rule, check_delay: Duration, at: f64) -> Verdict {
        if !rule.active {
            return Verdict::Nothing;
        }
        self.ends.push_back(at);
        // More are left over when the rule has changed to fewer attempts.
        self.ends.drain(..self.ends.len().saturating_sub(rule.attempts));
        if self.ends.len() < rule.attempts {
            return Verdict::Nothing;
        }
        let span = self.ends.back().zip(self.ends.front()).map_or(0.0, |(last, first)| last - first);
        if span - check_delay.as_secs_f64() > rule.window {
            self.ends.pop_front();
            self.tries = 0;
            return Verdict::Nothing;
        }
        self.ends.clear();
        if rule.max_retry.is_some_and(|limit| self.tries >= limit) {
            self.tries = 0;
            return Verdict::GiveUp;
        }
        self.tries += 1;
        Verdict::Pause(rule.retry_in)
    }
}

/// Runs it.
pub async fn run(host: Host) -> PluginError {
    let Host { caller, mut events, settings, check_delay } = host;
    let rule = match Rule::read(&settings) {
        Ok(rule) => rule,
        Err(error) => return error.into(),
    };
    let mut plugin = Flapping { caller, settings, rule, check_delay, watchers: BTreeMap::new(), due: BTreeMap::new() };
    loop {
        match plugin.next(&mut events).await {
            Some(Heard::Event(event)) => plugin.follow(&event).await,
            Some(Heard::Connected) => plugin.forget_rules(),
            None => plugin.start_what_is_due().await,
        }
    }
}

struct Flapping {
    caller: Caller,
    settings: Settings,
    rule: Rule,
    check_delay: Duration,
    watchers: BTreeMap<String, History>,
    /// Watchers that are to be started again.
    due: BTreeMap<String, Instant>,
}

impl Flapping {
    /// The next event; `None` when a watcher is to be started.
    async fn next(&self, events: &mut Events) -> Option<Heard> {
        let due = self.due.values().min().copied();
        let alarm = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        };
        tokio::select! {
            heard = events.next() => Some(heard),
            () = alarm => None,
        }
    }

    async fn follow(&mut self, event: &WatcherEvent) {
        match event.kind.as_str() {
            "updated" => drop(self.watchers.get_mut(&event.watcher).map(|history| history.rule.take())),
            "remove" => drop((self.watchers.remove(&event.watcher), self.due.remove(&event.watcher))),
            "reap" => self.ended(&event.watcher, event.time().unwrap_or_default()).await,
            _ => {}
        }
    }

    fn forget_rules(&mut self) {
        self.watchers.values_mut().for_each(|history| history.rule = None);
    }

    async fn ended(&mut self, watcher: &str, at: f64) {
        let asked = self.watchers.get(watcher).and_then(|history| history.rule.clone());
        let rule = match asked {
            Some(rule) => rule,
            None => self.rule_of(watcher).await,
        };
        let history = self.watchers.entry(watcher.to_owned()).or_default();
        history.rule = Some(rule.clone());
        match history.ended(&rule, self.check_delay, at) {
            // Its processes end because it is stopped.
            _ if self.due.contains_key(watcher) => history.ends.clear(),
            Verdict::Nothing => {}
            Verdict::Pause(pause) => {
                tracing::info!("{watcher}: flapping detected: retry in {} s", pause.as_secs_f64());
                self.caller.order("stop", watcher).await;
                self.due.insert(watcher.to_owned(), Instant::now() + pause);
            }
            Verdict::GiveUp => {
                tracing::info!("{watcher}: flapping detected: reached max retry limit");
                self.caller.order("stop", watcher).await;
            }
        }
    }

    /// The plugin's rule with what the watcher's own options change.
    async fn rule_of(&self, watcher: &str) -> Rule {
        let reply = self.caller.call("options", json!({ "name": watcher })).await;
        let options = reply.ok().and_then(|reply| reply.get("options")?.as_object().cloned()).unwrap_or_default();
        Rule::read(&self.settings.overlaid(own(&options))).unwrap_or_else(|error| {
            tracing::warn!("{watcher}: flapping.{error}; the plugin's own settings count");
            self.rule.clone()
        })
    }

    async fn start_what_is_due(&mut self) {
        let now = Instant::now();
        let due: Vec<String> =
            self.due.iter().filter(|(_, at)| **at <= now).map(|(watcher, _)| watcher.clone()).collect();
        for watcher in due {
            self.due.remove(&watcher);
            self.caller.order("start", &watcher).await;
        }
    }
}

/// What a watcher's options `flapping.NAME` say about NAME.
fn own(options: &Object) -> impl Iterator<Item = (String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    options.iter().filter_map(move |(key, value)| Some((key.strip_prefix("flapping.")?.to_owned(), text(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        Rule::read(&Settings::parse(text)).unwrap()
    }

    #[test]
    fn a_crash_loop_is_paused_and_then_given_up() {
        let rule = rule("attempts:2:::window:1:::retry_in:3:::max_retry:1");
        let mut history = History::default();
        let mut verdicts = |at| history.ended(&rule, Duration::ZERO, at);
        assert_eq!(verdicts(1.0), Verdict::Nothing);
        assert_eq!(verdicts(1.5), Verdict::Pause(Duration::from_secs(3)));
        assert_eq!(verdicts(5.0), Verdict::Nothing);
        assert_eq!(verdicts(5.5), Verdict::GiveUp);
    }

    #[test]
    fn ends_far_apart_are_no_flapping() {
        let rule = rule("attempts:2:::window:1");
        let mut history = History { tries: 1, ..History::default() };
        assert_eq!(history.ended(&rule, Duration::ZERO, 1.0), Verdict::Nothing);
        assert_eq!(history.ended(&rule, Duration::ZERO, 9.0), Verdict::Nothing);
        assert_eq!(history.tries, 0);
        assert_eq!(history.ended(&rule, Duration::ZERO, 9.5), Verdict::Pause(Duration::from_secs(7)));
    }

    #[test]
    fn a_watcher_changes_what_it_names() {
        let settings = Settings::parse("attempts:2:::window:1:::retry_in:7:::max_retry:5");
        let read = |options: Value| Rule::read(&settings.overlaid(own(options.as_object().unwrap())));
        let all = json!({ "flapping.attempts": "3", "flapping.window": 20, "flapping.retry_in": "1.5",
            "flapping.max_retry": "-1", "flapping.active": "False", "max_retry": 9, "attempts": "8" });
        let retry_in = Duration::from_millis(1500);
        let expected = Rule { active: false, attempts: 3, window: 20.0, retry_in, max_retry: None };
        assert_eq!(read(all).unwrap(), expected);
        assert_eq!(read(json!({ "cmd": "x" })).unwrap(), rule("attempts:2:::window:1:::retry_in:7:::max_retry:5"));
        let error = read(json!({ "flapping.attempts": "often" })).unwrap_err();
        assert_eq!(error.to_string(), "attempts = often: expected an integer");
    }

    #[test]
    fn a_rule_that_asks_for_fewer_attempts_counts_the_last_ones() {
        let mut history = History::default();
        assert_eq!(history.ended(&rule("attempts:3:::window:1"), Duration::ZERO, 1.0), Verdict::Nothing);
        assert_eq!(history.ended(&rule("attempts:3:::window:1"), Duration::ZERO, 9.0), Verdict::Nothing);
        let pause = Verdict::Pause(Duration::from_secs(7));
        assert_eq!(history.ended(&rule("attempts:2:::window:1"), Duration::ZERO, 9.5), pause);
    }

    #[test]
    fn minus_one_never_gives_up_and_inactive_never_acts() {
        assert_eq!(rule("max_retry:-1").max_retry, None);
        let mut history = History::default();
        let rule = rule("active:False:::attempts:1");
        assert_eq!(history.ended(&rule, Duration::ZERO, 1.0), Verdict::Nothing);
    }
}
