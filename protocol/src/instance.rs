//! Where an instance of the core lives: the rule by which `papa` and its clients find the same directory.
//!
//! Nothing is touched here; the rule is a function of the name, the environment and the user. Making and verifying
//! the directory is the core's work.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// Circus's default endpoint (spec section a.1); its instance is called [`DEFAULT_INSTANCE`].
pub const DEFAULT_ENDPOINT: &str = "tcp://127.0.0.1:5555";

/// The instance of the default endpoint.
pub const DEFAULT_INSTANCE: &str = "default";

/// Bytes of an instance name. It is one path component below the run directory, and `sock` below it should still fit
/// into the 108 bytes of a Unix address in the common case.
pub const MAX_INSTANCE: usize = 48;

/// Names inside an instance directory.
pub mod file {
    /// The core's listening socket, mode 0600.
    pub const SOCKET: &str = "sock";
    /// The core's state (its own format).
    pub const STATE: &str = "state";
    /// One process file for each process id, decimal.
    pub const RINGS: &str = "ring";
    /// The pid of the core, decimal, with a line feed.
    pub const PID: &str = "pid";
    /// Locked with flock(2) by the one core of the instance.
    pub const LOCK: &str = "lock";
    /// One file for each stored value.
    pub const VALUES: &str = "values";
}

/// The name of an instance: letters, digits, `.`, `_` and `-`, at most [`MAX_INSTANCE`] of them, not beginning with
/// a dot or a dash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InstanceName(String);

/// A text that is not an instance name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "instance is {name:?}; expected 1 to {MAX_INSTANCE} letters, digits, '.', '_' or '-', beginning with a letter, digit or '_'"
)]
pub struct InvalidInstanceName {
    /// As given.
    pub name: String,
}

impl InstanceName {
    /// Checks a name that a person gave.
    pub fn new(name: &str) -> Result<Self, InvalidInstanceName> {
        let fits = (1..=MAX_INSTANCE).contains(&name.len());
        if fits && !name.starts_with(['.', '-']) && name.chars().all(is_plain) {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidInstanceName { name: name.to_owned() })
        }
    }

    /// The name that an endpoint gives: [`DEFAULT_INSTANCE`] for the default endpoint, `tcp-HOST-PORT` for other plain
    /// TCP ones, and for everything else (paths, IPv6, wildcards, long names) the readable part with eight hexadecimal digits
    /// of a hash of the whole. Stable: the same endpoint gives the same name in every build.
    pub fn from_endpoint(endpoint: &str) -> Self {
        let endpoint = endpoint.trim();
        if endpoint == DEFAULT_ENDPOINT || endpoint.is_empty() {
            return Self(DEFAULT_INSTANCE.to_owned());
        }
        if let Some(name) = plain_tcp(endpoint) {
            return Self(name);
        }
        let readable: String = endpoint
            .split(|c: char| !is_plain(c))
            .map(|word| word.trim_matches(['.', '-']))
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join("-");
        let kept: String = readable.chars().take(MAX_INSTANCE - 9).collect();
        let stem = if kept.is_empty() { "endpoint" } else { kept.as_str() };
        Self(format!("{stem}-{:08x}", fnv1a(endpoint.as_bytes())))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for InstanceName {
    fn default() -> Self {
        Self(DEFAULT_INSTANCE.to_owned())
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The directory of an instance (DESIGN §2 "Instance"): `$CIRCUS_RUN_DIR/<name>`, else `/run/circus/<name>` for root,
/// else `$XDG_RUNTIME_DIR/circus/<name>`, else `/tmp/circus-<uid>/<name>`. `lookup` reads the environment; an empty
/// or relative value counts as not set.
pub fn instance_directory(name: &InstanceName, lookup: impl Fn(&str) -> Option<OsString>, uid: u32) -> PathBuf {
    let absolute = |variable: &str| lookup(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = if let Some(run_dir) = absolute("CIRCUS_RUN_DIR") {
        run_dir
    } else if uid == 0 {
        PathBuf::from("/run/circus")
    } else if let Some(runtime) = absolute("XDG_RUNTIME_DIR") {
        runtime.join("circus")
    } else {
        PathBuf::from(format!("/tmp/circus-{uid}"))
    };
    base.join(name.as_str())
}

/// The socket of the instance in `directory`.
pub fn socket_path(directory: &Path) -> PathBuf {
    directory.join(file::SOCKET)
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// `tcp-HOST-PORT` when host and port are plain; the last dash tells them apart, so two endpoints never meet.
fn plain_tcp(endpoint: &str) -> Option<String> {
    let (host, port) = endpoint.strip_prefix("tcp://")?.rsplit_once(':')?;
    let plain =
        !host.is_empty() && !port.is_empty() && host.chars().all(is_plain) && port.chars().all(|c| c.is_ascii_digit());
    let name = format!("tcp-{host}-{port}");
    (plain && name.len() <= MAX_INSTANCE).then_some(name)
}

/// FNV-1a, 32 bits: enough to keep apart the few endpoints of one host, or the values of an option; it never changes.
pub fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(endpoint: &str) -> String {
        InstanceName::from_endpoint(endpoint).as_str().to_owned()
    }

    #[test]
    fn endpoints_give_stable_readable_names() {
        assert_eq!(name("tcp://127.0.0.1:5555"), "default");
        assert_eq!(name("tcp://127.0.0.1:6555"), "tcp-127.0.0.1-6555");
        assert_eq!(name("tcp://my-host:1"), "tcp-my-host-1");
        assert_eq!(name("ipc:///var/run/c.sock"), "ipc-var-run-c.sock-5f965fed");
        assert_ne!(name("ipc:///a/b"), name("ipc:///a-b"));
        assert_ne!(name("tcp://*:5555"), name("tcp://[::]:5555"));
    }

    #[test]
    fn every_derived_name_is_valid() {
        let long = format!("ipc:///{}", "x/".repeat(300));
        for endpoint in ["", "tcp://*:1", "ipc://", "://", "ipc:///ä/.x", "-", &long] {
            let derived = InstanceName::from_endpoint(endpoint);
            assert_eq!(InstanceName::new(derived.as_str()), Ok(derived.clone()), "{endpoint}");
        }
    }

    #[test]
    fn names_that_would_leave_the_directory_are_refused() {
        for bad in ["", ".", "..", "a/b", "-d", "ä", &"x".repeat(49)] {
            assert!(InstanceName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_directory_follows_environment_and_user() {
        let at = |pairs: &[(&str, &str)], uid| {
            let lookup = |key: &str| pairs.iter().find(|(k, _)| *k == key).map(|(_, v)| OsString::from(v));
            let path = instance_directory(&InstanceName::default(), lookup, uid);
            path.to_str().unwrap().to_owned()
        };
        assert_eq!(at(&[], 0), "/run/circus/default");
        assert_eq!(at(&[("XDG_RUNTIME_DIR", "/run/user/0")], 0), "/run/circus/default");
        assert_eq!(at(&[("XDG_RUNTIME_DIR", "/run/user/7")], 7), "/run/user/7/circus/default");
        assert_eq!(at(&[("XDG_RUNTIME_DIR", "")], 7), "/tmp/circus-7/default");
        assert_eq!(at(&[("CIRCUS_RUN_DIR", "/x"), ("XDG_RUNTIME_DIR", "/y")], 7), "/x/default");
    }
}
