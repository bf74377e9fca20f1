//! Circus's commands. One file a command, one row in [`COMMANDS`]; a new command goes into both and nowhere else.
//!
//! A command reads its properties, checks them, and either answers at once or queues operations whose end is the
//! answer. It never waits.

mod add;
mod dstats;
mod events;
mod get;
mod globaloptions;
mod incr;
mod ipython;
mod kill;
mod list;
mod listen;
mod listsockets;
mod matching;
mod numprocesses;
mod numwatchers;
mod options;
mod owner;
mod properties;
mod quit;
mod refusal;
mod reload;
mod reloadconfig;
mod restart;
mod rm;
mod set;
mod signal;
mod start;
mod stats;
mod status;
mod stop;
mod upgrade;

pub use refusal::Refusal;
pub use stats::{answer as answer_sample, sampled};

use crate::arbiter::{Arbiter, Asker, Effect, ReplyShape, Timing};
use crate::clock::Now;
use crate::endpoints::ClientId;
use crate::watcher::{Operation, Watcher, WatcherId};
use properties::Properties;
use ringmaster_protocol::circus::{self, Call, CallError, Errno};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::time::Duration;

/// One command.
#[derive(Debug)]
pub struct Command {
    /// As on the wire, in lower case.
    pub name: &'static str,
    /// Properties that must be there, checked in this order.
    pub required: &'static [&'static str],
    /// One line for people.
    pub summary: &'static str,
    run: fn(&mut Context<'_>, &Properties<'_>) -> Result<Answer, Refusal>,
}

/// All commands, sorted by name.
pub const COMMANDS: &[Command] = &[
    add::COMMAND,
    incr::DECR,
    dstats::COMMAND,
    events::COMMAND,
    get::COMMAND,
    globaloptions::COMMAND,
    incr::INCR,
    ipython::COMMAND,
    kill::COMMAND,
    list::COMMAND,
    listen::COMMAND,
    listsockets::COMMAND,
    numprocesses::COMMAND,
    numwatchers::COMMAND,
    options::COMMAND,
    quit::COMMAND,
    reload::COMMAND,
    reloadconfig::COMMAND,
    restart::COMMAND,
    rm::COMMAND,
    set::COMMAND,
    signal::COMMAND,
    start::COMMAND,
    stats::COMMAND,
    status::COMMAND,
    stop::COMMAND,
    upgrade::COMMAND,
];

/// What a command gives at once.
enum Answer {
    /// The properties of the answer.
    Now(Map<String, Value>),
    /// The answer comes later, by itself.
    Later,
}

impl Answer {
    /// `{"status": "ok"}`.
    fn plain() -> Self {
        Self::Now(Map::new())
    }

    /// One property.
    fn one(key: &str, value: impl Into<Value>) -> Self {
        Self::Now(Map::from_iter([(key.to_owned(), value.into())]))
    }
}

/// What a command may use.
struct Context<'a> {
    arbiter: &'a mut Arbiter,
    now: Now,
    effects: &'a mut Vec<Effect>,
    touched: &'a mut BTreeSet<WatcherId>,
    asker: Asker,
    /// The bytes of the request, for refusals that quote it.
    raw: &'a [u8],
    /// Whom it came from.
    client: ClientId,
    /// Whether the users and groups that it names exist, once that has been looked up.
    identified: Option<Result<(), String>>,
}

/// One payload from a client.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// Whose.
    pub client: ClientId,
    /// The bytes.
    pub payload: &'a [u8],
    /// When it came, on the monotonic clock; `None`: nobody measures.
    pub arrived: Option<Duration>,
    /// Whether the users and groups that it names exist, once that has been looked up.
    pub identified: Option<Result<(), String>>,
}

