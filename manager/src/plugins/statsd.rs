//! Measurements for a statsd server: a UDP datagram each, `bucket:value|type[|@rate]`, below `circus.APPLICATION.watcher` (spec j).
//!
//! Nothing waits for the server and nothing is sent twice: a measurement that does not arrive is missing there. What goes wrong is
//! logged when it begins.

use super::{PluginError, SettingError, Settings};
use crate::statsd::canonical;
use std::fmt::{Display, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout};

/// Characters that mean something in a datagram, or in front of those that readers of it add.
const RESERVED: &[char] = &[':', '|', '@', '#', '/', '\\'];

/// How long an address is taken for right: a host that is moved is found again.
const LOOKED_UP_FOR: Duration = Duration::from_secs(60);

/// How long looking it up may hold up a plugin.
const LOOK_UP: Duration = Duration::from_secs(2);

/// One measurement.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// It has happened once more.
    Count,
    /// So much there is now, as a number in decimal digits.
    Gauge(String),
    /// So long it has taken.
    Took(Duration),
}

impl Reading {
    /// A gauge; `2.0` stays `2.0`.
    pub fn gauge(value: f64) -> Self {
        Self::Gauge(format!("{value:?}"))
    }
}

impl Display for Reading {
    fn fmt(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count => text.write_str("1|c"),
            Self::Gauge(value) => write!(text, "{value}|g"),
            Self::Took(time) => write!(text, "{}|ms", time.as_millis()),
        }
    }
}

/// How datagrams look.
#[derive(Debug, Clone, PartialEq)]
struct Form {
    prefix: String,
    /// The share that is sent; `None`: all.
    rate: Option<f64>,
}

impl Form {
    fn read(settings: &Settings, application: &str) -> Result<Self, SettingError> {
        let positive = |text: &str| text.parse().ok().filter(|rate| *rate > 0.0);
        let rate: Option<f64> = settings.read("sample_rate", "a share above 0, at most 1", positive)?;
        let application = settings.text("application_name").unwrap_or(application);
        let prefix = format!("circus.{}.watcher", without_reserved(application));
        Ok(Self { prefix, rate: rate.filter(|rate| *rate < 1.0) })
    }

    fn datagram(&self, bucket: &str, reading: &Reading) -> String {
        let mut text = format!("{}.{bucket}:{reading}", self.prefix);
        if let Some(rate) = self.rate {
            // Writing to a String cannot fail.
            let _ = write!(text, "|@{rate}");
        }
        text
    }
}

/// A server and what is told it.
#[derive(Debug)]
pub struct Statsd {
    form: Form,
    host: String,
    port: u16,
    address: Option<SocketAddr>,
    looked_up: Option<Instant>,
    ipv4: Option<UdpSocket>,
    ipv6: Option<UdpSocket>,
    failing: bool,
}

impl Statsd {
    /// From the settings `application_name`, `host`, `port` and `sample_rate`; `application` is the plugin's own name for the first.
    ///
    /// # Errors
    /// A setting has no sense, or the system has no socket left.
    pub fn new(settings: &Settings, application: &str) -> Result<Self, PluginError> {
        let port = |text: &str| text.parse().ok().filter(|port| *port > 0);
        // A host may lack one of the two families, not both.
        let (ipv4, ipv6) = match (socket((Ipv4Addr::UNSPECIFIED, 0).into()), socket((Ipv6Addr::UNSPECIFIED, 0).into()))
        {
            (Err(source), Err(_)) => return Err(PluginError::Socket { source }),
            (ipv4, ipv6) => (ipv4.ok(), ipv6.ok()),
        };
        Ok(Self {
            form: Form::read(settings, application)?,
            host: settings.text("host").unwrap_or("localhost").to_owned(),
            port: settings.read("port", "a port from 1 to 65535", port)?.unwrap_or(8125),
            address: None,
            looked_up: None,
            ipv4,
            ipv6,
            failing: false,
        })
    }

    /// It has happened once more.
    pub async fn count(&mut self, bucket: &str) {
        self.send(bucket, &Reading::Count).await;
    }

