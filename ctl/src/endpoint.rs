//! Where circusd listens: `tcp://HOST:PORT` or `ipc://PATH`, as Circus writes endpoints.
//!
//! Only what a client needs; the daemon's wildcards (`tcp://*:PORT`) are for listening and refused here.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// Circus's default control endpoint (spec m).
pub const DEFAULT: &str = "tcp://127.0.0.1:5555";

/// Circus's default event endpoint (spec m).
pub const DEFAULT_EVENTS: &str = "tcp://127.0.0.1:5556";

/// A place to connect to. `Display` gives it back as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    text: String,
    place: Place,
}

/// The two transports Circus's endpoints have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Host name or address (IPv6 without brackets) and port.
    Tcp(String, u16),
    /// Path of a Unix socket.
    Ipc(PathBuf),
}

/// An endpoint nobody can connect to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("endpoint '{given}': {problem}; expected tcp://HOST:PORT or ipc://PATH")]
pub struct EndpointError {
    given: String,
    problem: &'static str,
}

impl Endpoint {
    /// Transport and address.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Transport and address as the `zeromq` crate reads them.
    pub fn address(&self) -> String {
        match &self.place {
            Place::Tcp(host, port) if host.contains(':') => format!("tcp://[{host}]:{port}"),
            Place::Tcp(host, port) => format!("tcp://{host}:{port}"),
            Place::Ipc(path) => format!("ipc://{}", path.display()),
        }
    }

    /// The same endpoint, reached through the near end of an SSH tunnel. People still read the name of the far end.
    pub fn through(&self, server: &str, socket: PathBuf) -> Self {
        Self { text: format!("{} through ssh {server}", self.text), place: Place::Ipc(socket) }
    }

    /// Where a client of `self` reaches another endpoint of the same daemon: a wildcard address is a place to listen, so
    /// the host that led to the daemon takes its place.
    ///
    /// # Errors
    /// When `other` is no endpoint.
    pub fn beside(&self, other: &str) -> Result<Self, EndpointError> {
        let host = match &self.place {
            Place::Tcp(host, _) if host.contains(':') => format!("[{host}]"),
            Place::Tcp(host, _) => host.clone(),
            Place::Ipc(_) => "127.0.0.1".to_owned(),
        };
        let reachable = ["tcp://*:", "tcp://0.0.0.0:", "tcp://[::]:"]
            .iter()
            .find_map(|wildcard| other.strip_prefix(wildcard))
            .map(|port| format!("tcp://{host}:{port}"));
        reachable.as_deref().unwrap_or(other).parse()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        place(given)
            .map(|place| Self { text: given.to_owned(), place })
            .map_err(|problem| EndpointError { given: given.to_owned(), problem })
    }
}

fn place(given: &str) -> Result<Place, &'static str> {
    if let Some(path) = given.strip_prefix("ipc://") {
        return match path.chars().next() {
            None => Err("the path is missing"),
            // The `zeromq` crate would look for a file of that name.
            Some('@') => Err("sockets without a path cannot be reached yet"),
            Some(_) => Ok(Place::Ipc(path.into())),
        };
    }
    let address = given.strip_prefix("tcp://").ok_or("the transport is neither tcp nor ipc")?;
    let (host, port) = address.rsplit_once(':').ok_or("the port is missing")?;
    let port = match port.parse::<u16>() {
        Ok(port) if port > 0 => port,
        Ok(_) | Err(_) => return Err("the port is not a number from 1 to 65535"),
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) if v6.parse::<Ipv6Addr>().is_err() => return Err("the address in brackets is not IPv6"),
        Some(v6) => v6,
        None => host,
    };
    match host {
        "" => Err("the host is missing"),
        "*" => Err("'*' is a place to listen, not to connect to"),
        host => Ok(Place::Tcp(host.to_owned(), port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_endpoints() {
        for (text, expected) in [
            (DEFAULT, Place::Tcp("127.0.0.1".into(), 5555)),
            ("tcp://localhost:1", Place::Tcp("localhost".into(), 1)),
            ("tcp://[::1]:65535", Place::Tcp("::1".into(), 65535)),
            ("ipc:///run/circus.sock", Place::Ipc("/run/circus.sock".into())),
            ("ipc://relative", Place::Ipc("relative".into())),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.place(), endpoint.to_string().as_str()), (&expected, text));
        }
    }

    #[test]
    fn the_other_endpoint_of_a_daemon() {
        for (own, other, expected) in [
            ("tcp://db1:5555", "tcp://0.0.0.0:5556", "tcp://db1:5556"),
            ("tcp://[::1]:5555", "tcp://*:5556", "tcp://[::1]:5556"),
            ("ipc:///run/c", "tcp://0.0.0.0:5556", "tcp://127.0.0.1:5556"),
            ("tcp://db1:5555", "tcp://10.0.0.1:7", "tcp://10.0.0.1:7"),
            ("tcp://db1:5555", "ipc:///run/e", "ipc:///run/e"),
        ] {
            let own: Endpoint = own.parse().unwrap();
            assert_eq!(own.beside(other).unwrap().address(), expected);
        }
    }

    #[test]
    fn through_a_tunnel_the_far_end_is_named() {
        let far: Endpoint = DEFAULT.parse().unwrap();
        let near = far.through("ann@db1", "/tmp/x/sock".into());
        assert_eq!(near.to_string(), "tcp://127.0.0.1:5555 through ssh ann@db1");
        assert_eq!(near.address(), "ipc:///tmp/x/sock");
    }

    #[test]
    fn bad_endpoints_say_why() {
        for (text, problem) in [
            ("x", "the transport is neither tcp nor ipc"),
            ("udp://1.2.3.4:5", "the transport is neither tcp nor ipc"),
            ("tcp://127.0.0.1", "the port is missing"),
            ("tcp://127.0.0.1:0", "the port is not a number from 1 to 65535"),
            ("tcp://127.0.0.1:65536", "the port is not a number from 1 to 65535"),
            ("tcp://[1.2.3.4]:5", "the address in brackets is not IPv6"),
            ("tcp://:5", "the host is missing"),
            ("tcp://*:5", "'*' is a place to listen, not to connect to"),
            ("ipc://", "the path is missing"),
            ("ipc://@name", "sockets without a path cannot be reached yet"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert_eq!(error, format!("endpoint '{text}': {problem}; expected tcp://HOST:PORT or ipc://PATH"));
        }
    }
}
