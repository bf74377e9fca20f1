//! The endpoints over real sockets, against a client that sends whatever bytes a test wants.

mod control;
mod hostile;
mod metrics;
mod publisher;
mod raw_client;
mod slow;

use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::*;

/// Longest wait for something that has to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `look` gives a state that `fits`; fails with the last state seen.
async fn eventually<T: Debug>(what: &str, mut look: impl FnMut() -> T, fits: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let state = look();
        if fits(&state) {
            return state;
        }
        assert!(Instant::now() < deadline, "{what}: still {state:?} after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A socket that listens on a port of the system's choice.
fn listen() -> (Listening, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (Listening::from_fd(listener.into()).unwrap(), address)
}

/// A control endpoint that answers every request by `answer`, until told to stop.
struct Server {
    address: SocketAddr,
    statistics: mpsc::Sender<oneshot::Sender<Statistics>>,
}

impl Server {
    fn start(answer: fn(&[u8]) -> Vec<u8>) -> Self {
        let (listening, address) = listen();
        let (requests, mut queue) = mpsc::channel::<ControlRequest>(64);
        let (statistics, mut questions) = mpsc::channel::<oneshot::Sender<Statistics>>(1);
        let handle = serve_control(listening, requests).unwrap();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(request) = queue.recv() => {
                        handle.reply(request.from, answer(&request.payload));
                    }
                    Some(question) = questions.recv() => question.send(handle.statistics()).unwrap(),
                    else => break,
                }
            }
        });
        Self { address, statistics }
    }

    fn echo() -> Self {
        Self::start(<[u8]>::to_vec)
    }

    async fn statistics(&self) -> Statistics {
        let (question, answer) = oneshot::channel();
        self.statistics.send(question).await.unwrap();
        answer.await.unwrap()
    }

    /// Waits for the counters to fit.
    async fn until(&self, what: &str, fits: impl Fn(&Statistics) -> bool) -> Statistics {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let statistics = self.statistics().await;
            if fits(&statistics) {
                return statistics;
            }
            assert!(Instant::now() < deadline, "{what}: still {statistics:?} after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
