//! Pipes that rest, and the news that wait meanwhile (`core/pace.rs` says for how long and why).

use super::event::Effect;
use super::output::{Order, Pipe};
use super::pace::{Look, Next, Pace};
use super::{Core, Effects, Timer};
use ringmaster_protocol::message::ProcessId;
use ringmaster_protocol::ring::Stream;

impl Core {
    /// A rest is over.
    pub(super) fn rested(&self, process: ProcessId, stream: Stream, out: &mut Effects) {
        if let Some(Pipe::Resting { .. }) = self.pipe(process, stream) {
            out.push(Effect::Look { process, stream });
        }
    }

    /// A capture has taken `bytes` of `asked`: when is the pipe looked at again, and is its reader told now?
    pub(super) fn go_on(&mut self, process: ProcessId, stream: Stream, (bytes, asked): (u64, u64), out: &mut Effects) {
        let now_ns = self.now.boot_ns;
        let captures = self.processes.get_mut(&process).map(|process| &mut process.captures);
        let Some(captured) = captures.and_then(|captures| captures.get_mut(stream)) else {
            return;
        };
        captured.news.add(bytes);
        let look = if matches!(captured.pipe, Pipe::Resting { .. }) { Look::Rested } else { Look::Readable };
        let next = match (bytes == asked, captured.order) {
            (true, _) => Pace::soon(look, now_ns),
            (false, Order::Alone) => captured.pace.next(look, bytes, now_ns),
            (false, Order::Mixed) => Next::Readable,
        };
        let due = captured.news.is_due(now_ns, captured.ring.size().0);
        match next {
            Next::Readable => self.rouse(process, stream, out),
            Next::At(until) => {
                if captured.pace.wants_room(until) {
                    captured.pace.asked_for_room = true;
                    out.push(Effect::Widen { process, stream });
                }
                captured.pipe = Pipe::Resting { until };
                self.timers.insert((until, Timer::Rest(process, stream)));
                if look == Look::Readable {
                    out.push(Effect::Pause { process, stream });
                }
            }
        }
        if due || next == Next::Readable {
            self.tell_news(process, stream);
        }
    }

    /// Ends a rest: the pipe is waited for.
    pub(super) fn rouse(&mut self, process: ProcessId, stream: Stream, out: &mut Effects) {
        if let Some(Pipe::Resting { until }) = self.pipe(process, stream) {
            self.timers.remove(&(until, Timer::Rest(process, stream)));
            let captures = self.processes.get_mut(&process).map(|process| &mut process.captures);
            if let Some(captured) = captures.and_then(|captures| captures.get_mut(stream)) {
                captured.pipe = Pipe::Watched;
            }
            out.push(Effect::Resume { process, stream });
        }
    }

    /// A pipe takes so many bytes now.
    pub(super) fn widened(&mut self, process: ProcessId, stream: Stream, room: u64) {
        let captures = self.processes.get_mut(&process).map(|process| &mut process.captures);
        if let Some(captured) = captures.and_then(|captures| captures.get_mut(stream)) {
            captured.pace.has_room(room);
        }
    }

    /// Tells what has come and was not told yet.
    pub(super) fn tell_news(&mut self, process: ProcessId, stream: Stream) {
        let now_ns = self.now.boot_ns;
        let captures = self.processes.get_mut(&process).map(|process| &mut process.captures);
        let captured = captures.and_then(|captures| captures.get_mut(stream));
        if captured.is_some_and(|captured| captured.news.tell(now_ns)) {
            self.mark_output(process, stream);
        }
    }
}
