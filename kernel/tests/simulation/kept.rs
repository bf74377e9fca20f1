//! Sockets, values and signals: what the core keeps by name, and whom it says it reached.

use crate::world::World;
use ringmaster_kernel::core::{Effect, Input};
use ringmaster_protocol::message::*;
use std::collections::BTreeMap;

/// The files of sockets and values, and the answers of the core about them.
#[derive(Default)]
pub struct Kept {
    pub sockets: BTreeMap<String, (Listen, u32)>,
    pub values: BTreeMap<u64, (String, Vec<u8>)>,
    pub value: Option<Option<Vec<u8>>>,
    pub names: Option<Vec<String>>,
    pub listed: Option<Vec<SocketInfo>>,
    pub signalled: Option<Vec<i32>>,
    /// Whom the last signal of a client reached.
    pub reached: Option<Vec<i32>>,
}

impl Kept {
    pub fn answer(&mut self, reply: Reply) {
        match reply {
            Reply::Value(value) => self.value = Some(value.value),
            Reply::ValueNames(names) => self.names = Some(names.names),
            Reply::SocketList(list) => self.listed = Some(list.sockets),
            Reply::Signalled(signalled) => self.signalled = Some(signalled.pids),
            _ => {}
        }
    }

    fn value(&self, name: &str) -> Option<Vec<u8>> {
        let mut known = self.values.values().filter(|(known, _)| known == name);
        known.next().map(|(_, value)| value.clone())
    }
}

impl World {
    /// An effect on files: done, or refused by the system; now and then the core dies before it hears of it.
    pub fn keep(&mut self, effect: Effect) -> Option<Input> {
        let fails = self.random.one_in(8);
        let full = || Refusal::System { action: "storing".into(), errno: libc::ENOSPC };
        match effect {
            Effect::Bind { to, listen, number } => {
                let outcome = if fails {
                    Err(full())
                } else {
                    assert!(self.kept.sockets.values().all(|(_, taken)| *taken != number));
                    let known = (*listen.clone(), number);
                    assert!(self.kept.sockets.insert(listen.name.clone(), known).is_none());
                    self.dead |= self.random.one_in(10);
                    Ok(listen.address.clone())
                };
                let to = Some(to);
                return Some(Input::Bound { to, listen, number, outcome });
            }
            Effect::Unbind { name } => assert!(self.kept.sockets.remove(&name).is_some()),
            Effect::StoreValue { to, name, number, value } => {
                let outcome = if fails { Err(full()) } else { Ok(()) };
                if outcome.is_ok() {
                    let before = self.kept.values.insert(number, (name.clone(), value));
                    assert!(before.is_none_or(|(before, _)| before == name), "one file, two names");
                    self.dead |= self.random.one_in(10);
                }
                let to = Some(to);
                return Some(Input::ValueStored { to, name, number, outcome });
            }
            Effect::LoadValue { to, number } => {
                let outcome = Ok(self.kept.values[&number].1.clone());
                return Some(Input::ValueLoaded { to, outcome });
            }
            Effect::DropValue { number } => assert!(self.kept.values.remove(&number).is_some()),
            other => panic!("not in this simulation: {other:?}"),
        }
        None
    }

    /// The next core finds the files.
    pub fn keep_on(&mut self) {
        for (listen, number) in self.kept.sockets.values().cloned().collect::<Vec<_>>() {
            let outcome = Ok(listen.address.clone());
            let listen = Box::new(listen);
            self.drive(Input::Bound { to: None, listen, number, outcome });
        }
        for (number, (name, _)) in self.kept.values.clone() {
            let outcome = Ok(());
            self.drive(Input::ValueStored { to: None, name, number, outcome });
        }
    }

    /// Somebody uses sockets or values, or sends a signal.
    pub fn use_kept(&mut self) {
        let client = self.manager.unwrap_or(self.tool);
        let name = format!("n{}", self.random.below(5));
        let ext = Vec::new();
        match self.random.below(6) {
            0 | 1 => {
                let value = vec![7; self.random.below(100) as usize];
                self.ask(client, SetValue { name, value, ext });
            }
            2 => self.ask(client, RemoveValue { name, ext }),
            3 => {
                let port = 1000 + self.random.below(2) as u16;
                let listen = Listen {
                    name,
                    address: SocketAddress::Inet(([127, 0, 0, 1], port).into()),
                    kind: SocketType::Stream,
                    backlog: 1,
                    umask: None,
                    replace: false,
                    interface: None,
                    reuse_port: false,
                    blocking: false,
                    persistent: self.random.one_in(2),
                    ext,
                };
                self.ask(client, listen);
            }
            4 => self.ask(client, RemoveSocket { name, ext }),
            _ => self.send_signal(),
        }
    }

    fn send_signal(&mut self) {
        let Some(process) = self.any_process() else {
            return;
        };
        let signal = [0, 15, 9][self.random.below(3) as usize];
        let target = if self.random.one_in(2) { Target::Tree } else { Target::Main };
        let ext = Vec::new();
        (self.kept.signalled, self.kept.reached) = (None, None);
        let client = self.manager.unwrap_or(self.tool);
        self.ask(client, Signal { process, signal, target, ext });
        assert_eq!(self.kept.signalled, self.kept.reached, "whom it reached is told as it was");
    }

    /// Names, numbers and contents are those of the files.
    pub fn check_kept(&mut self) {
        let tool = self.tool;
        self.ask(tool, Sockets::default());
        let listed = self.kept.listed.take().unwrap();
        let told: Vec<_> = listed.iter().map(|info| (&info.name, info.number, &info.address)).collect();
        let files = self.kept.sockets.iter();
        let kept: Vec<_> = files.map(|(name, (listen, number))| (name, *number, &listen.address)).collect();
        assert_eq!(told, kept, "sockets and their files");

        let (after, prefix, ext) = (String::new(), String::new(), Vec::new());
        self.ask(tool, ListValues { after, prefix, ext });
        let mut names: Vec<_> = self.kept.values.values().map(|(name, _)| name.clone()).collect();
        names.sort();
        assert_eq!(self.kept.names.take().unwrap(), names, "values and their files");

        let (name, ext) = (format!("n{}", self.random.below(5)), Vec::new());
        let expected = self.kept.value(&name);
        self.ask(tool, GetValue { name, ext });
        assert_eq!(self.kept.value.take().unwrap(), expected);
    }
}
