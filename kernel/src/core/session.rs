//! Connections: greeting, status, watching, notices, the end.

use super::authority::Peer;
use super::event::{ClientId, Effect, ReplyTo};
use super::marks::{Mark, Marks};
use super::process::{Fate, Life};
use super::{Answer, Client, Conduct, Core, Effects, Watching, invalid, limit};
use crate::limits::{MAX_WATCHES, SAFE_MODE};
use crate::state::Deaths;
use ringmaster_protocol::limits::MAX_NAME;
use ringmaster_protocol::message::{
    self, Exited, Exiting, Ext, Hello, Notice, Output, PROTOCOL, ProcessId, Refusal, Reply, Request, StatusReply,
    StreamEnd, Watch, Welcome,
};
use ringmaster_protocol::ring::Stream;

impl Core {
    pub(super) fn connected(&mut self, client: ClientId, peer: Peer) {
        let known = Client { peer, greeted: false, watches: Vec::new(), marks: Marks::default() };
        self.clients.insert(client, known);
    }

    pub(super) fn disconnected(&mut self, client: ClientId, out: &mut Effects) {
        self.clients.remove(&client);
        if self.lease.is_held_by(client) {
            self.begin_grace();
            self.resume_all(out);
        }
    }

    /// The first request is hello, and no message has an addition that must be understood and is not.
    pub(super) fn admit(&self, to: ReplyTo, request: &Request) -> Result<(), Refusal> {
        let greeted = self.clients.get(&to.client).is_some_and(|client| client.greeted);
        if !greeted && !matches!(request, Request::Hello(_)) {
            return Err(Refusal::NoHello);
        }
        if self.is_cautious() && !matches!(request, Request::Hello(_) | Request::Status(_)) {
            let reason = "the core has crashed several times and takes no requests but status for a moment (safe mode)";
            return Err(Refusal::NotPermitted { reason: reason.into() });
        }
        let tags = extensions(request).iter().map(|(tag, _)| *tag);
        match tags.filter(|tag| tag % 2 == 0).min() {
            Some(tag) => Err(invalid("ext", tag, "only additions that this core knows, or odd ones")),
            None => Ok(()),
        }
    }

    /// Whether it is in safe mode.
    fn is_cautious(&self) -> bool {
        let end = self.begun.boot_ns.saturating_add(u64::try_from(SAFE_MODE.as_nanos()).unwrap_or(0));
        self.facts.conduct == Conduct::Safe && self.now.boot_ns < end
    }

    pub(super) fn hello(&mut self, to: ReplyTo, hello: &Hello) -> Answer {
        if !(hello.oldest..=hello.newest).contains(&PROTOCOL) {
            return Err(Refusal::Version { oldest: PROTOCOL, newest: PROTOCOL });
        }
        if let Some(client) = self.clients.get_mut(&to.client) {
            client.greeted = true;
        }
        let welcome = Welcome {
            protocol: PROTOCOL,
            build: format!("papa {}", self.facts.version),
            instance_id: self.facts.instance_id,
            keeper_pid: self.facts.keeper_pid,
            kernel_pid: self.facts.kernel_pid,
            ext: Vec::new(),
        };
        Ok(Some(welcome.into()))
    }

    pub(super) fn status(&self) -> Reply {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let captures = || self.processes.values().map(|process| &process.captures);
        let reply = StatusReply {
            version: self.facts.version.clone(),
            keeper_pid: self.facts.keeper_pid,
            kernel_pid: self.facts.kernel_pid,
            started_ns: self.begun.real_ns,
            uptime_ms: self.now.boot_ns.saturating_sub(self.begun.boot_ns) / 1_000_000,
            processes: count(self.processes.len()),
            sockets: count(self.sockets.len()),
            values: count(self.values.len()),
            clients: count(self.clients.len()),
            buffered_bytes: captures().map(super::output::Captures::buffered).sum(),
            lost_bytes: captures().map(super::output::Captures::lost).fold(self.lost, u64::saturating_add),
            lease: self.lease.info(self.epoch),
            guarantees: self.facts.guarantees.clone(),
            ext: self.more_status(),
        };
        reply.into()
    }

    fn more_status(&self) -> Ext {
        let Deaths { kernel, keeper, upgrades } = self.facts.deaths;
        let deaths = [kernel, keeper, upgrades].map(u64::to_le_bytes).concat();
        let mut more = vec![(message::DEATHS, deaths)];
        if !self.last_upgrade.is_empty() {
            more.push((message::LAST_UPGRADE, self.last_upgrade.clone().into_bytes()));
        }
        if self.is_cautious() {
            more.push((message::SAFE_MODE, Vec::new()));
        }
        more
    }

    pub(super) fn watch(&mut self, to: ReplyTo, watch: Watch) -> Answer {
        if watch.prefix.len() > MAX_NAME {
            return Err(invalid("prefix", format!("{} bytes", watch.prefix.len()), "the beginning of a name"));
        }
        let since_ns = self.now.boot_ns;
        let matching = self.processes.values().filter(|process| process.name.starts_with(&watch.prefix));
        let matching: Vec<ProcessId> = matching.map(|process| process.id).collect();
        let Some(client) = self.clients.get_mut(&to.client) else {
            return Ok(None);
        };
        client.watches.retain(|known| known.prefix != watch.prefix);
        if client.watches.len() >= MAX_WATCHES {
            return Err(limit("watches", MAX_WATCHES));
        }
        client.watches.push(Watching { prefix: watch.prefix, since_ns });
        for id in matching {
            self.mark_state(id, Some(to.client));
        }
        Ok(Some(super::done()))
    }

