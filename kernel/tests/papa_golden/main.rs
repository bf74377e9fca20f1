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

mod differences;
mod mask;
#[path = "../rig/mod.rs"]
mod rig;
mod transcript;

use differences::DIFFERENCES;
use mask::mask;
use rig::Rig;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use transcript::{Step, steps, transcripts, watched_whole};

/// How long the expected text may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Transcripts whose watches are compared as a whole, because when a batch ends is a matter of time.
const WHOLE: &[&str] = &["13", "14", "16", "19"];

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
    fn expect(&mut self, client: u32, asked: &str, wanted: &str, acks: Option<Vec<Vec<u8>>>) {
        let mut acks = acks.map(Vec::into_iter);
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
            if let Some(acks) = acks.as_mut().filter(|_| peer.read.ends_with(b"] ")) {
                peer.read.truncate(peer.read.len() - 2);
                peer.socket.write_all(&acks.next().unwrap_or_else(|| b"-\n".to_vec())).unwrap();
                continue;
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
    let whole = WHOLE.contains(&number);
    for step in if whole { watched_whole(steps(&text)) } else { steps(&text) } {
        match step {
            Step::Send(client, bytes) => {
                let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                asked = line.replace("port=38171", "port=@PORT@");
                let bytes = match std::str::from_utf8(&bytes) {
                    Ok(text) => replay.prepare(text).into_bytes(),
                    Err(_) => bytes,
                };
                replay.peer(client).socket.write_all(&bytes).unwrap();
            }
            Step::Expect(..) | Step::Watch(..) => {
                let (client, bytes, acks) = match step {
                    Step::Watch(client, bytes, acks) => (client, bytes, Some(acks)),
                    Step::Expect(client, bytes) => (client, bytes, None),
                    _ => unreachable!(),
                };
                let difference = DIFFERENCES.iter().find(|(file, line, _, _)| *file == number && *line == asked);
                match difference {
                    Some((_, _, "", _)) => replay.skip(client),
                    Some((_, _, ours, _)) => replay.expect(client, &asked, ours, acks),
                    None => replay.expect(client, &asked, &String::from_utf8(bytes).unwrap(), acks),
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
    multi_process_watch "13",
    overflow "14",
    exit_status "15",
    substitution_inheritance "16",
    identity_limits_env "17",
    remove_process "18",
    pipe_defects "19",
    quit "20",
    exit_if_idle "21",
}
