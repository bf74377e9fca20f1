//! The plugin redis_observer: a Redis is asked for its INFO every `loop_rate` seconds; its numbers go to a statsd server, and when it
//! does not answer, a watcher is restarted (spec j).

use super::observer::Remedy;
use super::redis::{self, Server};
use super::statsd::{Reading, Statsd};
use super::{Host, PluginError, SettingError, Settings, ticks};
use std::time::Duration;

/// What the plugin is given without a setting `redis_url`.
const REDIS_URL: &str = "redis://localhost:6379/0";

/// The numbers of INFO that are measured: those that Circus measures. The second name is the one of Redis since 5.0.
const GAUGES: &[(&str, Option<&str>)] = &[
    ("pubsub_channels", None),
    ("connected_slaves", None),
    ("lru_clock", None),
    ("connected_clients", None),
    ("keyspace_misses", None),
    ("used_memory", None),
    ("used_memory_peak", None),
    ("total_commands_processed", None),
    ("used_memory_rss", None),
    ("total_connections_received", None),
    ("pubsub_patterns", None),
    ("used_cpu_sys", None),
    ("used_cpu_sys_children", None),
    ("blocked_clients", None),
    ("used_cpu_user", None),
    ("client_biggest_input_buf", Some("client_recent_max_input_buffer")),
    ("mem_fragmentation_ratio", None),
    ("expired_keys", None),
    ("evicted_keys", None),
    ("client_longest_output_list", Some("client_recent_max_output_buffer")),
    ("uptime_in_seconds", None),
    ("keyspace_hits", None),
];

/// What is asked, and how.
struct Check {
    server: Server,
    limit: Duration,
    period: Duration,
}

/// Runs it.
pub async fn run(host: Host) -> PluginError {
    let Host { caller, settings, .. } = host;
    let mut statsd = match Statsd::new(&settings, "redis_observer") {
        Ok(statsd) => statsd,
        Err(error) => return error,
    };
    let Check { server, limit, period } = match check(&settings) {
        Ok(check) => check,
        Err(error) => return error.into(),
    };
    let remedy = Remedy::new(caller, settings.text("restart_on_timeout"));
    let mut ticks = ticks(period);
    loop {
        ticks.tick().await;
        match redis::info(&server, limit).await {
            Ok(info) => {
                for (name, number) in numbers(&info) {
                    statsd.send(&format!("redis_stats.{name}"), &Reading::Gauge(number.to_owned())).await;
                }
            }
            Err(error) => {
                tracing::warn!("{server}: {error}");
                statsd.count("redis_stats.error").await;
                // A server that refuses lives, and would refuse again.
                if !error.is_an_answer() {
                    remedy.restart(&mut statsd, "redis_stats.restart_on_error").await;
                }
            }
        }
    }
}

fn check(settings: &Settings) -> Result<Check, SettingError> {
    let expected = "redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] or unix://PATH; rediss is not supported";
    let url = settings.read("redis_url", expected, Server::parse)?;
    let value = || SettingError::Value { key: "redis_url".to_owned(), value: REDIS_URL.to_owned(), expected };
    Ok(Check {
        server: url.or_else(|| Server::parse(REDIS_URL)).ok_or_else(value)?,
        limit: settings.period("timeout", 5.0)?,
        period: settings.period("loop_rate", 60.0)?,
    })
}

/// The numbers that are measured, as far as this server has them.
fn numbers(info: &str) -> impl Iterator<Item = (&'static str, &str)> {
    let value = move |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).filter(|value| value.parse().is_ok_and(f64::is_finite))
    };
    GAUGES.iter().filter_map(move |(name, newer)| Some((*name, value(name).or_else(|| value((*newer)?))?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_circus_measures() {
        let info = "# Clients\r\nconnected_clients:1\r\nclient_recent_max_input_buffer:20480\r\n\r\n# Memory\r\n\
                    used_memory:916944\r\nused_memory_human:895.45K\r\nmem_fragmentation_ratio:nan\r\n\
                    used_cpu_sys:0.012062\r\nuptime_in_days:1\r\n";
        let expected = [
            ("connected_clients", "1"),
            ("used_memory", "916944"),
            ("used_cpu_sys", "0.012062"),
            ("client_biggest_input_buf", "20480"),
        ];
        assert_eq!(numbers(info).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn without_settings_the_local_server_is_asked() {
        let check = check(&Settings::default()).unwrap();
        assert_eq!(check.server.to_string(), "redis://localhost:6379/0");
        assert_eq!((check.limit, check.period), (Duration::from_secs(5), Duration::from_secs(60)));
    }

    #[test]
    fn tls_is_refused_with_its_reason() {
        let error = check(&Settings::parse("redis_url:rediss://h")).err().unwrap().to_string();
        assert!(error.starts_with("redis_url = rediss://h: expected redis://"), "{error}");
    }
}
