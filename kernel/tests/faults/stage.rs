//! A core to which things happen, a client that does not give up, and what must hold afterwards.

use crate::rig::{self, Client, Rig};
use ringmaster_kernel::state::StateFile;
use ringmaster_protocol::instance::file;
use ringmaster_protocol::message::*;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A client that connects again whenever the core is gone, and repeats what was not answered.
pub struct Patient<'a> {
    rig: &'a Rig,
    client: Option<Client>,
    /// Refusals are passed on to the scenario once.
    pub repeated: u32,
}

impl<'a> Patient<'a> {
    pub fn new(rig: &'a Rig) -> Self {
        Self { rig, client: None, repeated: 0 }
    }

    /// A connection that holds the lease and watches.
    fn client(&mut self) -> &mut Client {
        if self.client.is_none() {
            let rig = self.rig;
            let connected = rig::eventually("the core lets us in", || {
                let mut client = Client::try_connect(rig).ok_or("nobody answers")?;
                let lease = TakeLease { holder: "faults".into(), grace_ms: 30_000, ext: vec![] };
                match client.attempt(lease).ok_or("it died")? {
                    Ok(_) => {}
                    Err(refusal) => {
                        return Err(if refusal.to_string().contains("safe mode") { "safe mode" } else { "no lease" });
                    }
                }
                client.attempt(Watch::default()).ok_or("it died")?.map_err(|_refusal| "no watch")?;
                Ok(client)
            });
            self.client = Some(connected);
        }
        self.client.as_mut().unwrap()
    }

    /// Asks until there is an answer.
    pub fn ask(&mut self, request: impl Into<Request>) -> Result<Reply, Refusal> {
        let request = request.into();
        loop {
            match self.client().attempt(request.clone()) {
                Some(answer) => return answer,
                None => {
                    self.repeated += 1;
                    self.client = None;
                }
            }
        }
    }

    pub fn ok(&mut self, request: impl Into<Request>) -> Reply {
        self.ask(request).unwrap_or_else(|refusal| panic!("refused: {refusal}"))
    }

    /// The next notice; after a death they begin anew.
    pub fn notice(&mut self) -> Notice {
        loop {
            match self.client().try_notice() {
                Some(notice) => return notice,
                None => self.client = None,
            }
        }
    }

    pub fn cast(&mut self, request: impl Into<Request>) {
        let mut bytes = Vec::new();
        assert!(request.into().cast().encode(&mut bytes));
        let client = self.client();
        rustix::net::send(&client.socket, &bytes, rustix::net::SendFlags::NOSIGNAL).ok();
    }

    pub fn list(&mut self) -> Vec<ProcessInfo> {
        match self.ok(List { after: ProcessId(0), prefix: String::new(), ext: vec![] }) {
            Reply::Listing(listing) => listing.processes,
            other => panic!("{other:?}"),
        }
    }

