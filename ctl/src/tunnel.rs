//! `--ssh`: a way to an endpoint of another host, made by the program `ssh` (spec l).
//!
//! The near end is a Unix socket in a directory that only we can enter, not a TCP port that every user of this host could
//! use. `ssh` asks for passwords on the terminal by itself and writes its own complaints. It ends with us; only SIGKILL
//! leaves it behind.

use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::inotify;
use thiserror::Error;
use tokio::process::{Child, Command};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::client::over;
use crate::endpoint::{Endpoint, Place};
use crate::interrupt;

/// How long `ssh` gets to log in. A person may have to type a password or touch a key; a script must not wait for ever.
const LOGIN_LIMIT: Duration = Duration::from_secs(60);

/// Bytes that hold any one event of inotify(7): its header and a name.
const INOTIFY_EVENT: usize = 16 + 256;

/// What `--ssh` and `--ssh_keyfile` say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    /// `[USER@]HOST[:PORT]`.
    pub server: String,
    /// The private key.
    pub keyfile: Option<String>,
}

/// Why there is no tunnel.
#[derive(Debug, Error)]
pub enum TunnelError {
    /// No server, or one that `ssh` would take for an option.
    #[error("error: --ssh is '{given}'; expected [USER@]HOST[:PORT]")]
    Server {
        /// What was given.
        given: String,
    },
    /// The directory of the near end cannot be made or watched.
    #[error("error: --ssh: cannot make a place for the tunnel in {}: {reason}", folder.display())]
    Folder {
        /// The directory.
        folder: PathBuf,
        /// What the operating system says.
        reason: io::Error,
    },
    /// There is no program `ssh`, or it cannot be run.
    #[error("error: --ssh: cannot run the program ssh: {0}")]
    Program(io::Error),
    /// `ssh` gave up; it has said why on stderr.
    #[error("error: --ssh: no tunnel to {server}: ssh ended with {status}")]
    Ended {
        /// As given.
        server: String,
        /// How.
        status: ExitStatus,
    },
    /// `ssh` did not log in.
    #[error("error: --ssh: no tunnel to {server} within {} s", LOGIN_LIMIT.as_secs())]
    TimedOut {
        /// As given.
        server: String,
    },
    /// A signal came first.
    #[error("error: --ssh: interrupted before the tunnel to {server} was there")]
    Interrupted {
        /// As given.
        server: String,
    },
}

/// A tunnel that stands. Dropping it takes it down.
#[derive(Debug)]
pub struct Tunnel {
    // Fields are dropped in this order: first ssh, then the place of its socket.
    child: Child,
    folder: Folder,
}

impl Tunnel {
    /// Starts `ssh` and waits until it has logged in. `endpoint` is as the server sees it.
    ///
    /// # Errors
    /// See [`TunnelError`].
    pub async fn open(ssh: &Ssh, endpoint: &Endpoint) -> Result<Self, TunnelError> {
        // From here on there is something to take down.
        let signalled = interrupt::signalled();
        let folder = Folder::make()?;
        let arguments = arguments(ssh, endpoint, &folder.socket())?;
        let appears = folder.watch()?;
        let mut child = Command::new("ssh")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(TunnelError::Program)?;
        let server = || ssh.server.clone();
        tokio::select! {
            biased;
            appeared = appears => match appeared.map_err(io::Error::other).flatten() {
                Ok(()) => Ok(Self { child, folder }),
                Err(reason) => Err(folder.failed(reason)),
            },
            ended = child.wait() => match ended {
                Ok(status) => Err(TunnelError::Ended { server: server(), status }),
                Err(reason) => Err(TunnelError::Program(reason)),
            },
            () = signalled => Err(TunnelError::Interrupted { server: server() }),
            () = over(Some(LOGIN_LIMIT)) => Err(TunnelError::TimedOut { server: server() }),
        }
    }

    /// The same tunnel if its `ssh` still runs.
    #[must_use]
    pub fn if_it_stands(mut self) -> Option<Self> {
        matches!(self.child.try_wait(), Ok(None)).then_some(self)
    }

    /// The near end.
    pub fn socket(&self) -> PathBuf {
        self.folder.socket()
    }
}

