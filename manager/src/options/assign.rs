//! Values from clients: how `set` and `add` check JSON and store it (spec c.8).
//!
//! Checks come first and have Circus's texts (errno 3); storing may still refuse what Circus refuses late (errno 5).

use super::kind::{Kind, is_hook_name};
use super::{
    Args, Identity, MAX_PROCESSES, OptionError, Retries, RlimitValue, Seconds, Signal, StreamClass, StreamOptions,
    python,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

impl<S> Kind<S> {
    /// Checks the type of a client's value.
    ///
    /// # Errors
    /// Circus's texts of errno 3.
    pub fn check(&self, key: &str, value: &Value) -> Result<(), OptionError> {
        let name = || key.to_owned();
        refuse_unless(!has_zero(value) && !key.contains('\0'), || OptionError::ZeroByte(name()))?;
        match self {
            // A JSON boolean passes as an integer, as in Python.
            Self::Count(_)
            | Self::Processes(_)
            | Self::Whole(_)
            | Self::Integer(_)
            | Self::Port(_)
            | Self::Octal(_)
            | Self::Retries(_)
            | Self::Signal(_) => refuse_unless(is_int(value), || OptionError::NotInteger(name())),
            Self::WholeSeconds(_) | Self::FloatSeconds(_) | Self::Period(_) => {
                refuse_unless(is_int(value) || value.is_number(), || OptionError::NotNumber(name()))
            }
            // A size may have its unit, and then it is text.
            Self::Size(..) | Self::Identity(_) => {
                refuse_unless(is_int(value) || value.is_string(), || OptionError::NotIdentity(name()))
            }
            Self::Flag(_) | Self::MaybeFlag(_) => refuse_unless(value.is_boolean(), || OptionError::NotBoolean(name())),
            Self::Env(_) => check_env(key, value),
            Self::Stream(..) => check_stream(key, value),
            Self::Rlimits(_) => check_rlimit(key, value),
            Self::Hooks(_) => check_hooks(key, value),
            // Circus does not look at these; they must be what they will be used as.
            Self::Overflow(_)
            | Self::Metrics(_)
            | Self::Text(_)
            | Self::MaybeText(_)
            | Self::TextUnlessEmpty(_)
            | Self::MaybePath(_)
            | Self::Directory(_)
            | Self::Family(_)
            | Self::SocketKind(_) => {
                refuse_unless(value.is_string() || value.is_null(), || OptionError::NotString(name()))
            }
            Self::Args(_) => refuse_unless(value.is_string() || value.is_array() || value.is_null(), || {
                OptionError::NotString(name())
            }),
        }
    }

    /// Stores a client's value that has passed [`check`](Self::check).
    ///
    /// # Errors
    /// What only shows while it is stored (errno 5); `target` is then unchanged.
    pub fn assign(&self, target: &mut S, key: &str, value: &Value) -> Result<(), OptionError> {
        match self {
            Self::Flag(field) => *(field.at)(target) = value.as_bool().unwrap_or_default(),
            Self::MaybeFlag(field) => *(field.at)(target) = value.as_bool(),
            Self::Count(field) => *(field.at)(target) = number(key, &floor_at_zero(value))?,
            Self::Processes(field) => *(field.at)(target) = processes(key, value)?,
            Self::Whole(field) => *(field.at)(target) = number(key, value)?,
            Self::Integer(field) => *(field.at)(target) = number(key, value)?,
            Self::Port(field) => *(field.at)(target) = number(key, value)?,
            Self::Octal(field) => *(field.at)(target) = Some(number(key, value)?),
            Self::WholeSeconds(field) | Self::FloatSeconds(field) => {
                *(field.at)(target) = Seconds::Fractional(seconds(key, value)?);
            }
            Self::Period(field) => *(field.at)(target) = float(key, value)?,
            Self::Text(field) => *(field.at)(target) = text(value),
            Self::MaybeText(field) | Self::TextUnlessEmpty(field) => {
                *(field.at)(target) = value.as_str().map(str::to_owned);
            }
            Self::MaybePath(field) | Self::Directory(field) => {
                *(field.at)(target) = value.as_str().filter(|path| !path.is_empty()).map(PathBuf::from);
            }
            Self::Args(field) => *(field.at)(target) = args(key, value)?,
            Self::Identity(field) => *(field.at)(target) = Some(identity(key, value)?),
            Self::Signal(field) => *(field.at)(target) = Signal::from_i64(number(key, value)?)?,
            Self::Retries(field) => {
                *(field.at)(target) = match integer(value) {
                    Some(-1) => Retries::Unlimited,
                    Some(_) | None => Retries::Times(number(key, value)?),
                };
            }
            Self::Size(..) | Self::Overflow(_) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let own = |expected| OptionError::Own { key: key.to_owned(), expected };
                self.read(target, key, &text).map_err(own)?;
            }
            Self::Env(field) => *(field.at)(target) = strings(value),
            Self::Stream(name, field) => assign_stream((field.at)(target), name, key, value)?,
            Self::Rlimits(field) => {
                let is_infinity = value.is_null() || integer(value) == Some(-1);
                let limit = if is_infinity { RlimitValue::Infinity } else { RlimitValue::At(number(key, value)?) };
                let name = key.strip_prefix("rlimit_").and_then(super::rlimit_name);
                let name = name.ok_or_else(|| OptionError::NotRlimit(key.to_owned()))?;
                (field.at)(target).insert(name.to_owned(), limit);
            }
            Self::Hooks(field) => assign_hooks((field.at)(target), key, value)?,
            // No client command reaches sockets, nor [circus].
            Self::Family(_) | Self::SocketKind(_) | Self::Metrics(_) => {
                return Err(OptionError::UnknownKey(key.to_owned()));
            }
        }
        Ok(())
    }
}

