//! Transcripts of Papa 1.0.6 replayed against our core. What differs every time is masked; what differs for a reason is in
//! [`DIFFERENCES`].
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

use rig::Rig;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the expected text may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Transcript, the line that was sent, what ours answers instead (as a Python string, masked), and why.
const DIFFERENCES: &[(&str, &str, &str, &str)] = &[
    (
        "04",
        "make socket r",
        "r family=inet type=stream backlog=5 host=127.0.0.1 port=# reuseport=1\n> ",
        "the line tells what the socket is, not what was asked for now",
    ),
    ("04", "list socket 5", "", "file numbers are understood, as help promises (and this one may exist)"),
    ("04", "remove socket 5", "", "the same"),
    ("06", "make socket e foo=1", "Error: Unknown socket option \"foo\"\n> ", "no Python"),
    ("06", "make socket e port=", "Error: invalid literal for int() with base 10: ''\n> ", "an empty value is a value"),
    (
        "06",
        "make socket e interface=lo",
        "e family=inet type=stream backlog=5 host=0.0.0.0 port=# interface=lo fileno=#\n> ",
        "devices work",
    ),
    (
        "06",
        "make socket e port=@PORT@",
        "Error: Socket for e has already been created - e family=inet type=stream backlog=5 host=0.0.0.0 port=# interface=lo fileno=#\n> ",
        "the one before was made",
    ),
    (
        "06",
        "make socket e path=/nonexistent/dir/s",
        "Error: Socket for e has already been created - e family=inet type=stream backlog=5 host=0.0.0.0 port=# interface=lo fileno=#\n> ",
        "the same",
    ),
    (
        "06",
        "make socket e path=@DIR@",
        "Error: Socket for e has already been created - e family=inet type=stream backlog=5 host=0.0.0.0 port=# interface=lo fileno=#\n> ",
        "the same",
    ),
    (
        "06",
        "list sockets",
        "e family=inet type=stream backlog=5 host=0.0.0.0 port=# interface=lo fileno=#\nok family=inet type=stream backlog=5 host=127.0.0.1 port=# fileno=#\n> ",
        "the same",
    ),
    ("08", "make process e nope=1 /bin/true", "Error: Unknown process option \"nope\"\n> ", "no Python"),
    ("08", "make process e output=1m /bin/true", "Error: Unknown process option \"output\"\n> ", "no Python"),
    (
        "08",
        "make process e env.A= /bin/true",
        "e pid=# running=# started=# args=/bin/true\n> ",
        "an empty value is a value",
    ),
    ("08", "list processes", "e pid=# running=# started=# args=/bin/true\n> ", "that process was made"),
    (
        "08",
        "make process e watch=1 /nonexist",
        "Error: Process for e has already been created - e pid=# running=# started=# args=/bin/true\n> ",
        "the same",
    ),
    (
        "12",
        "make process x watch=1 /bin/sleep 1",
        "x pid=# running=# started=# args=/bin/sleep 1\nclosed:x:#:0\n] ",
        "a process that exists is watched",
    ),
    (
        "16",
        "make process q /bin/echo $(socket.a.fileno),$(socket.b.fileno)",
        "",
        "every reference of an argument is replaced",
    ),
    (
        "16",
        "make process r2 /bin/sleep 1 $(socket.rp.fileno)",
        "r2 pid=# running=# started=# args=/bin/sleep 1 $(socket.rp.fileno)\n> ",
        "a shared port is shared",
    ),
    ("18", "watch processes y1", "Watching 1\nNothing left to watch\n> ", "a watch on a removed process ends with it"),
];

/// Where a transcript ends for us: what follows tests the environment of a machine or a defect.
const CUT: &[(&str, &str, &str)] =
    &[("16", "w p q", "it prints more than Papa's does; the test papa_text has its own")];

#[derive(Debug)]
enum Step {
    Send(u32, Vec<u8>),
    Expect(u32, Vec<u8>),
    Free(u32),
    Hang(u32),
    Closed(u32),
}

struct Peer {
    socket: UnixStream,
    read: Vec<u8>,
}

struct Replay {
    name: String,
    rig: Rig,
    folder: PathBuf,
    held: TcpListener,
    peers: HashMap<u32, Peer>,
}

fn transcripts(prefix: &str) -> (String, String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/golden/papa");
    let found = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let path = found.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix)).unwrap();
    (prefix.to_owned(), std::fs::read_to_string(path).unwrap())
}

