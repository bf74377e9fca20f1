//! Puts the page of figures together, beside the loop: the arbiter's numbers, the core's word, and /proc.
//!
//! One task for all who ask. What it has found is shared by those who ask within [`SHARED`]. Nobody waits for the loop or the
//! core longer than [`PATIENCE`]: a loop that waits for its core itself tells nothing, and then the last numbers are written
//! with their age, and that the core is not reachable.

use crate::arbiter::Event;
use crate::endpoints::Ask;
use crate::metrics::{Core, CpuMarks, Detail, Facts, Format, Snapshot, render};
use crate::sampling::{Figures, Look};
use crate::watcher::WatcherId;
use bytes::Bytes;
use ringmaster_protocol::message::StatusReply;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Scrapes that come closer together than this share what was found.
const SHARED: Duration = Duration::from_secs(1);

/// How long the loop, and then the core, are waited for. Both take far less than a millisecond when they are there.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks that may wait for the task; there is at most one a connection.
pub const WAITING_ASKS: usize = crate::endpoints::limits::HTTP_CONNECTIONS;

/// What the loop tells when it is asked.
pub struct Shown {
    /// The arbiter's numbers.
    pub snapshot: Box<Snapshot>,
    /// Output that is not in its log yet.
    pub buffered: BTreeMap<WatcherId, u64>,
    /// The core's answer to come; `None`: it gives none.
    pub status: Pin<Box<dyn Future<Output = Option<StatusReply>> + Send>>,
}

/// The task's own side of the loop.
#[derive(Debug)]
pub struct Gatherer {
    events: mpsc::Sender<Event>,
    shown: mpsc::Receiver<Shown>,
    detail: Detail,
    /// The loop has been asked and has not answered yet.
    asked: bool,
    marks: CpuMarks,
    last: Option<Last>,
    found: Option<Found>,
}

/// What the loop told last.
#[derive(Debug)]
struct Last {
    at: Instant,
    snapshot: Snapshot,
    buffered: BTreeMap<WatcherId, u64>,
    core: Core,
}

/// What comes of asking the loop.
enum Answer {
    Shown(Shown),
    /// It waits for something itself.
    Late,
    /// It has ended, and circusd with it in a moment.
    Over,
}

/// What was found, and its pages as far as somebody wanted them.
#[derive(Debug)]
struct Found {
    at: Instant,
    facts: Arc<Facts>,
    pages: BTreeMap<Format, Bytes>,
}

impl Gatherer {
    /// `shown` brings the answers to `Event::Watched`.
    pub fn new(events: mpsc::Sender<Event>, shown: mpsc::Receiver<Shown>, detail: Detail) -> Self {
        Self { events, shown, detail, asked: false, marks: CpuMarks::default(), last: None, found: None }
    }

    /// Answers until nobody can ask any more.
    pub async fn serve(mut self, mut asks: mpsc::Receiver<Ask>) {
        while let Some(Ask { format, answer }) = asks.recv().await {
            if let Some(page) = self.page(format).await {
                // Whoever asked may be gone.
                let _ = answer.send(page);
            }
        }
    }

    async fn page(&mut self, format: Format) -> Option<Bytes> {
        self.found.take_if(|found| found.at.elapsed() >= SHARED);
        let found = match self.found.take() {
            Some(found) => found,
            None => {
                let facts = self.find().await?;
                Found { at: Instant::now(), facts, pages: BTreeMap::new() }
            }
        };
        let found = self.found.insert(found);
        if let Some(page) = found.pages.get(&format) {
            return Some(page.clone());
        }
        let facts = Arc::clone(&found.facts);
        // Beside the loop: a thousand watchers are some thousands of lines.
        let text = tokio::task::spawn_blocking(move || render(&facts, format)).await.ok()?;
        let page = Bytes::from(text);
        found.pages.insert(format, page.clone());
        Some(page)
    }

    async fn find(&mut self) -> Option<Arc<Facts>> {
        match (self.ask().await, &mut self.last) {
            (Answer::Shown(Shown { snapshot, buffered, status }), _) => {
                let at = Instant::now();
                let core = match timeout(PATIENCE, status).await {
                    Ok(Some(status)) => Core::Reachable(Box::new(status)),
                    Ok(None) | Err(_) => Core::Unreachable,
                };
                self.last = Some(Last { at, snapshot: *snapshot, buffered, core });
            }
            (Answer::Late, Some(last)) => last.core = Core::Unreachable,
            (Answer::Late, None) | (Answer::Over, _) => {}
        }
        let Last { at, snapshot, buffered, core } = self.last.as_ref()?;
        let (age, snapshot, buffered, core) = (at.elapsed(), snapshot.clone(), buffered.clone(), core.clone());
        let (mut marks, detail) = (std::mem::take(&mut self.marks), self.detail);
        let looked = tokio::task::spawn_blocking(move || {
            let (own, processes) = look(&snapshot);
            let cpu = marks.raise(&snapshot, &processes);
            (marks, Facts { snapshot, age, core, buffered, own, processes, cpu, detail })
        });
        let (marks, facts) = looked.await.ok()?;
        self.marks = marks;
        Some(Arc::new(facts))
    }

    async fn ask(&mut self) -> Answer {
        // An answer that came too late for whoever asked.
        while self.shown.try_recv().is_ok() {
            self.asked = false;
        }
        let asking = async {
            if !self.asked {
                self.events.send(Event::Watched).await.ok()?;
                self.asked = true;
            }
            self.shown.recv().await
        };
        match timeout(PATIENCE, asking).await {
            Ok(Some(shown)) => {
                self.asked = false;
                Answer::Shown(shown)
            }
            Ok(None) => Answer::Over,
            Err(_elapsed) => Answer::Late,
        }
    }
}

