//! What happens: clients, children, time, deaths, in a random order.

use crate::model::{CAPACITY, PIPE, pattern};
use crate::world::World;
use ringmaster_kernel::core::{Input, WhenFull};
use ringmaster_protocol::limits::MIN_RING;
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::Stream;

impl World {
    pub fn any_process(&mut self) -> Option<ProcessId> {
        let count = self.processes.len() as u64;
        let index = if count == 0 {
            return None;
        } else {
            self.random.below(count)
        };
        self.processes.keys().nth(index as usize).copied()
    }

    pub fn act(&mut self) {
        self.a_while_passes(100_000);
        let stream = if self.random.one_in(3) { Stream::Stderr } else { Stream::Stdout };
        match self.random.below(22) {
            0 => self.spawn(),
            1..=5 => self.talk(stream),
            6..=10 => self.read_pipes(),
            11 | 12 => self.manager_reads(),
            13 => self.someone_ends(),
            14 => self.manager_comes_or_goes(),
            15 => self.forget(),
            16 => self.time_passes(),
            20 | 21 => self.use_kept(),
            17 if self.random.one_in(4) => self.fuse = Some(self.random.below(12)),
            18 if self.random.one_in(6) => self.dead = true,
            _ => {
                // An acknowledgement that makes no sense.
                if let (Some(process), Some(manager)) = (self.any_process(), self.manager) {
                    let offset = self.random.below(1 << 20);
                    let known = self.stream(process, stream);
                    let low = known.words.acked + known.words.lost;
                    if offset < low || offset > known.words.head {
                        self.ask(manager, Ack { process, stream, offset });
                    }
                }
            }
        }
        if self.dead {
            self.recover();
        }
    }

    pub fn spawn(&mut self) {
        if self.processes.len() >= 3 {
            return;
        }
        let client = self.manager.unwrap_or(self.tool);
        let leased = self.manager.is_some() && self.random.one_in(2);
        let spawn = Spawn {
            name: format!("p{}", self.random.below(8)),
            token: self.random.below(3),
            lifetime: if leased { Lifetime::Leased } else { Lifetime::Persistent },
            stop: StopPlan { signal: 15, grace_ms: 1000 },
            argv: vec![b"x".to_vec()],
            env: vec![],
            cwd: None,
            uid: None,
            gid: None,
            groups: None,
            rlimits: vec![],
            umask: None,
            stdin: Stdin::Null,
            stdout: Stdout::Captured,
            stderr: Stdout::Captured,
            sockets: vec![],
            // The smallest that a client may ask for; the model's are smaller, so that they are full more often.
            ring: MIN_RING,
            overflow: if self.random.one_in(4) { Overflow::Block } else { Overflow::DropOldest },
            note: vec![],
            ext: match self.random.below(4) {
                0 => vec![Keeping::DropNewest.addition()],
                1 => vec![Keeping::Spill { directory: b"/spill".to_vec(), quota: MIN_RING }.addition()],
                _ => vec![],
            },
        };
        self.ask(client, spawn);
    }

    /// Now a little, now more than a ring holds.
    fn talk(&mut self, stream: Stream) {
        let times = if self.random.one_in(8) { 40 } else { 4 };
        for _ in 0..times {
            self.write(stream);
            if times > 4 && !self.dead {
                self.read_pipes();
            }
        }
    }

    pub fn write(&mut self, stream: Stream) {
        let Some(id) = self.any_process() else { return };
        let most = if self.random.one_in(2) { 50 } else { 9000 };
        let count = self.random.below(most);
        let model = self.stream(id, stream);
        if !model.writers {
            return;
        }
        for _ in 0..count {
            if model.pipe.len() == PIPE {
                break;
            }
            model.pipe.push_back(pattern(id, stream, model.written));
            model.written += 1;
        }
    }

    pub fn read_pipes(&mut self) {
        for id in self.processes.keys().copied().collect::<Vec<_>>() {
            for stream in Stream::ALL {
                let Some(process) = self.processes.get(&id) else {
                    continue;
                };
                let model = &process.streams[stream.index()];
                if model.watched && (!model.pipe.is_empty() || !model.writers) {
                    self.drive(Input::Readable { process: id, stream });
                }
                if self.dead {
                    return;
                }
            }
        }
    }

