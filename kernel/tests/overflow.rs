//! What happens when a ring is full and nobody reads, by the process's own wish: what a child wrote is delivered or counted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    clippy::as_conversions,
    clippy::too_many_lines,
    reason = "a test ends by panicking"
)]

mod rig;

use rig::{Client, Reading, Rig, eventually, program};
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::{Stream, StreamEntry};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

/// Bytes of a line.
const LINE: u64 = 100;

/// Writes `count` numbered lines as fast as it can, then one more when its file has been removed, and ends.
fn numbered(name: &str, count: u64, wait: &Path, ring: u64) -> Spawn {
    let script = format!(
        "import os,time\n\
         for at in range(0, {count}, 500):\n b=b''.join(b'%099d\\n' % i for i in range(at, min({count}, at+500)))\n v=memoryview(b)\n while v: v=v[os.write(1,v):]\n\
         while os.path.exists({wait:?}): time.sleep(0.01)\n\
         os.write(1, b'%099d\\n' % {count})"
    );
    Spawn { ring, stderr: Stdout::Null, ..program(name, &["python3", "-I", "-S", "-c", &script]) }
}

fn spill(directory: &Path, quota: u64) -> Ext {
    let directory = directory.to_str().unwrap().as_bytes().to_vec();
    vec![Keeping::Spill { directory, quota }.addition()]
}

/// A file for which a child waits.
fn gate() -> tempfile::TempPath {
    tempfile::NamedTempFile::new().unwrap().into_temp_path()
}

fn stdout(client: &mut Client, process: ProcessId) -> StreamState {
    client.list().into_iter().find(|info| info.id == process).unwrap().streams[0]
}

/// Waits until the child has said all, but for the line that waits: everything has an offset, kept or not.
fn all_said(client: &mut Client, process: ProcessId, count: u64) {
    eventually("all is said", || {
        let (state, lost) = (stdout(client, process), client.status().lost_bytes);
        let said = state.low + (state.head - state.low) + lost - state.lost;
        (said == count * LINE).then_some(()).ok_or((state, lost))
    });
}

/// Reads to the end as a manager does, and gives the numbers of the lines with the gap before each, in lines. Gaps of these
/// policies begin and end where they like; the piece of a line at either side of one is taken for missing.
struct Heard {
    bytes: Vec<u8>,
    /// Position in `bytes`, and how much is missing there.
    gaps: Vec<(usize, u64)>,
}

fn hear(client: &mut Client, process: ProcessId) -> Heard {
    let mut output = client.open(process);
    // All is told again, also what came while another one was listened to.
    client.ok(Watch::default());
    let mut heard = Heard { bytes: vec![], gaps: vec![] };
    let begin = output.info.streams[0].low;
    if begin > 0 {
        heard.gaps.push((0, begin));
    }
    let mut ended = false;
    let total = |heard: &Heard| heard.bytes.len() as u64 + heard.gaps.iter().map(|gap| gap.1).sum::<u64>();
    let mut end = u64::MAX;
    while !ended || total(&heard) < end {
        match client.notice() {
            Notice::Output(more) if more.process == process => {
                take(&mut output, &mut heard, more.head);
                client.cast(Ack { process, stream: Stream::Stdout, offset: more.head });
            }
            Notice::StreamEnd(last) if last.process == process => {
                take(&mut output, &mut heard, last.head);
                client.cast(Ack { process, stream: Stream::Stdout, offset: last.head });
                ended = true;
            }
            Notice::Exited(exited) if exited.process == process => end = exited.exit.heads[0],
            _ => {}
        }
    }
    assert_eq!(total(&heard), end, "every byte is delivered or in a gap");
    heard
}

fn take(output: &mut Reading, heard: &mut Heard, head: u64) {
    let (gaps, place) = (output.gaps, heard.bytes.len());
    output.read_to(Stream::Stdout, head);
    if output.gaps > gaps {
        heard.gaps.push((place, output.gaps - gaps));
    }
    heard.bytes = output.bytes(Stream::Stdout);
}

impl Heard {
    fn lost(&self) -> u64 {
        self.gaps.iter().map(|gap| gap.1).sum()
    }

    /// Every byte is the one that belongs at its offset.
    fn check(&self, count: u64) {
        let mut offset = 0_u64;
        let mut gaps = self.gaps.iter().peekable();
        for (place, byte) in self.bytes.iter().enumerate() {
            while let Some((_, missing)) = gaps.next_if(|gap| gap.0 == place) {
                offset += missing;
            }
            let line = format!("{:099}\n", offset / LINE);
            assert_eq!(*byte, line.as_bytes()[(offset % LINE) as usize], "at {offset} of {:?}", self.gaps);
            offset += 1;
        }
        assert_eq!(offset + gaps.map(|gap| gap.1).sum::<u64>(), (count + 1) * LINE);
    }
}

