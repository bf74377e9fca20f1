//! The metrics endpoint: a small HTTP/1.1 server of one page.
//!
//! A connection reads a request, asks whoever has the page, and writes it; nothing else. It knows no figures. A client that
//! says nothing, says too much, or does not read costs itself its connection and, when all places are taken, at most a place
//! that was idle: see the `HTTP_` rows of [`limits`].

use super::acceptor::pause_after;
use super::http::{self, Answer, Method, Persistence, Refusal, Request, head};
use super::limits;
use super::listening::Listening;
use super::seats::{Place, Seats, Stage};
use super::stream::{Listener, ReadHalf, WriteHalf};
use crate::metrics::Format;
use bytes::{Buf as _, Bytes, BytesMut};
use jiff::Timestamp;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

/// Somebody wants the page. Dropping it unanswered says that there is none.
#[derive(Debug)]
pub struct Ask {
    /// How it is to be written.
    pub format: Format,
    /// Where it goes.
    pub answer: oneshot::Sender<Bytes>,
}

/// Which requests are answered with the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The path.
    pub path: String,
    /// By which names the endpoint may be called.
    pub names: Names,
}

/// By which names an endpoint may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Addresses and `localhost`: a browser on this host that was talked into resolving a stranger's name to it is told no.
    Local,
    /// Any.
    Any,
}

/// A running metrics endpoint. Dropping it closes every connection at once.
#[derive(Debug)]
pub struct MetricsHandle {
    seats: Arc<Seats>,
    acceptor: AbortHandle,
}

/// Serves the page from an already listening socket, which is not closed for others who hold it and whose path is never
/// removed.
///
/// # Errors
/// Called outside a tokio runtime, or the runtime cannot register the socket.
pub fn serve_metrics(listener: Listening, site: Site, asks: mpsc::Sender<Ask>) -> io::Result<MetricsHandle> {
    let runtime = Handle::try_current().map_err(io::Error::other)?;
    let listener = listener.into_tokio()?;
    let seats = Seats::new(limits::HTTP_CONNECTIONS);
    let acceptor = runtime.spawn(accept_loop(listener, Arc::clone(&seats), Arc::new(site), asks));
    Ok(MetricsHandle { seats, acceptor: acceptor.abort_handle() })
}

impl MetricsHandle {
    /// Connections open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seats.taken()
    }

    /// Stops accepting, closes connections without a request, and waits until the others have their answer, or until the
    /// deadline.
    pub async fn flush_and_close(self, deadline: Instant) {
        self.acceptor.abort();
        self.seats.close_idle();
        // An elapsed deadline shows in what is left, which the drop ends.
        let _ = tokio::time::timeout_at(deadline, self.seats.emptied()).await;
    }
}

impl Drop for MetricsHandle {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.seats.cut_all();
    }
}

