//! The sockets of `[socket:]` as the core has bound them.

use ringmaster_protocol::message::{SocketAddress, SocketInfo};
use serde_json::{Map, Value};

/// How the core's names of `[socket:]` sockets begin (Papa's scheme, spec k).
pub const SOCKET_PREFIX: &str = "circus.";

/// One bound socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundSocket {
    /// Lower-cased name of the section.
    pub name: String,
    /// Its number in every child that has it.
    pub number: u32,
    /// Host as configured, and the real port; or the path.
    pub place: SocketPlace,
    /// As configured.
    pub backlog: u32,
    /// A fresh one for each worker.
    pub reuse_port: bool,
}

/// Where a socket is, as `listsockets` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketPlace {
    /// Host as configured, real port.
    Inet(String, u16),
    /// Path.
    Unix(String),
}

impl BoundSocket {
    /// What the core made of a configured socket; `host` is as configured.
    pub fn new(name: &str, host: Option<&str>, info: &SocketInfo) -> Self {
        let place = match &info.address {
            SocketAddress::Inet(address) => {
                SocketPlace::Inet(host.map_or_else(|| address.ip().to_string(), str::to_owned), address.port())
            }
            SocketAddress::Unix(path) => SocketPlace::Unix(String::from_utf8_lossy(path).into_owned()),
        };
        Self { name: name.to_owned(), number: info.number, place, backlog: info.backlog, reuse_port: info.reuse_port }
    }

    /// Its name at the core.
    pub fn kernel_name(&self) -> String {
        format!("{SOCKET_PREFIX}{}", self.name)
    }

    /// The object that `listsockets` shows (spec c.7).
    pub fn describe(&self) -> Value {
        let mut object = Map::new();
        object.insert("fd".into(), self.number.into());
        object.insert("name".into(), self.name.clone().into());
        object.insert("backlog".into(), self.backlog.into());
        match &self.place {
            SocketPlace::Inet(host, port) => {
                object.insert("host".into(), host.clone().into());
                object.insert("port".into(), (*port).into());
            }
            SocketPlace::Unix(path) => {
                object.insert("path".into(), path.clone().into());
            }
        }
        Value::Object(object)
    }
}

/// All of them, sorted by number.
#[derive(Debug, Clone, Default)]
pub struct SocketTable(Vec<BoundSocket>);

impl SocketTable {
    /// Sorts them.
    pub fn new(mut sockets: Vec<BoundSocket>) -> Self {
        sockets.sort_by_key(|socket| socket.number);
        Self(sockets)
    }

    /// Those of these names go, these come.
    pub fn replace(&mut self, names: &[String], bound: Vec<BoundSocket>) {
        self.0.retain(|socket| !names.contains(&socket.name));
        self.0.extend(bound);
        self.0.sort_by_key(|socket| socket.number);
    }

    /// By name, in any case.
    pub fn by_name(&self, name: &str) -> Option<&BoundSocket> {
        let name = name.to_lowercase();
        self.0.iter().find(|socket| socket.name == name)
    }

    /// In the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &BoundSocket> {
        self.0.iter()
    }
}
