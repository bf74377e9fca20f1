//! Finds the core of an instance, and starts it when it is not there.

use super::connection::{KernelEvent, KernelLink, establish};
use super::error::ReachError;
use crate::program;
use ringmaster_protocol::instance::{InstanceName, instance_directory, socket_path};
use ringmaster_protocol::message::{Role, Welcome};
use rustix::process::getuid;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// The core's program.
const PAPA: &str = "papa";

/// How long `papa --daemonize` may take until the core listens. It maps its state and opens a socket; only a very slow
/// disk or a machine without memory makes that long.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a core may take to end after it has said so: it only closes files.
const ENDING: Duration = Duration::from_secs(5);

/// Between two attempts at a core that ends.
const ENDING_PAUSE: Duration = Duration::from_millis(10);

/// Which core is meant, and how to start it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreAddress {
    instance: InstanceName,
    /// Where its socket is, when `papa_endpoint` says so.
    socket: Option<PathBuf>,
    /// On which loopback port a core that we start offers Papa's text protocol, when `papa_endpoint` says so.
    port: Option<u16>,
    /// The program, when `papa_path` says so.
    papa: Option<PathBuf>,
}

impl CoreAddress {
    /// From the values of `[circus]`: `instance` (`None`: made from `endpoint`), `endpoint`, `papa_endpoint`, `papa_path`.
    pub fn new(
        instance: Option<&str>,
        endpoint: &str,
        papa_endpoint: Option<&str>,
        papa: Option<&Path>,
    ) -> Result<Self, ReachError> {
        let instance = match instance {
            Some(name) => InstanceName::new(name)?,
            None => InstanceName::from_endpoint(endpoint),
        };
        let (socket, port) = match papa_endpoint.map(place_of_endpoint).transpose()? {
            Some(Place::Socket(path)) => (Some(path), None),
            Some(Place::Port(port)) => (None, Some(port)),
            None => (None, None),
        };
        let papa = papa.map(Path::to_path_buf);
        Ok(Self { instance, socket, port, papa })
    }

    /// The instance.
    pub fn instance(&self) -> &InstanceName {
        &self.instance
    }

    /// The instance's directory, where the core has its files.
    pub fn directory(&self) -> PathBuf {
        instance_directory(&self.instance, |key| std::env::var_os(key), getuid().as_raw())
    }

    /// Where the core listens.
    pub fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| socket_path(&self.directory()))
    }

    /// The arguments of `papa` for this core, without `--daemonize`.
    fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["--instance".into(), self.instance.as_str().into()];
        if let Some(socket) = &self.socket {
            arguments.push("-u".into());
            arguments.push(socket.into());
        }
        if let Some(port) = self.port {
            arguments.push("-p".into());
            arguments.push(port.to_string().into());
        }
        arguments
    }
}

/// What `papa_endpoint` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// The core's socket is there.
    Socket(PathBuf),
    /// The socket stays where it is; the text protocol is offered on this port as well (DESIGN §2).
    Port(u16),
}

/// `ipc://PATH` (one or more slashes, as Circus's papa client took them; spec k) or `tcp://HOST:PORT` with a loopback host.
fn place_of_endpoint(value: &str) -> Result<Place, ReachError> {
    let wrong = || ReachError::Endpoint { value: value.to_owned() };
    if let Some(address) = value.strip_prefix("tcp://") {
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let loopback = matches!(host, "127.0.0.1" | "localhost" | "");
        let port = port.parse().ok().filter(|port| *port != 0 && loopback);
        return port.map(Place::Port).ok_or_else(wrong);
    }
    let path = value.strip_prefix("ipc:").map(|rest| rest.trim_start_matches('/'));
    match path {
        Some(path) if !path.is_empty() && value.starts_with("ipc:/") => Ok(Place::Socket(Path::new("/").join(path))),
        Some(_) | None => Err(wrong()),
    }
}

/// What [`reach`] has found.
#[derive(Debug)]
pub struct Reached {
    /// The connection.
    pub link: KernelLink,
    /// What the core says about itself.
    pub welcome: Welcome,
    /// What it tells unasked.
    pub events: mpsc::Receiver<KernelEvent>,
    /// Whether the core was started now.
    pub started: bool,
}

