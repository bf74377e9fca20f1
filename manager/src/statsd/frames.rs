//! From samples to what subscribers read: topics and payloads of spec e. Pure.

use super::backlog::Reads;
use super::roster::Member;
use crate::sampling::ProcessInfo;
use serde_json::{Value, json};

/// A topic and its payload.
pub type Frame = (String, Value);

/// One frame for each process, and their sum. Nothing for a watcher without processes.
pub fn watcher(name: &str, seen: &[(Member, ProcessInfo)]) -> Vec<Frame> {
    if seen.is_empty() {
        return Vec::new();
    }
    let mut frames: Vec<Frame> = seen.iter().map(|(member, info)| process(name, member, info)).collect();
    let pids: Vec<i32> = seen.iter().map(|(member, _)| member.pid).collect();
    let column = |value: fn(&crate::sampling::Usage) -> f64| -> Option<Vec<f64>> {
        seen.iter().map(|(_, info)| info.usage.as_ref().map(value)).collect()
    };
    let sum = |values: Vec<f64>| values.into_iter().sum::<f64>();
    let count = f64::from(u32::try_from(seen.len()).unwrap_or(u32::MAX));
    let cpu = or_unknown(column(|usage| usage.cpu_percent).map(|values| sum(values) / count));
    let mem = or_unknown(column(|usage| usage.memory_percent).map(sum));
    let age = or_unknown(column(|usage| usage.age).map(|ages| ages.into_iter().fold(0.0, f64::max)));
    frames.push((format!("stat.{name}"), json!({ "pid": pids, "cpu": cpu, "mem": mem, "age": age })));
    frames
}

fn process(watcher: &str, member: &Member, info: &ProcessInfo) -> Frame {
    let mut fields = info.to_object();
    fields.insert("subtopic".to_owned(), json!(member.pid));
    fields.insert("name".to_owned(), json!(member.name));
    (format!("stat.{watcher}.{}", member.pid), Value::Object(fields))
}

/// What may not be looked at makes its sum unknown.
fn or_unknown(value: Option<f64>) -> Value {
    value.map_or_else(|| Value::from("N/A"), Value::from)
}

/// One frame for each socket, and their sum.
pub fn sockets(reads: &[Reads]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    for socket in reads {
        let payload =
            json!({ "fd": socket.fd, "subtopic": socket.fd, "reads": socket.reads, "address": socket.address });
        frames.push((format!("stat.sockets.{}", socket.fd), payload));
    }
    if !reads.is_empty() {
        let addresses: Vec<&str> = reads.iter().map(|socket| socket.address.as_str()).collect();
        let total: u32 = reads.iter().map(|socket| socket.reads).sum();
        frames.push(("stat.sockets".to_owned(), json!({ "addresses": addresses, "reads": total })));
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Usage;
    use std::time::Duration;

    fn info(pid: i32, cpu_percent: f64) -> (Member, ProcessInfo) {
        let usage = Usage {
            resident: 1024,
            virtual_memory: 2048,
            cpu_percent,
            memory_percent: 0.25,
            cpu_time: Duration::ZERO,
            nice: 0,
            create_time: 1.0,
            age: f64::from(pid),
        };
        let info = ProcessInfo {
            pid,
            usage: Some(usage),
            username: None,
            cmdline: None,
            children: Vec::new(),
            children_left_out: 0,
        };
        (Member { pid, name: None }, info)
    }

    #[test]
    fn a_watcher_is_its_processes_and_their_sum() {
        let frames = watcher("web", &[info(3, 10.0), info(4, 20.0)]);
        let topics: Vec<&str> = frames.iter().map(|(topic, _)| topic.as_str()).collect();
        assert_eq!(topics, ["stat.web.3", "stat.web.4", "stat.web"]);
        assert_eq!(frames[2].1, json!({ "pid": [3, 4], "cpu": 15.0, "mem": 0.5, "age": 4.0 }));
        assert_eq!((&frames[0].1["subtopic"], &frames[0].1["name"]), (&json!(3), &Value::Null));
        assert_eq!(watcher("web", &[]), []);
    }

    #[test]
    fn what_is_not_known_spoils_the_sum() {
        let (member, hidden) = info(5, 0.0);
        let frames = watcher("web", &[info(3, 10.0), (member, ProcessInfo { usage: None, ..hidden })]);
        assert_eq!(frames[2].1["cpu"], json!("N/A"));
    }

    #[test]
    fn sockets_have_their_sum() {
        let socket = |fd, reads| Reads { fd, address: format!("h:{fd}"), reads };
        let frames = sockets(&[socket(7, 2), socket(8, 3)]);
        assert_eq!(frames[0].1, json!({ "fd": 7, "subtopic": 7, "reads": 2, "address": "h:7" }));
        assert_eq!(frames[2], ("stat.sockets".to_owned(), json!({ "addresses": ["h:7", "h:8"], "reads": 5 })));
    }
}
