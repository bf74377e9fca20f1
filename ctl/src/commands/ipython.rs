//! `ipython`: a shell inside the daemon, which no version of Circus on a current Python can open either (spec c.7).

use super::{Action, Arity, Ask, Command};
use crate::reply::{Answer, Reply};
use crate::request::Properties;

pub(super) const COMMAND: Command = Command {
    name: "ipython",
    arguments: "",
    summary: "Not available: circusd is no Python program",
    details: "Circus opens an IPython shell inside its daemon. The command is kept, so that scripts get Circus's \
              answer 'error: Could not start ipython kernel' and exit status 0.",
    arity: Arity::new(0, 0).or("Invalid message"),
    options: &[],
    completes: &[],
    action: Action::Ask(Ask { properties: |_| Ok(Properties::new()), answer }),
};

/// Whatever the daemon says about it, there is no shell to talk to.
fn answer(reply: &Reply) -> Answer {
    reply.when_ok(|| "error: Could not start ipython kernel".to_owned())
}
