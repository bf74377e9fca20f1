//! `listen`: prints events as they come. How they come is `crate::listen`; this is the row.

use super::{Action, Arity, Command, Complete};

pub(super) const COMMAND: Command = Command {
    name: "listen",
    arguments: "[TOPIC...]",
    summary: "Print events as they happen",
    details: "One JSON object a line: the event's topic, then its own fields, e.g.\n\
              {\"topic\": \"watcher.web.spawn\", \"process_pid\": 4711, \"time\": 1795187570.7}\n\
              TOPIC is the beginning of topics, watcher.web. for the events of the watcher web; without one, all are \
              printed. --endpoint is circusd's pubsub_endpoint here, tcp://127.0.0.1:5556 by default, and \
              $CIRCUSCTL_ENDPOINT is not looked at. When circusd goes away, listen says so on stderr and waits for it; \
              Ctrl-C ends it with exit status 1.",
    arity: Arity::new(0, usize::MAX),
    options: &[],
    completes: &[Complete::Topic],
    action: Action::Listen,
};
