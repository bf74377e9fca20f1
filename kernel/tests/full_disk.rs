//! A file system that is full: nothing is lost, everybody is told, and it goes on when there is room.
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

use rig::{Handle, Rig, program, shell};
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::Stream;
use std::process::Command;

/// A small file system of its own; gone with the test.
struct Small {
    place: tempfile::TempDir,
}

impl Small {
    fn mount() -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=1m,mode=0700", "ringmaster-test"]);
        let mounted = command.arg(place.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self { place })
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.place.path()).status().ok();
    }
}

#[test]
fn output_waits_in_the_pipe_until_there_is_room() {
    let Some(small) = Small::mount() else {
        eprintln!("skipped: a file system can be mounted by root only");
        return;
    };
    let mut rig =
        Rig { run: tempfile::Builder::new().tempdir_in(small.place.path()).unwrap(), papa: None, groups: "on" };
    rig.start();
    let mut client = rig.manager();
    let lines = 200_000u64;
    let script = format!("import os\nfor i in range({}): os.write(1, b'%015d\\n' % i * 1000)", lines / 1000);
    let process = client.spawn(program("numbers", &["python3", "-I", "-S", "-c", &script]));
    let head = |client: &mut rig::Client| {
        let info = client.list().into_iter().find(|info| info.id == process.id).unwrap();
        (info.streams[0].head, info.streams[0].lost)
    };
    // The ring may hold 2 MiB, the file system 1 MiB: what does not fit stays where it is.
    let mut before = 0;
    rig::eventually("the file system is full", || {
        let used = rustix::fs::statvfs(small.place.path()).unwrap();
        let (now, _) = head(&mut client);
        let stands = now == before && now > 0;
        before = now;
        (stands && used.f_bfree == 0).then_some(()).ok_or((now, used.f_bfree))
    });
    match client.request(shell("another", "true")) {
        Err(Refusal::SpawnFailed { step, errno, .. }) => {
            assert_eq!((step, errno), (SpawnStep::Prepare, libc::ENOSPC));
        }
        other => panic!("{other:?}"),
    }
    assert!(client.request(SetValue { name: "v".into(), value: vec![1; 8192], ext: vec![] }).is_err());
    assert_eq!(head(&mut client).1, 0, "nothing is lost");
    // Nobody can write a pid file now; nobody may die of that.
    rig.kill_kernel();
    for _ in 0..2 {
        let before = rig.client().status().keeper_pid;
        let keeper = Handle::open(before);
        keeper.send(rustix::process::Signal::KILL);
        keeper.wait_end();
        rig::eventually("another is the keeper", || {
            let status = rig.command().arg("status").output().unwrap();
            let said = rig::text(&status.stdout);
            (status.status.success() && !said.contains(&format!("keeper pid   {before}\n"))).then_some(()).ok_or(said)
        });
    }
    let mut client = rig.manager();
    let mut command = Command::new("mount");
    command.args(["-o", "remount,size=16m"]).arg(small.place.path());
    assert!(command.status().unwrap().success());
    let mut output = client.open(process.id);
    let (mut acked, mut ended) = (0, false);
    // The end is told when it happens, which may be before the last output.
    while acked < lines * 16 || !ended {
        match client.notice() {
            Notice::Output(more) => {
                acked = output.read_to(Stream::Stdout, more.head);
                client.cast(Ack { process: process.id, stream: Stream::Stdout, offset: acked });
            }
            Notice::Exited(exited) => ended |= exited.process == process.id,
            _ => {}
        }
    }
    let said = output.bytes(Stream::Stdout);
    assert_eq!((u64::try_from(said.len()).unwrap(), output.gaps), (lines * 16, 0));
    for (n, block) in said.chunks(16_000).enumerate() {
        assert!(block.chunks(16).all(|line| line == format!("{n:015}\n").as_bytes()));
    }
    client.spawn(shell("another", "true"));
}
