//! `upgrade`: circusd by another circusd. How it is asked is `crate::upgrade`; this is the row.

use super::{Action, Arity, Command};

pub(super) const COMMAND: Command = Command {
    name: "upgrade",
    arguments: "",
    summary: "Replace circusd by the program that is on disk now",
    details: "The program tries itself out first, with the arguments and the configuration of the running circusd; one that \
              fails changes nothing, and the answer says why. Then it takes over in the same process: no service and no \
              connection to a service notices. SIGUSR2 to circusd does the same.",
    arity: Arity::new(0, 0),
    options: &[],
    completes: &[],
    action: Action::Upgrade,
};