    /// Everything there is to tell about a process, to all who watch it.
    pub(super) fn mark_all(&mut self, id: ProcessId) {
        self.mark_state(id, None);
    }

    fn mark_state(&mut self, id: ProcessId, only: Option<ClientId>) {
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        let [out, err] = process.captures.states();
        let facts = [
            (out.captured && out.head > 0, Mark::Stdout),
            (err.captured && err.head > 0, Mark::Stderr),
            (out.captured && !out.open, Mark::StdoutEnd),
            (err.captured && !err.open, Mark::StderrEnd),
            (matches!(process.life, Life::Exited(_)), Mark::Exit),
        ];
        for (_, mark) in facts.into_iter().filter(|(holds, _)| *holds) {
            self.mark(id, mark, only);
        }
    }

    pub(super) fn mark_output(&mut self, id: ProcessId, stream: Stream) {
        let mark = match stream {
            Stream::Stdout => Mark::Stdout,
            Stream::Stderr => Mark::Stderr,
        };
        self.mark(id, mark, None);
    }

    pub(super) fn mark_end(&mut self, id: ProcessId, stream: Stream) {
        let mark = match stream {
            Stream::Stdout => Mark::StdoutEnd,
            Stream::Stderr => Mark::StderrEnd,
        };
        self.mark(id, mark, None);
    }

    pub(super) fn mark_exit(&mut self, id: ProcessId) {
        self.mark(id, Mark::Exit, None);
    }

    fn mark(&mut self, id: ProcessId, mark: Mark, only: Option<ClientId>) {
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        for (client_id, client) in &mut self.clients {
            let watches = || client.watches.iter().any(|watch| process.name.starts_with(&watch.prefix));
            if only.is_none_or(|only| only == *client_id) && watches() {
                client.marks.set(id, mark);
            }
        }
    }

    /// Turns marks into at most about `notices` notices.
    pub(super) fn tell(&mut self, id: ClientId, notices: usize, out: &mut Effects) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        for _ in 0..notices {
            let Some((process, marks)) = client.marks.take() else {
                return;
            };
            let Some(process) = self.processes.get(&process) else {
                continue;
            };
            for mark in marks {
                if let Some(notice) = notice(process, mark) {
                    out.push(Effect::Notify { client: id, notice });
                }
            }
        }
    }

    /// Nothing is owned.
    pub fn is_idle(&self) -> bool {
        self.processes.is_empty() && self.sockets.is_empty() && self.values.is_empty()
    }

    /// Ends when nothing is owned, or when what is left is on its way out by our own hand.
    pub(super) fn exit_if_idle(&mut self) -> Reply {
        // Those that end by themselves, or that nobody wants to hear of: the core ends with the last of them.
        let unwanted = self.processes.values().all(|process| process.fate != Fate::Open);
        self.leaving = unwanted && self.sockets.is_empty() && self.values.is_empty();
        Exiting { exits: self.leaving, ext: Vec::new() }.into()
    }

    /// A stray SIGTERM must not lose living services: it ends only a core that owns nothing.
    pub(super) fn terminate(&mut self, out: &mut Effects) {
        if self.is_idle() {
            self.leaving = true;
            return;
        }
        let text = format!(
            "asked to end, but {} processes, {} sockets and {} values are left; they stay. SIGKILL ends this core and leaves its \
             processes running; the next core takes them back",
            self.processes.len(),
            self.sockets.len(),
            self.values.len()
        );
        out.push(Effect::Log { text });
    }
}

fn notice(process: &super::process::Process, mark: Mark) -> Option<Notice> {
    let id = process.id;
    let [out, err] = process.captures.states();
    let output = |stream, state: ringmaster_protocol::message::StreamState| {
        Notice::from(Output { process: id, stream, head: state.head, records: state.records })
    };
    let end = |stream, state: ringmaster_protocol::message::StreamState| {
        Notice::from(StreamEnd { process: id, stream, head: state.head, records: state.records })
    };
    match (mark, &process.life) {
        (Mark::Stdout, _) => Some(output(Stream::Stdout, out)),
        (Mark::Stderr, _) => Some(output(Stream::Stderr, err)),
        (Mark::StdoutEnd, _) => Some(end(Stream::Stdout, out)),
        (Mark::StderrEnd, _) => Some(end(Stream::Stderr, err)),
        (Mark::Exit, Life::Exited(exit)) => Some(Exited { process: id, exit: *exit }.into()),
        (Mark::Exit, Life::Running) => None,
    }
}

fn extensions(request: &Request) -> &Ext {
    static NONE: Ext = Vec::new();
    match request {
        Request::Hello(m) => &m.ext,
        Request::Status(m) => &m.ext,
        Request::Spawn(m) => &m.ext,
        Request::Signal(m) => &m.ext,
        Request::List(m) => &m.ext,
        Request::Watch(m) => &m.ext,
        Request::Ack(_) => &NONE,
        Request::Forget(m) => &m.ext,
        Request::TakeLease(m) => &m.ext,
        Request::PutLease(m) => &m.ext,
        Request::Listen(m) => &m.ext,
        Request::OpenSocket(m) => &m.ext,
        Request::Sockets(m) => &m.ext,
        Request::RemoveSocket(m) => &m.ext,
        Request::SetValue(m) => &m.ext,
        Request::GetValue(m) => &m.ext,
        Request::ListValues(m) => &m.ext,
        Request::RemoveValue(m) => &m.ext,
        Request::OpenProcess(m) => &m.ext,
        Request::Upgrade(m) => &m.ext,
        Request::ExitIfIdle(m) => &m.ext,
        Request::SetLifetime(m) => &m.ext,
    }
}