impl Context<'_> {
    /// The watcher that `name` names.
    fn watcher(&self, properties: &Properties<'_>) -> Result<&Watcher, Refusal> {
        let name = properties.name()?.ok_or(Refusal::Missing("name"))?;
        self.arbiter.watcher(name).ok_or_else(|| Refusal::NoWatcher(name.to_owned()))
    }

    /// Refuses while circusd is going down: the only thing that truly excludes a command.
    fn check_exclusive(&self) -> Result<(), Refusal> {
        self.arbiter.exclusive().map_or(Ok(()), |exclusive| Err(Refusal::Conflict(exclusive)))
    }

    /// Queues an operation; the answer is now, when what it begins with is made (`arbiter/made.rs`), or at its end when the client
    /// waits (spec c.4).
    fn queue(
        &mut self,
        ids: &[WatcherId],
        operation: &Operation,
        shape: ReplyShape,
        waiting: bool,
    ) -> Result<Answer, Refusal> {
        self.check_exclusive()?;
        let waiter = waiting.then(|| (self.asker.clone(), shape));
        if !self.arbiter.enqueue(ids, operation, waiter, self.touched) {
            return Err(Refusal::TooManyWaiting);
        }
        if ids.is_empty() {
            return Ok(Answer::plain());
        }
        let makes = match operation {
            Operation::Start | Operation::Resize => true,
            Operation::Stop
            | Operation::Restart
            | Operation::Reload { .. }
            | Operation::Refresh
            | Operation::Redefine(_)
            | Operation::Kill { .. } => false,
        };
        let later = waiting || (makes && self.arbiter.answer_when_made(self.asker.clone(), ids));
        Ok(if later { Answer::Later } else { Answer::plain() })
    }
}

/// Serves one payload from a client.
pub fn serve(
    arbiter: &mut Arbiter,
    now: Now,
    incoming: Incoming<'_>,
    effects: &mut Vec<Effect>,
    touched: &mut BTreeSet<WatcherId>,
) {
    let Incoming { client, payload, arrived, identified } = incoming;
    let call = match Call::parse(payload) {
        Ok(call) => call,
        Err(error @ CallError::InvalidJson) => {
            let payload = circus::error(&Value::Null, now.wall, Errno::InvalidJson, &error.to_string(), None);
            effects.push(Effect::Reply { client, payload, timing: None });
            return;
        }
        Err(CallError::NoCommand) => {
            tracing::warn!("a request without a command is ignored");
            return;
        }
    };
    let timing = arrived.map(|arrived| Timing { command: known_name(&call), arrived });
    let asker = Asker { client: (!call.cast).then_some(client), id: call.id.clone(), timing };
    let mut context =
        Context { arbiter, now, effects, touched, asker: asker.clone(), raw: payload, client, identified };
    let answer = run(&mut context, &call);
    let payload = match (answer, asker.client) {
        (_, None) | (Ok(Answer::Later), _) => return,
        (Ok(Answer::Now(properties)), Some(_)) => circus::ok(&asker.id, now.wall, properties),
        (Err(refusal), Some(_)) => refusal.reply(&asker.id, now.wall, payload),
    };
    effects.push(Effect::Reply { client, payload, timing });
}

fn find(call: &Call) -> Option<&'static Command> {
    let name = call.command.to_lowercase();
    COMMANDS.iter().find(|command| command.name == name)
}

/// The name under which a call is counted; clients cannot make up more.
fn known_name(call: &Call) -> &'static str {
    find(call).map_or("unknown", |command| command.name)
}

fn run(context: &mut Context<'_>, call: &Call) -> Result<Answer, Refusal> {
    let command = find(call).ok_or_else(|| Refusal::UnknownCommand(call.command.clone()))?;
    let properties = Properties::new(&call.properties)?;
    properties.require(command.required)?;
    (command.run)(context, &properties)
}

#[cfg(test)]
mod tests {
    use super::COMMANDS;

    #[test]
    fn the_table_is_sorted_and_every_row_has_a_summary() {
        let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(sorted.len(), names.len());
        assert!(COMMANDS.iter().all(|command| !command.summary.is_empty() && command.summary.ends_with('.')));
    }
}
