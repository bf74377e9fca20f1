//! The service with a real Python: what one bad hook does to the others.

use super::*;
use crate::arbiter::Event;
use serde_json::{Map, json};
use std::time::Duration;
use tokio::sync::mpsc;

const HOOKS: &str = "\
import os, threading
def hangs(*_, **__): threading.Event().wait()
def exits(*_, **__): os._exit(4)
def fine(watcher, arbiter, hook_name, **kwargs): return watcher.name == 'a'
def exit_politely(*_, **__): raise SystemExit(5)
";

/// Longer than anything takes here.
const LONG: Duration = Duration::from_secs(60);

fn call(number: u64, name: &str, watcher: &str, limit: Duration, folder: &std::path::Path) -> HookCall {
    HookCall {
        ticket: HookTicket(number),
        point: Point::BeforeStart,
        target: format!("our_hooks.{name}"),
        generation: 0,
        limit,
        watcher: watcher.to_owned(),
        facts: Map::new(),
        snapshot: json!({"name": watcher, "options": {}, "processes": []}),
        python_path: Some(folder.display().to_string()),
        working_dir: None,
    }
}

async fn answer(events: &mut mpsc::Receiver<Event>) -> (u64, Result<bool, HookError>) {
    match tokio::time::timeout(LONG, events.recv()).await {
        Ok(Some(Event::HookDone { ticket, outcome })) => (ticket.0, outcome.map(|answer| answer.truth)),
        other => panic!("no answer but {other:?}"),
    }
}

#[tokio::test]
async fn what_waits_behind_a_bad_hook_is_called_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("our_hooks.py"), HOOKS).unwrap();
    let (sender, mut events) = mpsc::channel(16);
    let mut service = HookService::new(sender);
    let short = Duration::from_millis(1500);
    service.run(call(1, "hangs", "a", short, folder.path()));
    service.run(call(2, "fine", "a", LONG, folder.path()));
    assert_eq!(answer(&mut events).await, (1, Err(HookError::TimedOut { limit: short })));
    assert_eq!(answer(&mut events).await, (2, Ok(true)));
    service.run(call(3, "exits", "a", LONG, folder.path()));
    service.run(call(4, "fine", "a", LONG, folder.path()));
    let (number, outcome) = answer(&mut events).await;
    assert_eq!(number, 3);
    assert!(matches!(&outcome, Err(HookError::WorkerEnded(status)) if status.contains('4')), "{outcome:?}");
    assert_eq!(answer(&mut events).await, (4, Ok(true)));
    service.run(call(5, "exit_politely", "b", LONG, folder.path()));
    let (_, outcome) = answer(&mut events).await;
    assert!(matches!(outcome, Err(HookError::Raised { message, .. }) if message == "5"));
    service.run(call(6, "fine", "b", LONG, folder.path()));
    assert_eq!(answer(&mut events).await, (6, Ok(false)));
    service.finish().await;
}

#[test]
fn the_prefix_chooses_the_runner() {
    assert_eq!(runner("exec:/bin/check -v"), (RunnerKind::Program, "/bin/check -v"));
    assert_eq!(runner("my.hooks.check"), (RunnerKind::Python, "my.hooks.check"));
}