/// A Python string literal.
fn unquote(literal: &str) -> Vec<u8> {
    let inner = &literal[1..literal.len() - 1];
    let mut out = Vec::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend(c.to_string().bytes());
            continue;
        }
        match chars.next().unwrap() {
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            'r' => out.push(b'\r'),
            'x' => {
                let hex: String = chars.by_ref().take(2).collect();
                out.push(u8::from_str_radix(&hex, 16).unwrap());
            }
            other => out.extend(other.to_string().bytes()),
        }
    }
    out
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut last = 1;
    for line in text.lines() {
        let (client, rest) = match line.strip_prefix('[') {
            Some(rest) => {
                let (number, rest) = rest.split_once("] ").unwrap();
                (number.parse().unwrap(), rest)
            }
            None => (1, line),
        };
        if let Some(comment) = line.strip_prefix("# ") {
            if comment.starts_with("(free help") {
                steps.push(Step::Free(last));
            } else if let Some(rest) = comment.strip_prefix("client [") {
                steps.push(Step::Hang(rest.split(']').next().unwrap().parse().unwrap()));
            } else if comment == "client closes the connection" {
                steps.push(Step::Hang(last));
            } else if comment == "server closed the connection" {
                steps.push(Step::Closed(last));
            }
            continue;
        }
        last = client;
        match rest.split_at(2) {
            ("C ", literal) => steps.push(Step::Send(client, unquote(literal))),
            (_, literal) => match steps.last_mut() {
                Some(Step::Expect(before, bytes)) if *before == client => bytes.extend(unquote(literal)),
                // Free text is read to its prompt.
                Some(Step::Free(_)) => {}
                _ => steps.push(Step::Expect(client, unquote(literal))),
            },
        }
    }
    steps
}

/// Puts neighbouring items of one stream together: whether two writes come as one item is a matter of a millisecond.
fn joined(text: &str) -> String {
    let mut out = String::new();
    // Where the newest item begins, its kind and name, and its bytes.
    let mut newest: Option<(usize, String, String)> = None;
    let mut rest = text;
    while let Some((line, behind)) = rest.split_once('\n') {
        let item = item(line).filter(|(_, length)| behind.len() > *length && behind.is_char_boundary(*length));
        let Some((kind, length)) = item else {
            newest = None;
            out.push_str(&rest[..=line.len()]);
            rest = behind;
            continue;
        };
        let mut data = behind[..length].to_owned();
        let mut begin = out.len();
        if let Some((at, before, bytes)) = newest.take().filter(|(_, before, _)| *before == kind) {
            (begin, data) = (at, bytes + &data);
            assert_eq!(before, kind);
        }
        out.truncate(begin);
        out.push_str(&format!("{kind}:0:{}\n{data}\n", data.len()));
        newest = Some((begin, kind, data));
        rest = &behind[length + 1..];
    }
    out + rest
}

/// `out:NAME` and the length of an item's first line.
fn item(line: &str) -> Option<(String, usize)> {
    let (head, length) = line.rsplit_once(':')?;
    let (kind, _) = head.rsplit_once(':')?;
    let is_output = kind.starts_with("out:") || kind.starts_with("err:");
    is_output.then_some((kind.to_owned(), length.parse().ok()?))
}

/// Takes away what differs every time.
fn mask(text: &str) -> String {
    let text = joined(text);
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let (body, end) = line.strip_suffix('\n').map_or((line, ""), |body| (body, "\n"));
        let item = ["out:", "err:", "closed:"].iter().any(|kind| body.starts_with(kind));
        if item {
            let mut fields: Vec<&str> = body.split(':').collect();
            let time = fields.len() - 2;
            fields[time] = "#";
            out.push_str(&fields.join(":"));
        } else {
            let words = body.split(' ').map(|word| match word.split_once('=') {
                Some((key @ ("pid" | "running" | "started" | "port" | "fileno" | "fd"), _)) => {
                    format!("{key}=#")
                }
                Some(("uid" | "gid" | "groups", _)) => word.into(),
                _ => match word.strip_prefix("127.0.0.1:") {
                    Some(_) => "127.0.0.1:#:".into(),
                    None => word.into(),
                },
            });
            out.push_str(&words.collect::<Vec<_>>().join(" "));
        }
        out.push_str(end);
    }
    out
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.sort_unstable();
    lines
}

impl Replay {
    fn peer(&mut self, client: u32) -> &mut Peer {
        let path = self.rig.socket();
        self.peers.entry(client).or_insert_with(|| {
            let socket = UnixStream::connect(path).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            Peer { socket, read: Vec::new() }
        })
    }

    /// The transcripts say @DIR@ for every path, and one port was taken when they were made.
    fn prepare(&self, line: &str) -> String {
        let name = if line.contains("socket x ") { "x" } else { "s" };
        let path = self.folder.join(name);
        let port = self.held.local_addr().unwrap().port();
        line.replace("@DIR@", path.to_str().unwrap()).replace("port=38171", &format!("port={port}"))
    }

