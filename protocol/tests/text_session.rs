//! Conversations in Papa's text protocol with a core that the test plays: whatever the bytes and however they are cut, every
//! line has one answer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm,
    reason = "a test ends by panicking"
)]

use proptest::prelude::*;
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::{Record, Stream};
use ringmaster_protocol::text::{Acked, After, Host, Session, Tables};
use std::collections::BTreeMap;

/// What every watched process has written: two records of stdout.
const OUTPUT: &[u8] = b"one\ntwo > \n] \n";
const SECOND: u64 = 4;

/// A core without an operating system: values are kept, processes of the text protocol "run" and have written [`OUTPUT`].
#[derive(Debug, Default)]
struct Core {
    values: BTreeMap<String, Vec<u8>>,
    processes: Vec<ProcessInfo>,
}

impl Core {
    fn spawn(&mut self, spawn: Spawn) -> Result<Reply, Refusal> {
        if self.processes.iter().any(|process| process.name == spawn.name) {
            return Err(Refusal::NameTaken { what: "process".into(), name: spawn.name });
        }
        let silent =
            StreamState { captured: false, open: false, low: 0, head: 0, first_record: 0, records: 0, lost: 0 };
        let said = StreamState { captured: true, open: true, head: OUTPUT.len() as u64, records: 2, ..silent };
        let id = ProcessId(self.processes.len() as u64 + 1);
        let process = ProcessInfo {
            id,
            name: spawn.name,
            pid: 100 + id.0 as i32,
            started_ns: 1_500_000_000,
            lifetime: spawn.lifetime,
            note: spawn.note,
            streams: [said, silent],
            exit: None,
        };
        self.processes.push(process.clone());
        Ok(Spawned { process, ext: vec![] }.into())
    }
}

impl Host for Core {
    fn ask(&mut self, request: Request) -> Result<Reply, Refusal> {
        match request {
            Request::Spawn(spawn) => self.spawn(spawn),
            Request::Signal(_) => Ok(Signalled { pids: vec![], ext: vec![] }.into()),
            Request::SetValue(set) => {
                self.values.insert(set.name, set.value);
                Ok(Done::default().into())
            }
            Request::RemoveValue(remove) => {
                self.values.remove(&remove.name);
                Ok(Done::default().into())
            }
            Request::GetValue(get) => Ok(Value { value: self.values.get(&get.name).cloned(), ext: vec![] }.into()),
            Request::ListValues(_) => {
                let names = self.values.keys().cloned().collect();
                Ok(ValueNames { names, more: false, ext: vec![] }.into())
            }
            other => Err(Refusal::Unsupported { message: other.number() }),
        }
    }

    fn abandon(&mut self, process: ProcessId) -> Result<(), Refusal> {
        self.processes.retain(|known| known.id != process);
        Ok(())
    }

    fn process(&self, process: ProcessId) -> Option<ProcessInfo> {
        self.processes.iter().find(|known| known.id == process).cloned()
    }

    fn processes(&self) -> Vec<ProcessInfo> {
        self.processes.clone()
    }

    fn sockets(&self) -> Vec<(Listen, SocketInfo)> {
        Vec::new()
    }

    fn is_idle(&self) -> bool {
        false
    }

    fn may_release(&self, _process: ProcessId) -> bool {
        true
    }

    fn output(&self, _process: ProcessId, _stream: Stream, from: u64, to: u64) -> Vec<u8> {
        OUTPUT[from as usize..to as usize].to_vec()
    }

    fn record(&self, _process: ProcessId, _stream: Stream, number: u64) -> Option<Record> {
        let offset = [0, SECOND].get(number as usize).copied()?;
        Some(Record { seq: number, offset, realtime_ns: 2_000_000_000 + number, boottime_ns: 0 })
    }

    fn tables(&self) -> Tables {
        Tables { users: "root:x:0:0::/:/bin/sh\n".into(), ..Tables::default() }
    }

    fn acked(&mut self, _acked: Vec<Acked>) {}

    fn left(&mut self, _processes: Vec<ProcessId>) {}
}

/// Everything that is said when `bytes` come in portions of `cut`, by a client that reads at once.
fn talk(bytes: &[u8], cut: usize) -> (Vec<u8>, After) {
    let (mut core, mut session, mut out) = (Core::default(), Session::default(), Vec::new());
    let mut after = After::Waiting;
    for portion in bytes.chunks(cut) {
        assert!(session.push(portion));
        loop {
            after = session.run(&mut core, usize::MAX, &mut out);
            if !session.is_settling() {
                break;
            }
            session.settle();
        }
        if after != After::Waiting {
            break;
        }
    }
    (out, after)
}

#[test]
fn a_watch_shows_items_by_record_and_needs_answers() {
    let (said, after) = talk(b"make process p /bin/true\nwatch processes p\n\nq\nget a\n", 7);
    let said = String::from_utf8(said).unwrap();
    let expected = "p pid=101 running=True started=1.5 args=/bin/true\n> Watching 1\n\
                    out:p:2.0:4\none\n\nout:p:2.000001:10\ntwo > \n] \n\n] ";
    // Nothing more is written: the second line waits for a batch that does not come.
    assert_eq!((said.as_str(), after), (expected, After::Waiting));
}

/// A command, or something like one.
fn line() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "list processes",
        "l s",
        "list values a*",
        "make process p /bin/true",
        "m p p uid=root stderr=stdout rlimit.core=0 sh -c a\\ b",
        "make process q env.A= bufsize=2m $(socket.s.fileno)",
        "make socket s port=0",
        "remove processes p",
        "r v a",
        "set a b c",
        "get a",
        "tail p 1",
        "signal p TERM",
        "status",
        "help make",
        "exit-if-idle",
        "",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => "\\PC{0,30}", 1 => "[a-z =\\\\\"$().*]{0,30}"]
}

proptest! {
    #[test]
    fn every_line_has_one_answer(lines in prop::collection::vec(line(), 0..12)) {
        let asked: Vec<String> = lines.into_iter().filter(|line| !line.trim_start().to_lowercase().starts_with(['q', 'w'])).collect();
        prop_assume!(asked.iter().all(|line| !line.contains("watch=") && !line.contains('>')));
        let text: String = asked.iter().map(|line| format!("{line}\n")).collect();
        let (said, after) = talk(text.as_bytes(), usize::MAX);
        prop_assert_eq!(after, After::Waiting);
        // Answers do not begin with the prompt, but what a process wrote might hold one.
        let prompts = said.windows(2).filter(|pair| pair == b"> ").count();
        let tails = said.windows(7).filter(|window| window == b"two > \n").count();
        prop_assert_eq!(prompts - tails, asked.len(), "{}", String::from_utf8_lossy(&said));
    }

    #[test]
    fn any_bytes_in_any_portions_say_the_same(
        lines in prop::collection::vec(prop_oneof![line().prop_map(String::into_bytes), Just(b"watch processes".to_vec()), prop::collection::vec(any::<u8>(), 0..20)], 0..12),
        cut in 1usize..40,
    ) {
        let bytes = lines.join(&b'\n');
        prop_assert_eq!(talk(&bytes, bytes.len().max(1)), talk(&bytes, cut));
    }
}
