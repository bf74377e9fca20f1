//! `attach`: a conversation with the core. How it is held is `crate::attach`; this is the row.

use super::kernel::{INSTANCE, SOCKET};
use super::{Action, Arity, Command};

pub(super) const COMMAND: Command = Command {
    name: "attach",
    arguments: "",
    summary: "Talk to the core in Papa's text protocol",
    details: "A conversation with the core of this host over its Unix socket, with line editing, history and completion at a \
              terminal; from a pipe, lines are sent as they are. Type help for its commands, quit or Ctrl-D to leave. Which \
              core: as with `kernel`. The same as `papa attach`.",
    arity: Arity::new(0, 0),
    options: &[INSTANCE, SOCKET],
    completes: &[],
    action: Action::Attach,
};
