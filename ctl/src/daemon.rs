//! One circusd, and the way to it: its endpoint, the time it gets, the tunnel if there is one.
//!
//! It connects anew for each request, so a shell that stays open for days does not notice that circusd was replaced.

use std::ffi::OsString;
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::Runtime;

use crate::cli::{ENDPOINT_VARIABLE, Settings};
use crate::client::{self, ClientError, Patience, Received};
use crate::endpoint::{self, Endpoint, EndpointError};
use crate::interrupt;
use crate::python;
use crate::request::{Properties, Request};
use crate::tunnel::{Ssh, Tunnel, TunnelError};

/// How long a person waits for a completion before it is worse than none.
const COMPLETION_LIMIT: Duration = Duration::from_millis(500);

/// Why a daemon could not be asked, or gave no answer. The exit status is 1.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// An endpoint nobody can connect to.
    #[error("error: {origin}: {reason}")]
    Endpoint {
        /// Where the endpoint was given.
        origin: &'static str,
        /// What is wrong with it.
        reason: EndpointError,
    },
    /// The environment variable is no text.
    #[error("error: {ENDPOINT_VARIABLE} is not valid UTF-8")]
    EndpointVariable,
    /// The tunnel does not stand.
    #[error(transparent)]
    Tunnel(#[from] TunnelError),
    /// The conversation failed.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// A circusd to talk to.
#[derive(Debug)]
pub struct Daemon<'a> {
    runtime: &'a Runtime,
    endpoint: Endpoint,
    patience: Patience,
    ssh: Option<Ssh>,
    tunnel: Option<Tunnel>,
}

impl<'a> Daemon<'a> {
    /// The daemon that the global options and the environment mean: `--endpoint`, then `variable`, then Circus's
    /// default (spec m). Nothing is connected yet.
    ///
    /// # Errors
    /// [`DaemonError::Endpoint`] and [`DaemonError::EndpointVariable`].
    pub fn new(runtime: &'a Runtime, settings: &Settings, variable: Option<OsString>) -> Result<Self, DaemonError> {
        let (origin, text) = match (&settings.endpoint, variable) {
            (Some(text), _) => ("--endpoint", text.clone()),
            (None, Some(text)) => {
                (ENDPOINT_VARIABLE, text.into_string().map_err(|_bytes| DaemonError::EndpointVariable)?)
            }
            (None, None) => ("default endpoint", endpoint::DEFAULT.to_owned()),
        };
        let endpoint = text.parse().map_err(|reason| DaemonError::Endpoint { origin, reason })?;
        Ok(Self { runtime, endpoint, patience: settings.patience, ssh: settings.ssh.clone(), tunnel: None })
    }

    /// The event endpoint that `--endpoint` of `listen` means; the environment has no say in it (spec m).
    ///
    /// # Errors
    /// [`DaemonError::Endpoint`].
    pub fn events(runtime: &'a Runtime, settings: &Settings) -> Result<Self, DaemonError> {
        let default = || Some(endpoint::DEFAULT_EVENTS.to_owned());
        let settings = Settings { endpoint: settings.endpoint.clone().or_else(default), ..settings.clone() };
        Self::new(runtime, &settings, None)
    }

    /// The event endpoint of this daemon, as it tells.
    ///
    /// # Errors
    /// When it does not tell, or tells something that is no endpoint.
    pub fn its_events(&mut self) -> Result<Self, DaemonError> {
        let pubsub = self
            .ask(&pubsub_request())?
            .reply
            .object("options")
            .and_then(|options| options.get("pubsub_endpoint")?.as_str().map(str::to_owned));
        let endpoint = match pubsub {
            Some(text) => self.endpoint.beside(&text),
            None => endpoint::DEFAULT_EVENTS.parse(),
        };
        Ok(Self {
            runtime: self.runtime,
            endpoint: endpoint
                .map_err(|reason| DaemonError::Endpoint { origin: "pubsub_endpoint of circusd", reason })?,
            patience: self.patience,
            ssh: self.ssh.clone(),
            tunnel: None,
        })
    }

    /// What runs the waiting.
    pub fn runtime(&self) -> &'a Runtime {
        self.runtime
    }

    /// The time one answer gets.
    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// Asks once. SIGINT, SIGTERM and SIGHUP end the wait.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub fn ask(&mut self, request: &Request) -> Result<Received, DaemonError> {
        self.ask_within(self.patience, request)
    }

    pub(crate) fn ask_within(&mut self, patience: Patience, request: &Request) -> Result<Received, DaemonError> {
        let endpoint = self.reach()?;
        let received = self.runtime.block_on(async {
            tokio::select! {
                biased;
                received = client::call(&endpoint, patience, request) => received,
                () = interrupt::signalled() => Err(ClientError::Interrupted {
                    endpoint: endpoint.clone(),
                    command: request.command,
                }),
            }
        })?;
        Ok(received)
    }

    /// The watchers' names as they were given, and their states, for somebody who waits for a key press to be answered:
    /// none when they cannot be had quickly.
    pub fn watchers(&mut self) -> Vec<(String, String)> {
        let request = Request { command: "status", properties: Properties::new() };
        let Ok(received) = self.ask_within(Some(COMPLETION_LIMIT), &request) else {
            return Vec::new();
        };
        let statuses = received.reply.object("statuses");
        statuses.into_iter().flatten().map(|(name, status)| (name.clone(), python::text(status))).collect()
    }

    /// Where to connect: the endpoint, or the near end of its tunnel, which is built when it is not there or has ended.
    ///
    /// # Errors
    /// [`DaemonError::Tunnel`].
    pub fn reach(&mut self) -> Result<Endpoint, DaemonError> {
        let Some(ssh) = &self.ssh else {
            return Ok(self.endpoint.clone());
        };
        let standing = self.tunnel.take().and_then(Tunnel::if_it_stands);
        let tunnel = match standing {
            Some(tunnel) => tunnel,
            None => self.runtime.block_on(Tunnel::open(ssh, &self.endpoint))?,
        };
        let near = self.endpoint.through(&ssh.server, tunnel.socket());
        self.tunnel = Some(tunnel);
        Ok(near)
    }
}

/// Asks where events are published.
pub(crate) fn pubsub_request() -> Request {
    Request {
        command: "globaloptions",
        properties: [("option".to_owned(), "pubsub_endpoint".into())].into_iter().collect(),
    }
}
