//! Figures for monitoring systems: what they are called, and how they are written for Prometheus.
//!
//! [`METRICS`] is the one list: a name that has no row cannot be written, and the manual's page is made from it.
//! [`render`] is a pure function of [`Facts`], which the shell puts together: what the arbiter knows ([`Snapshot`]), what the
//! core says of itself, and what the system says of processes. Nothing is read, counted or remembered here; counters are kept
//! where things happen.

mod facts;
mod histogram;
mod render;
mod table;
#[cfg(test)]
mod tests;

pub use facts::{Core, CpuMarks, Facts, Snapshot, WatcherFacts};
pub use histogram::{BOUNDS, Histogram};
pub use render::render;
pub use table::{METRICS, Metric, MetricKind, Unit};

/// How figures are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Prometheus's text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Whose figures are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Watchers: as many series as the configuration has.
    Watchers,
    /// Their processes as well, by their number within the watcher.
    Processes,
}