/// Whether a text of it has a zero byte, which no system call takes.
fn has_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_zero),
        Value::Object(entries) => entries.iter().any(|(name, value)| name.contains('\0') || has_zero(value)),
    }
}

fn refuse_unless(fine: bool, error: impl FnOnce() -> OptionError) -> Result<(), OptionError> {
    if fine { Ok(()) } else { Err(error()) }
}

/// Python's `isinstance(value, int)`, which is true of booleans.
fn is_int(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.is_boolean()
}

fn integer(value: &Value) -> Option<i64> {
    value.as_bool().map(i64::from).or_else(|| value.as_i64())
}

fn number<T: TryFrom<i64>>(key: &str, value: &Value) -> Result<T, OptionError> {
    integer(value).and_then(|number| T::try_from(number).ok()).ok_or_else(|| out_of_range(key, value))
}

fn out_of_range(key: &str, value: &Value) -> OptionError {
    OptionError::OutOfRange { key: key.to_owned(), value: value.clone() }
}

fn floor_at_zero(value: &Value) -> Value {
    match integer(value) {
        Some(number) if number < 0 => Value::from(0),
        Some(_) | None => value.clone(),
    }
}

/// A negative target is zero processes, as in Circus.
fn processes(key: &str, value: &Value) -> Result<u32, OptionError> {
    let count = number(key, &floor_at_zero(value))?;
    if count <= MAX_PROCESSES { Ok(count) } else { Err(out_of_range(key, value)) }
}

fn float(key: &str, value: &Value) -> Result<f64, OptionError> {
    let flag = value.as_bool().map(|flag| if flag { 1.0 } else { 0.0 });
    flag.or_else(|| value.as_f64()).filter(|number| number.is_finite()).ok_or_else(|| out_of_range(key, value))
}

