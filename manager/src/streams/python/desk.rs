//! Where the scribe and a keeper meet: one batch lies there at most, and neither side ever waits for the other.

use super::keeper::Keeper;
use super::{ClassWord, News, Pace, PythonSpec};
use crate::streams::mailbox::Mailbox;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Tells streams apart that have the same class and settings, one after another.
static SERIAL: AtomicU64 = AtomicU64::new(1);

/// The place itself.
#[derive(Debug)]
pub(super) struct Desk {
    content: Mutex<Content>,
    /// Wakes the keeper, whose end it holds.
    bell: UnixStream,
    mailbox: Arc<Mailbox>,
    serial: u64,
    spec: Arc<PythonSpec>,
}

#[derive(Debug, Default)]
struct Content {
    frames: Option<Vec<u8>>,
    closed: Option<Closing>,
}

/// Why a stream is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::streams) enum Closing {
    /// It is not wanted any more; nobody waits.
    InPassing,
    /// circusd ends and waits for it.
    AtTheEnd,
}

impl Desk {
    /// What lies there, and whether the stream is to be closed.
    pub(super) fn take(&self) -> (Option<Vec<u8>>, Option<Closing>) {
        let mut content = self.lock();
        (content.frames.take(), content.closed)
    }

    /// The batch is dealt with.
    pub(super) fn taken(&self) {
        self.tell(News { taken: true, ..self.news() });
    }

    /// Something that people are to know.
    pub(super) fn say(&self, word: ClassWord) {
        self.tell(News { words: vec![word], ..self.news() });
    }

    /// Whether what is under way takes long.
    pub(super) fn pace(&self, pace: Pace) {
        self.tell(News { pace: Some(pace), ..self.news() });
    }

    fn news(&self) -> News {
        News { spec: Arc::clone(&self.spec), taken: false, pace: None, words: Vec::new() }
    }

    fn tell(&self, news: News) {
        self.mailbox.tell(self.serial, news);
    }

    fn put(&self, change: impl FnOnce(&mut Content)) {
        change(&mut self.lock());
        // One that is full of unheard rings will be heard.
        let _ = (&self.bell).write(&[1]);
    }

    /// Putting something down cannot leave the content half done.
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The scribe's handle of a stream. Dropping it closes the stream without waiting for that.
#[derive(Debug)]
pub(in crate::streams) struct PythonStream {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl PythonStream {
    /// Starts the keeper, and by it the worker. What there is to tell goes to `mailbox` under [`Self::serial`].
    pub(in crate::streams) fn start(spec: Arc<PythonSpec>, mailbox: Arc<Mailbox>) -> std::io::Result<Self> {
        let (bell, ears) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ears.set_nonblocking(true)?;
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let content = Mutex::default();
        let desk = Arc::new(Desk { content, bell, mailbox, serial, spec: Arc::clone(&spec) });
        let keeper = Keeper::new(spec, Arc::clone(&desk), ears);
        let thread = std::thread::Builder::new().name("stream class".to_owned()).spawn(move || keeper.run())?;
        Ok(Self { desk, thread: Some(thread) })
    }

    /// Names this stream in the mailbox.
    pub(in crate::streams) fn serial(&self) -> u64 {
        self.desk.serial
    }

    /// Hands over the frames of one batch. The one before it has to be taken.
    pub(in crate::streams) fn hand(&self, frames: Vec<u8>) {
        self.desk.put(|content| content.frames = Some(frames));
    }

    /// Has the object closed and the worker end; a batch that is under way is given up. Gives the thread that does it: it has
    /// ended within some seconds.
    pub(in crate::streams) fn close(&mut self, closing: Closing) -> Option<JoinHandle<()>> {
        self.desk.put(|content| content.closed = Some(closing));
        self.thread.take()
    }
}

impl Drop for PythonStream {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.close(Closing::InPassing);
        }
    }
}
