//! Bytes and file descriptors on a Unix stream socket (unix(7), cmsg(3)).
//!
//! Descriptors leave with the first byte of their frame, in a sendmsg(2) that holds nothing of the next frame, so a
//! receiver may attribute them by position or by counting. They are attributed here by counting: each kind of reply says
//! how many belong to it, and they are taken in the order of arrival.

use ringmaster_protocol::frame::{Frame, FrameError, FrameReader};
use ringmaster_protocol::limits::MAX_FDS;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes read at a time: many notices, and a whole page of a listing without long notes.
const PORTION: usize = 64 << 10;

/// Bytes up to which frames without descriptors are joined into one write.
const JOIN: usize = 64 << 10;

/// Descriptors that may wait for their reply: as many as one frame may carry, four frames deep. A core that
/// sends more does not follow the protocol.
const MAX_WAITING_FDS: usize = 4 * MAX_FDS;

/// Control space of a sendmsg or recvmsg with [`MAX_FDS`] descriptors.
const CONTROL: usize = rustix::cmsg_space!(ScmRights(MAX_FDS));

/// What a read came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Something arrived.
    Bytes,
    /// The other side has closed.
    End,
}

/// The reading half.
#[derive(Debug)]
pub(super) struct Incoming {
    frames: FrameReader,
    portion: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

impl Incoming {
    pub(super) fn new() -> Self {
        Self { frames: FrameReader::new(), portion: vec![0; PORTION], fds: VecDeque::new() }
    }

    /// One recvmsg(2). `WouldBlock` when there is nothing.
    pub(super) fn receive(&mut self, socket: impl AsFd) -> std::io::Result<Received> {
        let mut space = [MaybeUninit::uninit(); CONTROL];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let message = recvmsg(socket, &mut [IoSliceMut::new(&mut self.portion)], &mut control, flags)?;
        for item in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = item {
                self.fds.extend(fds);
            }
        }
        if message.flags.contains(ReturnFlags::CTRUNC) || self.fds.len() > MAX_WAITING_FDS {
            return Err(std::io::Error::other("more file descriptors arrived than any reply has"));
        }
        self.frames.push(self.portion.get(..message.bytes).unwrap_or_default());
        Ok(if message.bytes == 0 { Received::End } else { Received::Bytes })
    }

    /// The next whole frame.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        self.frames.next_frame()
    }

    /// Takes the `count` descriptors that wait longest; fewer if fewer wait.
    pub(super) fn take_fds(&mut self, count: usize) -> Vec<OwnedFd> {
        let count = count.min(self.fds.len());
        self.fds.drain(..count).collect()
    }
}

/// Bytes that are sent in one go, with the descriptors that go with the first of them.
#[derive(Debug)]
struct Segment {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

/// The writing half: what waits to be sent. Its owner bounds it by looking at [`Self::waiting`].
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    segments: VecDeque<Segment>,
    waiting: usize,
}

impl Outgoing {
    /// Appends bytes as they are.
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        self.append(|out| {
            out.extend_from_slice(bytes);
            true
        });
    }

    /// Appends a frame. `false`, and nothing is appended, when it is too long.
    pub(super) fn push(&mut self, frame: &Frame, fds: Vec<OwnedFd>) -> bool {
        if fds.is_empty() {
            return self.append(|out| frame.encode(out));
        }
        let mut bytes = Vec::new();
        if !frame.encode(&mut bytes) {
            return false;
        }
        self.push_segment(bytes, fds);
        true
    }

    /// Lets `write` append to the last segment if that is open for more, else to a new one.
    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        let last = self.segments.back_mut();
        if let Some(last) = last.filter(|last| last.fds.is_empty() && last.bytes.len() < JOIN) {
            let before = last.bytes.len();
            let written = write(&mut last.bytes);
            self.waiting += last.bytes.len() - before;
            return written;
        }
        let mut bytes = Vec::new();
        let written = write(&mut bytes);
        if written {
            self.push_segment(bytes, Vec::new());
        }
        written
    }

    fn push_segment(&mut self, bytes: Vec<u8>, fds: Vec<OwnedFd>) {
        self.waiting += bytes.len();
        let sent = 0;
        self.segments.push_back(Segment { bytes, sent, fds });
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Sends as much as the socket takes. `WouldBlock` when it takes nothing now.
    pub(super) fn send(&mut self, socket: impl AsFd) -> std::io::Result<()> {
        let socket = socket.as_fd();
        while let Some(segment) = self.segments.front_mut() {
            let rest = segment.bytes.get(segment.sent..).unwrap_or_default();
            let sent = send_once(socket, rest, &segment.fds)?;
            segment.fds.clear();
            segment.sent += sent;
            self.waiting = self.waiting.saturating_sub(sent);
            if segment.sent >= segment.bytes.len() {
                self.segments.pop_front();
            }
        }
        Ok(())
    }
}

fn send_once(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[OwnedFd]) -> std::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); CONTROL];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(std::io::Error::other("more file descriptors than a frame may carry"));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmaster_protocol::message::{Request, Status};

    /// A receiver that attributes descriptors by position relies on this.
    #[test]
    fn a_frame_with_descriptors_shares_no_write_with_its_neighbours() {
        let frame = Request::Status(Status::default()).frame(1);
        let mut outgoing = Outgoing::default();
        let with_fd = || vec![OwnedFd::from(tempfile::tempfile().unwrap())];
        for fds in [Vec::new(), Vec::new(), with_fd(), Vec::new(), with_fd(), with_fd()] {
            assert!(outgoing.push(&frame, fds));
        }
        let frames: Vec<usize> = outgoing.segments.iter().map(|segment| segment.bytes.len() / 12).collect();
        assert_eq!(frames, [2, 1, 1, 1, 1]);
    }
}
