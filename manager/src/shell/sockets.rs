//! Binding the endpoints and the `[socket:]` sections: the core creates and keeps every socket; circusd gets copies.

use super::attach::{StartError, TAKEN};
use super::{Plan, identity};
use crate::arbiter::{BoundSocket, Rebound, SOCKET_PREFIX, SocketChange, SocketTable, WantedSocket};
use crate::config::Config;
use crate::endpoints::Listening;
use crate::endpoints::address::{BindTarget, Endpoint};
use crate::kernel_link::{KernelLink, LinkError, OpenedSocket};
use crate::options::MetricsPlace;
use crate::options::{Identity, SocketAddressSpec, SocketKind, SocketOptions};
use ringmaster_protocol::message::{Listen, Refusal, SocketAddress, SocketType};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::ToSocketAddrs as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The control endpoint at the core.
pub const CONTROL: &str = "circusd.endpoint";

/// The pub/sub endpoint at the core.
pub const PUBSUB: &str = "circusd.pubsub";

/// The metrics endpoint at the core.
pub const METRICS: &str = "circusd.metrics";

/// Connections that may wait while circusd is away; Linux cuts this to `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// The mask for the file of a Unix socket whose section names none: Circus's decimal 8, so that who could connect can.
const DEFAULT_UMASK: u32 = 0o010;

/// Attempts to bind a socket of a configuration that was read again: together a quarter of a second, which the last
/// of a killed tree needs at most to be gone.
const ATTEMPTS: u32 = 6;

/// Between two of them.
const BIND_AGAIN: Duration = Duration::from_millis(50);

/// All sockets, bound.
pub struct Bound {
    /// For the ROUTER.
    pub control: Listening,
    /// For the PUB.
    pub pubsub: Listening,
    /// For figures.
    pub metrics: Option<Listening>,
    /// `[socket:]`.
    pub table: SocketTable,
}

/// Binds everything, in Circus's order (spec b.6), and removes what an earlier configuration has left behind.
pub async fn bind(link: &KernelLink, plan: &Plan) -> Result<Bound, StartError> {
    let circus = &plan.config.circus;
    remove_stale(link, &plan.config).await?;
    let pubsub = endpoint(link, plan, PUBSUB, "pubsub_endpoint", &circus.pubsub_endpoint).await?;
    let mut table = Vec::new();
    for socket in &plan.config.sockets {
        let persistent = plan.config.keeps_socket(socket);
        match section(link, &plan.working_dir, socket, persistent).await {
            Ok(bound) => table.push(bound),
            // A name that does not resolve costs this socket only, as in Circus (spec a.6).
            Err(error @ StartError::Resolve { .. }) => {
                tracing::warn!("Failed to create socket: {error}; the socket is left out");
            }
            Err(error) => return Err(error),
        }
    }
    let control = endpoint(link, plan, CONTROL, "endpoint", &circus.endpoint).await?;
    let metrics = metrics(link, plan).await?;
    Ok(Bound { control, pubsub, metrics, table: SocketTable::new(table) })
}