async fn accept_loop(listener: Listener, seats: Arc<Seats>, site: Arc<Site>, asks: mpsc::Sender<Ask>) {
    let mut pause = None;
    loop {
        match listener.accept().await {
            Ok((read, write)) => {
                pause = None;
                let (site, asks) = (Arc::clone(&site), asks.clone());
                seats.enter(|place| {
                    let connection = Connection { read, write, received: BytesMut::new(), place, site, asks };
                    tokio::spawn(connection.serve()).abort_handle()
                });
            }
            Err(error) => {
                pause = pause_after(&error, pause);
                if let Some(pause) = pause {
                    tracing::warn!(%error, pause_ms = pause.as_millis(), "cannot accept a connection for metrics");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

struct Connection {
    read: ReadHalf,
    write: WriteHalf,
    received: BytesMut,
    place: Place,
    site: Arc<Site>,
    asks: mpsc::Sender<Ask>,
}

/// How a connection goes on.
enum Step {
    Answered(Persistence),
    /// The client has gone, or what it was sent last was a refusal.
    Over,
}

impl Connection {
    async fn serve(mut self) {
        let mut patience = limits::HTTP_REQUEST_DEADLINE;
        loop {
            if self.received.is_empty() && !matches!(timeout(patience, self.more()).await, Ok(Ok(true))) {
                return;
            }
            self.place.stage(Stage::Asking);
            match self.exchange().await {
                Ok(Step::Answered(Persistence::Keep)) if !self.place.is_closing() => {
                    self.place.stage(Stage::Idle);
                    patience = limits::HTTP_IDLE;
                }
                Ok(Step::Answered(_)) => return self.bid_farewell().await,
                Ok(Step::Over) => return,
                // A client that went away is its own affair.
                Err(error) => return tracing::debug!("a connection for metrics has ended: {error}"),
            }
        }
    }

    /// One request and its answer.
    async fn exchange(&mut self) -> io::Result<Step> {
        let request = match timeout(limits::HTTP_REQUEST_DEADLINE, self.request()).await {
            Ok(Ok(Some(Ok(request)))) => request,
            Ok(Ok(Some(Err(refusal)))) => return self.refuse(refusal).await,
            Ok(Ok(None)) => return Ok(Step::Over),
            Ok(Err(error)) => return Err(error),
            Err(_elapsed) => return self.refuse(Refusal::Slow).await,
        };
        if let Err(refusal) = self.site.admits(&request) {
            return self.refuse(refusal).await;
        }
        let page = timeout(limits::HTTP_ANSWER_DEADLINE, page(&self.asks, request.format)).await;
        let Ok(Some(page)) = page else {
            return self.refuse(Refusal::Unavailable).await;
        };
        let keeps = request.persistence == Persistence::Keep && !self.place.is_closing();
        let persistence = if keeps { Persistence::Keep } else { Persistence::Close };
        let head = head(Answer::Figures(request.format), page.len(), persistence, Timestamp::now());
        let body = match request.method {
            Method::Get => page,
            Method::Head => Bytes::new(),
        };
        self.send(head.as_bytes(), &body).await?;
        Ok(Step::Answered(persistence))
    }

    /// The next request, or why it is none; `None`: the client has closed.
    async fn request(&mut self) -> io::Result<Option<Result<Request, Refusal>>> {
        loop {
            match http::parse(&self.received) {
                Ok(Some((request, used))) => {
                    self.received.advance(used.min(self.received.len()));
                    return Ok(Some(Ok(request)));
                }
                Ok(None) => {}
                Err(refusal) => return Ok(Some(Err(refusal))),
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    /// Reads what is there. `false`: the end.
    async fn more(&mut self) -> io::Result<bool> {
        self.received.reserve(limits::READ_CHUNK);
        Ok(self.read.read(&mut self.received).await? > 0)
    }

    async fn refuse(&mut self, refusal: Refusal) -> io::Result<Step> {
        let body = format!("{refusal}\n");
        let head = head(Answer::Refusal(refusal), body.len(), Persistence::Close, Timestamp::now());
        self.send(head.as_bytes(), body.as_bytes()).await?;
        self.bid_farewell().await;
        Ok(Step::Over)
    }

    /// Writes all of it in time.
    async fn send(&self, head: &[u8], body: &[u8]) -> io::Result<()> {
        let elapsed = |_| io::Error::from(io::ErrorKind::TimedOut);
        timeout(limits::HTTP_WRITE_DEADLINE, write_all(&self.write, head, body)).await.map_err(elapsed)?
    }

    /// Tells the client that nothing more comes, and gives it a moment to read what has.
    async fn bid_farewell(&self) {
        if self.write.finish().is_ok() {
            // However that ends, so does the connection.
            let _ = timeout(limits::HTTP_LINGER, self.write.discard_input()).await;
        }
    }
}

impl Site {
    fn admits(&self, request: &Request) -> Result<(), Refusal> {
        let host = request.host.as_str();
        let local = host.is_empty() || host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok();
        match self.names {
            Names::Local if !local => Err(Refusal::Host),
            Names::Local | Names::Any if request.path != self.path => Err(Refusal::Path),
            Names::Local | Names::Any => Ok(()),
        }
    }
}

async fn page(asks: &mpsc::Sender<Ask>, format: Format) -> Option<Bytes> {
    let (answer, page) = oneshot::channel();
    asks.send(Ask { format, answer }).await.ok()?;
    page.await.ok()
}

async fn write_all(write: &WriteHalf, head: &[u8], body: &[u8]) -> io::Result<()> {
    let mut slices = [IoSlice::new(head), IoSlice::new(body)];
    let mut rest = slices.as_mut_slice();
    while rest.iter().any(|slice| !slice.is_empty()) {
        match write.try_write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => write.writable().await?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
