//! `listen`: prints events as they come. How they come is `crate::listen`; this is the row.

use super::{Action, Arity, Command, CommandOption, Complete};

pub(super) const COMMAND: Command = Command {
    name: "listen",
    arguments: "[TOPIC...]",
    summary: "Print events as they happen",
    details: "One JSON object a line: the event's topic, then its own fields, e.g.\n\
              {\"topic\": \"watcher.web.spawn\", \"process_pid\": 4711, \"time\": 1795187570.7}\n\
              TOPIC is the beginning of topics, watcher.web. for the events of the watcher web; without one, all are \
              printed. --endpoint is circusd's pubsub_endpoint here, tcp://127.0.0.1:5556 by default, and \
              $CIRCUSCTL_ENDPOINT is not looked at. When circusd goes away, listen says so on stderr and waits for it; \
              Ctrl-C ends it with exit status 1.\n\
              With --since it asks circusd itself, at the endpoint of all other commands, for the events after the one of that \
              number, since that time (seconds since 1970) or in the last 90s, 10m, 2h or 1d, and then for what comes. Each \
              line carries the event's number, seq. Nothing is missed or shown twice while circusd is killed, upgraded or \
              away, as long as it keeps the events: the latest 2048, and at most 256 KiB of them.",
    arity: Arity::new(0, usize::MAX),
    options: &[SINCE],
    completes: &[Complete::Topic],
    action: Action::Listen,
};

/// From where on events are replayed.
pub const SINCE: CommandOption = CommandOption {
    name: "since",
    value: Some("SEQ|TIME|AGE"),
    help: "show earlier events, too, each exactly once; asks the control endpoint",
};