/// Reads /proc: circusd itself, and every process of a watcher that is there and may be looked at.
fn look(snapshot: &Snapshot) -> (Option<Figures>, BTreeMap<i32, Figures>) {
    let look = Look::now();
    let own = i32::try_from(std::process::id()).ok().and_then(|pid| look.at(pid).ok());
    let pids = snapshot.watchers.iter().flat_map(|watcher| &watcher.processes).map(|process| process.pid);
    (own, pids.filter_map(|pid| Some((pid, look.at(pid).ok()?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    /// A test waits no longer than this for anything.
    const LIMIT: Duration = Duration::from_secs(20);

    fn status() -> StatusReply {
        StatusReply {
            version: "9.9".to_owned(),
            keeper_pid: 1,
            kernel_pid: 2,
            started_ns: 0,
            uptime_ms: 0,
            processes: 0,
            sockets: 0,
            values: 0,
            clients: 0,
            buffered_bytes: 0,
            lost_bytes: 0,
            lease: None,
            guarantees: Vec::new(),
            ext: Vec::new(),
        }
    }

    /// The loop as the test plays it, and a client.
    struct Stage {
        events: mpsc::Receiver<Event>,
        show: mpsc::Sender<Shown>,
        asks: mpsc::Sender<Ask>,
    }

    impl Stage {
        fn new() -> Self {
            let (sender, events) = mpsc::channel(4);
            let (show, shown) = mpsc::channel(1);
            let (asks, asked) = mpsc::channel(4);
            tokio::spawn(Gatherer::new(sender, shown, Detail::Watchers).serve(asked));
            Self { events, show, asks }
        }

        async fn ask(&self, format: Format) -> oneshot::Receiver<Bytes> {
            let (answer, page) = oneshot::channel();
            self.asks.send(Ask { format, answer }).await.unwrap();
            page
        }

        /// The loop is asked, and tells.
        async fn tell(&mut self, core: Option<StatusReply>) {
            let event = timeout(LIMIT, self.events.recv()).await.unwrap();
            assert!(matches!(event, Some(Event::Watched)));
            self.show(core).await;
        }

        async fn show(&self, core: Option<StatusReply>) {
            let status = Box::pin(std::future::ready(core));
            let shown = Shown { snapshot: Box::default(), buffered: BTreeMap::new(), status };
            assert!(self.show.send(shown).await.is_ok());
        }

        /// What was found is not shared any more.
        async fn grow_old(&self) {
            tokio::time::sleep(SHARED).await;
        }
    }

    async fn text(page: oneshot::Receiver<Bytes>) -> String {
        String::from_utf8(timeout(LIMIT, page).await.unwrap().unwrap().to_vec()).unwrap()
    }

    fn age(page: &str) -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix("ringmaster_snapshot_age_seconds "));
        line.unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn what_was_found_is_shared_for_a_second() {
        let mut stage = Stage::new();
        let page = stage.ask(Format::Text).await;
        stage.tell(Some(status())).await;
        let first = text(page).await;
        assert!(first.contains("\nringmaster_core_reachable 1\n"), "{first}");
        let open = text(stage.ask(Format::OpenMetrics).await).await;
        assert!(open.ends_with("# EOF\n"));
        assert_eq!(text(stage.ask(Format::Text).await).await, first);
        assert!(stage.events.try_recv().is_err(), "the loop was asked again");
        stage.grow_old().await;
        let page = stage.ask(Format::Text).await;
        stage.tell(None).await;
        assert!(text(page).await.contains("\nringmaster_core_reachable 0\n"));
    }

    #[tokio::test]
    async fn a_loop_that_does_not_answer_costs_freshness_only() {
        let mut stage = Stage::new();
        let page = stage.ask(Format::Text).await;
        stage.tell(Some(status())).await;
        assert!(age(&text(page).await) < 1.0);
        stage.grow_old().await;
        let late = text(stage.ask(Format::Text).await).await;
        assert!(late.contains("\nringmaster_core_reachable 0\n") && age(&late) >= 1.0, "{late}");
        // What it was asked then is answered now, and is of no interest any more: it is asked anew.
        assert!(matches!(stage.events.try_recv(), Ok(Event::Watched)));
        stage.show(Some(status())).await;
        stage.grow_old().await;
        let page = stage.ask(Format::Text).await;
        stage.tell(Some(status())).await;
        let fresh = text(page).await;
        assert!(fresh.contains("\nringmaster_core_reachable 1\n") && age(&fresh) < 1.0, "{fresh}");
    }

    /// An upgrade is no death of the core.
    #[tokio::test]
    async fn a_loop_that_has_ended_leaves_its_last_words() {
        let mut stage = Stage::new();
        let page = stage.ask(Format::Text).await;
        stage.tell(Some(status())).await;
        text(page).await;
        stage.grow_old().await;
        let Stage { events, show, asks } = stage;
        drop((events, show));
        let (answer, page) = oneshot::channel();
        asks.send(Ask { format: Format::Text, answer }).await.unwrap();
        assert!(text(page).await.contains("\nringmaster_core_reachable 1\n"));
    }

    #[tokio::test]
    async fn without_anything_known_there_is_no_page() {
        let stage = Stage::new();
        let page = stage.ask(Format::Text).await;
        assert!(timeout(LIMIT, page).await.unwrap().is_err());
    }
}
