//! What can be wrong with an endpoint, in the words people see.

/// Longest path of a Unix socket: `sun_path` without its final zero (unix(7)).
pub(super) const UNIX_PATH_BYTES: usize = 107;

/// Why an endpoint cannot be used; names the endpoint and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// No `://`.
    #[error("endpoint {0:?}: expected tcp://HOST:PORT or ipc://PATH")]
    NoTransport(String),
    /// `udp`, `inproc`, `pgm`, …
    #[error("endpoint {endpoint:?}: transport {transport:?} is not supported, expected tcp or ipc")]
    Transport {
        /// The endpoint as written.
        endpoint: String,
        /// The part before `://`.
        transport: String,
    },
    /// No `:` before the port, or no host.
    #[error("endpoint {0:?}: expected a host and a port, as in tcp://127.0.0.1:5555, tcp://*:5555 or tcp://[::1]:5555")]
    NoPort(String),
    /// The port is not a number in range.
    #[error("endpoint {endpoint:?}: port {port:?} is not a number from 0 to 65535, nor *")]
    Port {
        /// The endpoint as written.
        endpoint: String,
        /// The part after the last `:`.
        port: String,
    },
    /// Brackets around something that is not an IPv6 address, or an IPv6 address without them.
    #[error("endpoint {endpoint:?}: {host:?} is not an IPv6 address in brackets, as in tcp://[::1]:5555")]
    Ipv6 {
        /// The endpoint as written.
        endpoint: String,
        /// The host part.
        host: String,
    },
    /// `ipc://` and nothing, or `*`.
    #[error("endpoint {0:?}: expected a path, as in ipc:///run/circus/endpoint, or a name, as in ipc://@circus")]
    NoPath(String),
    /// The path does not fit into a socket address.
    #[error("endpoint {endpoint:?}: a Unix socket path has at most {UNIX_PATH_BYTES} bytes, this one has {bytes}")]
    PathTooLong {
        /// The endpoint as written.
        endpoint: String,
        /// Length of the path.
        bytes: usize,
    },
    /// A zero byte in the path or name.
    #[error("endpoint {0:?}: a zero byte cannot be part of it")]
    ZeroByte(String),
    /// The name is neither an interface with an address nor a host.
    #[error("endpoint {endpoint:?}: {name:?} is neither a network interface with an address nor a host name: {source}")]
    Unresolved {
        /// The endpoint as written.
        endpoint: String,
        /// The host part.
        name: String,
        /// What the resolver says.
        source: std::io::Error,
    },
}
