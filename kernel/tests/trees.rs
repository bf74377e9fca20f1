//! Whom a signal to a tree reaches, also when its root has ended: with cgroups, and without.
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

use rig::{Client, Rig, program, shell, with_descendant};
use ringmaster_protocol::message::*;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// One that has left the session and the pipes of its parent.
const ESCAPE: &str = "setsid sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1'";

/// One that has left session, pipes and parent, and says its pid in a file; its starter sleeps on, all by itself.
fn daemon(directory: &Path) -> (String, impl Fn() -> i32 + use<>) {
    let file = directory.join("daemon");
    let script = format!(
        "(setsid sh -c 'echo $$ >{0}; exec sleep 1000' </dev/null >/dev/null 2>&1 &); exec sleep 1000",
        file.display()
    );
    (script, move || {
        rig::eventually("the daemon tells its pid", || {
            let said = std::fs::read_to_string(&file).unwrap_or_default();
            said.trim().parse::<i32>().map_err(|_unreadable| said.clone())
        })
    })
}

fn gone(pid: i32) {
    rig::eventually("it is gone", || (!rig::lives(pid)).then_some(()).ok_or(pid));
}

fn has_groups(client: &mut Client) -> bool {
    let holds = client.status().guarantees.iter().any(|row| row.name == "trees-are-killed-whole" && row.holds);
    if !holds {
        eprintln!("this core has no cgroups: that part is skipped");
    }
    holds
}

fn forget(client: &mut Client, process: ProcessId) {
    client.ok(Forget { process, ext: vec![] });
}

