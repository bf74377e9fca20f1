//! `make socket`, `list sockets`, `remove sockets`.

use super::list::{self, HOST_TAG};
use super::names::{select, select_known};
use super::options::{Options, integer};
use super::{Host, TextError};
use crate::message::{Listen, Listening, Refusal, RemoveSocket, Reply, SocketAddress, SocketInfo, SocketType};
use std::net::{IpAddr, SocketAddr};

/// What was asked for, read but not looked up.
#[derive(Debug)]
struct Wanted {
    name: String,
    family: Family,
    backlog: u32,
    interface: Option<String>,
    reuse_port: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Family {
    Unix { path: String, umask: Option<u32> },
    Inet { host: String, port: u16, version: Version },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Four,
    Six,
}

/// `make socket`: gives the socket's line.
pub fn make(host: &mut impl Host, words: &[String]) -> Result<String, TextError> {
    let wanted = read(words)?;
    let sockets = host.sockets();
    if let Some((listen, info)) = sockets.iter().find(|(_, info)| info.name == wanted.name) {
        let line = list::socket(listen, info);
        if wanted.is(listen, info) {
            return Ok(line);
        }
        return Err(TextError::SocketTaken(wanted.name, format!(" - {line}")));
    }
    if let Family::Unix { path, .. } = &wanted.family {
        let same = |info: &SocketInfo| info.address == SocketAddress::Unix(path.clone().into_bytes());
        if sockets.iter().any(|(_, info)| same(info)) {
            return Err(TextError::SocketTaken(path.clone(), String::new()));
        }
    }
    let mut listen = wanted.request(host)?;
    if listen.reuse_port
        && let SocketAddress::Inet(address) = &mut listen.address
        && address.port() == 0
    {
        address.set_port(free_port(host, &wanted, *address)?);
    }
    let info = bind(host, &wanted, listen.clone())?;
    Ok(list::socket(&listen, &info))
}

/// `list sockets`.
pub fn list(host: &impl Host, patterns: &[String]) -> Result<String, TextError> {
    let chosen = select(patterns, host.sockets());
    list::sorted(chosen.iter().map(|(listen, info)| list::socket(listen, info)))
}

/// `remove sockets`.
pub fn remove(host: &mut impl Host, patterns: &[String]) -> Result<(), TextError> {
    for (_, info) in select_known(patterns, host.sockets())? {
        host.ask(RemoveSocket { name: info.name, ext: Vec::new() }.into())?;
    }
    Ok(())
}

fn read(words: &[String]) -> Result<Wanted, TextError> {
    let (name, rest) = words.split_first().ok_or(TextError::SocketName)?;
    let (mut options, _) = Options::take(rest);
    let path = options.remove("path");
    let umask = options.remove("umask").map(|text| integer(&text)).transpose()?;
    let host = options.remove("host");
    let port = options.remove("port").map_or(Ok(0), |text| integer(&text))?;
    let backlog = options.remove("backlog").map_or(Ok(5), |text| integer(&text))?;
    let interface = options.remove("interface").filter(|device| !device.is_empty());
    let reuse_port = options.remove("reuseport").is_some_and(|text| !text.is_empty());
    let family = options.remove("family");
    let kind = options.remove("type");
    options.finish("socket")?;
    match kind.as_deref() {
        None | Some("stream") => {}
        Some("dgram" | "raw" | "rdm" | "seqpacket") => return Err(TextError::NotListening),
        Some(other) => return Err(TextError::Word(other.into())),
    }
    let port = u16::try_from(port).map_err(|_range| TextError::PortRange)?;
    let inet = |version, own, any| {
        let default = if interface.is_some() { any } else { own };
        let host = host.clone().unwrap_or_else(|| String::from(default));
        Family::Inet { host, port, version }
    };
    let default = if path.is_some() { "unix" } else { "inet" };
    let family = match family.as_deref().unwrap_or(default) {
        "inet" => inet(Version::Four, "127.0.0.1", "0.0.0.0"),
        "inet6" => inet(Version::Six, "::1", "::"),
        "unix" => Family::Unix {
            path: path.filter(|path| path.starts_with('/')).ok_or(TextError::RelativePath)?,
            umask: umask.map(|mask| u32::try_from(mask & 0o777).unwrap_or(0)),
        },
        other => return Err(TextError::Word(other.into())),
    };
    Ok(Wanted {
        name: name.clone(),
        family,
        // Linux bounds it by somaxconn; a negative one means 0.
        backlog: u32::try_from(backlog.clamp(0, i64::from(u16::MAX))).unwrap_or(0),
        interface,
        reuse_port,
    })
}

impl Wanted {
    /// Whether the socket of that name is what is asked for. Whether its port is shared is not compared.
    fn is(&self, listen: &Listen, info: &SocketInfo) -> bool {
        let address = match (&self.family, &info.address) {
            (Family::Unix { path, umask }, SocketAddress::Unix(known)) => {
                known == path.as_bytes() && *umask == listen.umask
            }
            (Family::Inet { host, port, version }, SocketAddress::Inet(known)) => {
                let family = known.is_ipv4() == (*version == Version::Four);
                family && *host == list::host(listen, info) && (*port == 0 || *port == known.port())
            }
            (Family::Unix { .. }, SocketAddress::Inet(_)) | (Family::Inet { .. }, SocketAddress::Unix(_)) => false,
        };
        address && info.kind == SocketType::Stream && info.backlog == self.backlog && listen.interface == self.interface
    }

