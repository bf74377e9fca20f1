//! `circus-top`: what watchers, processes and sockets use, live (spec e).
//!
//! It subscribes to a `circusd-stats`, ours or Circus's, and repaints once a second; keys sort, choose and scroll; `--once --json`
//! prints one table and ends.
//! It asks circusd for nothing and changes nothing.

mod arguments;
mod keys;
mod live;
mod picture;
mod screen;
mod table;
mod view;

pub use arguments::{Arguments, Sort};
pub use table::{Process, Socket, Table};
pub use view::View;

use crate::client::{ClientError, connect};
use crate::endpoint::Endpoint;
use crate::print::{complain, show};
use crate::tunnel::{Ssh, Tunnel, TunnelError};
use std::io;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};
use zeromq::{SocketRecv as _, SubSocket};

/// How long one attempt to connect may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// What `--once` waits for the first picture, and then for the rest of it: statistics come once a second.
const FIRST_LIMIT: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_millis(1300);

/// Why there is no table. The exit status is 1.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// Nobody publishes there.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The tunnel does not stand.
    #[error(transparent)]
    Tunnel(#[from] TunnelError),
    /// Nothing was published.
    #[error("error: {endpoint} publishes no statistics; is it the stats_endpoint, and statsd = True?")]
    Silent {
        /// Where.
        endpoint: Endpoint,
    },
    /// The operating system gives us no event loop.
    #[error("error: cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// The terminal.
    #[error("error: cannot write to stdout: {0}")]
    Stdout(#[from] io::Error),
}

/// The whole program.
pub fn main() -> ExitCode {
    let arguments: Arguments = match ringmaster_manager::print::arguments() {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    match ask(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has had enough, such as `head`.
        Err(TopError::Stdout(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn ask(arguments: &Arguments) -> Result<(), TopError> {
    if arguments.version {
        return Ok(show(ringmaster_manager::cli::Arguments::version_text())?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(TopError::Runtime)?;
    let outcome = runtime.block_on(run(arguments));
    runtime.shutdown_background();
    outcome
}

async fn run(arguments: &Arguments) -> Result<(), TopError> {
    let far = arguments.endpoint.clone();
    let ssh = arguments.ssh.clone().map(|server| Ssh { server, keyfile: arguments.ssh_keyfile.clone() });
    let tunnel = match &ssh {
        Some(ssh) => Some((ssh, Tunnel::open(ssh, &far).await?)),
        None => None,
    };
    let endpoint = match &tunnel {
        Some((ssh, tunnel)) => far.through(&ssh.server, tunnel.socket()),
        None => far,
    };
    if arguments.once { once(arguments, &endpoint).await } else { live::live(arguments, &endpoint).await }
}

async fn subscribe(endpoint: &Endpoint) -> Result<SubSocket, ClientError> {
    let timed_out =
        || ClientError::TimedOut { endpoint: endpoint.clone(), command: "stat.", seconds: CONNECT_LIMIT.as_secs() };
    let mut socket: SubSocket = timeout(CONNECT_LIMIT, connect(endpoint)).await.map_err(|_elapsed| timed_out())??;
    let foreign = |reason| ClientError::Foreign { endpoint: endpoint.clone(), reason };
    socket.subscribe("stat.").await.map_err(foreign)?;
    Ok(socket)
}

/// Waits for one whole picture and prints it.
async fn once(arguments: &Arguments, endpoint: &Endpoint) -> Result<(), TopError> {
    let mut socket = subscribe(endpoint).await?;
    let mut table = Table::default();
    let mut deadline = Instant::now() + FIRST_LIMIT;
    loop {
        tokio::select! {
            message = socket.recv() => {
                let Ok(message) = message else { break };
                let was_empty = table.is_empty();
                if let (Some(topic), Some(payload)) = (message.get(0), message.get(1)) {
                    table.take(topic, payload, Instant::now());
                }
                if was_empty && !table.is_empty() {
                    deadline = Instant::now() + WHOLE;
                }
            }
            () = sleep_until(deadline) => break,
        }
    }
    if table.is_empty() {
        return Err(TopError::Silent { endpoint: endpoint.clone() });
    }
    let view = View::new(arguments);
    if arguments.json {
        show(&table.to_json(&view).to_string())?;
    } else {
        let lines = picture::title(&table, &view).into_iter().chain(picture::body(&table, &view));
        let lines: Vec<String> = lines.map(|line| line.text).collect();
        show(&lines.join("\n"))?;
    }
    Ok(())
}
