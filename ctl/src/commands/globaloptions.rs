//! `globaloptions`: options of circusd itself.

use super::{Action, Arity, Ask, Command, Complete, insert_word, options};
use crate::reply::{Answer, Reply};
use crate::request::{ArgumentError, Arguments, Properties};

pub(super) const COMMAND: Command = Command {
    name: "globaloptions",
    arguments: "[OPTION]",
    summary: "Show the options of circusd",
    details: "One line 'KEY: VALUE' for each of endpoint, stats_endpoint, pubsub_endpoint, check_delay and \
              multicast_endpoint, or for the one named.",
    arity: Arity::new(0, 1),
    options: &[],
    completes: &[Complete::GlobalOption],
    action: Action::Ask(Ask { properties, answer }),
};

fn properties(arguments: &Arguments) -> Result<Properties, ArgumentError> {
    let mut properties = Properties::new();
    insert_word(&mut properties, "option", arguments, 0);
    Ok(properties)
}

/// The one command that shows a refusal without `error: ` in front (spec c.7).
fn answer(reply: &Reply) -> Answer {
    if reply.is_ok() { Answer::Done(options::lines(reply)) } else { Answer::Refused(reply.reason()) }
}
