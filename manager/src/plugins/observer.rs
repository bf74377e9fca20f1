//! What http_observer and redis_observer have in common: a service that fails its check has its watcher restarted.

use super::statsd::Statsd;
use crate::client::Caller;
use serde_json::{Value, json};

/// The watcher of a service that is checked, when there is one to restart.
pub struct Remedy {
    caller: Caller,
    watcher: Option<String>,
}

impl Remedy {
    /// `watcher` as the setting names it.
    pub fn new(caller: Caller, watcher: Option<&str>) -> Self {
        Self { caller, watcher: watcher.map(str::to_owned) }
    }

    /// Restarts it and counts that in `bucket`. A watcher that is stopped stays so, and one that is just starting or stopping, for
    /// one because of the last check, is left in peace.
    pub async fn restart(&self, statsd: &mut Statsd, bucket: &str) {
        let Some(watcher) = &self.watcher else { return };
        let reply = match self.caller.call("status", json!({ "name": watcher })).await {
            Ok(reply) => reply,
            Err(error) => return tracing::warn!("{watcher}: {error}"),
        };
        let status = reply.get("status").and_then(Value::as_str).unwrap_or_default();
        if status != "active" {
            return tracing::info!("{watcher} is {status} and is not restarted");
        }
        self.caller.order("restart", watcher).await;
        statsd.count(bucket).await;
    }
}
