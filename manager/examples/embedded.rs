//! circusd inside of a program: `embedded FILE` runs the watchers of a configuration, asks for their status, adds a process to
//! the first of them, shows the event, and ends with the next line of its input. docs/manual/library.md walks through it.

use ringmaster_manager::embedded::Manager;
use serde_json::{Value, json};
use std::error::Error;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("expected the path of a configuration")?;
    let manager = Manager::from_file(path)?;
    for problem in manager.problems() {
        eprintln!("{problem}");
    }
    let handle = manager.start()?;

    let list = handle.call("list", json!({}))?;
    let first = list.get("watchers").and_then(|names| names.get(0)).and_then(Value::as_str).ok_or("no watchers")?;
    let spawned = handle.subscribe(&format!("watcher.{first}.spawn"))?;
    handle.call("incr", json!({ "name": first, "waiting": true }))?;
    if let Some(event) = spawned.next(Duration::from_secs(10))? {
        println!("{} {}", event.topic, String::from_utf8_lossy(&event.payload));
    }
    let status = handle.call("status", json!({}))?;
    println!("{}", Value::Object(status));
    if let Err(refusal) = handle.call("upgrade", json!({})) {
        println!("{refusal}");
    }
    std::io::stdin().read_line(&mut String::new())?;
    handle.quit()?;
    Ok(())
}
