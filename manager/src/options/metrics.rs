//! `metrics_endpoint`: where a monitoring system reads figures, from its text to something to bind. Nothing is resolved
//! or bound here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// The path of a URL that names none: where Prometheus looks unless it is told otherwise.
const USUAL_PATH: &str = "/metrics";

/// Bytes of a Unix socket's path (unix(7)), without its zero.
const UNIX_PATH_BYTES: usize = 107;

/// A place for figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsEndpoint {
    text: String,
    place: MetricsPlace,
    path: String,
}

/// What is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsPlace {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl MetricsEndpoint {
    /// Reads `http://ADDRESS:PORT[/PATH]` or `http+unix:///PATH`, whose figures are at `/metrics`. An address is a number,
    /// `localhost`, or `*` for all of IPv4. `None`: it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let (place, path) = match text.split_once("://")? {
            ("http", rest) => {
                let (authority, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
                let path = path.filter(|path| !path.is_empty()).map(|path| format!("/{path}"));
                (MetricsPlace::Tcp(address(authority)?), path.unwrap_or_else(|| USUAL_PATH.to_owned()))
            }
            ("http+unix", path) if path.starts_with('/') && path.len() <= UNIX_PATH_BYTES && !path.ends_with('/') => {
                (MetricsPlace::Unix(PathBuf::from(path)), USUAL_PATH.to_owned())
            }
            _ => return None,
        };
        let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
        (plain && !text.contains('\0')).then(|| Self { text: text.to_owned(), place, path })
    }

    /// What to bind.
    pub fn place(&self) -> &MetricsPlace {
        &self.place
    }

    /// The path of the URL, with its first slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether only programs of this host reach it.
    pub fn is_local(&self) -> bool {
        match &self.place {
            MetricsPlace::Tcp(address) => address.ip().is_loopback(),
            MetricsPlace::Unix(_) => true,
        }
    }
}

/// As written.
impl fmt::Display for MetricsEndpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn address(authority: &str) -> Option<SocketAddr> {
    let (host, port) = authority.rsplit_once(':')?;
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port: u16 = port.parse().ok().filter(|port| digits && *port != 0)?;
    let ip = match host {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inside) => IpAddr::V6(inside.parse::<Ipv6Addr>().ok()?),
            None => IpAddr::V4(host.parse::<Ipv4Addr>().ok()?),
        },
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        for (text, place, path, local) in [
            ("http://127.0.0.1:9464/metrics", "127.0.0.1:9464", "/metrics", true),
            ("http://127.0.0.1:9464", "127.0.0.1:9464", "/metrics", true),
            ("http://localhost:1/", "127.0.0.1:1", "/metrics", true),
            ("http://[::1]:9464/a/b", "[::1]:9464", "/a/b", true),
            ("http://*:9464/metrics", "0.0.0.0:9464", "/metrics", false),
            ("http://10.0.0.7:9464", "10.0.0.7:9464", "/metrics", false),
        ] {
            let endpoint = MetricsEndpoint::parse(text).unwrap();
            assert_eq!(endpoint.place(), &MetricsPlace::Tcp(place.parse().unwrap()), "{text}");
            assert_eq!((endpoint.path(), endpoint.is_local(), endpoint.to_string().as_str()), (path, local, text));
        }
        let unix = MetricsEndpoint::parse("http+unix:///run/circus.sock").unwrap();
        assert_eq!((unix.place(), unix.path()), (&MetricsPlace::Unix("/run/circus.sock".into()), "/metrics"));
        assert!(unix.is_local());
    }

    #[test]
    fn what_is_no_endpoint() {
        let long = format!("http+unix:///{}", "x".repeat(108));
        for text in [
            "",
            "9464",
            "tcp://127.0.0.1:9464",
            "https://127.0.0.1:9464",
            "http://127.0.0.1",
            "http://127.0.0.1:0",
            "http://127.0.0.1:+1",
            "http://127.0.0.1:70000",
            "http://example.org:9464",
            "http://::1:9464",
            "http://127.0.0.1:9464/a b",
            "http://127.0.0.1:9464/a?b",
            "http+unix://relative",
            "http+unix:///",
            long.as_str(),
        ] {
            assert_eq!(MetricsEndpoint::parse(text), None, "{text}");
        }
    }
}
