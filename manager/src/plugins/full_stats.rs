//! The plugin full_stats: every `loop_rate` seconds what the processes of each watcher use, as gauges of a statsd server (spec j).
//! Watchers of plugins are left out.

use super::statsd::{Reading, Statsd, part};
use super::usage::Usage;
use super::{Host, PluginError, ticks};
use crate::client::Object;
use serde_json::{Value, json};

/// Runs it.
pub async fn run(host: Host) -> PluginError {
    let Host { caller, settings, .. } = host;
    let mut statsd = match Statsd::new(&settings, "app") {
        Ok(statsd) => statsd,
        Err(error) => return error,
    };
    let mut ticks = match settings.period("loop_rate", 60.0) {
        Ok(period) => ticks(period),
        Err(error) => return error.into(),
    };
    loop {
        ticks.tick().await;
        match caller.call("stats", json!({})).await {
            Ok(reply) => {
                for (bucket, reading) in gauges(&reply) {
                    statsd.send(&bucket, &reading).await;
                }
            }
            Err(error) => {
                tracing::warn!("{error}");
                statsd.count("_stats.error").await;
            }
        }
    }
}

/// What an answer to `stats` says, watcher by watcher.
fn gauges(reply: &Object) -> Vec<(String, Reading)> {
    let watchers = reply.get("infos").and_then(Value::as_object).into_iter().flatten();
    watchers
        .filter(|(name, _)| !name.starts_with("plugin:"))
        .filter_map(|(name, infos)| Some((name, infos.as_object()?)))
        .flat_map(|(name, infos)| of_watcher(&part(name), infos))
        .collect()
}

fn of_watcher(name: &str, infos: &Object) -> Vec<(String, Reading)> {
    // An ended process is a sentence instead of an object.
    let used: Vec<Usage> = infos.values().filter_map(Usage::read).collect();
    let sum = |number: fn(&Usage) -> f64| used.iter().map(number).sum::<f64>();
    let max = |number: fn(&Usage) -> f64| used.iter().map(number).fold(0.0, f64::max);
    let whole = |bytes: f64| Reading::Gauge(format!("{bytes:.0}"));
    let mut gauges =
        vec![("watchers_num", Reading::Gauge(infos.values().filter(|info| info.is_object()).count().to_string()))];
    if !used.is_empty() {
        gauges.extend([
            ("cpu_max", Reading::gauge(max(|usage| usage.cpu))),
            ("cpu_sum", Reading::gauge(sum(|usage| usage.cpu))),
            ("mem_pct_max", Reading::gauge(max(|usage| usage.percent))),
            ("mem_pct_sum", Reading::gauge(sum(|usage| usage.percent))),
            ("mem_max", whole(max(|usage| usage.bytes))),
            ("mem_sum", whole(sum(|usage| usage.bytes))),
        ]);
    }
    gauges.into_iter().map(|(gauge, reading)| (format!("_stats.{name}.{gauge}"), reading)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_has_its_gauges_and_a_plugin_none() {
        let info = |size: &str, cpu: f64| json!({ "mem_info1": size, "cpu": cpu, "mem": 0.25 });
        let reply = json!({ "infos": {
            "My App": { "7": info("1.50M", 20.0), "8": info("2.00M", 5.5), "9": "No such process (stopped?)" },
            "plugin:full": { "10": info("1.00M", 1.0) },
            "idle": {},
        }});
        let gauges = gauges(reply.as_object().unwrap());
        let text: Vec<String> = gauges.iter().map(|(bucket, reading)| format!("{bucket}:{reading}")).collect();
        assert_eq!(
            text,
            [
                "_stats.my_app.watchers_num:2|g",
                "_stats.my_app.cpu_max:20.0|g",
                "_stats.my_app.cpu_sum:25.5|g",
                "_stats.my_app.mem_pct_max:0.25|g",
                "_stats.my_app.mem_pct_sum:0.5|g",
                "_stats.my_app.mem_max:2097152|g",
                "_stats.my_app.mem_sum:3670016|g",
                "_stats.idle.watchers_num:0|g",
            ]
        );
    }
}
