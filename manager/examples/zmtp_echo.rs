//! The two endpoints without a manager behind them, for trying real ZMQ clients: `zmtp_echo CONTROL EVENTS`.
//!
//! A request is echoed, except `reply N` (N bytes come back), `publish TOPIC COUNT SIZE`, `statistics` and `quit`. Both
//! addresses are printed once they listen, because ports may be chosen by the system.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use ringmaster_manager::endpoints::address::{BindTarget, Endpoint};
use ringmaster_manager::endpoints::{ControlHandle, Listening, PublisherHandle, serve_control, serve_publisher};
use tokio::sync::mpsc;
use tokio::time::Instant;

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let mut endpoint = || arguments.next().unwrap_or_else(|| "tcp://127.0.0.1:*".to_owned());
    let (control, control_address) = listen(&endpoint())?;
    let (events, events_address) = listen(&endpoint())?;
    println!("{control_address} {events_address}");
    let (requests, mut queue) = mpsc::channel(64);
    let control = serve_control(control, requests)?;
    let events = serve_publisher(events)?;
    while let Some(request) = queue.recv().await {
        let Some(answer) = answer(&request.payload, &control, &events) else {
            control.reply(request.from, b"bye".to_vec());
            break;
        };
        control.reply(request.from, answer);
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    let late = control.flush_and_close(deadline).await + events.flush_and_close(deadline).await;
    eprintln!("{late} connections not finished");
    Ok(())
}

/// `None` to quit.
fn answer(request: &[u8], control: &ControlHandle, events: &PublisherHandle) -> Option<Vec<u8>> {
    let text = if request.len() < 200 { str::from_utf8(request).unwrap_or_default() } else { "" };
    let words: Vec<&str> = text.split(' ').collect();
    match words.as_slice() {
        ["quit"] => return None,
        ["statistics"] => {
            let text =
                format!("{:?}\n{:?}\n{} subscribers", control.statistics(), events.statistics(), events.subscribers());
            return Some(text.into_bytes());
        }
        ["reply", size] => return Some(vec![b'r'; size.parse().ok()?]),
        ["publish", topic, count, size] => {
            let payload = vec![b'e'; size.parse().ok()?];
            (0..count.parse().ok()?).for_each(|_: u64| events.publish(topic, &payload));
        }
        _ => {}
    }
    Some(request.to_vec())
}

/// Binds where the core would.
fn listen(text: &str) -> Result<(Listening, String), Failure> {
    match Endpoint::parse(text)?.resolve()? {
        BindTarget::Tcp(address) => {
            let listener = std::net::TcpListener::bind(address)?;
            let address = format!("tcp://{}", listener.local_addr()?);
            Ok((Listening::Tcp(listener), address))
        }
        BindTarget::UnixPath(path) => Ok((Listening::Unix(UnixListener::bind(path)?), text.to_owned())),
        BindTarget::UnixAbstract(name) => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            Ok((Listening::Unix(UnixListener::bind_addr(&address)?), text.to_owned()))
        }
    }
}
