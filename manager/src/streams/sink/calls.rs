//! An object in Python as a target: a batch is handed over, and is taken when every call of it has returned. Until then nothing
//! else is.

use super::{Kind, Sink};
use crate::streams::compose::Commit;
use crate::streams::journal::Batch;
use crate::streams::mailbox::Mailbox;
use crate::streams::python::{Closing, PythonSpec, PythonStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

/// A batch that was handed over.
#[derive(Debug)]
pub(in crate::streams) struct Handed {
    pub(in crate::streams) commit: Commit,
    pub(in crate::streams) batch: Batch,
    pub(in crate::streams) bytes: usize,
}

/// For people, and to name the target in the journal.
pub(super) fn name_of(spec: &PythonSpec) -> PathBuf {
    PathBuf::from(format!("<{} of {} {}>", spec.class, spec.watcher, spec.stream.name()))
}

impl Sink {
    /// An object in Python; its worker is started at once, so that trouble shows before output comes.
    pub(in crate::streams) fn python(spec: Arc<PythonSpec>, mailbox: Arc<Mailbox>) -> std::io::Result<Self> {
        let stream = PythonStream::start(spec, mailbox)?;
        Ok(Self::new(Kind::Python { stream, handed: None, stuck: false }, None))
    }

    /// Whether it is the stream of that number.
    pub(in crate::streams) fn is_python(&self, serial: u64) -> bool {
        matches!(&self.kind, Kind::Python { stream, .. } if stream.serial() == serial)
    }

    /// Whether batches are handed over instead of being written.
    pub(in crate::streams) fn takes_calls(&self) -> bool {
        matches!(self.kind, Kind::Python { .. })
    }

    /// Hands over a batch.
    pub(in crate::streams) fn hand_over(&mut self, bytes: &[u8], commit: Commit, batch: Batch) {
        if let Kind::Python { stream, handed, .. } = &mut self.kind {
            stream.hand(bytes.to_vec());
            *handed = Some(Handed { commit, batch, bytes: bytes.len() });
        }
    }

    pub(super) fn has_handed(&self) -> bool {
        matches!(self.kind, Kind::Python { handed: Some(_), .. })
    }

    /// Whether a batch will be taken soon.
    pub(in crate::streams) fn is_taking(&self) -> bool {
        matches!(self.kind, Kind::Python { handed: Some(_), stuck: false, .. })
    }

    /// Whether the object has a batch that it does not take: it hangs, is slow, or is in trouble.
    pub(in crate::streams) fn is_held_up(&self) -> bool {
        matches!(self.kind, Kind::Python { handed: Some(_), stuck: true, .. })
    }

    /// The object is in trouble, or works again.
    pub(in crate::streams) fn note_stuck(&mut self, now_stuck: bool) {
        if let Kind::Python { stuck, .. } = &mut self.kind {
            *stuck = now_stuck;
        }
    }

    /// The batch that was handed over last; it is not waited for any more.
    pub(in crate::streams) fn take_handed(&mut self) -> Option<Handed> {
        match &mut self.kind {
            Kind::Python { handed, .. } => handed.take(),
            Kind::File { .. } | Kind::Socket { .. } | Kind::Inherited { .. } | Kind::Gone => None,
        }
    }

    /// Has an object in Python closed; the thread that does it has ended within some seconds.
    pub(in crate::streams) fn close_object(&mut self, closing: Closing) -> Option<JoinHandle<()>> {
        match &mut self.kind {
            Kind::Python { stream, .. } => stream.close(closing),
            Kind::File { .. } | Kind::Socket { .. } | Kind::Inherited { .. } | Kind::Gone => None,
        }
    }

    /// The batch of which nobody will be told any more how far it came.
    pub(in crate::streams) fn take_open_batch(&mut self) -> Option<Batch> {
        let owed = self.owed.take().map(|owed| owed.batch);
        owed.or_else(|| self.take_handed().map(|handed| handed.batch))
    }
}