#[test]
fn the_newest_output_is_dropped_where_it_is_missing() {
    const LINES: u64 = 30_000;
    const RING: u64 = 256 << 10;
    let (rig, gate) = (Rig::new(), gate());
    let mut client = rig.client();
    let spawn = Spawn { ext: vec![Keeping::DropNewest.addition()], ..numbered("newest", LINES, &gate, RING) };
    let Reply::Spawned(spawned) = client.ok(spawn) else { panic!("no reply to spawn") };
    assert!(Keeping::is_known(&spawned), "{spawned:?}");
    let process = spawned.process.id;
    all_said(&mut client, process, LINES);
    let (state, missing) = (stdout(&mut client, process), LINES * LINE - RING);
    assert_eq!((state.low, state.head, state.lost), (0, RING, 0), "what is in the ring stays");
    assert_eq!(client.status().lost_bytes, missing, "and the rest is counted at once");
    // A reader finds what was kept, the gap behind it, and what comes now behind the gap.
    drop(client);
    let mut client = rig.manager();
    let output = client.open(process);
    let gap = (0..stdout(&mut client, process).records).map(|n| output.record(Stream::Stdout, n)).find(|r| r.is_gap());
    assert_eq!(gap.unwrap().offset, RING, "with the time of its first byte");
    gate.close().unwrap();
    let heard = hear(&mut client, process);
    heard.check(LINES);
    assert_eq!(heard.gaps, [(RING as usize, missing)]);
    assert_eq!(stdout(&mut client, process).lost, missing);
    client.ok(Forget { process, ext: vec![] });
    assert_eq!(client.status().lost_bytes, missing, "losses outlive the process");
}

#[test]
fn an_open_gap_outlives_the_core() {
    const LINES: u64 = 100_000;
    let (mut rig, gate) = (Rig::new(), gate());
    let mut client = rig.client();
    let spawn = Spawn { ext: vec![Keeping::DropNewest.addition()], ..numbered("newest", LINES, &gate, 64 << 10) };
    let process = client.spawn(spawn).id;
    for part in 1..5 {
        eventually("it goes on", || {
            let lost = client.status().lost_bytes;
            (lost > part * LINES * LINE / 6).then_some(()).ok_or(lost)
        });
        rig.kill();
        rig.start();
        client = rig.client();
    }
    all_said(&mut client, process, LINES);
    assert_eq!(client.status().lost_bytes, LINES * LINE - (64 << 10));
    drop(client);
    let mut client = rig.manager();
    gate.close().unwrap();
    let heard = hear(&mut client, process);
    heard.check(LINES);
    assert_eq!(heard.gaps.len(), 1, "{:?}", heard.gaps);
}

