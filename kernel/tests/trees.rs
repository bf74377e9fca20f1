//! Whom a signal to a tree reaches, also when its root has ended.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    reason = "a test ends by panicking"
)]

mod rig;

use rig::{Client, Rig, shell, text};
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::Stream;

/// Starts a process that prints the pid of a descendant, and waits for that line.
fn with_descendant(client: &mut Client, name: &str, script: &str) -> (ProcessInfo, i32) {
    let process = client.spawn(shell(name, script));
    let mut output = client.open(process.id);
    let pid = rig::eventually("it tells the pid", || {
        let info = client.list().into_iter().find(|info| info.id == process.id).unwrap();
        output.read_to(Stream::Stdout, info.streams[0].head);
        let said = text(&output.bytes(Stream::Stdout));
        said.strip_suffix('\n').and_then(|line| line.parse::<i32>().ok()).ok_or(said)
    });
    (process, pid)
}

/// One that has left the session and the pipes of its parent.
const ESCAPE: &str = "setsid sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1'";

fn gone(pid: i32) {
    rig::eventually("it is gone", || (!rig::lives(pid)).then_some(()).ok_or(pid));
}

#[test]
fn one_that_left_session_and_pipes_is_found_when_its_parent_has_ended() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let (bystander, other) = with_descendant(&mut client, "other", &format!("{ESCAPE} & wait"));
    let (process, escaped) = with_descendant(&mut client, "main", &format!("{ESCAPE} & wait"));
    assert_eq!(client.signal(process.id, 15, Target::Main), [process.pid]);
    client.wait_exit(process.id);
    assert!(rig::lives(escaped));
    assert_eq!(client.signal(process.id, 9, Target::Tree), [escaped]);
    gone(escaped);
    assert!(rig::lives(other) && rig::lives(bystander.pid));
    assert!(client.signal(process.id, 9, Target::Tree).is_empty());
}

#[test]
fn an_orphan_is_found_by_its_session() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let script = "sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1' & exec sleep 1000";
    let (process, orphan) = with_descendant(&mut client, "main", script);
    // Not by a signal of ours: nothing was remembered.
    let pid = rustix::process::Pid::from_raw(process.pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    client.wait_exit(process.id);
    assert_eq!(client.signal(process.id, 0, Target::Tree), [orphan]);
    assert_eq!(client.signal(process.id, 9, Target::Tree), [orphan]);
    gone(orphan);
}

#[test]
fn children_and_descendants_are_told_apart() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let script = "sh -c 'sleep 1000 & echo $!; wait' & wait";
    let (process, grandchild) = with_descendant(&mut client, "main", script);
    let children = client.signal(process.id, 0, Target::Children);
    assert!(children.len() == 1 && !children.contains(&grandchild));
    let mut descendants = client.signal(process.id, 0, Target::Descendants);
    descendants.sort_unstable();
    let mut expected = vec![children[0], grandchild];
    expected.sort_unstable();
    assert_eq!(descendants, expected);
    assert_eq!(client.signal(process.id, 0, Target::Descendant(grandchild)), [grandchild]);
    let mut tree = client.signal(process.id, 9, Target::Tree);
    tree.sort_unstable();
    expected.push(process.pid);
    expected.sort_unstable();
    assert_eq!(tree, expected);
    gone(grandchild);
}

#[test]
fn the_tree_of_a_process_that_a_former_core_made_is_found_elsewhere() {
    let mut rig = Rig::new();
    let mut client = rig.manager();
    let script = "sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1' & exec sleep 1000";
    let (process, orphan) = with_descendant(&mut client, "main", script);
    rig.kill();
    rig.start();
    let mut client = rig.manager();
    assert_eq!(client.signal(process.id, 15, Target::Main), [process.pid]);
    client.wait_exit(process.id);
    assert_eq!(client.signal(process.id, 9, Target::Tree), [orphan]);
    gone(orphan);
}
