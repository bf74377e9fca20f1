//! `signal`: to processes of a watcher, their children or descendants. Hooks may forbid it; beside what they publish it publishes nothing.

use super::properties::python_type;
use super::{Answer, Command, Context, Properties, Refusal};
use crate::arbiter::{AfterSignal, Effect};
use crate::options::Signal;
use crate::process::{Process, Started};
use ringmaster_protocol::message::Target;
use serde_json::Value;

pub(super) const COMMAND: Command =
    Command { name: "signal", required: &["name", "signum"], summary: "Send a signal to processes of a watcher.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    let pid = match properties.get("pid") {
        None | Some(Value::Null) => None,
        Some(_) => Some(properties.integer("pid").ok().flatten()),
    };
    let child = properties.integer("childpid")?;
    if child.is_some() && pid.is_none() {
        return Err(Refusal::Exception("cannot specify childpid without pid".to_owned()));
    }
    let signal = signal_number(properties)?;
    let watcher = context.watcher(properties)?;
    let meant = |started: &&Started| pid.is_none_or(|pid| pid == Some(i64::from(started.pid)));
    let processes: Vec<Started> = watcher
        .processes
        .iter()
        .filter(|process| process.live_pid().is_some())
        .filter_map(Process::started)
        .filter(meant)
        .copied()
        .collect();
    let recursive = properties.truth("recursive").unwrap_or(false);
    let children = properties.truth("children").unwrap_or(false);
    let below = if recursive { Target::Descendants } else { Target::Children };
    if let Some(child) = child {
        return Ok(to_child(context, processes.first(), child, signal));
    }
    let id = watcher.id;
    for started in &processes {
        match signal {
            _ if children => {}
            // Nothing is sent, so no hook is asked.
            None => send(context, started, signal, Target::Main, AfterSignal::Ignore),
            Some(signal) => {
                let (now, effects) = (context.now, &mut *context.effects);
                context.arbiter.with_watcher(id, now, effects, |watcher, turn| {
                    watcher.signal_process(started, signal, turn);
                });
            }
        }
        if children || recursive {
            send(context, started, signal, below, AfterSignal::Ignore);
        }
    }
    Ok(Answer::plain())
}

/// One descendant; whether it is one is the core's to say, so the answer comes with its answer.
fn to_child(context: &mut Context<'_>, parent: Option<&Started>, child: i64, signal: Option<Signal>) -> Answer {
    let Some(parent) = parent else {
        return Answer::plain();
    };
    let target = Target::Descendant(i32::try_from(child).unwrap_or(-1));
    let missing = Refusal::Exception(format!("process no longer exists (pid={child})"));
    let refusal = missing.reply(&context.asker.id, context.now.wall, context.raw);
    let then = AfterSignal::Answer(context.asker.clone(), refusal);
    send(context, parent, signal, target, then);
    Answer::Later
}

fn send(context: &mut Context<'_>, started: &Started, signal: Option<Signal>, target: Target, then: AfterSignal) {
    context.effects.push(Effect::Signal { process: started.id, signal, target, then });
}

/// `signum`: a number, digits, or a name. 0 only looks whether the processes are there.
fn signal_number(properties: &Properties<'_>) -> Result<Option<Signal>, Refusal> {
    let number = match properties.get("signum") {
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => match text.trim().parse() {
            Ok(number) => Some(number),
            Err(_) => return named(text).map(Some),
        },
        Some(other @ (Value::Null | Value::Array(_) | Value::Object(_))) => {
            let kind = python_type(other);
            let text = "int() argument must be a string, a bytes-like object or a real number";
            return Err(Refusal::Exception(format!("{text}, not '{kind}'")));
        }
        Some(Value::Bool(truth)) => Some(i64::from(*truth)),
        None => None,
    };
    let Some(number) = number else {
        return Err(Refusal::Exception("signal invalid".to_owned()));
    };
    if number == 0 {
        return Ok(None);
    }
    let signal = i32::try_from(number).ok().and_then(Signal::new);
    signal.map(Some).ok_or(Refusal::System { errno: 22, text: "Invalid argument" })
}

fn named(text: &str) -> Result<Signal, Refusal> {
    Signal::parse(text).map_err(|error| Refusal::Exception(error.to_string()))
}

/// `signum` of another command: absent, or as above but not 0.
pub(super) fn optional(properties: &Properties<'_>) -> Result<Option<Signal>, Refusal> {
    if properties.get("signum").is_none_or(Value::is_null) { Ok(None) } else { signal_number(properties) }
}