fn kill_unseen(pid: i32) {
    // Not by a signal of the core's: nothing is remembered.
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

const BOTH: [&str; 2] = ["on", "off"];

#[test]
fn one_that_left_session_and_pipes_is_found_when_its_parent_has_ended() {
    for groups in BOTH {
        let rig = Rig::with_groups(groups);
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
}

#[test]
fn an_orphan_is_found_by_its_session() {
    for groups in BOTH {
        let rig = Rig::with_groups(groups);
        let mut client = rig.manager();
        let script = "sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1' & exec sleep 1000";
        let (process, orphan) = with_descendant(&mut client, "main", script);
        kill_unseen(process.pid);
        client.wait_exit(process.id);
        assert_eq!(client.signal(process.id, 0, Target::Tree), [orphan]);
        assert_eq!(client.signal(process.id, 9, Target::Tree), [orphan]);
        gone(orphan);
    }
}

#[test]
fn children_and_descendants_are_told_apart() {
    for groups in BOTH {
        let rig = Rig::with_groups(groups);
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
}

#[test]
fn the_tree_of_a_process_that_a_former_core_made_is_found_elsewhere() {
    for groups in BOTH {
        let mut rig = Rig::with_groups(groups);
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
}

/// Of the first nobody is left but what it started; the second is killed with its tree.
#[test]
fn a_stop_of_one_watcher_reaches_nobody_of_another_whatever_their_names() {
    for (one, other) in [("a", "a.1"), ("circus.x.y.1", "circus.x_y.1"), ("circus.x.1.1", "circus.x.1")] {
        let rig = Rig::new();
        let mut client = rig.manager();
        if !has_groups(&mut client) {
            return;
        }
        let (script, daemon) = daemon(rig.run.path());
        let first = client.spawn(shell(one, &script));
        let daemon = daemon();
        kill_unseen(first.pid);
        client.wait_exit(first.id);
        let second = client.spawn(shell(other, "exec sleep 1000"));
        client.ok(Signal { process: second.id, signal: 9, target: Target::Tree, ext: vec![] });
        client.wait_exit(second.id);
        assert!(rig::lives(daemon), "{other} is not {one}");
        client.ok(Signal { process: first.id, signal: 9, target: Target::Tree, ext: vec![] });
        gone(daemon);
    }
}

#[test]
fn a_daemon_that_left_everything_is_found_by_its_group_and_the_group_goes_with_it() {
    let rig = Rig::new();
    let mut client = rig.manager();
    if !has_groups(&mut client) {
        return;
    }
    let instance = client.welcome.as_ref().unwrap().instance_id;
    let (script, pid) = daemon(rig.run.path());
    let bystander = client.spawn(program("other", &["sleep", "1000"]));
    let process = client.spawn(shell("main", &script));
    let daemon = pid();
    kill_unseen(process.pid);
    client.wait_exit(process.id);
    // Whoever made it may still be ending.
    rig::eventually("nobody else is left", || match client.signal(process.id, 0, Target::Tree) {
        found if found == [daemon] => Ok(()),
        found => Err(found),
    });
    assert_eq!(client.signal(process.id, 0, Target::Descendant(bystander.pid)), [0; 0]);
    assert_eq!(rig.group_folders(instance).len(), 2);
    assert_eq!(client.signal(process.id, 9, Target::Tree), [daemon]);
    // It may still be dying.
    forget(&mut client, process.id);
    gone(daemon);
    rig::eventually("its group is gone", || match rig.group_folders(instance) {
        left if left.len() == 1 => Ok(()),
        left => Err(left),
    });
    assert!(rig::lives(bystander.pid));
}

#[test]
fn a_daemon_is_found_by_the_next_core_though_its_starter_ended_in_between() {
    let mut rig = Rig::new();
    let mut client = rig.manager();
    if !has_groups(&mut client) {
        return;
    }
    let instance = client.welcome.as_ref().unwrap().instance_id;
    let (script, pid) = daemon(rig.run.path());
    let process = client.spawn(shell("main", &script));
    let forgotten = client.spawn(program("forgotten", &["true"]));
    client.wait_exit(forgotten.id);
    let daemon = pid();
    rig.kill();
    kill_unseen(process.pid);
    // Left by a core that was killed while it took the group of a forgotten process away, and by an instance that is gone.
    let folder = rig.group_folders(instance)[0].parent().unwrap().to_owned();
    let leftovers = [format!("papa-{instance:016x}-unknown"), format!("papa-{:016x}-old", !instance)];
    let leftovers = leftovers.map(|name| folder.join(name));
    leftovers.iter().for_each(|path| std::fs::create_dir(path).unwrap());
    rig.start();
    let mut client = rig.manager();
    assert_eq!(leftovers.each_ref().map(|path| path.exists()), [false; 2]);
    client.wait_exit(process.id);
    assert_eq!(client.signal(process.id, 9, Target::Tree), [daemon]);
    gone(daemon);
    forget(&mut client, process.id);
    forget(&mut client, forgotten.id);
    rig::eventually("no group is left", || match rig.group_folders(instance) {
        left if left.is_empty() => Ok(()),
        left => Err(left),
    });
}

#[test]
fn siblings_are_told_apart_in_their_group_and_what_none_of_them_owns_goes_with_the_last() {
    for groups in BOTH {
        let rig = Rig::with_groups(groups);
        let mut client = rig.manager();
        let script = "sh -c 'echo $$; exec sleep 1000' & wait";
        let (first, first_child) = with_descendant(&mut client, "circus.web.1", script);
        let (script, pid) = daemon(rig.run.path());
        let second = client.spawn(shell("circus.web.2", &script));
        let daemon = pid();
        let mut killed = client.signal(first.id, 9, Target::Tree);
        killed.sort_unstable();
        assert_eq!(killed, [first.pid.min(first_child), first.pid.max(first_child)]);
        client.wait_exit(first.id);
        gone(first_child);
        assert!(rig::lives(second.pid) && rig::lives(daemon));
        if has_groups(&mut client) {
            kill_unseen(second.pid);
            client.wait_exit(second.id);
            assert_eq!(client.signal(second.id, 9, Target::Tree), [daemon]);
        } else {
            kill_unseen(daemon);
        }
        gone(daemon);
    }
}

#[test]
fn one_that_ignores_what_it_can_is_killed() {
    for groups in BOTH {
        let rig = Rig::with_groups(groups);
        let mut client = rig.manager();
        let script = "trap '' TERM HUP INT; sh -c 'echo $$; while :; do sleep 1000; done' & while :; do wait; done";
        let (process, child) = with_descendant(&mut client, "main", script);
        let mut reached = client.signal(process.id, 15, Target::Tree);
        assert!(reached.len() >= 2 && reached.contains(&child));
        assert!(rig::lives(process.pid) && rig::lives(child));
        reached = client.signal(process.id, 9, Target::Tree);
        client.wait_exit(process.id);
        reached.into_iter().for_each(gone);
    }
}

/// 511 processes, each a session of its own, which replace whoever of them dies.
const BOMB: &str = "
import os
def live(depth):
    while True:
        while depth:
            if os.fork() == 0:
                os.setsid()
                live(depth - 1)
            if os.fork() == 0:
                os.setsid()
                live(depth - 1)
            break
        try:
            while True:
                os.wait()
                if os.fork() == 0:
                    os.setsid()
                    live(depth - 1)
        except ChildProcessError:
            while True:
                import signal
                signal.pause()
live(8)
";

#[test]
fn a_bomb_of_five_hundred_processes_is_gone_at_once() {
    for (groups, name) in [("on", "bomb"), ("on", "circus.bomb.1"), ("off", "bomb")] {
        let rig = Rig::with_groups(groups);
        let mut client = rig.manager();
        let sibling = client.spawn(program("circus.bomb.2", &["sleep", "1000"]));
        let bomb = client.spawn(program(name, &["python3", "-I", "-S", "-c", BOMB]));
        let members = rig::eventually("all are there", || {
            let members = client.signal(bomb.id, 0, Target::Tree);
            if members.len() == 511 { Ok(members) } else { Err(members.len()) }
        });
        let begun = Instant::now();
        client.signal(bomb.id, 9, Target::Tree);
        client.wait_exit(bomb.id);
        rig::eventually("nobody is left", || match client.signal(bomb.id, 0, Target::Tree).len() {
            0 => Ok(()),
            left => Err(left),
        });
        members.into_iter().for_each(gone);
        eprintln!("cgroups {groups}, {name}: gone after {:?}", begun.elapsed());
        assert!(rig::lives(sibling.pid));
    }
}

/// A cgroup for a core, removed at the end.
struct Home(PathBuf);

impl Home {
    /// Beside the groups of a core that runs.
    fn new(rig: &Rig, name: &str) -> Self {
        let noted = std::fs::read_to_string(rig.directory().join("groups")).unwrap();
        let home = Self(Path::new(noted.lines().next().unwrap()).join(format!("test-{}-{name}", std::process::id())));
        std::fs::create_dir(&home.0).unwrap();
        home
    }

    /// Starts the next core of an instance in it.
    fn start(&self, rig: &mut Rig) {
        let papa = rig.command();
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ >\"$0\"/cgroup.procs && exec \"$@\""])
            .arg(&self.0)
            .arg(papa.get_program())
            .arg("-d");
        command.envs(papa.get_envs().filter_map(|(name, value)| Some((name, value?))));
        rig.start_by(command);
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        rig::eventually("the core's group is empty", || match std::fs::remove_dir(&self.0) {
            Err(error) if !std::thread::panicking() => Err(error),
            Ok(()) | Err(_) => Ok(()),
        });
    }
}

#[test]
fn a_group_that_cannot_be_made_keeps_no_process_from_starting() {
    let mut rig = Rig::new();
    if !has_groups(&mut rig.client()) {
        return;
    }
    let home = Home::new(&rig, "full");
    rig.kill();
    home.start(&mut rig);
    let mut client = rig.manager();
    assert!(has_groups(&mut client));
    std::fs::write(home.0.join("cgroup.max.descendants"), "0").unwrap();
    let script = "sh -c 'echo $$; exec sleep 1000' & wait";
    let (process, child) = with_descendant(&mut client, "circus.web.1", script);
    assert!(rig.group_folders(client.welcome.as_ref().unwrap().instance_id).is_empty());
    assert_eq!(client.signal(process.id, 9, Target::Tree).len(), 2);
    gone(child);
    client.wait_exit(process.id);
    drop(client);
    drop(rig);
    drop(home);
}

#[test]
fn groups_are_found_by_a_core_that_is_started_in_another_group() {
    let mut rig = Rig::new();
    if !has_groups(&mut rig.client()) {
        return;
    }
    let homes = ["first", "second"].map(|name| Home::new(&rig, name));
    rig.kill();
    homes[0].start(&mut rig);
    let mut client = rig.manager();
    let instance = client.welcome.as_ref().unwrap().instance_id;
    let (script, pid) = daemon(rig.run.path());
    let process = client.spawn(shell("main", &script));
    let daemon = pid();
    kill_unseen(process.pid);
    rig.kill();
    homes[1].start(&mut rig);
    let mut client = rig.manager();
    let other = client.spawn(program("other", &["sleep", "1000"]));
    let folders: HashSet<PathBuf> =
        rig.group_folders(instance).iter().map(|group| group.parent().unwrap().to_owned()).collect();
    assert_eq!(folders, homes.iter().map(|home| home.0.clone()).collect());
    client.wait_exit(process.id);
    assert_eq!(client.signal(process.id, 9, Target::Tree), [daemon]);
    gone(daemon);
    assert!(rig::lives(other.pid));
    forget(&mut client, process.id);
    // The rig ends them all, which only the holder of the lease may do.
    drop(client);
    drop(rig);
    drop(homes);
}

#[test]
fn what_is_switched_off_is_told() {
    let rig = Rig::with_groups("off");
    let mut client = rig.client();
    let rows = client.status().guarantees;
    let row = rows.iter().find(|row| row.name == "trees-are-killed-whole").unwrap();
    assert!(!row.holds && row.reason.starts_with("CIRCUS_CGROUP is off: "), "{}", row.reason);
    let reasons = rows.iter().filter(|row| row.reason.is_empty());
    assert_eq!(reasons.count(), 0);
}