    fn request(&self, tables: &impl Host) -> Result<Listen, TextError> {
        let (address, umask, ext) = match &self.family {
            Family::Unix { path, umask } => (SocketAddress::Unix(path.clone().into_bytes()), *umask, Vec::new()),
            Family::Inet { host, port, version } => {
                let ip = resolve(host, *version, &tables.tables().addresses(host))?;
                let given = (HOST_TAG, host.clone().into_bytes());
                (SocketAddress::Inet(SocketAddr::new(ip, *port)), None, vec![given])
            }
        };
        Ok(Listen {
            name: self.name.clone(),
            address,
            kind: SocketType::Stream,
            backlog: self.backlog,
            umask,
            replace: true,
            interface: self.interface.clone(),
            reuse_port: self.reuse_port,
            blocking: true,
            persistent: true,
            ext,
        })
    }

    /// ` on HOST:PORT` of an error.
    fn place(&self) -> String {
        match &self.family {
            Family::Unix { .. } => String::new(),
            Family::Inet { host, port, .. } => format!(" on {host}:{port}"),
        }
    }
}

fn resolve(host: &str, version: Version, found: &[IpAddr]) -> Result<IpAddr, TextError> {
    if found.is_empty() {
        return Err(if host.is_empty() { TextError::Word(host.into()) } else { TextError::UnknownHost });
    }
    let fits = |address: &&IpAddr| address.is_ipv4() == (version == Version::Four);
    found.iter().find(fits).copied().ok_or(TextError::HostFamily)
}

fn bind(host: &mut impl Host, wanted: &Wanted, listen: Listen) -> Result<SocketInfo, TextError> {
    match host.ask(listen.into()) {
        Ok(Reply::Listening(Listening { socket, .. })) => Ok(socket),
        Ok(_) => Err(TextError::NotFound(wanted.name.clone())),
        Err(Refusal::System { errno, .. }) => Err(TextError::Bind { place: wanted.place(), errno }),
        Err(refusal) => Err(refusal.into()),
    }
}

/// A port that the system chooses: bound once and let go, since a shared port has to be known before it is bound.
fn free_port(host: &mut impl Host, wanted: &Wanted, address: SocketAddr) -> Result<u16, TextError> {
    let mut listen = wanted.request(host)?;
    listen.address = SocketAddress::Inet(address);
    listen.reuse_port = false;
    let info = bind(host, wanted, listen)?;
    host.ask(RemoveSocket { name: info.name, ext: Vec::new() }.into())?;
    match info.address {
        SocketAddress::Inet(bound) => Ok(bound.port()),
        SocketAddress::Unix(_) => Err(TextError::PortRange),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanted(line: &str) -> Result<Wanted, TextError> {
        read(&super::super::words::split(line))
    }

    #[test]
    fn options_make_an_address() {
        let inet = wanted("a interface=lo port=7").unwrap();
        assert_eq!(inet.family, Family::Inet { host: "0.0.0.0".into(), port: 7, version: Version::Four });
        let unix = wanted("a path=/x umask=63 backlog=9").unwrap();
        assert_eq!(unix.family, Family::Unix { path: "/x".into(), umask: Some(0o77) });
        assert_eq!((unix.backlog, unix.place()), (9, String::new()));
    }

    #[test]
    fn wrong_options_are_named() {
        for (line, text) in [
            ("", "Socket requires a name"),
            ("e family=nosuch", "'nosuch'"),
            ("e type=nosuch", "'nosuch'"),
            ("e type=dgram", "[Errno 95] Operation not supported"),
            ("e port=99999", "bind(): port must be 0-65535."),
            ("e backlog=x", "invalid literal for int() with base 10: 'x'"),
            ("e path=rel", "Absolute path required for Unix sockets"),
            ("e family=unix", "Absolute path required for Unix sockets"),
            ("e foo=1", "Unknown socket option \"foo\""),
        ] {
            assert_eq!(wanted(line).unwrap_err().to_string(), text, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in "[a-z]{0,3}( (path|port|umask|backlog|family|host)=\\PC{0,6}){0,4}") {
            let _ = wanted(&line);
        }
    }
}
