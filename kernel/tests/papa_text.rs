//! Papa's text protocol where ours is better than Papa, and what only ours has.
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

use rig::{PATIENCE, Rig, Talk, eventually, of};
use ringmaster_protocol::frame::{FrameReader, GREETING, Kind, PREFACE};
use ringmaster_protocol::message::{Hello, Request, Role};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

#[test]
fn several_references_pids_and_file_numbers() {
    let rig = Rig::new();
    let mut talk = Talk::new(&rig);
    let number = |line: String| line.rsplit_once("fileno=").unwrap().1.to_owned();
    let (a, b) = (number(talk.ask("make socket a")), number(talk.ask("make socket b")));
    talk.ask("make process q /bin/echo $(socket.a.fileno),$(socket.b.fileno)");
    assert_eq!(of(&talk.watch("q"), "out:"), [format!("{a},{b}")]);
    // Only what is referred to is inherited.
    talk.ask("make process i /bin/sh -c ls\\ /proc/self/fd $(socket.b.fileno)");
    let fds: Vec<String> =
        talk.watch("i").lines().filter(|line| line.parse::<u32>().is_ok()).map(str::to_owned).collect();
    assert!(fds.contains(&b) && (a == b || !fds.contains(&a) || a == "3"), "{fds:?} without {a}");
    assert!(talk.ask(&format!("list sockets {b}")).starts_with("b "));
    assert_eq!(talk.ask(&format!("remove sockets {b}")), "");
    assert_eq!(talk.ask(&format!("remove sockets {b}")), format!("Error: {b} not found"));
    let line = talk.ask("make process s /bin/sleep 1000");
    let pid = line.split_once("pid=").unwrap().1.split(' ').next().unwrap().to_owned();
    assert!(talk.ask(&format!("l p {pid}")).starts_with("s pid="));
    assert_eq!(talk.ask(&format!("signal {pid} TERM")), format!("s pid={pid} signal=15"));
    assert!(talk.watch("s").ends_with(":-15\n"));
}

#[test]
fn the_end_of_one_stream_does_not_touch_the_other() {
    let rig = Rig::new();
    let mut talk = Talk::new(&rig);
    talk.ask("make process early /bin/sh -c exec\\ 2>&-;echo\\ a;echo\\ b;exit\\ 5");
    let items = talk.watch("early");
    assert!(items.ends_with(":5\n"), "{items}");
    assert_eq!(of(&items, "out:").len() + items.matches("\nb\n").count().min(1), 2, "{items}");
}