/// Services go on without figures, so an address that cannot be bound is an error in the log, and the scraper finds nobody.
async fn metrics(link: &KernelLink, plan: &Plan) -> Result<Option<Listening>, StartError> {
    let Some(wanted) = &plan.config.circus.metrics_endpoint else {
        return Ok(None);
    };
    let target = match wanted.place() {
        MetricsPlace::Tcp(address) => BindTarget::Tcp(*address),
        MetricsPlace::Unix(path) => BindTarget::UnixPath(path.clone()),
    };
    match listen_on(link, plan, (METRICS, "metrics_endpoint"), target, &wanted.to_string()).await {
        Ok(listening) => Ok(Some(listening)),
        Err(error @ StartError::Bind { .. }) => {
            tracing::error!("metrics_endpoint: {error}; circusd goes on without it");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn remove_stale(link: &KernelLink, config: &Config) -> Result<(), StartError> {
    let wanted: BTreeSet<String> =
        config.sockets.iter().map(|socket| format!("{SOCKET_PREFIX}{}", socket.name)).collect();
    for socket in link.sockets().await?.sockets {
        let unwanted_metrics = socket.name == METRICS && config.circus.metrics_endpoint.is_none();
        if unwanted_metrics || socket.name.starts_with(SOCKET_PREFIX) && !wanted.contains(&socket.name) {
            tracing::info!("socket {} is not configured any more and is removed", socket.name);
            link.remove_socket(socket.name).await?;
        }
    }
    Ok(())
}

async fn endpoint(
    link: &KernelLink,
    plan: &Plan,
    name: &str,
    option: &'static str,
    value: &str,
) -> Result<Listening, StartError> {
    let bad = |source| StartError::BadEndpoint { option, value: value.to_owned(), source };
    let target = Endpoint::parse(value).and_then(|endpoint| endpoint.resolve()).map_err(bad)?;
    listen_on(link, plan, (name, option), target, value).await
}

/// Has the core listen for an endpoint, by its name there and the option that says where.
async fn listen_on(
    link: &KernelLink,
    plan: &Plan,
    (name, option): (&str, &'static str),
    target: BindTarget,
    value: &str,
) -> Result<Listening, StartError> {
    let address = match target {
        BindTarget::Tcp(address) => SocketAddress::Inet(address),
        BindTarget::UnixPath(path) => SocketAddress::Unix(plan.working_dir.join(path).as_os_str().as_bytes().to_vec()),
        // A core would have to keep a name that belongs to no directory, and so to everybody.
        BindTarget::UnixAbstract(_) => {
            let (place, section) = (value.to_owned(), "circus".to_owned());
            let reason =
                format!("{option} is an abstract socket; expected the path of a file, as in ipc:///run/circus.sock");
            return Err(StartError::Bind { place, section, reason, hint: "" });
        }
    };
    let listen = Listen {
        name: name.to_owned(),
        address,
        kind: SocketType::Stream,
        backlog: BACKLOG,
        umask: Some(plan.heritage.umask),
        replace: true,
        interface: None,
        reuse_port: false,
        blocking: false,
        persistent: false,
        ext: Vec::new(),
    };
    let path = match &listen.address {
        SocketAddress::Unix(path) => Some(PathBuf::from(OsStr::from_bytes(path))),
        SocketAddress::Inet(_) => None,
    };
    let opened = listen_again(link, listen, value, "circus").await?;
    if let (CONTROL, Some(owner)) = (name, &plan.config.circus.endpoint_owner) {
        give(value, path.as_deref(), owner)?;
    }
    let file = opened.file.ok_or(LinkError::NoDescriptor { request: "Listen" })?;
    Ok(Listening::from_fd(file)?)
}

/// The control endpoint's file becomes the property of `endpoint_owner`; its group stays (spec l).
fn give(endpoint: &str, path: Option<&Path>, owner: &str) -> Result<(), StartError> {
    let failed = |reason: String| StartError::Owner { owner: owner.to_owned(), endpoint: endpoint.to_owned(), reason };
    let Some(path) = path else {
        tracing::warn!("endpoint_owner = {owner}: the endpoint {endpoint} has no file that could belong to somebody");
        return Ok(());
    };
    let user = Identity::Name(owner.to_owned());
    let uid = identity::resolve(Some(&user), None).map_err(|error| failed(error.to_string()))?.uid;
    std::os::unix::fs::chown(path, uid, None).map_err(|error| failed(error.to_string()))
}

/// Closes and binds as `reloadconfig` wants. When one cannot be bound, what was there before is bound again.
pub async fn rebind(link: &KernelLink, working_dir: &Path, change: SocketChange) -> Rebound {
    for socket in &change.old {
        let name = format!("{SOCKET_PREFIX}{}", socket.name);
        if let Err(error) = link.remove_socket(name).await {
            tracing::debug!("socket {}: {error}", socket.name);
        }
    }
    let mut bound = Vec::new();
    let mut failure = None;
    for WantedSocket { options, persistent } in &change.new {
        match patiently(link, working_dir, options, *persistent).await {
            Ok(socket) => bound.push(socket),
            Err(error) => {
                failure = Some(error.to_string());
                break;
            }
        }
    }
    if failure.is_some() {
        bound = restore(link, working_dir, bound, &change.old).await;
    }
    Rebound { bound, failure }
}

/// Takes `new` down again and binds `old` again, as far as possible.
async fn restore(
    link: &KernelLink,
    working_dir: &Path,
    new: Vec<BoundSocket>,
    old: &[SocketOptions],
) -> Vec<BoundSocket> {
    for socket in new {
        if let Err(error) = link.remove_socket(socket.kernel_name()).await {
            tracing::debug!("socket {}: {error}", socket.name);
        }
    }
    let mut bound = Vec::new();
    for socket in old {
        match patiently(link, working_dir, socket, socket.use_papa).await {
            Ok(socket) => bound.push(socket),
            Err(error) => tracing::error!("socket {} is lost: {error}", socket.name),
        }
    }
    bound
}

/// Binds; a process that was killed a moment ago may hold the address for another one.
async fn patiently(
    link: &KernelLink,
    working_dir: &Path,
    socket: &SocketOptions,
    persistent: bool,
) -> Result<BoundSocket, StartError> {
    for _ in 1..ATTEMPTS {
        match section(link, working_dir, socket, persistent).await {
            Err(StartError::Bind { .. }) => tokio::time::sleep(BIND_AGAIN).await,
            result => return result,
        }
    }
    section(link, working_dir, socket, persistent).await
}

async fn section(
    link: &KernelLink,
    working_dir: &Path,
    socket: &SocketOptions,
    persistent: bool,
) -> Result<BoundSocket, StartError> {
    let (address, host, place) = match &socket.address {
        SocketAddressSpec::Unix(path) => {
            let path = working_dir.join(path);
            (SocketAddress::Unix(path.as_os_str().as_bytes().to_vec()), None, path.display().to_string())
        }
        SocketAddressSpec::Inet { host, port } => {
            let address = resolve(socket, host, *port).await?;
            (SocketAddress::Inet(address), Some(host.as_str()), format!("{host}:{port}"))
        }
    };
    let listen = Listen {
        name: format!("{SOCKET_PREFIX}{}", socket.name),
        address,
        kind: kind(socket)?,
        backlog: socket.backlog,
        umask: Some(socket.umask.unwrap_or(DEFAULT_UMASK)),
        replace: socket.replace,
        interface: socket.interface.clone(),
        reuse_port: socket.so_reuseport,
        blocking: socket.blocking,
        persistent,
        ext: Vec::new(),
    };
    let opened = listen_again(link, listen, &place, &format!("socket:{}", socket.name)).await?;
    Ok(BoundSocket::new(&socket.name, host, &opened.socket))
}

fn kind(socket: &SocketOptions) -> Result<SocketType, StartError> {
    match socket.kind {
        SocketKind::Stream => Ok(SocketType::Stream),
        SocketKind::Datagram => Ok(SocketType::Datagram),
        SocketKind::SeqPacket => Ok(SocketType::SeqPacket),
        SocketKind::Raw | SocketKind::Rdm => Err(StartError::Bind {
            place: socket.name.clone(),
            section: format!("socket:{}", socket.name),
            reason: "only SOCK_STREAM, SOCK_DGRAM and SOCK_SEQPACKET are supported".to_owned(),
            hint: "",
        }),
    }
}

/// The first address of the family (spec g). Beside the loop, because a resolver may take its time.
async fn resolve(socket: &SocketOptions, host: &str, port: u16) -> Result<std::net::SocketAddr, StartError> {
    let failed = |reason: String| StartError::Resolve { name: socket.name.clone(), host: host.to_owned(), reason };
    let wants_v6 = socket.family == crate::options::SocketFamily::Inet6;
    let owned = host.to_owned();
    let found = tokio::task::spawn_blocking(move || {
        (owned.as_str(), port).to_socket_addrs().map(|mut all| all.find(|address| address.is_ipv6() == wants_v6))
    });
    match found.await {
        Ok(Ok(Some(address))) => Ok(address),
        Ok(Ok(None)) => Err(failed("it has no address of this family".to_owned())),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Binds; a socket of the same name with other properties is from an earlier configuration and makes room.
async fn listen_again(
    link: &KernelLink,
    listen: Listen,
    place: &str,
    section: &str,
) -> Result<OpenedSocket, StartError> {
    let refused = |error: LinkError| {
        let (place, section) = (place.to_owned(), section.to_owned());
        if let LinkError::Refused(Refusal::System { errno, .. }) = error {
            let error = std::io::Error::from_raw_os_error(errno);
            let hint = if error.kind() == std::io::ErrorKind::AddrInUse { TAKEN } else { "" };
            return StartError::Bind { place, section, reason: error.to_string(), hint };
        }
        if let LinkError::Refused(refusal @ Refusal::Invalid { .. }) = error {
            return StartError::Bind { place, section, reason: refusal.to_string(), hint: "" };
        }
        StartError::Link(error)
    };
    match link.listen(listen.clone()).await {
        Err(LinkError::Refused(Refusal::NameTaken { .. })) => {
            link.remove_socket(listen.name.clone()).await?;
            link.listen(listen).await.map_err(refused)
        }
        result => result.map_err(refused),
    }
}
