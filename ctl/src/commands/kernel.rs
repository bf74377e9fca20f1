//! `kernel`: how the core does. How it is asked is `crate::kernel`; this is the row.

use super::{Action, Arity, Command, CommandOption};

pub(super) const COMMAND: Command = Command {
    name: "kernel",
    arguments: "",
    summary: "Show the status of the core, which owns processes and sockets",
    details: "Asks the core of this host over its Unix socket, so it works when circusd is away. Which core: the one of \
              --instance, otherwise the one that circusd with this --endpoint uses. A core placed by papa_endpoint = \
              ipc://PATH is reached with --socket PATH. The same as `papa status`.",
    arity: Arity::new(0, 0),
    options: &[INSTANCE, SOCKET],
    completes: &[],
    action: Action::Kernel,
};

/// The name of the core's instance.
pub const INSTANCE: CommandOption =
    CommandOption { name: "instance", value: Some("NAME"), help: "the instance, as in [circus] instance" };
/// The path of the core's socket.
pub const SOCKET: CommandOption =
    CommandOption { name: "socket", value: Some("PATH"), help: "the core's socket, when papa_endpoint moved it" };
