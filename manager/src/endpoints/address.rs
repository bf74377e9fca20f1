//! Endpoint strings (`tcp://…`, `ipc://…`) and what they mean to somebody who wants to listen.
//!
//! Two steps: [`Endpoint::parse`] looks at the text only; [`Endpoint::resolve`] asks the system for interfaces and
//! names (it may block in the resolver, so it belongs to start-up). Nothing is bound here: the result goes to the core.
//! The forms are those of zmq_tcp(7) and zmq_ipc(7); host names are resolved as well, which libzmq does only for
//! clients.

mod error;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

pub use error::EndpointError;
use error::UNIX_PATH_BYTES;

/// A parsed endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    text: String,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Tcp { host: Host, port: u16 },
    Path(PathBuf),
    Abstract(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    /// `*`: all IPv4 addresses, as libzmq without ZMQ_IPV6.
    Any,
    Address(IpAddr),
    /// An interface, or else a host.
    Name(String),
}

/// Something to bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindTarget {
    /// TCP; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A Unix socket at this path.
    UnixPath(PathBuf),
    /// A Unix socket in the abstract namespace (Linux), by its name without the leading zero byte.
    UnixAbstract(Vec<u8>),
}

impl Endpoint {
    /// Reads an endpoint string.
    ///
    /// # Errors
    /// It is not of one of the supported forms.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let owned = || text.to_owned();
        let (transport, rest) = text.split_once("://").ok_or_else(|| EndpointError::NoTransport(owned()))?;
        if text.contains('\0') {
            return Err(EndpointError::ZeroByte(owned()));
        }
        let place = match transport {
            "tcp" => parse_tcp(text, rest)?,
            "ipc" => parse_ipc(text, rest)?,
            other => {
                return Err(EndpointError::Transport { endpoint: owned(), transport: other.to_owned() });
            }
        };
        Ok(Self { text: owned(), place })
    }

    /// Finds out what to bind. An interface's name goes before a host's, as in zmq_tcp(7).
    ///
    /// # Errors
    /// The name of the host part is not known to the system.
    pub fn resolve(&self) -> Result<BindTarget, EndpointError> {
        match &self.place {
            Place::Path(path) => Ok(BindTarget::UnixPath(path.clone())),
            Place::Abstract(name) => Ok(BindTarget::UnixAbstract(name.clone())),
            Place::Tcp { host, port } => {
                let address = match host {
                    Host::Any => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                    Host::Address(address) => *address,
                    Host::Name(name) => self.look_up(name)?,
                };
                Ok(BindTarget::Tcp(SocketAddr::new(address, *port)))
            }
        }
    }

    fn look_up(&self, name: &str) -> Result<IpAddr, EndpointError> {
        if let Some(address) = interface_address(name) {
            return Ok(address);
        }
        let unresolved =
            |source| EndpointError::Unresolved { endpoint: self.text.clone(), name: name.to_owned(), source };
        let addresses: Vec<IpAddr> =
            (name, 0).to_socket_addrs().map_err(unresolved)?.map(|address| address.ip()).collect();
        let ipv4 = addresses.iter().find(|address| address.is_ipv4());
        ipv4.or(addresses.first()).copied().ok_or_else(|| unresolved(std::io::ErrorKind::NotFound.into()))
    }
}

/// As written.
impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn parse_tcp(text: &str, rest: &str) -> Result<Place, EndpointError> {
    let (host, port) = rest.rsplit_once(':').ok_or_else(|| EndpointError::NoPort(text.to_owned()))?;
    let port = match port {
        "*" => 0,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map_err(|_not_a_port: std::num::ParseIntError| bad_port(text, port))?
        }
        _ => return Err(bad_port(text, port)),
    };
    Ok(Place::Tcp { host: parse_host(text, host)?, port })
}

fn bad_port(text: &str, port: &str) -> EndpointError {
    EndpointError::Port { endpoint: text.to_owned(), port: port.to_owned() }
}

fn parse_host(text: &str, host: &str) -> Result<Host, EndpointError> {
    let bad_ipv6 = || EndpointError::Ipv6 { endpoint: text.to_owned(), host: host.to_owned() };
    match host {
        "" => Err(EndpointError::NoPort(text.to_owned())),
        "*" => Ok(Host::Any),
        _ if host.contains([':', '[', ']']) => {
            let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let address = inside.and_then(|inside| inside.parse().ok()).ok_or_else(bad_ipv6)?;
            Ok(Host::Address(IpAddr::V6(address)))
        }
        _ => Ok(match host.parse() {
            Ok(address) => Host::Address(IpAddr::V4(address)),
            Err(_a_name) => Host::Name(host.to_owned()),
        }),
    }
}