    /// The manager takes its notices, reads what they announce and acknowledges some of it.
    pub fn manager_reads(&mut self) {
        let Some(manager) = self.manager else { return };
        self.notices.clear();
        self.drive(Input::Room { client: manager, notices: usize::MAX });
        let notices = std::mem::take(&mut self.notices);
        assert!(notices.len() <= 5 * self.processes.len(), "marks are bounded");
        for notice in notices {
            let Notice::Output(output) = notice else { continue };
            let process = output.process;
            let model = self.stream(process, output.stream);
            assert!(output.head == model.readable() && output.records <= model.words.records + 1);
            let low = (model.words.acked + model.words.lost).max(model.header_low);
            if model.read < low {
                model.gaps += low - model.read;
                model.read = low;
            }
            for offset in model.read..output.head {
                assert_eq!(model.data[(offset % CAPACITY) as usize], pattern(process, output.stream, offset));
            }
            let fresh = output.head.saturating_sub(model.read);
            model.read += fresh;
            model.got += fresh;
            let (read, missing, dropped) = (model.read, model.gaps, model.dropped_below(model.read));
            assert_eq!(read, model.got + missing, "what came is delivered or in a gap");
            self.delivered += fresh;
            match WhenFull::of(&self.processes[&process].spawn) {
                WhenFull::DropNewest => assert_eq!(missing, dropped, "a gap has the bytes that were dropped there"),
                WhenFull::Block => assert_eq!(missing, 0),
                WhenFull::DropOldest => assert_eq!(dropped, 0),
            }
            if !self.random.one_in(4) {
                self.ask(manager, Ack { process, stream: output.stream, offset: output.head });
            }
        }
    }

    pub fn someone_ends(&mut self) {
        let Some(id) = self.any_process() else { return };
        let grandchild = self.random.one_in(2);
        let process = self.processes.get_mut(&id).unwrap();
        if process.exit.is_none() && (self.random.one_in(3) || !process.alive) {
            (process.alive, process.orphans) = (false, grandchild);
            let pending = [0, 1].map(|index| {
                let stream = &mut process.streams[index];
                stream.writers &= grandchild;
                stream.pipe.len() as u64
            });
            let status = ExitStatus::Code(id.0 as i32);
            self.drive(Input::Ended {
                process: id,
                status,
                rusage: Rusage::default(),
                realtime_ns: self.now.real_ns,
                pending,
            });
        } else if process.exit.is_some() {
            process.streams.iter_mut().for_each(|stream| stream.writers = false);
            process.orphans = false;
            self.drive(Input::OrphanEnded);
        }
    }

    pub fn manager_comes_or_goes(&mut self) {
        match self.manager {
            Some(client) => {
                if self.random.one_in(3) {
                    self.ask(client, PutLease::default());
                }
                if self.random.one_in(2) {
                    self.drive(Input::Disconnected { client });
                    self.manager = None;
                }
            }
            None => {
                let client = self.connect();
                let grace_ms = self.random.below(5000);
                self.ask(client, TakeLease { holder: "m".into(), grace_ms, ext: vec![] });
                self.ask(client, Watch::default());
                self.manager = Some(client);
            }
        }
    }

    pub fn forget(&mut self) {
        let Some(process) = self.any_process() else { return };
        let client = self.manager.unwrap_or(self.tool);
        self.ask(client, Forget { process, ext: vec![] });
    }

    /// The monotonic clock goes on, the wall clock does as it likes; deadlines are met.
    pub fn time_passes(&mut self) {
        let most = [1_000_000, 50_000_000, 6_000_000_000][self.random.below(3) as usize];
        self.a_while_passes(most);
    }

    fn a_while_passes(&mut self, most: u64) {
        self.now.boot_ns += self.random.below(most);
        self.now.real_ns = (1 << 60) + self.random.below(1 << 50);
        if self.core.next_deadline().is_some_and(|at| at <= self.now.boot_ns) {
            self.drive(Input::Tick);
        }
        assert!(self.core.next_deadline().is_none_or(|at| at > self.now.boot_ns), "a deadline is left behind");
    }
}