/// The arguments of `ssh`: no command and no terminal, no connection that outlives us by multiplexing, and an end when the
/// near end cannot be made.
fn arguments(ssh: &Ssh, endpoint: &Endpoint, near: &Path) -> Result<Vec<String>, TunnelError> {
    let (host, port) = server(&ssh.server).ok_or_else(|| TunnelError::Server { given: ssh.server.clone() })?;
    let far = match endpoint.place() {
        Place::Tcp(host, port) if host.contains(':') => format!("[{host}]:{port}"),
        Place::Tcp(host, port) => format!("{host}:{port}"),
        Place::Ipc(path) => path.display().to_string(),
    };
    let mut arguments: Vec<String> =
        ["-N", "-T", "-S", "none", "-o", "ExitOnForwardFailure=yes"].map(str::to_owned).into();
    arguments.extend(["-L".to_owned(), format!("{}:{far}", near.display())]);
    for (option, value) in [("-i", &ssh.keyfile), ("-p", &port)] {
        if let Some(value) = value {
            arguments.extend([option.to_owned(), value.clone()]);
        }
    }
    arguments.push(host);
    Ok(arguments)
}

/// `[USER@]HOST[:PORT]` as what `ssh` takes as destination and as port. An IPv6 address with a port stands in brackets.
fn server(given: &str) -> Option<(String, Option<String>)> {
    let (user, place) = match given.rsplit_once('@') {
        Some((user, place)) => (format!("{user}@"), place),
        None => (String::new(), given),
    };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => (host, Some(port)),
        Some(_) | None => (place, None),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let destination = format!("{user}{host}");
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let fits = port_fits && !host.is_empty() && !destination.starts_with('-');
    fits.then(|| (destination, port.map(str::to_owned)))
}

/// A directory of our own, gone with its content when dropped.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, TunnelError> {
        let base = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        // The operating system's random numbers by way of std's hash tables: the name need not be secret, only new.
        let random = std::hash::RandomState::new().build_hasher().finish();
        let folder = base.join(format!("circusctl-{random:016x}"));
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => Ok(Self(folder)),
            Err(reason) => Err(TunnelError::Folder { folder, reason }),
        }
    }

    fn socket(&self) -> PathBuf {
        self.0.join("sock")
    }

    /// Ends when something appears in the directory, or when it is removed. The wait is a thread's, which therefore ends
    /// with the directory at the latest.
    fn watch(&self) -> Result<JoinHandle<io::Result<()>>, TunnelError> {
        let watch = || -> io::Result<OwnedFd> {
            let watcher = inotify::init(inotify::CreateFlags::CLOEXEC)?;
            inotify::add_watch(&watcher, &self.0, inotify::WatchFlags::CREATE)?;
            Ok(watcher)
        };
        let watcher = watch().map_err(|reason| self.failed(reason))?;
        Ok(spawn_blocking(move || {
            let mut event = [0; INOTIFY_EVENT];
            rustix::io::read(&watcher, &mut event)?;
            Ok(())
        }))
    }

    fn failed(&self, reason: io::Error) -> TunnelError {
        TunnelError::Folder { folder: self.0.clone(), reason }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nobody else can put anything there; what cannot be removed is an empty directory in a temporary place.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        for (given, destination, port) in [
            ("db1", "db1", None),
            ("ann@db1", "ann@db1", None),
            ("ann@db1:2222", "ann@db1", Some("2222")),
            ("ann@[::1]:22", "ann@::1", Some("22")),
            ("fe80::1", "fe80::1", None),
        ] {
            let expected = Some((destination.to_owned(), port.map(str::to_owned)));
            assert_eq!(server(given), expected, "{given}");
        }
        for given in ["", "ann@", "-oProxyCommand=x", "db1:x", "db1:0", ":22", "-x@db1"] {
            assert_eq!(server(given), None, "{given}");
        }
    }

    #[test]
    fn what_ssh_is_told() {
        let ssh = Ssh { server: "ann@db1:2222".into(), keyfile: Some("/k".into()) };
        let told =
            |endpoint: &str| arguments(&ssh, &endpoint.parse().unwrap(), Path::new("/t/sock")).unwrap().join(" ");
        let expected = "-N -T -S none -o ExitOnForwardFailure=yes -L /t/sock:127.0.0.1:5555 -i /k -p 2222 ann@db1";
        assert_eq!(told("tcp://127.0.0.1:5555"), expected);
        assert!(told("tcp://[::1]:5").contains(" -L /t/sock:[::1]:5 "));
        assert!(told("ipc:///run/c.sock").contains(" -L /t/sock:/run/c.sock "));
    }
}
