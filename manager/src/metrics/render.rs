//! Facts to text, in either format (Prometheus's "Exposition formats" 0.0.4; OpenMetrics 1.0).
//!
//! They differ in the name of a counter's family, in units, in how bounds of buckets are written, and in the mark of the end.

use super::table::{METRICS, Metric, MetricKind};
use super::{Facts, Format, Histogram};
use std::fmt::Write as _;
use std::time::Duration;

/// A value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Whole(u64),
    Fraction(f64),
}

impl Number {
    pub(super) fn flag(flag: bool) -> Self {
        Self::Whole(u64::from(flag))
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<u32> for Number {
    fn from(number: u32) -> Self {
        Self::Whole(number.into())
    }
}

impl From<usize> for Number {
    fn from(number: usize) -> Self {
        Self::Whole(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self::Fraction(number)
    }
}

impl From<Duration> for Number {
    fn from(time: Duration) -> Self {
        Self::Fraction(time.as_secs_f64())
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(number) => write!(f, "{number}"),
            Self::Fraction(number) => write!(f, "{number}"),
        }
    }
}

/// The whole page.
pub fn render(facts: &Facts, format: Format) -> String {
    let mut text = String::new();
    for metric in METRICS {
        let mut samples = Samples { text: &mut text, metric, format, empty: true };
        (metric.samples)(facts, &mut samples);
    }
    match format {
        Format::Text => {}
        Format::OpenMetrics => text.push_str("# EOF\n"),
    }
    text
}

/// Takes the values of one figure. Its family is introduced with the first.
pub(super) struct Samples<'a> {
    text: &'a mut String,
    metric: &'static Metric,
    format: Format,
    empty: bool,
}

impl Samples<'_> {
    /// One value; the labels in the order of the row.
    pub(super) fn put(&mut self, labels: &[&str], value: impl Into<Number>) {
        self.introduce();
        self.line("", labels, None, value.into());
    }

    /// One histogram.
    pub(super) fn histogram(&mut self, labels: &[&str], histogram: &Histogram) {
        self.introduce();
        for (bound, count) in histogram.cumulative() {
            let bound = match self.format {
                Format::Text => bound.to_string(),
                // With a point, so that every writer writes the same.
                Format::OpenMetrics => format!("{bound:?}"),
            };
            self.line("_bucket", labels, Some(&bound), count.into());
        }
        self.line("_bucket", labels, Some("+Inf"), histogram.count().into());
        self.line("_sum", labels, None, histogram.sum().into());
        self.line("_count", labels, None, histogram.count().into());
    }

    fn introduce(&mut self) {
        if !std::mem::replace(&mut self.empty, false) {
            return;
        }
        let Metric { name, kind, unit, help, .. } = self.metric;
        let (family, kind) = match (self.format, kind) {
            (Format::Text, MetricKind::Counter) => (*name, "counter"),
            (Format::OpenMetrics, MetricKind::Counter) => (name.strip_suffix("_total").unwrap_or(name), "counter"),
            (Format::Text, MetricKind::Info) | (_, MetricKind::Gauge) => (*name, "gauge"),
            (Format::OpenMetrics, MetricKind::Info) => (name.strip_suffix("_info").unwrap_or(name), "info"),
            (_, MetricKind::Histogram) => (*name, "histogram"),
        };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.text, "# HELP {family} {}", escaped(help, &[]));
        let _ = writeln!(self.text, "# TYPE {family} {kind}");
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit.name()) {
            let _ = writeln!(self.text, "# UNIT {family} {unit}");
        }
    }

    fn line(&mut self, suffix: &str, values: &[&str], bound: Option<&str>, value: Number) {
        let named = self.metric.labels.iter().copied().zip(values.iter().copied());
        let labels: Vec<String> = named
            .chain(bound.map(|bound| ("le", bound)))
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value, &['"'])))
            .collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{}{suffix}{labels} {value}", self.metric.name);
    }
}

/// Backslashes and newlines, and what else ends the text, behind a backslash.
fn escaped(text: &str, more: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            '\\' => out.push_str("\\\\"),
            character if more.contains(&character) => out.extend(['\\', character]),
            character => out.push(character),
        }
    }
    out
}