    /// Any measurement. Whether it belongs to the sample is decided here.
    pub async fn send(&mut self, bucket: &str, reading: &Reading) {
        if self.form.rate.is_some_and(|rate| drawn() >= rate) {
            return;
        }
        let datagram = self.form.datagram(bucket, reading);
        self.look_up().await;
        let Some(address) = self.address else { return };
        let socket = if address.is_ipv4() { &self.ipv4 } else { &self.ipv6 };
        let sent = socket.as_ref().map(|socket| socket.send_to(datagram.as_bytes(), address));
        match sent {
            Some(Ok(_)) => self.failing = false,
            Some(Err(error)) => self.complain(&error.to_string()),
            None => self.complain("no socket for this kind of address"),
        }
    }

    async fn look_up(&mut self) {
        if self.looked_up.is_some_and(|at| at.elapsed() < LOOKED_UP_FOR) {
            return;
        }
        let found: Result<Vec<SocketAddr>, String> =
            match timeout(LOOK_UP, lookup_host((self.host.as_str(), self.port))).await {
                Ok(Ok(addresses)) => Ok(addresses.collect()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_elapsed) => Err("its address is not found in time".to_owned()),
            };
        self.looked_up = Some(Instant::now());
        let usable = |address: &SocketAddr| if address.is_ipv4() { &self.ipv4 } else { &self.ipv6 }.is_some();
        match found.map(|addresses| addresses.into_iter().find(usable)) {
            Ok(Some(address)) => self.address = Some(address),
            // An address that was right a minute ago is better than none.
            Ok(None) => self.complain("it has no address that this host can reach"),
            Err(why) => self.complain(&why),
        }
    }

    fn complain(&mut self, why: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!("cannot send to statsd at {}:{}: {why}", self.host, self.port);
        }
    }
}

fn socket(from: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind(from)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// From 0 to below 1.
fn drawn() -> f64 {
    let mixed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let half = u32::try_from(mixed >> 32).unwrap_or(0);
    f64::from(half) / (f64::from(u32::MAX) + 1.0)
}

/// A watcher's name as one part of a bucket: the one that statistics use, without what ends a bucket.
pub fn part(watcher: &str) -> String {
    without_reserved(&canonical(watcher))
}

fn without_reserved(text: &str) -> String {
    let keep = |c: char| !(RESERVED.contains(&c) || c.is_whitespace() || c.is_control());
    text.chars().map(|c| if keep(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Result<Form, SettingError> {
        Form::read(&Settings::parse(text), "app")
    }

    #[test]
    fn datagrams_are_those_of_circus() {
        let form = form("application_name:demo:::sample_rate:1").unwrap();
        assert_eq!(form.datagram("w.spawn", &Reading::Count), "circus.demo.watcher.w.spawn:1|c");
        assert_eq!(form.datagram("a", &Reading::gauge(0.0)), "circus.demo.watcher.a:0.0|g");
        let took = Reading::Took(Duration::from_micros(18_400));
        assert_eq!(form.datagram("a", &took), "circus.demo.watcher.a:18|ms");
    }

    #[test]
    fn a_sample_says_its_rate() {
        let form = form("sample_rate:0.5").unwrap();
        assert_eq!(form.datagram("a", &Reading::Gauge("7".to_owned())), "circus.app.watcher.a:7|g|@0.5");
        assert_eq!(
            super::tests::form("sample_rate:0").unwrap_err().to_string(),
            "sample_rate = 0: expected a share above 0, at most 1"
        );
    }

    #[test]
    fn what_is_drawn_fills_the_range() {
        let drawn: Vec<f64> = (0..1000).map(|_| drawn()).collect();
        assert!(drawn.iter().all(|value| (0.0..1.0).contains(value)));
        let low = drawn.iter().filter(|value| **value < 0.5).count();
        assert!((300..700).contains(&low), "{low}");
    }

    #[test]
    fn names_keep_buckets_whole() {
        assert_eq!(part("My App"), "my_app");
        assert_eq!(part("a.b"), "a-b");
        assert_eq!(part("plugin:flapping|x"), "plugin_flapping_x");
    }
}