#[test]
fn nothing_is_lost_below_the_quota_of_a_spill() {
    const LINES: u64 = 120_000;
    let (mut rig, gate, disk) = (Rig::new(), gate(), tempfile::tempdir().unwrap());
    let mut client = rig.client();
    let spawn = Spawn { ext: spill(disk.path(), 64 << 20), ..numbered("spill", LINES, &gate, 64 << 10) };
    let process = client.spawn(spawn).id;
    eventually("it goes on", || {
        let head = stdout(&mut client, process).head;
        (head > LINES * LINE / 4).then_some(()).ok_or(head)
    });
    rig.kill();
    rig.start();
    client = rig.client();
    all_said(&mut client, process, LINES);
    assert_eq!(client.status().lost_bytes, 0);
    let files: Vec<_> = std::fs::read_dir(disk.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let used = |path: &Path| path.metadata().unwrap().blocks() * 512;
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(used(&files[0]) >= LINES * LINE);
    drop(client);
    let mut client = rig.manager();
    gate.close().unwrap();
    let heard = hear(&mut client, process);
    heard.check(LINES);
    assert_eq!(heard.lost(), 0);
    eventually("what was read is given back", || {
        let used = used(&files[0]);
        (used < 3 << 20).then_some(()).ok_or(used)
    });
    client.ok(Forget { process, ext: vec![] });
    eventually("its file is gone", || (!files[0].exists()).then_some(()).ok_or(()));
}

#[test]
fn beyond_the_quota_the_gap_is_counted() {
    const LINES: u64 = 60_000;
    const QUOTA: u64 = 1 << 20;
    let (rig, gate, disk) = (Rig::new(), gate(), tempfile::tempdir().unwrap());
    let mut client = rig.client();
    let process =
        client.spawn(Spawn { ext: spill(disk.path(), QUOTA), ..numbered("quota", LINES, &gate, 64 << 10) }).id;
    all_said(&mut client, process, LINES);
    let state = stdout(&mut client, process);
    assert_eq!((state.low, client.status().lost_bytes), (state.lost, state.lost));
    assert!((QUOTA * 3 / 4..=QUOTA).contains(&(state.head - state.low)), "{state:?}");
    drop(client);
    let mut client = rig.manager();
    gate.close().unwrap();
    let heard = hear(&mut client, process);
    heard.check(LINES);
    assert_eq!(heard.gaps, [(0, state.lost)]);
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let (rig, disk) = (Rig::new(), tempfile::tempdir().unwrap());
    let mut client = rig.client();
    let missing = disk.path().join("missing");
    for (directory, expected) in [
        (missing.as_path(), format!("failed for the process file in {}: No such file", missing.display())),
        (Path::new("relative"), "spill directory is relative; expected an absolute path".to_owned()),
    ] {
        let spawn = Spawn { ext: spill(directory, 1 << 20), ..program("lost", &["true"]) };
        let refusal = client.request(spawn).unwrap_err().to_string();
        assert!(refusal.contains(&expected), "{refusal}");
    }
    assert_eq!(std::fs::read_dir(rig.directory().join("ring")).unwrap().count(), 0, "nothing is left of the attempts");
    let spawn = Spawn { ext: spill(disk.path(), 1), ..program("small", &["true"]) };
    assert!(client.request(spawn).unwrap_err().to_string().contains("spill quota is 1; expected 65536 to"));
}

#[test]
fn a_full_disk_under_a_spill_makes_the_child_wait_and_is_named() {
    let place = tempfile::tempdir().unwrap();
    let mount = |options: &str| {
        let mut command = Command::new("mount");
        let done = command.args(["-t", "tmpfs", "-o", options, "ringmaster-test"]).arg(place.path()).output();
        done.is_ok_and(|output| output.status.success())
    };
    if !mount("size=1m,mode=0700") {
        eprintln!("skipped: a file system can be mounted by root only");
        return;
    }
    const LINES: u64 = 40_000;
    let words = tempfile::NamedTempFile::new().unwrap();
    let mut rig = Rig { run: tempfile::tempdir().unwrap(), papa: None, groups: "on" };
    rig.start_as(|command| {
        command.stderr(words.reopen().unwrap());
    });
    let gate = gate();
    let mut client = rig.manager();
    let process =
        client.spawn(Spawn { ext: spill(place.path(), 16 << 20), ..numbered("full", LINES, &gate, 64 << 10) }).id;
    let expected = format!("stdout is not captured for now in {}: No space left", place.path().display());
    eventually("the log names the directory", || {
        let said = std::fs::read_to_string(words.path()).unwrap();
        said.contains(&expected).then_some(()).ok_or(said)
    });
    assert_eq!(client.status().lost_bytes, 0);
    assert!(mount("remount,size=16m"));
    gate.close().unwrap();
    let heard = hear(&mut client, process);
    heard.check(LINES);
    assert_eq!(heard.lost(), 0);
    client.ok(Forget { process, ext: vec![] });
    drop(rig);
    Command::new("umount").arg("--lazy").arg(place.path()).status().ok();
}

#[test]
fn all_rings_together_stay_under_the_cap() {
    const CAP: u64 = 2 << 20;
    const LINES: u64 = 15_000;
    const CHILDREN: u64 = 12;
    let mut rig = Rig { run: tempfile::tempdir().unwrap(), papa: None, groups: "on" };
    rig.start_as(|command| {
        command.args(["--ring-memory", "2M"]);
    });
    let gate = gate();
    let mut client = rig.client();
    let keep = |n: u64| if n.is_multiple_of(2) { vec![] } else { vec![Keeping::DropNewest.addition()] };
    let spawns = (0..CHILDREN).map(|n| Spawn { ext: keep(n), ..numbered(&format!("n{n}"), LINES, &gate, 1 << 20) });
    let ids: Vec<ProcessId> = spawns.map(|spawn| client.spawn(spawn).id).collect();
    eventually("all have said what they have to say", || {
        let (status, list) = (client.status(), client.list());
        let kept: u64 = list.iter().map(|info| info.streams[0].head - info.streams[0].low).sum();
        assert!(kept <= CAP + CHILDREN * (16 << 10), "{kept}");
        (status.lost_bytes + kept == CHILDREN * LINES * LINE).then_some(()).ok_or((kept, status.lost_bytes))
    });
    let kept: u64 = client.list().iter().map(|info| info.streams[0].head - info.streams[0].low).sum();
    assert_eq!(kept, client.status().buffered_bytes);
    // What the files really take: also their headers, requests, and the rest of pages.
    let folder = rig.directory().join("ring");
    let used: u64 =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().blocks() * 512).sum();
    assert!(used <= CAP + CHILDREN * (16 << 10) + CHILDREN * 8 * StreamEntry::SIZE * 64, "{used}");
    for info in client.list() {
        let kept = info.streams[0].head - info.streams[0].low;
        assert!(kept >= 8 << 10, "each has its floor, less one step and its records: {kept}");
    }
    drop(client);
    let mut client = rig.manager();
    gate.close().unwrap();
    for id in ids {
        hear(&mut client, id).check(LINES);
    }
}
