//! The core's doors: who comes in, and what another user gets through them. As root, with a real second user; otherwise skipped
//! with a word.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    reason = "a test ends by panicking"
)]

mod rig;

use rig::{Client, PATIENCE, Rig, Talk, as_user, eventually, of, program, shell};
use ringmaster_kernel::limits::{MAX_USER_CLIENTS, MAX_USER_PROCESSES, MAX_USER_VALUES};
use ringmaster_protocol::message::*;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// `nobody`, on every Linux.
const STRANGER: u32 = 65534;

/// Whether the test can be another user; says so when it cannot.
fn can_be_another() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: only root can try it as another user");
    }
    root
}

/// A core of root whose socket all can reach, with a policy of these lines.
fn open_core(policy: &str) -> Rig {
    let mut rig = Rig { run: tempfile::tempdir().unwrap(), papa: None, groups: "on" };
    fs::set_permissions(rig.run.path(), Permissions::from_mode(0o711)).unwrap();
    fs::write(rig.run.path().join("policy"), policy).unwrap();
    fs::set_permissions(rig.run.path().join("policy"), Permissions::from_mode(0o600)).unwrap();
    let path = |name: &str| rig.run.path().join(name).to_str().unwrap().to_owned();
    let (socket, policy) = (path("elsewhere"), path("policy"));
    rig.start_with(&["--instance", "default", "-u", &socket, "--policy", &policy]);
    rig
}

/// A connection of the stranger's.
fn stranger(rig: &Rig) -> UnixStream {
    let path = rig.socket();
    as_user(STRANGER, || UnixStream::connect(path).unwrap())
}

/// Whether he is hung up on without a word.
fn is_refused(mut stream: impl Read) -> bool {
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    said.is_empty()
}

