//! `listsockets`: the sockets circusd holds for its watchers.

use serde_json::Value;

use super::{Action, Arity, Ask, Command};
use crate::python;
use crate::reply::{Answer, Reply};
use crate::request::Properties;

pub(super) const COMMAND: Command = Command {
    name: "listsockets",
    arguments: "",
    summary: "List the sockets",
    details: "One line 'FD:socket 'NAME' at HOST:PORT' or '... at PATH' for each.",
    arity: Arity::new(0, 0),
    options: &[],
    completes: &[],
    action: Action::Ask(Ask { properties: |_| Ok(Properties::new()), answer }),
};

fn answer(reply: &Reply) -> Answer {
    match reply.list("sockets") {
        Some(sockets) => Answer::Done(sockets.iter().map(line).collect::<Vec<_>>().join("\n")),
        None => reply.refusal(),
    }
}

fn line(socket: &Value) -> String {
    let field = |name: &str| socket.get(name).map(python::text);
    let part = |name: &str| field(name).unwrap_or_default();
    let place = field("path").unwrap_or_else(|| format!("{}:{}", part("host"), part("port")));
    format!("{}:socket '{}' at {place}", part("fd"), part("name"))
}
