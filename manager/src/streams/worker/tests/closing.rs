//! A watcher stops while output of its processes is not written yet.

use super::*;

fn close() -> Order {
    Order::CloseWatcher { watcher: WatcherKey::new("w") }
}

fn detach(process: &FakeProcess) -> Order {
    Order::Detach { process: process.id() }
}

/// The disk is full when the watcher stops; there is room a minute later.
#[test]
fn output_that_waits_for_a_disk_is_written_after_the_stop() {
    let mut rig = Rig::new();
    std::os::unix::fs::symlink("/dev/full", rig.path("log")).unwrap();
    rig.one_file("log", &[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"first\n");
    rig.write(&mut process, Stdout, 1, b"last words\n");
    rig.orders([process.ended()]);
    rig.orders([close()]);
    let others = rig.settle(&mut process);
    assert!(matches!(others[..], [ScribeReport::Trouble(_)]), "{others:?}");
    assert!(process.room(Stdout) < CAPACITY, "thrown away");
    fs::remove_file(rig.path("log")).unwrap();
    rig.pass(Duration::from_secs(60));
    assert_eq!(rig.text("log"), "first\nlast words\n");
    let others = rig.settle(&mut process);
    assert!(matches!(others[..], [ScribeReport::Cleared { .. }, ScribeReport::Drained { .. }]), "{others:?}");
    assert_eq!(rig.worker.sinks.len(), 1, "closed before the end");
    rig.orders([detach(&process)]);
    assert!(rig.worker.sinks.is_empty() && rig.worker.watchers.is_empty() && rig.worker.closing.is_empty());
}

#[test]
fn a_process_whose_file_is_still_on_its_way_keeps_its_streams() {
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let mut process = FakeProcess::new(1);
    process.write(Stdout, 1, b"short life\n");
    rig.orders([Order::Expect { process: process.id(), watcher: WatcherKey::new("w") }]);
    rig.orders([close(), process.ended()]);
    rig.orders([process.attach()]);
    assert_eq!(rig.text("log"), "short life\n");
    rig.orders([detach(&process)]);
    assert!(rig.worker.sinks.is_empty() && rig.worker.closing.is_empty());
}

#[test]
fn an_expected_process_that_never_comes_is_let_go_by_its_detachment() {
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let process = FakeProcess::new(1);
    let watcher = WatcherKey::new("w");
    let process_id = process.id();
    rig.orders([Order::Expect { process: process_id, watcher }, close()]);
    assert_eq!(rig.worker.sinks.len(), 1);
    rig.orders([detach(&process)]);
    assert!(rig.worker.sinks.is_empty() && rig.worker.early.is_empty());
}

#[test]
fn streams_that_are_set_again_stay() {
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.orders([close()]);
    rig.one_file("other", &[]);
    rig.orders([detach(&process)]);
    let mut next = FakeProcess::new(2);
    rig.orders([next.attach()]);
    rig.write(&mut next, Stdout, 1, b"here\n");
    rig.write(&mut process, Stdout, 1, b"gone\n");
    assert_eq!(rig.text("other"), "here\n");
    assert!(!rig.worker.sinks.is_empty() && rig.worker.closing.is_empty());
}