fn seconds(key: &str, value: &Value) -> Result<f64, OptionError> {
    let seconds = float(key, value)?;
    if seconds >= 0.0 { Ok(seconds) } else { Err(out_of_range(key, value)) }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn args(key: &str, value: &Value) -> Result<Args, OptionError> {
    let Some(items) = value.as_array() else {
        return Ok(Args::Text(text(value)));
    };
    let items = items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    items.map(Args::List).ok_or_else(|| OptionError::NotString(key.to_owned()))
}

/// A client may send a number as text, as `circusctl set uid 1000` does.
fn identity(key: &str, value: &Value) -> Result<Identity, OptionError> {
    match value.as_str() {
        None => number(key, value).map(Identity::Id),
        Some(text) => match python::to_int(text) {
            None => Ok(Identity::Name(text.to_owned())),
            Some(number) => u32::try_from(number).map(Identity::Id).ok().ok_or_else(|| out_of_range(key, value)),
        },
    }
}

fn strings(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries.map(|(name, value)| (name.clone(), text(value))).collect()
}

fn check_env(key: &str, value: &Value) -> Result<(), OptionError> {
    let Some(entries) = value.as_object() else {
        return Err(OptionError::NotObject(key.to_owned()));
    };
    if let Some((name, _)) = entries.iter().find(|(_, value)| !value.is_string()) {
        return Err(OptionError::NotString(name.clone()));
    }
    match entries.keys().find(|name| name.contains('=')) {
        Some(name) => Err(OptionError::VariableName(name.clone())),
        None => Ok(()),
    }
}

/// `stdout_stream` takes an object with a class; `stdout_stream.KEY` takes anything (spec c.8).
fn check_stream(key: &str, value: &Value) -> Result<(), OptionError> {
    if key.contains('.') {
        return Ok(());
    }
    let Some(entries) = value.as_object() else {
        return Err(OptionError::NotObject(key.to_owned()));
    };
    refuse_unless(entries.contains_key("class"), || OptionError::NoClass(key.to_owned()))
}

fn assign_stream(stream: &mut Option<StreamOptions>, name: &str, key: &str, value: &Value) -> Result<(), OptionError> {
    let class = |value: &Value| {
        let name = setting(value);
        StreamClass::parse(&name).ok_or(OptionError::StreamClass(name))
    };
    match key.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) {
        None => {
            let mut fresh = StreamOptions::file();
            for (setting_name, value) in value.as_object().into_iter().flatten() {
                match setting_name.as_str() {
                    "class" => fresh.class = class(value)?,
                    _ => drop(fresh.settings.insert(setting_name.clone(), setting(value))),
                }
            }
            *stream = Some(fresh);
        }
        Some("class") => {
            let class = class(value)?;
            stream.get_or_insert_with(StreamOptions::file).class = class;
        }
        Some(setting_name) => {
            let stream = stream.get_or_insert_with(StreamOptions::file);
            stream.settings.insert(setting_name.to_owned(), setting(value));
        }
    }
    Ok(())
}

/// Stream settings are text; a client's number is written out.
fn setting(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn check_rlimit(key: &str, value: &Value) -> Result<(), OptionError> {
    let known = key.strip_prefix("rlimit_").and_then(super::rlimit_name).is_some();
    refuse_unless(known, || OptionError::NotRlimit(key.to_owned()))?;
    refuse_unless(value.is_null() || is_int(value), || OptionError::NotRlimitValue(value.clone()))
}

/// `hooks` takes an object of known names; `hooks.NAME` takes any name (spec c.8).
fn check_hooks(key: &str, value: &Value) -> Result<(), OptionError> {
    if key.contains('.') {
        return refuse_unless(value.is_string(), || OptionError::NotString(key.to_owned()));
    }
    let Some(entries) = value.as_object() else {
        return Err(OptionError::NotHooks(value.clone()));
    };
    let known = entries.keys().all(|name| is_hook_name(name));
    refuse_unless(known, || OptionError::UnknownHook(value.clone()))
}

fn assign_hooks(hooks: &mut BTreeMap<String, (String, bool)>, key: &str, value: &Value) -> Result<(), OptionError> {
    if let Some(name) = key.strip_prefix("hooks.") {
        hooks.insert(name.to_owned(), hook(name, value)?);
        return Ok(());
    }
    let entries = value.as_object().into_iter().flatten();
    let fresh = entries.map(|(name, value)| Ok((name.clone(), hook(name, value)?)));
    hooks.extend(fresh.collect::<Result<BTreeMap<_, _>, OptionError>>()?);
    Ok(())
}

/// `"mod.fn"`, `"mod.fn,true"`, or the pair `["mod.fn", true]` that `add` wants.
fn hook(name: &str, value: &Value) -> Result<(String, bool), OptionError> {
    if let Some([target, flag]) = value.as_array().map(Vec::as_slice)
        && let (Some(target), Some(flag)) = (target.as_str(), flag.as_bool())
    {
        return Ok((target.to_owned(), flag));
    }
    let text = value.as_str().ok_or_else(|| OptionError::NotString(name.to_owned()))?;
    match text.split_once(',') {
        None => Ok((text.to_owned(), false)),
        Some((target, word)) => {
            let flag = python::to_bool(word).ok_or_else(|| OptionError::HookFlag(word.to_owned()))?;
            Ok((python::strip(target).to_owned(), flag))
        }
    }
}