    pub fn status(&mut self) -> StatusReply {
        match self.ok(Status::default()) {
            Reply::StatusReply(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// The process file, for reading through all deaths.
    pub fn open(&mut self, process: ProcessId) -> rig::Reading {
        loop {
            let Reply::ProcessFile(file) = self.ok(OpenProcess { process, ext: vec![] }) else { panic!("no file") };
            if let Some(fd) = self.client().take_fd() {
                return rig::Reading::new(fd, file.process);
            }
        }
    }

    /// A connection of its own: the state of the last one is not asked for.
    pub fn anew(&mut self) {
        self.client = None;
    }
}

/// A core with one process that outlives everything.
pub struct Core {
    pub rig: Rig,
    pub standing: ProcessInfo,
    pub state: StateFile,
    /// Descriptors of the core between scenarios, with one client.
    pub descriptors: Option<usize>,
    pub round: u64,
}

impl Core {
    pub fn new() -> Self {
        let mut rig = Rig::new();
        // Whoever waits for processes of this thread takes it away.
        drop(rig.papa.take());
        let directory = std::fs::File::open(rig.directory()).unwrap();
        let state = ringmaster_kernel::shell::open_state(&directory).unwrap();
        let standing = rig.manager().spawn(Spawn { token: u64::MAX, ..rig::shell("standing", "exec sleep 100000") });
        // A half that was started anew has opened less.
        rig.kill_kernel();
        Self { rig, standing, state, descriptors: None, round: 0 }
    }

    /// What tells the processes of this round from all others.
    pub fn marker(&self) -> String {
        format!("{}-{}", self.rig.run.path().file_name().unwrap().to_string_lossy(), self.round)
    }

    /// The half that serves is killed where it is, whoever looks.
    pub fn kill_kernel(&self) {
        let kernel = nix::unistd::Pid::from_raw(self.state.header().kernel());
        nix::sys::signal::kill(kernel, nix::sys::signal::Signal::SIGKILL).unwrap();
    }

    /// Both halves are killed where they are.
    pub fn kill_both(&self) {
        let header = self.state.header();
        let keeper = self.rig.keeper_pid();
        let kill = |pid, signal| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).ok();
        kill(keeper, nix::sys::signal::Signal::SIGSTOP);
        // One that was just made is named by nobody yet; it would rightly take the keeper's place.
        let mut halves: BTreeSet<i32> = [keeper, header.kernel(), header.handed_over().0].into();
        halves.extend(children_of(keeper));
        let halves: Vec<i32> = halves.into_iter().filter(|pid| *pid > 0 && is_papa(*pid)).collect();
        for pid in &halves {
            kill(*pid, nix::sys::signal::Signal::SIGKILL);
        }
        for pid in halves {
            // One that we trace stays a zombie until we have looked.
            rig::eventually("it is dead", || (!rig::lives(pid)).then_some(()).ok_or(pid));
        }
    }

    /// Another core. It may have to wait for a child that still has the table of descriptors of the last, and with it the lock.
    pub fn start_anew(&self) {
        let mut command = self.rig.command();
        command.arg("-d").stdin(std::process::Stdio::null());
        let mut papa = command.spawn().unwrap();
        rig::eventually("a new core comes up", || {
            if let Ok(Some(status)) = papa.try_wait() {
                papa = command.spawn().unwrap();
                return Err(format!("{status}"));
            }
            let served = std::fs::read_to_string(self.rig.directory().join("pid")).unwrap_or_default();
            (served.trim() == papa.id().to_string()).then_some(()).ok_or(served)
        });
    }

    /// Nothing but the standing process is left, and that is as it was.
    pub fn check(&mut self) {
        let mut client = self.rig.client();
        let list = client.list();
        let rows: Vec<(ProcessId, i32)> = list.iter().map(|process| (process.id, process.pid)).collect();
        assert_eq!(rows, [(self.standing.id, self.standing.pid)], "what the core knows");
        assert!(rig::lives(self.standing.pid), "the standing process lives");
        let lost = client.status().lost_bytes;
        assert_eq!(lost, 0, "bytes lost");
        let marker = self.marker();
        rig::eventually("no process of the round is left", || {
            let left = marked(&marker);
            left.is_empty().then_some(()).ok_or(left)
        });
        rig::eventually("no stray child is left", || {
            let (keeper, kernel) = (self.rig.keeper_pid(), client.status().kernel_pid);
            let children = children_of(keeper);
            let stray: Vec<i32> =
                children.into_iter().filter(|pid| ![kernel, self.standing.pid].contains(pid)).collect();
            stray.is_empty().then_some(()).ok_or(stray.iter().map(|pid| stat(*pid)).collect::<Vec<_>>())
        });
        let rings: Vec<String> = files(&self.rig.directory().join(file::RINGS));
        assert_eq!(rings, [self.standing.id.0.to_string()], "ring files");
        assert_eq!(files(&self.rig.directory().join(file::VALUES)), Vec::<String>::new(), "value files");
        assert_eq!(
            files(&self.rig.directory().join(ringmaster_kernel::instance::SOCKETS)),
            Vec::<String>::new(),
            "socket files"
        );
        assert!(!self.rig.directory().join("state.trial").exists(), "the copy for a dry run is left");
        self.state.catch_up().unwrap();
        let slots = (0..).map_while(|index| self.state.slot(index)).filter(|slot| slot.facts().is_some()).count();
        assert_eq!(slots, 1, "slots in use");
        self.check_descriptors(&mut client);
    }

    /// As many descriptors as always, but for two: the program that an upgrade has kept for a rollback, and the watch over the instance
    /// directory, which a half goes without when it cannot have it, and says so.
    fn check_descriptors(&mut self, client: &mut Client) {
        rig::eventually("the core has let go of the other clients", || {
            let clients = client.status().clients;
            (clients == 1).then_some(()).ok_or(clients)
        });
        let folder = format!("/proc/{}/fd", self.rig.keeper_pid());
        let open = || {
            let links =
                std::fs::read_dir(&folder).unwrap().flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
            let links = links.filter(|link| link != Path::new(env!("CARGO_BIN_EXE_papa")));
            links.map(|link| link.display().to_string()).partition::<Vec<_>, _>(|link| link == "anon_inode:inotify")
        };
        let told = client.status().guarantees;
        let watches = usize::from(!told.iter().any(|row| row.name == "removal-of-the-directory-is-seen" && !row.holds));
        let expected = *self.descriptors.get_or_insert_with(|| open().1.len());
        rig::eventually("no stray descriptor is left", || {
            let (watching, others) = open();
            let as_always = watching.len() == watches && others.len() == expected;
            as_always
                .then_some(())
                .ok_or_else(|| format!("{watches} and {expected} expected: {watching:?}, {others:?}"))
        });
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // When a test fails the rig ends what is a child of the core; after the death of both halves this one is not.
        if std::thread::panicking() {
            self.kill_both();
            for pid in marked(&self.marker()).into_iter().chain([self.standing.pid]) {
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).ok();
            }
        }
    }
}

fn stat(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default()
}

fn files(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn is_papa(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| rig::lives(pid) && name.trim() == "papa")
}

fn children_of(pid: i32) -> Vec<i32> {
    let said = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    said.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Living processes with that word in their environment.
pub fn marked(marker: &str) -> Vec<i32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids
        .filter_map(|entry| entry.file_name().as_bytes().first().filter(|byte| byte.is_ascii_digit()).map(|_| entry));
    pids.filter_map(|entry| {
        let environ = std::fs::read(entry.path().join("environ")).ok()?;
        let found = environ.windows(marker.len()).any(|window| window == marker.as_bytes());
        let pid = entry.file_name().to_str()?.parse().ok()?;
        (found && rig::lives(pid)).then_some(pid)
    })
    .collect()
}
