//! Binding the endpoint of statistics. Unlike circusd's own endpoints it is not kept by the core: its subscribers lose
//! nothing when it is away for a moment.

use crate::endpoints::Listening;
use crate::endpoints::address::{BindTarget, Endpoint, EndpointError};
use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

/// Why nothing can be published.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The text is no endpoint.
    #[error("--statspoint {text}: {source}")]
    Endpoint {
        /// As given.
        text: String,
        /// What is wrong with it.
        source: EndpointError,
    },
    /// The address cannot be had.
    #[error("--statspoint {text}: {source}")]
    Bind {
        /// As given.
        text: String,
        /// What the operating system says.
        source: io::Error,
    },
}

/// Binds and listens. The file of a Unix socket that is left over is replaced.
///
/// # Errors
/// See [`BindError`].
pub fn bind(text: &str) -> Result<Listening, BindError> {
    let bad = |source| BindError::Endpoint { text: text.to_owned(), source };
    let target = Endpoint::parse(text).and_then(|endpoint| endpoint.resolve()).map_err(bad)?;
    let bound = match target {
        BindTarget::Tcp(address) => TcpListener::bind(address).map(Listening::Tcp),
        BindTarget::UnixPath(path) => at_path(&path).map(Listening::Unix),
        BindTarget::UnixAbstract(name) => SocketAddr::from_abstract_name(name)
            .and_then(|address| UnixListener::bind_addr(&address))
            .map(Listening::Unix),
    };
    bound.map_err(|source| BindError::Bind { text: text.to_owned(), source })
}

fn at_path(path: &Path) -> io::Result<UnixListener> {
    if std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}