#[test]
fn the_end_is_told_at_once_even_if_a_grandchild_holds_the_pipe() {
    let rig = Rig::new();
    let mut talk = Talk::new(&rig);
    talk.ask("make process gc /bin/sh -c sleep\\ 1000&\\ echo\\ $!;exit\\ 4");
    let items = talk.watch("gc");
    assert!(items.ends_with(":4\n"), "{items}");
    let grandchild: i32 = of(&items, "out:")[0].parse().unwrap();
    let pid = rustix::process::Pid::from_raw(grandchild).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn every_watcher_sees_everything_and_its_own_end() {
    let rig = Rig::new();
    let (mut one, mut two) = (Talk::new(&rig), Talk::new(&rig));
    one.ask("make process w /bin/sh -c echo\\ first;sleep\\ 0.2;echo\\ last;exit\\ 3");
    two.send("watch processes w");
    assert_eq!(two.until("\n"), "Watching 1\n");
    // The other acknowledges everything first, and is told the end.
    let items = one.watch("w");
    assert_eq!((of(&items, "out:").join(" ").contains("first"), items.ends_with(":3\n")), (true, true), "{items}");
    // A process that somebody still watches is not forgotten.
    assert!(one.ask("list processes").starts_with("w pid="));
    let mut seen = String::new();
    while !seen.contains("closed:w:") {
        seen.push_str(&two.until("] "));
        two.send("");
    }
    assert!(seen.contains("first\n") && seen.contains("last\n"), "{seen}");
    assert_eq!(two.until("> "), "Nothing left to watch\n> ");
    eventually("it is forgotten", || Some(one.ask("list processes")).filter(String::is_empty).ok_or(()));
}

#[test]
fn the_first_batch_never_comes_with_the_first_line() {
    let rig = Rig::new();
    for round in 0..20 {
        let mut talk = Talk::new(&rig);
        talk.ask(&format!("make process w{round} /bin/echo hello"));
        talk.send(&format!("watch processes w{round}"));
        // As Papa's library reads: one recv of up to 1024 bytes must bring the first line alone.
        let mut bytes = [0; 1024];
        let count = talk.stream.read(&mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"Watching 1\n", "round {round}");
        talk.until("] ");
        talk.send("q");
        talk.until("Stopped watching\n> ");
    }
}

#[test]
fn times_grow_and_long_output_comes_in_batches() {
    let rig = Rig::new();
    let mut talk = Talk::new(&rig);
    talk.ask("make process long bufsize=4m /bin/sh -c i=0;while\\ [\\ $i\\ -lt\\ 60000\\ ];do\\ echo\\ line\\ $i;i=$((i+1));done");
    let items = talk.watch("long");
    let heads: Vec<&str> = items.lines().filter(|line| line.starts_with("out:long:")).collect();
    let times: Vec<f64> = heads.iter().map(|head| head.split(':').nth(2).unwrap().parse().unwrap()).collect();
    assert!(times.is_sorted_by(|before, after| before < after), "{times:?}");
    let total: usize = heads.iter().map(|head| head.rsplit(':').next().unwrap().parse::<usize>().unwrap()).sum();
    let wanted: usize = (0..60000).map(|i| format!("line {i}\n").len()).sum();
    assert_eq!(total, wanted);
}

#[test]
fn a_removed_process_lives_on_and_is_forgotten_at_its_end() {
    let rig = Rig::new();
    let mut talk = Talk::new(&rig);
    // Once it is removed it writes far more than its pipe and its ring hold.
    let flag = rig.run.path().join("removed");
    let wait = format!("while\\ !\\ [\\ -e\\ {}\\ ];do\\ sleep\\ 0.01;done", flag.display());
    let line = talk.ask(&format!(
        "make process r bufsize=64k /bin/sh -c {wait};head\\ -c\\ 3000000\\ /dev/zero;exec\\ sleep\\ 1000"
    ));
    let pid: i32 = line.split_once("pid=").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(talk.ask("remove processes r"), "");
    std::fs::write(flag, "").unwrap();
    eventually("it gets to its sleep", || {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with("sleep").then_some(()).ok_or(line)
    });
    assert!(talk.ask("list processes").starts_with("r pid="));
    talk.ask("signal r KILL");
    eventually("it is forgotten", || Some(talk.ask("list processes")).filter(String::is_empty).ok_or(()));
    assert_eq!(rig.client().status().lost_bytes, 0, "what nobody wants is not lost");
}

#[test]
fn a_managers_output_is_shown_and_kept() {
    let rig = Rig::new();
    let process = rig.client().spawn(rig::shell("kept", "echo one; exit 6"));
    let mut talk = Talk::new(&rig);
    assert!(talk.watch("kept").ends_with(":6\n"));
    let mut client = rig.manager();
    assert!(talk.ask("remove processes kept").starts_with("Error: this needs the lease"));
    let (out, _, exit) = client.read_all(process.id);
    assert_eq!((out, exit.status), (b"one\n".to_vec(), ringmaster_protocol::message::ExitStatus::Code(6)));
    assert_eq!(talk.ask("tail kept"), "one", "also when it was acknowledged");
}

#[test]
fn a_killed_core_forgets_nothing() {
    let mut rig = Rig::new();
    let mut talk = Talk::new(&rig);
    let make = "make process k stderr=stdout /bin/sh -c echo\\ one;exec\\ sleep\\ 1000";
    let before = [talk.ask("make socket s host=localhost"), talk.ask(make)];
    talk.ask("set v 1 2");
    rig.kill();
    rig.start();
    let mut talk = Talk::new(&rig);
    assert_eq!([talk.ask("list sockets"), talk.ask("list processes")], before);
    assert_eq!([talk.ask("make socket s host=localhost"), talk.ask(make)], before);
    assert_eq!(talk.ask("get v"), "1 2");
    talk.ask("signal k TERM");
    let items = talk.watch("k");
    assert_eq!(of(&items, "out:"), ["one"]);
    assert!(items.ends_with(":-15\n"), "{items}");
}

#[test]
fn leaving_waits_for_the_last_client_and_is_called_off_by_a_new_one() {
    let mut rig = Rig::new();
    let mut stays = Talk::new(&rig);
    let mut leaves = Talk::new(&rig);
    assert_eq!(leaves.ask("exit-if-idle"), "Exiting papa!");
    // Somebody comes: the core stays.
    let mut late = Talk::new(&rig);
    late.send("quit");
    late.until("ok\n");
    assert_eq!(stays.ask("get a"), "");
    let mut papa = rig.papa.take().unwrap();
    assert_eq!(stays.ask("exit-if-idle"), "Exiting papa!");
    drop((stays, late, leaves));
    let status = eventually("the core ends", || papa.try_wait().unwrap().ok_or("it runs"));
    assert!(status.success());
}

#[test]
fn commands_for_people() {
    let rig = Rig::new();
    let mut talk = Talk::new(&rig);
    talk.ask(
        "make process t /bin/sh -c for\\ i\\ in\\ 1\\ 2\\ 3;do\\ echo\\ $i;done;echo\\ err\\ >&2;exec\\ sleep\\ 1000",
    );
    eventually("output is there", || {
        let seen = talk.ask("tail t 2");
        (seen == "3\nerr").then_some(()).ok_or(seen)
    });
    assert!(talk.ask("status").contains("processes    1\n"));
    for word in ["status", "tail", "signal"] {
        assert!(talk.ask("help").contains(word) && talk.ask(&format!("help {word}")).starts_with(word));
    }
    assert_eq!(
        talk.ask("signal t NOSUCH"),
        "Error: Unknown signal \"NOSUCH\"; a name such as TERM or a number from 1 to 64 is expected"
    );
    talk.ask("signal t 9");
    assert!(talk.watch("t").ends_with(":-9\n"));
}

#[test]
fn an_endless_line_is_cut_off() {
    let rig = Rig::new();
    let mut talk = Talk::new(&rig);
    // The core may hang up before everything is written.
    let _ = talk.stream.write_all(&vec![b'x'; 2 << 20]);
    let mut said = Vec::new();
    let _ = talk.stream.read_to_end(&mut said);
    rig.client().status();
}

#[test]
fn a_late_binary_client_is_understood() {
    let rig = Rig::new();
    let mut stream = UnixStream::connect(rig.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut greeting = vec![0; GREETING.len()];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(greeting, GREETING);
    let (build, role) = ("late".into(), Role::Tool);
    let hello = Request::from(Hello { oldest: 1, newest: 1, build, role, ext: vec![] });
    let mut bytes = PREFACE.to_vec();
    assert!(hello.frame(1).encode(&mut bytes));
    stream.write_all(&bytes).unwrap();
    let mut reader = FrameReader::new();
    reader.push(&greeting);
    let frame = loop {
        if let Some(frame) = reader.next_frame().unwrap() {
            break frame;
        }
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "the core hung up");
        reader.push(&bytes[..count]);
    };
    assert_eq!(frame.kind, Kind::Reply);
}

#[test]
fn text_over_tcp_for_our_own_user() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut rig = Rig { run: tempfile::tempdir().unwrap(), papa: None, groups: "on" };
    let mut command = rig.command();
    command.args(["-p", &port.to_string()]).stdin(Stdio::null());
    rig.papa = Some(command.spawn().unwrap());
    let stream = eventually("the port is served", || TcpStream::connect(("127.0.0.1", port)));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut talk = Talk { stream, read: Vec::new() };
    talk.until("> ");
    talk.ask("make process w /bin/echo hello");
    talk.send("watch processes w");
    let mut bytes = [0; 1024];
    let count = talk.stream.read(&mut bytes).unwrap();
    assert_eq!(&bytes[..count], b"Watching 1\n");
    talk.until("] ");
    talk.send("q");
    talk.until("> ");
    // Only text is spoken there, and never with a browser.
    for cut in [&b"POST / HTTP/1.1\r\nHost: x\r\n\r\nquit\n"[..], b"GET /x HTTP/1.0\r\n\r\n"] {
        let mut browser = TcpStream::connect(("127.0.0.1", port)).unwrap();
        browser.set_read_timeout(Some(PATIENCE)).unwrap();
        browser.write_all(cut).unwrap();
        let mut said = Vec::new();
        browser.read_to_end(&mut said).ok();
        assert!(!said.ends_with(b"ok\n"), "{}", String::from_utf8_lossy(&said));
    }
    assert_eq!(talk.ask("get a"), "");
}

#[test]
fn there_is_nothing_to_attach_to() {
    let rig = Rig { run: tempfile::tempdir().unwrap(), papa: None, groups: "on" };
    let output = rig.command().arg("attach").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(rig::text(&output.stderr).starts_with("papa: no core serves "), "{output:?}");
}