/// Connects to the core as a manager; starts it first if nothing listens. `build` is what this program says about itself.
///
/// A core that is just ending, because the manager before us has left it nothing, still answers the connection and
/// still has its lock: it is waited for.
pub async fn reach(address: &CoreAddress, build: &str) -> Result<Reached, ReachError> {
    let deadline = Instant::now() + ENDING;
    loop {
        match reach_once(address, build).await {
            Err(error) if error.may_be_ending() && Instant::now() < deadline => {
                tokio::time::sleep(ENDING_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

async fn reach_once(address: &CoreAddress, build: &str) -> Result<Reached, ReachError> {
    let socket = address.socket();
    let (stream, started) = match connect(&socket).await {
        Ok(stream) => (stream, false),
        Err(error) if is_absent(&error) => (start_and_connect(address, &socket).await?, true),
        Err(source) => return Err(ReachError::Connect { socket, source }),
    };
    let (link, welcome, events) = greet(stream, socket, build, Role::Manager).await?;
    Ok(Reached { link, welcome, events, started })
}

/// Connects to the core only to look at it; `None` when nothing listens. Nothing is started.
pub async fn look(address: &CoreAddress, build: &str) -> Result<Option<KernelLink>, ReachError> {
    let socket = address.socket();
    match connect(&socket).await {
        Ok(stream) => greet(stream, socket, build, Role::Tool).await.map(|(link, ..)| Some(link)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(source) => Err(ReachError::Connect { socket, source }),
    }
}

async fn greet(stream: UnixStream, socket: PathBuf, build: &str, role: Role) -> Result<Greeted, ReachError> {
    let owner = stream
        .peer_cred()
        .map(|credentials| credentials.uid())
        .map_err(|source| ReachError::Connect { socket: socket.clone(), source })?;
    let own = getuid().as_raw();
    if owner != own && owner != 0 {
        return Err(ReachError::Foreign { socket, owner, own });
    }
    establish(stream, build.to_owned(), role).await.map_err(|source| ReachError::Greeting { socket, source })
}

/// A connection that the core has welcomed.
type Greeted = (KernelLink, Welcome, mpsc::Receiver<KernelEvent>);

async fn connect(socket: &Path) -> std::io::Result<UnixStream> {
    UnixStream::connect(socket).await
}

/// Whether nobody listens, as opposed to: somebody does, but not for us.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

async fn start_and_connect(address: &CoreAddress, socket: &Path) -> Result<UnixStream, ReachError> {
    let papa = find_papa(address, socket)?;
    let (address, program) = (address.clone(), papa.clone());
    let outcome = match tokio::task::spawn_blocking(move || start(&address, &program)).await {
        Ok(outcome) => outcome,
        Err(error) => Err(not_started(&papa, std::io::Error::other(error))),
    };
    // Another manager may have started the core at the same time: then ours has refused to, and all is well.
    match (connect(socket).await, outcome) {
        (Ok(stream), _) => Ok(stream),
        (Err(_), Err(failure)) => Err(failure),
        (Err(source), Ok(())) => Err(ReachError::StillAbsent { papa, socket: socket.to_path_buf(), source }),
    }
}

/// `papa_path`, or `papa` beside this executable, or on PATH.
fn find_papa(address: &CoreAddress, socket: &Path) -> Result<PathBuf, ReachError> {
    let candidates: Vec<PathBuf> = match &address.papa {
        Some(papa) => vec![papa.clone()],
        None => {
            let beside =
                std::env::current_exe().ok().and_then(|exe| exe.parent().map(|directory| directory.join(PAPA)));
            let path = std::env::var_os("PATH").unwrap_or_default();
            let on_path = std::env::split_paths(&path)
                .filter(|directory| directory.is_absolute())
                .map(|directory| directory.join(PAPA))
                .collect::<Vec<_>>();
            beside.into_iter().chain(on_path).collect()
        }
    };
    match candidates.iter().find(|candidate| is_program(candidate)) {
        Some(papa) => Ok(papa.clone()),
        None => Err(ReachError::PapaNotFound {
            socket: socket.to_path_buf(),
            looked: candidates.iter().map(|path| path.display().to_string()).collect(),
        }),
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn not_started(papa: &Path, source: std::io::Error) -> ReachError {
    ReachError::PapaNotStarted { papa: papa.to_path_buf(), source }
}

/// Runs `papa … --daemonize`, which ends when the core listens. Blocks for at most [`START_TIMEOUT`].
fn start(address: &CoreAddress, papa: &Path) -> Result<(), ReachError> {
    // What it writes goes to a file and not to a pipe: the daemon inherits it, so its end would never come.
    let run = program::run(Command::new(papa).args(address.arguments()).arg("--daemonize"), START_TIMEOUT)
        .map_err(|error| not_started(papa, error))?;
    match run.status {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(ReachError::PapaFailed { papa: papa.to_path_buf(), status, words: run.words }),
        None => Err(ReachError::PapaSlow {
            papa: papa.to_path_buf(),
            after: START_TIMEOUT,
            by_hand: by_hand(address, papa),
        }),
    }
}

/// The command line for a person.
fn by_hand(address: &CoreAddress, papa: &Path) -> String {
    let mut words = vec![papa.display().to_string()];
    words.extend(address.arguments().iter().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn address(socket: &Path, papa: &Path) -> CoreAddress {
        let endpoint = format!("ipc://{}", socket.display());
        CoreAddress::new(Some("test"), "tcp://127.0.0.1:5555", Some(&endpoint), Some(papa)).unwrap()
    }

    fn script(directory: &Path, body: &str) -> PathBuf {
        let path = directory.join("papa");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn reach_text(address: &CoreAddress) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(reach(address, "test")).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn endpoints_name_sockets_as_the_papa_client_of_circus_did() {
        let place = |value: &str| place_of_endpoint(value).ok();
        let socket = || Some(Place::Socket("/run/p.sock".into()));
        assert_eq!(place("ipc:///run/p.sock"), socket());
        assert_eq!(place("ipc://run/p.sock"), socket());
        assert_eq!(place("ipc:/run/p.sock"), socket());
        assert_eq!(place("tcp://127.0.0.1:20202"), Some(Place::Port(20202)));
        for wrong in ["tcp://0.0.0.0:20202", "tcp://127.0.0.1", "tcp://127.0.0.1:0", "ipc://", "/run/p.sock"] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_absent_papa_is_named_with_the_places_that_were_tried() {
        let directory = tempfile::tempdir().unwrap();
        let (socket, papa) = (directory.path().join("sock"), directory.path().join("nowhere"));
        let text = reach_text(&address(&socket, &papa));
        assert!(text.contains(&papa.display().to_string()), "{text}");
        assert!(text.contains("papa_path"), "{text}");
    }

    #[test]
    fn the_words_of_a_papa_that_fails_are_passed_on() {
        let directory = tempfile::tempdir().unwrap();
        let papa = script(directory.path(), "echo 'directory is not 0700' >&2; exit 1");
        let text = reach_text(&address(&directory.path().join("sock"), &papa));
        assert!(text.contains("exit status: 1"), "{text}");
        assert!(text.contains("directory is not 0700"), "{text}");
    }

    #[test]
    fn a_papa_that_succeeds_without_listening_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let papa = script(directory.path(), "exit 0");
        let text = reach_text(&address(&directory.path().join("sock"), &papa));
        assert!(text.contains("nothing listens at"), "{text}");
    }

    #[test]
    fn papa_is_asked_for_the_instance_and_the_socket() {
        let directory = tempfile::tempdir().unwrap();
        let papa = script(directory.path(), "echo \"args: $*\" >&2; exit 1");
        let socket = directory.path().join("sock");
        let text = reach_text(&address(&socket, &papa));
        let expected = format!("args: --instance test -u {} --daemonize", socket.display());
        assert!(text.contains(&expected), "{text}");
    }
}