    /// Reads until the text is there; batches that came earlier than in the transcript are acknowledged and put together.
    /// A list is asked for until it is what it was: the transcript was made with pauses.
    fn expect(&mut self, client: u32, asked: &str, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        let folder = self.folder.to_str().unwrap().to_owned();
        let name = self.name.clone();
        let peer = self.peer(client);
        let wanted = mask(wanted);
        loop {
            let seen = String::from_utf8_lossy(&peer.read).into_owned();
            let seen = seen.replace(&format!("{folder}/s"), "@DIR@").replace(&format!("{folder}/x"), "@DIR@");
            let seen = mask(&seen);
            if seen == wanted || (wanted.contains("closed:") && sorted(&seen) == sorted(&wanted)) {
                peer.read.clear();
                return;
            }
            let earlier = seen.strip_suffix("] ").filter(|earlier| earlier.len() < wanted.len());
            if wanted.ends_with("] ") && earlier.is_some() {
                peer.read.truncate(peer.read.len() - 2);
                peer.socket.write_all(b"-\n").unwrap();
            }
            assert!(Instant::now() < deadline, "{name}: expected\n{wanted}\nseen\n{seen}");
            if seen.ends_with("> ") && asked.starts_with('l') {
                peer.read.clear();
                peer.socket.write_all(format!("{asked}\n").as_bytes()).unwrap();
            }
            let mut bytes = [0; 4096];
            match peer.socket.read(&mut bytes) {
                Ok(0) => panic!("{name}: the core hung up; expected\n{wanted}\nseen\n{seen}"),
                Ok(count) => peer.read.extend(&bytes[..count]),
                Err(_) => {}
            }
        }
    }

    /// Reads up to a prompt, whatever comes before.
    fn skip(&mut self, client: u32) {
        let deadline = Instant::now() + PATIENCE;
        let peer = self.peer(client);
        while !peer.read.ends_with(b"> ") && !peer.read.ends_with(b"] ") {
            assert!(Instant::now() < deadline, "no prompt after {:?}", String::from_utf8_lossy(&peer.read));
            let mut bytes = [0; 4096];
            if let Ok(count) = peer.socket.read(&mut bytes) {
                peer.read.extend(&bytes[..count]);
            }
        }
        peer.read.clear();
    }

    fn closed(&mut self, client: u32) {
        let deadline = Instant::now() + PATIENCE;
        let mut peer = self.peers.remove(&client).unwrap();
        let mut byte = [0];
        while !matches!(peer.socket.read(&mut byte), Ok(0)) {
            assert!(Instant::now() < deadline, "the core does not hang up");
        }
    }
}

fn replay(number: &str) {
    let (name, text) = transcripts(number);
    let rig = Rig::new();
    let folder = rig.run.path().join("paths");
    std::fs::create_dir(&folder).unwrap();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut replay = Replay { name, rig, folder, held, peers: HashMap::new() };
    let mut asked = String::new();
    for step in steps(&text) {
        match step {
            Step::Send(client, bytes) => {
                let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                if CUT.iter().any(|(file, cut, _)| *file == number && *cut == line) {
                    return;
                }
                asked = line.replace("port=38171", "port=@PORT@");
                let bytes = match std::str::from_utf8(&bytes) {
                    Ok(text) => replay.prepare(text).into_bytes(),
                    Err(_) => bytes,
                };
                replay.peer(client).socket.write_all(&bytes).unwrap();
            }
            Step::Expect(client, bytes) => {
                let difference = DIFFERENCES.iter().find(|(file, line, _, _)| *file == number && *line == asked);
                match difference {
                    Some((_, _, "", _)) => replay.skip(client),
                    Some((_, _, ours, _)) => replay.expect(client, &asked, ours),
                    None => replay.expect(client, &asked, &String::from_utf8(bytes).unwrap()),
                }
                asked.clear();
            }
            Step::Free(client) => replay.skip(client),
            Step::Hang(client) => drop(replay.peers.remove(&client)),
            Step::Closed(client) => replay.closed(client),
        }
    }
    if text.contains("server still running at the end: False") {
        let ended = replay.rig.papa.take().unwrap().wait().unwrap();
        assert!(ended.success(), "{ended}");
    }
}

macro_rules! transcripts {
    ($($name:ident $number:literal,)+) => {
        $(#[test]
        fn $name() {
            replay($number);
        })+
    };
}

transcripts! {
    greeting_prompt_help "01",
    grammar_abbreviation "02",
    values "03",
    socket_inet "04",
    socket_unix "05",
    socket_errors "06",
    process_make_list "07",
    process_errors "08",
    watch_stream "09",
    watch_quit_resend "10",
    two_watchers "11",
    watch_immediately "12",
    exit_status "15",
    substitution_inheritance "16",
    identity_limits_env "17",
    remove_process "18",
    quit "20",
    exit_if_idle "21",
}
