//! `drill`: the emergency, practised. What happens is `crate::drill`; this is the row.

use super::kernel::{INSTANCE, SOCKET};
use super::{Action, Arity, Command};

pub(super) const COMMAND: Command = Command {
    name: "drill",
    arguments: "",
    summary: "Kill circusd and show that nobody noticed",
    details: "Sends SIGKILL to the circusd of this host while it connects to every listening socket again and again, waits \
              until a circusd answers, and prints what became of processes, connections and output. If a supervisor such as \
              systemd looks after circusd, it has to start it again; otherwise drill does, with the same arguments, \
              environment and directory. A core of two halves has its kernel half killed as well. Exit status 0 means that \
              nothing was lost.",
    arity: Arity::new(0, 0),
    options: &[INSTANCE, SOCKET],
    completes: &[],
    action: Action::Drill,
};
