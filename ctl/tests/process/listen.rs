//! `listen` against circusd's own event endpoint, and against what is none.

use std::net::TcpListener;
use std::process::Stdio;

use ringmaster_manager::endpoints::{Listening, PublisherHandle, serve_publisher};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout};

use crate::stage::{PATIENCE, against, circusctl, circusd, finish, texts};

/// A `listen` that runs.
struct Listener {
    child: Child,
    events: Lines<BufReader<ChildStdout>>,
    remarks: Lines<BufReader<ChildStderr>>,
}

impl Listener {
    fn start(endpoint: &str, topics: &[&str]) -> Self {
        let mut arguments = vec!["--endpoint", endpoint, "listen"];
        arguments.extend(topics);
        let mut child = circusctl(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self {
            events: BufReader::new(child.stdout.take().unwrap()).lines(),
            remarks: BufReader::new(child.stderr.take().unwrap()).lines(),
            child,
        }
    }

    /// The next line, while `publish` publishes again and again: nobody tells when a subscription has arrived.
    async fn event(&mut self, publish: impl Fn()) -> String {
        let again = async {
            loop {
                publish();
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let line = tokio::time::timeout(PATIENCE, self.events.next_line());
        let line = tokio::select! {
            line = line => line,
            () = again => unreachable!("it publishes for ever"),
        };
        line.expect("no event").unwrap().expect("listen has ended")
    }

    async fn remark(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.remarks.next_line()).await;
        line.expect("no remark").unwrap().expect("listen has ended")
    }

    /// Ends it by SIGINT and gives the exit status.
    async fn interrupt(mut self) -> Option<i32> {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        status.expect("listen does not end").unwrap().code()
    }
}

fn publisher(listener: TcpListener) -> PublisherHandle {
    serve_publisher(Listening::Tcp(listener)).unwrap()
}

#[tokio::test]
async fn events_become_lines_of_json() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let publisher = publisher(listener);
    let mut listen = Listener::start(&endpoint, &["watcher.alpha", "x"]);
    let line = listen
        .event(|| {
            publisher.publish("watcher.beta.stop", br#"{"time": 1.5}"#);
            publisher.publish("watcher.alpha.reap", br#"{"process_pid": 3, "time": 1.5, "exit_code": -9}"#);
        })
        .await;
    assert_eq!(line, r#"{"topic": "watcher.alpha.reap", "process_pid": 3, "time": 1.5, "exit_code": -9}"#);
    assert_eq!(listen.interrupt().await, Some(1));
}

#[tokio::test]
async fn it_waits_for_a_circusd_that_went_away() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let endpoint = format!("tcp://{address}");
    // The listening socket outlives circusd, as the core keeps it.
    let kept = listener.try_clone().unwrap();
    let first = publisher(listener);
    let mut listen = Listener::start(&endpoint, &[]);
    assert_eq!(listen.event(|| first.publish("a", b"{}")).await, r#"{"topic": "a"}"#);
    drop(first);
    assert_eq!(listen.remark().await, format!("circusd at {endpoint} went away; waiting for it"));
    let second = publisher(kept);
    assert_eq!(listen.remark().await, format!("circusd at {endpoint} is back"));
    let mut line = String::new();
    while !line.contains("\"b\"") {
        line = listen.event(|| second.publish("b", b"{}")).await;
    }
    assert_eq!(listen.interrupt().await, Some(1));
}

#[tokio::test]
async fn the_control_endpoint_is_named_and_the_right_one_told() {
    let command = |endpoint: &str| circusctl(&["--endpoint", endpoint, "listen"]);
    let (output, _) = against(command, circusd).await;
    let (code, stdout, stderr) = texts(&output);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(
        stderr.contains("is circusd's control endpoint") && stderr.contains("--endpoint tcp://127.0.0.1:5559 "),
        "{stderr}"
    );
}

#[tokio::test]
async fn nobody_there_is_told_at_once() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", gone.local_addr().unwrap());
    drop(gone);
    let (code, stdout, stderr) = texts(&finish(circusctl(&["--endpoint", &endpoint, "listen"])).await);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with(&format!("error: cannot reach circusd at {endpoint}")), "{stderr}");
}
