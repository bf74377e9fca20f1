//! What a child sees of how the core itself was started: everything, and nothing of what the core changed for itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test ends by panicking"
)]

mod rig;

use rig::{Rig, program, text};
use std::process::Command;

/// How a starter may have left its process: few descriptors, no core files, ignored signals, less priority, more to be
/// killed for want of memory.
const PREPARE: &str = "ulimit -Sn 512; ulimit -c 0; trap '' HUP PIPE USR1; umask 027; \\
    echo 345 >/proc/self/oom_score_adj; exec nice -n 3 \"$@\"";

const FILES: [&str; 3] = ["/proc/self/limits", "/proc/self/oom_score_adj", "/proc/self/status"];

/// Fields of /proc/PID/status (proc(5)) that a starter hands down.
const HANDED_DOWN: [&str; 14] = [
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "SigBlk",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Cpus_allowed",
    "Mems_allowed",
];

/// What of the files' text is to be the same.
fn handed_down(text: &str) -> Vec<&str> {
    let of_status = |line: &&str| match line.split_once(":\t") {
        Some((name, _)) => HANDED_DOWN.contains(&name),
        None => true,
    };
    text.lines().filter(of_status).collect()
}

#[test]
fn a_child_sees_what_the_starter_of_the_core_left() {
    let mut rig = Rig::new();
    rig.kill();
    let papa = rig.command();
    let prepared = |program: &std::ffi::OsStr| {
        let mut command = Command::new("sh");
        command.args(["-c", PREPARE, "sh"]).arg(program);
        command
    };
    let plain = prepared("cat".as_ref()).args(FILES).output().unwrap();
    let plain = text(&plain.stdout);
    let mut core = prepared(papa.get_program());
    core.arg("-d").envs(papa.get_envs().filter_map(|(name, value)| Some((name, value?))));
    rig.start_by(core);
    let mut client = rig.manager();
    let child = client.spawn(program("cat", &[&["cat"][..], &FILES].concat()));
    let (out, _, _) = client.read_all(child.id);
    let out = text(&out);
    assert_eq!(handed_down(&out), handed_down(&plain));
    assert!(plain.contains("\n345\n") && out.contains("\nSigIgn:\t0000000000000000\n"), "{out}");
    let nice = client.spawn(program("nice", &["nice"]));
    assert_eq!(text(&client.read_all(nice.id).0), "3\n");
    // What the core has for itself is another matter.
    let own = std::fs::read_to_string(format!("/proc/{}/limits", rig.kernel_pid())).unwrap();
    assert!(!own.contains(" 512 "), "{own}");
    let spared = client.status().guarantees.iter().any(|row| row.name.starts_with("core-is-killed-last") && row.holds);
    let score = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", rig.kernel_pid())).unwrap();
    assert_eq!(score.trim(), if spared { "-900" } else { "345" });
}
