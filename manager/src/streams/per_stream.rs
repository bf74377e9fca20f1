//! A pair of things, one for stdout and one for stderr.

use ringmaster_protocol::ring::Stream;

/// One `T` for each output of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PerStream<T> {
    pub(super) stdout: T,
    pub(super) stderr: T,
}

impl<T> PerStream<T> {
    pub(super) fn get(&self, stream: Stream) -> &T {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }

    pub(super) fn get_mut(&mut self, stream: Stream) -> &mut T {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

impl<T> From<[T; 2]> for PerStream<T> {
    /// In the order of [`Stream::index`].
    fn from([stdout, stderr]: [T; 2]) -> Self {
        Self { stdout, stderr }
    }
}
