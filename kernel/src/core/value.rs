//! Named values: the core knows their names and files, the file system keeps them.

use super::event::{Effect, ReplyTo};
use super::rules::{invalid, limit};
use super::{Answer, Core, Effects, check_name};
use crate::limits::MAX_VALUES;
use ringmaster_protocol::limits::{MAX_PAGE, MAX_VALUE};
use ringmaster_protocol::message::{GetValue, ListValues, Refusal, RemoveValue, Reply, SetValue, Value, ValueNames};
use std::ops::Bound;

impl Core {
    pub(super) fn set_value(&mut self, to: ReplyTo, set: SetValue, out: &mut Effects) -> Answer {
        check_name(&set.name)?;
        if set.value.len() > MAX_VALUE {
            return Err(invalid("value", format!("{} bytes", set.value.len()), &format!("at most {MAX_VALUE}")));
        }
        let known = self.values.get(&set.name).copied();
        if known.is_none() && self.values.len() >= MAX_VALUES {
            return Err(limit("values", MAX_VALUES));
        }
        let next = self.values.values().max().map_or(1, |highest| highest + 1);
        let number = known.unwrap_or(next);
        self.leaving = false;
        out.push(Effect::StoreValue { to, name: set.name, number, value: set.value });
        Ok(None)
    }

    pub(super) fn value_stored(
        &mut self,
        to: Option<ReplyTo>,
        name: String,
        number: u64,
        outcome: Result<(), Refusal>,
        out: &mut Effects,
    ) {
        if outcome.is_ok() {
            self.values.insert(name, number);
        }
        if let Some(to) = to {
            self.answer(to, outcome.map(|()| Some(super::done())), None, out);
        }
    }

    pub(super) fn get_value(&self, to: ReplyTo, get: &GetValue, out: &mut Effects) -> Answer {
        let Some(number) = self.values.get(&get.name).copied() else {
            return Ok(Some(Value { value: None, ext: Vec::new() }.into()));
        };
        out.push(Effect::LoadValue { to, number });
        Ok(None)
    }

    pub(super) fn value_loaded(&self, to: ReplyTo, outcome: Result<Vec<u8>, Refusal>, out: &mut Effects) {
        let reply = outcome.map(|value| Some(Value { value: Some(value), ext: Vec::new() }.into()));
        self.answer(to, reply, None, out);
    }

    pub(super) fn list_values(&self, list: &ListValues) -> Reply {
        let page = usize::try_from(MAX_PAGE).unwrap_or(1);
        let after = Bound::Excluded(list.after.clone());
        let mut matching = self
            .values
            .range((after, Bound::Unbounded))
            .map(|(name, _)| name)
            .filter(|name| name.starts_with(&list.prefix));
        let names = matching.by_ref().take(page).cloned().collect();
        let more = matching.next().is_some();
        ValueNames { names, more, ext: Vec::new() }.into()
    }

    pub(super) fn remove_value(&mut self, remove: &RemoveValue, out: &mut Effects) -> Answer {
        if let Some(number) = self.values.remove(&remove.name) {
            out.push(Effect::DropValue { number });
        }
        Ok(Some(super::done()))
    }
}
