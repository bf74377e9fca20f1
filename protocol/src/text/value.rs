//! `set`, `get`, `list values`, `remove values`.

use super::names::wants;
use super::{Host, TextError, list};
use crate::message::{GetValue, ListValues, RemoveValue, Reply, SetValue, Value, ValueNames};

/// `set NAME WORDS`: stores, or forgets when there are no words.
pub fn set(host: &mut impl Host, words: &[String]) -> Result<(), TextError> {
    let (name, rest) = words.split_first().ok_or(TextError::ValueName)?;
    if rest.is_empty() && name == "*" {
        return Err(TextError::ValueName);
    }
    if rest.is_empty() {
        return forget(host, name);
    }
    let (name, value) = (name.clone(), rest.join(" ").into_bytes());
    host.ask(SetValue { name, value, ext: Vec::new() }.into())?;
    Ok(())
}

/// `get NAME`: the value, or nothing.
pub fn get(host: &mut impl Host, words: &[String]) -> Result<String, TextError> {
    let name = words.first().ok_or(TextError::ValueName)?;
    Ok(look_up(host, name)?.unwrap_or_default())
}

/// `list values`. Values are read one by one, so that what is too much is never held.
pub fn list(host: &mut impl Host, patterns: &[String]) -> Result<String, TextError> {
    let mut failed = None;
    let names = names(host)?;
    let lines = names.iter().filter(|name| wants(patterns, name)).filter_map(|name| {
        let found = look_up(host, name).unwrap_or_else(|error| {
            failed.get_or_insert(error);
            None
        });
        found.map(|value| format!("{name} {value}"))
    });
    let text = list::sorted(lines)?;
    failed.map_or(Ok(text), Err)
}

/// `remove values`: not all of them at once.
pub fn remove(host: &mut impl Host, patterns: &[String]) -> Result<(), TextError> {
    let all = match patterns {
        [] => true,
        [only] => only == "*",
        [_, _, ..] => false,
    };
    if all {
        return Err(TextError::RemoveAllValues);
    }
    for name in names(host)?.iter().filter(|name| wants(patterns, name)) {
        forget(host, name)?;
    }
    Ok(())
}

fn forget(host: &mut impl Host, name: &str) -> Result<(), TextError> {
    let name = name.to_owned();
    host.ask(RemoveValue { name, ext: Vec::new() }.into())?;
    Ok(())
}

fn look_up(host: &mut impl Host, name: &str) -> Result<Option<String>, TextError> {
    let request = GetValue { name: name.to_owned(), ext: Vec::new() };
    let Reply::Value(Value { value, .. }) = host.ask(request.into())? else {
        return Ok(None);
    };
    Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
}

fn names(host: &mut impl Host) -> Result<Vec<String>, TextError> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let after = all.last().cloned().unwrap_or_default();
        let request = ListValues { after, prefix: String::new(), ext: Vec::new() };
        let Reply::ValueNames(ValueNames { names, more, .. }) = host.ask(request.into())? else {
            return Ok(all);
        };
        all.extend(names);
        if !more {
            return Ok(all);
        }
    }
}
