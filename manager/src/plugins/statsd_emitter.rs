//! The plugin statsd: every event of every watcher is counted by a statsd server (spec j).

use super::statsd::{Statsd, part};
use super::{Host, PluginError};
use crate::client::{Heard, WatcherEvent};

/// Runs it.
pub async fn run(host: Host) -> PluginError {
    let Host { mut events, settings, .. } = host;
    let mut statsd = match Statsd::new(&settings, "app") {
        Ok(statsd) => statsd,
        Err(error) => return error,
    };
    loop {
        match events.next().await {
            Heard::Event(event) => statsd.count(&bucket(&event)).await,
            // What happened meanwhile is not known, and a counter has no use for a guess.
            Heard::Connected => {}
        }
    }
}

fn bucket(event: &WatcherEvent) -> String {
    format!("{}.{}", part(&event.watcher), part(&event.kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_is_watcher_and_event() {
        let bucket_of = |topic: &[u8]| bucket(&WatcherEvent::read(topic, b"{}").unwrap());
        assert_eq!(bucket_of(b"watcher.my_app.spawn"), "my_app.spawn");
        assert_eq!(bucket_of(b"watcher.a.b.kill"), "a-b.kill");
        assert_eq!(bucket_of(b"watcher.plugin:dog.reap"), "plugin_dog.reap");
    }
}
