//! The dashboard and the alert rules against the table of figures: they ask for what there is.

use super::report;
use anyhow::{Context, Result, ensure};
use regex::Regex;
use ringmaster_manager::metrics::{METRICS, MetricKind};
use ringmaster_tests::program::repository;
use ringmaster_tests::tool;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

const DASHBOARD: &str = "docs/examples/grafana/ringmaster.json";
const RULES: &str = "docs/examples/prometheus/alerts.yml";
const TRIAL: &str = "tests/data/metrics/alerts_test.yml";

/// Labels that Prometheus adds by itself, or a histogram has.
const EVERYWHERE: &[&str] = &["job", "instance"];

/// Series as queries name them, with their labels.
fn series() -> BTreeMap<String, Vec<&'static str>> {
    let mut series = BTreeMap::from([("up".to_owned(), Vec::new())]);
    for metric in METRICS {
        let labels = metric.labels.to_vec();
        if metric.kind == MetricKind::Histogram {
            for suffix in ["_sum", "_count"] {
                series.insert(format!("{}{suffix}", metric.name), labels.clone());
            }
            series.insert(format!("{}_bucket", metric.name), [labels.as_slice(), &["le"]].concat());
        } else {
            series.insert(metric.name.to_owned(), labels);
        }
    }
    series
}

/// What a query asks for that there is not.
fn complaints(place: &str, query: &str) -> Result<Vec<String>> {
    let series = series();
    let name = Regex::new(r"\b((?:ringmaster|process)_[a-z_]+|up)\b(\{[^}]*\})?")?;
    let label = Regex::new(r#"([a-z_]+)(?:=~|!~|!=|=)"#)?;
    let mut found = Vec::new();
    for captures in name.captures_iter(query) {
        let Some(labels) = series.get(&captures[1]) else {
            found.push(format!("{place}: there is no {}", &captures[1]));
            continue;
        };
        for asked in label.captures_iter(captures.get(2).map_or("", |labels| labels.as_str())) {
            if !labels.contains(&&asked[1]) && !EVERYWHERE.contains(&&asked[1]) {
                found.push(format!("{place}: {} has no label {}", &captures[1], &asked[1]));
            }
        }
    }
    if !name.is_match(query) {
        found.push(format!("{place}: {query} asks for nothing of ours"));
    }
    Ok(found)
}

/// Every text under these keys.
fn texts(value: &Value, keys: &[&str], found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(text) if keys.contains(&key.as_str()) => found.push(text.to_owned()),
                    Some(_) | None => texts(value, keys, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| texts(value, keys, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_dashboard_asks_for_what_there_is() -> Result<()> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(repository().join(DASHBOARD))?)?;
    let mut queries = Vec::new();
    texts(&dashboard, &["expr", "definition"], &mut queries);
    ensure!(queries.len() > 20, "only {} queries", queries.len());
    let found: Result<Vec<_>> = queries.iter().map(|query| complaints(DASHBOARD, query)).collect();
    report("the dashboard", &found?.concat())
}

#[test]
fn the_alert_rules_ask_for_what_there_is() -> Result<()> {
    let rules = fs::read_to_string(repository().join(RULES))?;
    let queries: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    ensure!(queries.len() == rules.matches("- alert: ").count(), "one query a rule, on one line");
    let found: Result<Vec<_>> = queries.iter().map(|query| complaints(RULES, query)).collect();
    report("the alert rules", &found?.concat())
}

#[test]
fn a_query_for_what_is_not_there_is_found() -> Result<()> {
    for query in ["ringmaster_nonsense", "ringmaster_core_reachable{watcher=\"a\"} == 0", "1 + 1"] {
        ensure!(complaints("here", query)?.len() == 1, "{query}");
    }
    ensure!(complaints("here", "rate(ringmaster_watcher_starts_total{watcher=~\"a\"}[5m])")?.is_empty());
    Ok(())
}

/// Prometheus's own checker reads the rules, and tries them on figures that tell of trouble.
#[test]
fn the_alert_rules_are_raised_when_they_should_be() -> Result<()> {
    let Some(promtool) = tool::find("promtool", "prometheus")? else {
        return Ok(());
    };
    let rules = repository().join(RULES);
    let trial = fs::read_to_string(repository().join(TRIAL)).context(TRIAL)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("trial.yml");
    fs::write(&path, trial.replace("- RULES", &format!("- {}", rules.display())))?;
    for arguments in [["check", "rules"], ["test", "rules"]] {
        let file = if arguments == ["check", "rules"] { &rules } else { &path };
        let output = Command::new(&promtool).args(arguments).arg(file).output()?;
        let words = [output.stdout, output.stderr].concat();
        ensure!(output.status.success(), "promtool {arguments:?}: {}", String::from_utf8_lossy(&words));
    }
    Ok(())
}
