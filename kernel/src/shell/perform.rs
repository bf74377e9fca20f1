//! Carrying out effects: one switch, a few lines each.

use super::child::Watch;
use super::connection::Speech;
use super::descriptors::Inheritable;
use super::launch::{Caller, Started};
use super::{Shell, Verdict, socket};
use crate::core::{Attachment, ClientId, Effect, Input, ReplyTo};
use crate::limits::{MAX_WIDE, PIPE_WIDE};
use ringmaster_protocol::frame::Frame;
use ringmaster_protocol::message::{Listen, Notice, ProcessId, Refusal, Reply, SocketAddress, Spawn};
use ringmaster_protocol::ring::Stream;
use rustix::io::fcntl_dupfd_cloexec;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::poll::Token;
use crate::core::Passed;
use crate::sys::Behalf;

impl Shell {
    /// Does one thing; gives what the core must know about its outcome.
    pub(super) fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Reply { to, reply, attachment } => self.answer(to, Ok(*reply), attachment),
            Effect::Refuse { to, refusal } => self.answer(to, Err(refusal), None),
            Effect::Notify { client, notice } => self.notify(client, &notice),
            Effect::Start { to, spawn } => return Some(self.start(to, spawn)),
            Effect::Capture { process, stream, capture } => {
                let outcome = self.children.get_mut(&process)?.capture(stream, &capture);
                self.last = Some((capture, outcome));
                return Some(Input::Captured { process, stream, outcome });
            }
            Effect::Pause { process, stream } => self.pause(process, stream),
            Effect::Resume { process, stream } => self.resume(process, stream),
            Effect::Look { process, stream } => return Some(Input::Readable { process, stream }),
            Effect::Widen { process, stream } => {
                let room = self.widen(process, stream)?;
                return Some(Input::Widened { process, stream, room });
            }
            Effect::Close { process, stream } => self.close(process, stream),
            Effect::SaveAck { process, stream, acked, lost, first_record } => {
                let words = self.children.get(&process)?.slot.stream(stream);
                words.lost().store(lost, Ordering::Release);
                words.acked().store(acked, Ordering::Release);
                words.first_record().store(first_record, Ordering::Release);
            }
            Effect::Thin { process, stream, holes } => self.children.get(&process)?.file.give_back(stream, &holes),
            Effect::SaveExit { process, exit } => self.save_exit(process, exit),
            Effect::SaveLifetime { process, lifetime } => {
                let child = self.children.get(&process)?;
                let saved = child.file.save_lifetime(self.launcher.ledger(), child.index, process, lifetime);
                if let Err(error) = saved {
                    self.log(&format!("process {}: a later core will not know its lifetime: {error}", process.0));
                }
            }
            Effect::Release { process } => {
                self.release(process);
                self.text.forget(process);
                self.stir_all();
            }
            Effect::SaveLost { bytes } => self.state.header().set_lost(bytes),
            Effect::SaveLease { epoch, leased, grace_ms } => {
                self.state.header().set_lease(epoch, leased, grace_ms);
            }
            Effect::Signal { process, signal, target, purpose } => {
                if self.put_off(process, signal, target, purpose) {
                    return None;
                }
                let outcome = self.send_signal(process, signal, target);
                return Some(Input::Signalled { process, purpose, outcome });
            }
            Effect::Bind { to, listen, number } => return Some(self.bind(to, listen, number)),
            Effect::Unbind { name } => self.unbind(&name),
            Effect::StoreValue { to, name, number, value } => {
                let stored = self.values.store_value(number, &name, &value);
                let outcome = stored.map_err(|error| socket::failed(format!("storing {name}"), &error));
                return Some(Input::ValueStored { to: Some(to), name, number, outcome });
            }
            Effect::LoadValue { to, number } => {
                let loaded = self.values.load_value(number);
                let outcome = loaded.map_err(|error| socket::failed("reading the value", &error));
                return Some(Input::ValueLoaded { to, outcome });
            }
            Effect::DropValue { number } => self.values.remove(number),
            Effect::Upgrade { to, program } => self.try_program(to, program.as_deref()),
            Effect::Log { text } => self.log(&text),
            Effect::Exit => self.verdict = Some(Verdict::Idle),
        }
        None
    }

    /// Answers outside of the core's turn.
    pub(super) fn answer_now(&mut self, to: ReplyTo, answer: Result<Reply, Refusal>) {
        if to.request.is_some() {
            self.answer(to, answer, None);
        }
    }

    /// To the conversation that waits for it, or into a frame.
    fn answer(&mut self, to: ReplyTo, answer: Result<Reply, Refusal>, attachment: Option<Attachment>) {
        let request = to.request.unwrap_or(0);
        match self.text.answered(to, answer) {
            None => {}
            Some(Ok(reply)) => self.send_reply(to, &reply.frame(request), attachment),
            Some(Err(refusal)) => self.queue(to.client, &refusal.frame(to.message, request), None),
        }
    }

    fn notify(&mut self, client: ClientId, notice: &Notice) {
        let speech = self.connections.get(&client).map(|connection| connection.speech);
        match speech {
            Some(Speech::Text) => self.stir(client),
            Some(Speech::Silent | Speech::Greeted | Speech::Binary) => self.queue(client, &notice.frame(), None),
            None => {}
        }
    }

    fn send_reply(&mut self, to: ReplyTo, frame: &Frame, attachment: Option<Attachment>) {
        match attachment.map(|attachment| self.descriptor(&attachment)) {
            None => self.queue(to.client, frame, None),
            Some(Ok(descriptor)) => self.queue(to.client, frame, Some(descriptor)),
            Some(Err(error)) => {
                let refusal = socket::failed("opening the descriptor for the client", &error);
                self.queue(to.client, &refusal.frame(to.message, to.request.unwrap_or(0)), None);
            }
        }
    }

    fn descriptor(&self, attachment: &Attachment) -> io::Result<OwnedFd> {
        match attachment {
            Attachment::Process(id) => {
                let child = self.children.get(id).ok_or(io::ErrorKind::NotFound)?;
                child.file.read_only()
            }
            Attachment::Socket(name) => {
                let socket = self.sockets.get(name).and_then(|known| known.socket.as_ref());
                Ok(fcntl_dupfd_cloexec(socket.ok_or(io::ErrorKind::NotFound)?, 0)?)
            }
        }
    }

    fn queue(&mut self, client: ClientId, frame: &Frame, descriptor: Option<OwnedFd>) {
        let Some(connection) = self.connections.get_mut(&client) else {
            return;
        };
        if let Err(why) = connection.queue(frame, descriptor) {
            self.log(&format!("client {}: {why}", client.0));
        }
    }

    fn start(&mut self, to: ReplyTo, spawn: Box<Spawn>) -> Input {
        self.sweep_before(&spawn.name);
        let count = usize::from(spawn.passed());
        let connection = self.connections.get_mut(&to.client);
        let descriptors = connection.map(|connection| connection.take_descriptors(count)).unwrap_or_default();
        let behalf = if self.core.is_owner(to.client) { Behalf::Owner } else { Behalf::Stranger };
        let caller = Caller { behalf, descriptors };
        let started = self.launcher.start(&spawn, &caller, &self.sockets, &mut self.state, &mut self.groups);
        let outcome = started.map(|Started { made, child, ungrouped }| {
            self.debug(&format!("process {} {}: pid {}", made.id.0, spawn.name, made.pid));
            if let Some(why) = ungrouped {
                self.log(&format!("process {} {} has no cgroup: {why}", made.id.0, spawn.name));
            }
            self.take_in(made.id, child);
            made
        });
        Input::Started { to, spawn, outcome }
    }

    fn bind(&mut self, to: ReplyTo, listen: Box<Listen>, number: u32) -> Input {
        let outcome = self.bind_now(&listen, number);
        Input::Bound { to: Some(to), listen, number, outcome }
    }

    /// Makes the socket, except with `reuse_port`, where it is only tried; and keeps the request for a later core.
    pub(super) fn bind_now(&mut self, listen: &Listen, number: u32) -> Result<SocketAddress, Refusal> {
        let (made, address) = socket::bind(listen)?;
        let kept = Listen { address: address.clone(), ..listen.clone() };
        let stat = rustix::fs::fstat(&made).map_err(|errno| socket::failed("looking at the socket", &errno.into()))?;
        let inode = if listen.reuse_port { 0 } else { stat.st_ino };
        if let Err(error) = self.socket_store.store_socket(number, &kept, inode) {
            remove_path(&address);
            return Err(socket::failed(format!("keeping the socket {}", listen.name), &error));
        }
        let socket = (!listen.reuse_port).then_some(made);
        self.sockets.insert(kept.name.clone(), Inheritable { listen: kept, number, socket });
        Ok(address)
    }

    fn unbind(&mut self, name: &str) {
        if let Some(known) = self.sockets.remove(name) {
            self.socket_store.remove(u64::from(known.number));
            remove_path(&known.listen.address);
        }
    }

    fn pause(&mut self, process: ProcessId, stream: Stream) {
        let pipe = self.children.get_mut(&process).and_then(|child| child.pipe(stream));
        if let Some(pipe) = pipe
            && std::mem::replace(&mut pipe.watch, Watch::No) == Watch::Yes
        {
            self.poll.remove(&pipe.read);
        }
    }

    pub(super) fn resume(&mut self, process: ProcessId, stream: Stream) {
        let pipe = self.children.get_mut(&process).and_then(|child| child.pipe(stream));
        let Some(pipe) = pipe.filter(|pipe| pipe.watch != Watch::Yes) else {
            return;
        };
        match self.poll.add(&pipe.read, Token::Pipe(process, stream)) {
            Ok(()) => pipe.watch = Watch::Yes,
            Err(error) => self.missed(Token::Pipe(process, stream), &error),
        }
    }

    /// Gives a pipe more room; `None`: it stays as it is.
    fn widen(&mut self, process: ProcessId, stream: Stream) -> Option<u64> {
        let pipes = || self.children.values().flat_map(|child| &child.pipes).flatten();
        if pipes().filter(|pipe| pipe.wide).count() >= MAX_WIDE {
            return None;
        }
        let pipe = self.children.get_mut(&process)?.pipe(stream)?;
        rustix::pipe::fcntl_setpipe_size(&pipe.read, usize::try_from(PIPE_WIDE).ok()?).ok()?;
        pipe.wide = true;
        Some(PIPE_WIDE)
    }

    fn close(&mut self, process: ProcessId, stream: Stream) {
        let pipe = self.children.get_mut(&process).and_then(|child| child.close(stream));
        if let Some(pipe) = pipe.filter(|pipe| pipe.watch == Watch::Yes) {
            self.poll.remove(&pipe.read);
        }
    }
}

/// Removes a Unix socket's file.
pub(super) fn remove_path(address: &SocketAddress) {
    match address {
        SocketAddress::Unix(path) => {
            let _ = socket::remove_socket_file(Path::new(std::ffi::OsStr::from_bytes(path)));
        }
        SocketAddress::Inet(_) => {}
    }
}
