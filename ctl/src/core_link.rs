//! The way to the core for commands that need more of it than its status: circusd's own link, used as a mere tool that
//! holds no lease and changes nothing.

use std::path::{Path, PathBuf};

use ringmaster_manager::kernel_link::{KernelEvent, KernelLink, LinkError, establish};
use ringmaster_protocol::message::Role;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// Why the core gives nothing. The exit status is 1.
#[derive(Debug, Error)]
pub enum CoreError {
    /// Nobody serves.
    #[error("error: no core at {}: {reason}", socket.display())]
    Absent {
        /// Where we looked.
        socket: PathBuf,
        /// What the operating system says.
        reason: std::io::Error,
    },
    /// It refused, or the conversation broke.
    #[error("error: the core at {} does not answer: {reason}", socket.display())]
    Broken {
        /// Where we are connected.
        socket: PathBuf,
        /// What went wrong.
        reason: LinkError,
    },
}

/// A core to ask.
#[derive(Debug)]
pub struct Core {
    /// Requests go there.
    pub link: KernelLink,
    /// What it tells unasked.
    pub events: mpsc::Receiver<KernelEvent>,
    socket: PathBuf,
}

impl Core {
    /// Connects to the core behind `socket`.
    ///
    /// # Errors
    /// See [`CoreError`].
    pub async fn connect(socket: &Path) -> Result<Self, CoreError> {
        let stream = UnixStream::connect(socket)
            .await
            .map_err(|reason| CoreError::Absent { socket: socket.to_owned(), reason })?;
        let build = concat!("circusctl ", env!("CARGO_PKG_VERSION")).to_owned();
        let (link, _, events) = establish(stream, build, Role::Tool)
            .await
            .map_err(|reason| CoreError::Broken { socket: socket.to_owned(), reason })?;
        Ok(Self { link, events, socket: socket.to_owned() })
    }

    /// The error of a request that failed.
    pub fn broken(&self, reason: LinkError) -> CoreError {
        CoreError::Broken { socket: self.socket.clone(), reason }
    }
}