fn parse_ipc(text: &str, rest: &str) -> Result<Place, EndpointError> {
    let (place, bytes) = match rest.strip_prefix('@') {
        Some("") => return Err(EndpointError::NoPath(text.to_owned())),
        Some(name) => (Place::Abstract(name.as_bytes().to_vec()), name.len()),
        None if rest.is_empty() || rest == "*" => return Err(EndpointError::NoPath(text.to_owned())),
        None => (Place::Path(PathBuf::from(rest)), rest.len()),
    };
    if bytes > UNIX_PATH_BYTES {
        return Err(EndpointError::PathTooLong { endpoint: text.to_owned(), bytes });
    }
    Ok(place)
}

/// The first IPv4 address of an interface, else its first IPv6 address (getifaddrs(3)).
fn interface_address(name: &str) -> Option<IpAddr> {
    let addresses: Vec<IpAddr> = nix::ifaddrs::getifaddrs()
        .ok()?
        .filter(|interface| interface.interface_name == name)
        .filter_map(|interface| {
            let address = interface.address?;
            let ipv4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            ipv4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        })
        .collect();
    addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(text: &str) -> BindTarget {
        Endpoint::parse(text).unwrap().resolve().unwrap()
    }

    fn error(text: &str) -> String {
        Endpoint::parse(text).and_then(|endpoint| endpoint.resolve()).unwrap_err().to_string()
    }

    #[test]
    fn every_form() {
        let tcp = |address: &str| BindTarget::Tcp(address.parse().unwrap());
        assert_eq!(target("tcp://127.0.0.1:5555"), tcp("127.0.0.1:5555"));
        assert_eq!(target("tcp://*:5555"), tcp("0.0.0.0:5555"));
        assert_eq!(target("tcp://127.0.0.1:*"), tcp("127.0.0.1:0"));
        assert_eq!(target("tcp://[::1]:5555"), tcp("[::1]:5555"));
        assert_eq!(target("tcp://lo:5555"), tcp("127.0.0.1:5555"));
        assert_eq!(target("tcp://localhost:5555"), tcp("127.0.0.1:5555"));
        assert_eq!(target("ipc:///tmp/x"), BindTarget::UnixPath("/tmp/x".into()));
        assert_eq!(target("ipc://relative"), BindTarget::UnixPath("relative".into()));
        assert_eq!(target("ipc://@circus"), BindTarget::UnixAbstract(b"circus".to_vec()));
    }

    #[test]
    fn errors_name_the_endpoint_and_what_was_expected() {
        let cases = [
            ("localhost:5555", "endpoint \"localhost:5555\": expected tcp://HOST:PORT or ipc://PATH"),
            ("udp://h:1", "endpoint \"udp://h:1\": transport \"udp\" is not supported, expected tcp or ipc"),
            (
                "tcp://127.0.0.1",
                "endpoint \"tcp://127.0.0.1\": expected a host and a port, as in tcp://127.0.0.1:5555, \
                 tcp://*:5555 or tcp://[::1]:5555",
            ),
            ("tcp://h:70000", "endpoint \"tcp://h:70000\": port \"70000\" is not a number from 0 to 65535, nor *"),
            ("tcp://h:+1", "endpoint \"tcp://h:+1\": port \"+1\" is not a number from 0 to 65535, nor *"),
            ("tcp://h:", "endpoint \"tcp://h:\": port \"\" is not a number from 0 to 65535, nor *"),
            (
                "tcp://::1:5555",
                "endpoint \"tcp://::1:5555\": \"::1\" is not an IPv6 address in brackets, as in tcp://[::1]:5555",
            ),
            (
                "ipc://",
                "endpoint \"ipc://\": expected a path, as in ipc:///run/circus/endpoint, or a name, as in ipc://@circus",
            ),
            (
                "ipc://*",
                "endpoint \"ipc://*\": expected a path, as in ipc:///run/circus/endpoint, or a name, as in ipc://@circus",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(error(text), expected);
        }
    }

    #[test]
    fn a_path_that_does_not_fit() {
        let longest = format!("ipc:///{}", "x".repeat(UNIX_PATH_BYTES - 1));
        assert!(Endpoint::parse(&longest).is_ok());
        assert!(error(&format!("{longest}x")).ends_with("at most 107 bytes, this one has 108"));
    }

    #[test]
    fn an_unknown_name() {
        let text = "tcp://no-such-interface.invalid:5555";
        let expected = format!(
            "endpoint \"{text}\": \"no-such-interface.invalid\" is neither a network interface with an address nor a host name: "
        );
        let error = error(text);
        assert!(error.starts_with(&expected), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_an_endpoint_or_an_error_and_is_shown_as_written(text in "(tcp://|ipc://)?\\PC{0,40}") {
            if let Ok(endpoint) = Endpoint::parse(&text) {
                prop_assert_eq!(endpoint.to_string(), text);
            }
        }
    }
}
