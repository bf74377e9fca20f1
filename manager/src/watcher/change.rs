//! Other options for a watcher that lives: from a client, or from a file that was read again.

use super::{Origin, Status, Watcher, World};
use crate::arbiter::Effect;
use crate::config::substituted_env;
use crate::options::{self, Change, MAX_PROCESSES, OptionError, WatcherOptions};
use serde_json::{Value, json};
use std::rc::Rc;

impl Watcher {
    /// Sets one option and says what follows. Children that run keep what they were started with.
    ///
    /// # Errors
    /// As [`options::set`]; the watcher is then unchanged.
    pub fn set(&mut self, key: &str, value: &Value, world: &World) -> Result<Change, OptionError> {
        let streams = self.streams();
        let change = set_option(Rc::make_mut(&mut self.options), key, value, world)?;
        self.changes.note(key, value);
        if key.starts_with("hooks") {
            self.hooks.generation += 1;
        }
        // A stream in the place of another is swapped under the children that write to it (spec c.8).
        let swapped = |(was, is): ((bool, bool), (bool, bool))| was == is;
        Ok(match change {
            Change::Reload if is_stream(key) && swapped((streams, self.streams())) => Change::Manage,
            Change::Manage | Change::Reload => change,
        })
    }

    /// Which streams are configured.
    fn streams(&self) -> (bool, bool) {
        (self.options.stdout_stream.is_some(), self.options.stderr_stream.is_some())
    }

    /// The file's options again, or other ones. Streams that are open are swapped; nothing is kept any more.
    pub fn redefine(&mut self, options: WatcherOptions, effects: &mut Vec<Effect>) {
        let was_kept = !self.changes.is_empty() || !matches!(self.origin, Origin::File(_));
        let options = Rc::new(options);
        self.origin = Origin::File(options.clone());
        self.options = options;
        self.changes = super::Changes::default();
        if was_kept {
            effects.push(crate::arbiter::keep(self));
            self.swap_streams(effects);
        }
    }

    /// The streams are these now, when any are open.
    pub fn swap_streams(&self, effects: &mut Vec<Effect>) {
        if self.status != Status::Stopped {
            effects.push(self.streams_effect());
        }
    }

    /// A client wants so many more processes, or fewer. The number changes at once, so that it is kept before the client
    /// is answered; the processes follow with [`super::Operation::Resize`].
    pub fn want_more(&mut self, by: i64, effects: &mut Vec<Effect>) {
        let wanted = i64::from(self.options.numprocesses).saturating_add(by).max(0);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).min(MAX_PROCESSES);
        if wanted != self.options.numprocesses {
            Rc::make_mut(&mut self.options).numprocesses = wanted;
            self.changes.note("numprocesses", &json!(wanted));
            effects.push(crate::arbiter::keep(self));
        }
    }
}

/// Whether an option is a stream or a part of one.
pub fn is_stream(key: &str) -> bool {
    key.starts_with("stdout_stream") || key.starts_with("stderr_stream")
}

/// A stream has to be usable as a whole: the scribe would throw the output of another one away.
fn set_stream(watcher: &mut WatcherOptions, key: &str, value: &Value) -> Result<Change, OptionError> {
    let mut changed = watcher.clone();
    let change = options::set(&mut changed, key, value)?;
    for stream in [&changed.stdout_stream, &changed.stderr_stream].into_iter().flatten() {
        crate::streams::validate(stream).map_err(OptionError::Stream)?;
    }
    *watcher = changed;
    Ok(change)
}

/// One option of a request by `set` or `add`, or of one that an earlier circusd has noted.
///
/// # Errors
/// As [`options::set`], and `singleton` with several processes; nothing is changed then.
pub fn set_option(
    watcher: &mut WatcherOptions,
    key: &str,
    value: &Value,
    world: &World,
) -> Result<Change, OptionError> {
    let was_copied = watcher.copy_env;
    if key == "singleton" && *value == Value::Bool(true) && watcher.numprocesses > 1 {
        return Err(OptionError::TooManyForSingleton(watcher.numprocesses));
    }
    let change = if is_stream(key) { set_stream(watcher, key, value)? } else { options::set(watcher, key, value)? };
    match (was_copied, watcher.copy_env) {
        (false, true) => {
            let copied = world.environment.iter();
            for (name, value) in copied {
                watcher.env.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        // What is circusd's own is taken out again; what is the watcher's own stays.
        (true, false) => watcher.env.retain(|name, value| world.environment.get(name) != Some(value)),
        (true, true) | (false, false) => {}
    }
    if key == "env" {
        watcher.env = substituted_env(watcher, &world.environment);
    }
    Ok(change)
}