fn not_permitted(answer: Result<Reply, Refusal>) -> String {
    match answer {
        Err(Refusal::NotPermitted { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn only_a_right_policy_of_root_lets_anybody_in() {
    if !can_be_another() {
        return;
    }
    let rig = open_core("65534 observe\n");
    let policy = rig.run.path().join("policy");
    assert!(Talk::over(stranger(&rig)).ask("status").contains("processes    0\n"));
    // It is read anew for each connection.
    for text in ["", "1 observe\n", "65534 observe\nnobody spawn\n", "65534\n"] {
        fs::write(&policy, text).unwrap();
        assert!(is_refused(stranger(&rig)), "{text:?}");
    }
    fs::write(&policy, "65534 observe\n").unwrap();
    for wrong in [0o622, 0o606, 0o666] {
        fs::set_permissions(&policy, Permissions::from_mode(wrong)).unwrap();
        assert!(is_refused(stranger(&rig)), "{wrong:o}");
    }
    fs::set_permissions(&policy, Permissions::from_mode(0o644)).unwrap();
    Talk::over(stranger(&rig));
    std::os::unix::fs::chown(&policy, Some(STRANGER), None).unwrap();
    assert!(is_refused(stranger(&rig)));
    std::os::unix::fs::chown(&policy, Some(0), None).unwrap();
    fs::rename(&policy, rig.run.path().join("true")).unwrap();
    assert!(is_refused(stranger(&rig)), "no policy");
    symlink("true", &policy).unwrap();
    assert!(is_refused(stranger(&rig)), "a link");
    Talk::new(&rig);
}

#[test]
fn who_observes_sees_and_changes_nothing() {
    if !can_be_another() {
        return;
    }
    let rig = open_core("65534 observe\n");
    let mut owner = Talk::new(&rig);
    let made = owner.ask("make process web env.SECRET=xyzzy /bin/sh -c echo\\ hello;exec\\ sleep\\ 1000");
    owner.ask("make socket s");
    owner.ask("set v 1");
    let mut talk = Talk::over(stranger(&rig));
    assert_eq!(talk.ask("list processes"), made);
    assert!(talk.ask("list sockets").starts_with("s "));
    eventually("its output is there", || Some(talk.ask("tail web")).filter(|said| said == "hello").ok_or(()));
    for (line, what) in [
        ("make process u65534.a /bin/true", "do more than look"),
        ("signal web TERM", "do more than look"),
        ("remove processes web", "do more than look"),
        ("make socket t", "make, take or remove sockets"),
        ("remove sockets s", "make, take or remove sockets"),
        ("set u65534.v 2", "do more than look"),
        ("get v", "do more than look"),
        ("list values", "do more than look"),
        ("remove values v", "do more than look"),
    ] {
        assert_eq!(talk.ask(line), format!("Error: not permitted: user 65534 may not {what}"), "{line}");
    }
    assert_eq!(talk.ask("exit-if-idle"), "not idle");
    // What he acknowledges is not let go of.
    talk.send("watch processes web");
    assert!(talk.until("] ").contains("hello"));
    talk.send("q");
    talk.until("> ");
    owner.ask("signal web KILL");
    assert!(of(&owner.watch("web"), "out:").contains(&"hello"));
    // No environment is in any answer, nor on the disk.
    for line in ["list processes", "status", "tail web"] {
        assert!(!talk.ask(line).contains("xyzzy"), "{line}");
    }
}

#[test]
fn no_environment_leaves_the_core() {
    let rig = Rig::new();
    let mut spawn = shell("secret", "exec sleep 1000");
    spawn.env.push((b"SECRET".to_vec(), b"xyzzy".to_vec()));
    let process = rig.client().spawn(spawn);
    rig.client().ok(OpenProcess { process: process.id, ext: vec![] });
    assert!(!format!("{:?}", rig.client().list()).contains("xyzzy"));
    let mut folders = vec![rig.directory()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if let Ok(bytes) = fs::read(entry.path()) {
                assert!(!bytes.windows(5).any(|window| window == b"xyzzy"), "{:?}", entry.path());
            }
        }
    }
}

#[test]
fn who_spawns_is_himself_and_rules_his_own() {
    if !can_be_another() {
        return;
    }
    let rig = open_core("65534 spawn\n");
    let closed = rig.run.path().join("closed");
    fs::create_dir_all(closed.join("open")).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    let mut owner = Talk::new(&rig);
    owner.ask("make process web /bin/sleep 1000");
    let mut talk = Talk::over(stranger(&rig));
    let script = "id\\ -u;id\\ -G;pwd;grep\\ NoNewPrivs\\ /proc/self/status";
    talk.ask(&format!("make process u65534.id env.PATH=/usr/bin:/bin /bin/sh -c {script}"));
    let items = talk.watch("u65534.id");
    for line in ["65534\n", "65534\n", "/\n", "NoNewPrivs:\t1\n"] {
        assert!(items.contains(line), "{line:?} is not in {items}");
    }
    assert!(!items.contains("65534 "), "no other group: {items}");
    let named = "Error: not permitted: user 65534 may not use the name web, only names that begin with u65534.";
    for line in ["make process web /bin/true", "signal web TERM", "remove processes web", "set web 1", "get web"] {
        assert_eq!(talk.ask(line), named, "{line}");
    }
    let other = "Error: not permitted: user 65534 may not start processes as another user or group";
    assert_eq!(talk.ask("make process u65534.r uid=root /bin/true"), other);
    let inside = closed.join("open");
    assert_eq!(
        talk.ask(&format!("make process u65534.c working_dir={} /bin/true", inside.display())),
        format!("Error: Bad working_dir - [Errno 13] Permission denied: '{}'", inside.display())
    );
    talk.ask("make process u65534.s /bin/sleep 1000");
    assert!(talk.ask("signal u65534.s TERM").ends_with("signal=15"));
    assert!(talk.watch("u65534.s").ends_with(":-15\n"));
    talk.ask("set u65534.v 1");
    owner.ask("set other 2");
    assert_eq!((talk.ask("get u65534.v"), talk.ask("list values")), ("1".into(), "u65534.v 1".into()));
    assert!(owner.ask("list processes").starts_with("web "));
}

#[test]
fn rights_outlive_both_halves() {
    if !can_be_another() {
        return;
    }
    let rig = open_core("65534 spawn\n");
    Talk::new(&rig).ask("make process web /bin/sleep 1000");
    Talk::over(stranger(&rig)).ask("make process u65534.s /bin/sleep 1000");
    for kill in [Rig::kill_kernel, Rig::kill_keeper] {
        kill(&rig);
        let mut talk = eventually("he is let in again", || {
            let stream = stranger(&rig);
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut byte = [0];
            let greeted = (&stream).read(&mut byte);
            if matches!(greeted, Ok(1)) { Ok(Talk { stream, read: Vec::new() }) } else { Err(greeted) }
        });
        talk.until("> ");
        assert!(talk.ask("signal web CONT").starts_with("Error: not permitted: "));
        assert!(talk.ask("signal u65534.s CONT").ends_with("signal=18"));
    }
}

#[test]
fn what_only_the_owner_may_is_refused_in_the_binary_protocol() {
    if !can_be_another() {
        return;
    }
    let rig = open_core("65534 operate\n");
    let web = rig.client().spawn(program("web", &["sleep", "1000"]));
    Talk::new(&rig).ask("make socket s");
    let mut client = Client::over(stranger(&rig));
    let mine = || program("u65534.p", &["sleep", "1000"]);
    let (holder, name) = (String::new(), String::from("s"));
    for (request, what) in [
        (Request::from(TakeLease { holder, grace_ms: 1, ext: vec![] }), "manage this instance"),
        (ExitIfIdle::default().into(), "end or replace this core"),
        (Upgrade { program: Some(b"/bin/true".to_vec()), ext: vec![] }.into(), "end or replace this core"),
        (OpenSocket { name: name.clone(), ext: vec![] }.into(), "make, take or remove sockets"),
        (Spawn { sockets: vec![name.clone()], ..mine() }.into(), "set limits, pass sockets or use additions"),
        (Spawn { stdin: Stdin::Socket(name), ..mine() }.into(), "set limits, pass sockets or use additions"),
        (Spawn { ext: vec![(1, vec![])], ..mine() }.into(), "set limits, pass sockets or use additions"),
        (
            Spawn { rlimits: vec![Rlimit { resource: 7, soft: 9, hard: 9 }], ..mine() }.into(),
            "set limits, pass sockets or use additions",
        ),
        (Spawn { uid: Some(0), ..mine() }.into(), "start processes as another user or group"),
        (Spawn { gid: Some(0), ..mine() }.into(), "start processes as another user or group"),
    ] {
        let said = not_permitted(client.request(request.clone()));
        assert_eq!(said, format!("user 65534 may not {what}"), "{request:?}");
    }
    assert!(matches!(client.request(Spawn { ring: 3 << 20, ..mine() }), Err(Refusal::Invalid { .. })));
    // Who operates signals everybody's.
    client.ok(Watch::default());
    assert_eq!(client.signal(web.id, 15, Target::Main), [web.pid]);
    assert_eq!(client.wait_exit(web.id).status, ExitStatus::Signal(15));
    client.ok(Forget { process: web.id, ext: vec![] });
}

#[test]
fn another_user_has_quotas_and_the_owner_still_finds_room() {
    if !can_be_another() {
        return;
    }
    let rig = open_core("65534 spawn\n");
    let mut talks: Vec<_> = (0..MAX_USER_CLIENTS).map(|_| Talk::over(stranger(&rig))).collect();
    assert!(is_refused(stranger(&rig)));
    let talk = &mut talks[0];
    for number in 0..MAX_USER_VALUES {
        assert_eq!(talk.ask(&format!("set u65534.{number} x")), "");
    }
    assert_eq!(talk.ask("set u65534.0 again"), "");
    assert_eq!(talk.ask("set u65534.more x"), "Error: the limit values of a user (16) is reached");
    for number in 0..MAX_USER_PROCESSES {
        let made = talk.ask(&format!("make process u65534.{number} stdout=0 stderr=0 /bin/true"));
        assert!(made.starts_with("u65534."), "{made}");
    }
    let more = talk.ask("make process u65534.more /bin/true");
    assert_eq!(more, "Error: the limit processes of a user (64) is reached");
    let mut owner = Talk::new(&rig);
    assert_eq!(owner.ask("set v 1"), "");
    assert!(owner.ask("make process web /bin/true").starts_with("web "));
}

#[test]
fn over_tcp_only_our_own_user_and_root() {
    if !can_be_another() {
        return;
    }
    let mut rig = Rig { run: tempfile::tempdir().unwrap(), papa: None, groups: "on" };
    let policy = rig.run.path().join("policy");
    fs::write(&policy, "65534 spawn\n").unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    rig.start_with(&["-p", &port.to_string(), "--policy", policy.to_str().unwrap()]);
    let connect = || eventually("the port is served", || TcpStream::connect(("127.0.0.1", port)));
    assert!(is_refused(as_user(STRANGER, connect)));
    let mut ours = connect();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut byte = [0];
    ours.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"P");
}

/// That links are not followed and wrong modes refused is in `instance.rs`.
#[test]
fn files_and_sockets_are_the_owners_alone() {
    let rig = Rig::new();
    assert_eq!((mode(&rig.directory()), mode(&rig.socket())), (0o700, 0o600));
    for name in ["state", "lock"] {
        assert_eq!(mode(&rig.directory().join(name)) & 0o077, 0, "{name}");
    }
    if can_be_another() {
        let open = open_core("65534 observe\n");
        assert_eq!((mode(&open.directory()), mode(&open.socket())), (0o700, 0o666));
    }
}

#[test]
fn a_browser_is_cut_off_on_the_socket_as_well() {
    let rig = Rig::new();
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\nset a 1\r\n",
        "POST /x HTTP/1.0\r\n\r\nset a 1\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}x\nset a 1\n",
    ] {
        let mut stream = UnixStream::connect(rig.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(Talk::new(&rig).ask("get a"), "");
}
