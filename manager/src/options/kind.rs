//! The kinds of option values: how each is read from a file's text and shown as JSON.
//!
//! A kind knows where its field lives (a [`Lens`]), so a row of a table is data and no code is repeated per option.
//! How a client's JSON is checked and stored is in `assign`.

use super::{
    Args, Expected, HOOK_NAMES, Identity, MAX_PROCESSES, MetricsEndpoint, Overflow, Retries, RlimitValue, Seconds,
    Signal, SizeRange, SocketFamily, SocketKind, StreamClass, StreamOptions, python, size,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Access to one field of `S`.
pub struct Lens<S, T> {
    /// Reads the field.
    pub get: fn(&S) -> &T,
    /// Reaches the field for a change.
    pub at: fn(&mut S) -> &mut T,
}

/// `field!(a.b)`: the [`Lens`] of that field.
macro_rules! field {
    ($($path:ident).+) => {
        $crate::options::kind::Lens { get: |s| &s.$($path).+, at: |s| &mut s.$($path).+ }
    };
}
pub(super) use field;

/// What kind of value an option of `S` holds, and where.
pub enum Kind<S> {
    /// A boolean word.
    Flag(Lens<S, bool>),
    /// A boolean that is shown only when given.
    MaybeFlag(Lens<S, Option<bool>>),
    /// 0 to 2³²−1.
    Count(Lens<S, u32>),
    /// A number of processes, 0 to [`MAX_PROCESSES`].
    Processes(Lens<S, u32>),
    /// 0 to 2⁶³−1.
    Whole(Lens<S, u64>),
    /// A 64-bit integer.
    Integer(Lens<S, i64>),
    /// 0 to 65535.
    Port(Lens<S, u16>),
    /// An octal mask, at most 0777.
    Octal(Lens<S, Option<u32>>),
    /// Seconds without fractions in a file; a client may send a float (spec a.5, c.8).
    WholeSeconds(Lens<S, Seconds>),
    /// Seconds that are always a float.
    FloatSeconds(Lens<S, Seconds>),
    /// Seconds of either sign.
    Period(Lens<S, f64>),
    /// Text as written.
    Text(Lens<S, String>),
    /// Text, or absent.
    MaybeText(Lens<S, Option<String>>),
    /// Text, absent when the file gives an empty value.
    TextUnlessEmpty(Lens<S, Option<String>>),
    /// A path, or absent.
    MaybePath(Lens<S, Option<PathBuf>>),
    /// A directory; absent means circusd's own, which is what is shown.
    Directory(Lens<S, Option<PathBuf>>),
    /// Arguments.
    Args(Lens<S, Args>),
    /// A user or group.
    Identity(Lens<S, Option<Identity>>),
    /// A signal.
    Signal(Lens<S, Signal>),
    /// Attempts.
    Retries(Lens<S, Retries>),
    /// A number of bytes.
    Size(Lens<S, u64>, SizeRange),
    /// What happens to output that nobody reads.
    Overflow(Lens<S, Overflow>),
    /// Where figures are read, or nowhere.
    Metrics(Lens<S, Option<MetricsEndpoint>>),
    /// The environment; in a file it comes from its own sections.
    Env(Lens<S, BTreeMap<String, String>>),
    /// `NAME.class`, `NAME.filename`, ….
    Stream(&'static str, Lens<S, Option<StreamOptions>>),
    /// `rlimit_NAME`.
    Rlimits(Lens<S, BTreeMap<String, RlimitValue>>),
    /// `hooks.NAME`.
    Hooks(Lens<S, BTreeMap<String, (String, bool)>>),
    /// A socket's family.
    Family(Lens<S, SocketFamily>),
    /// A socket's type.
    SocketKind(Lens<S, SocketKind>),
}

impl<S> Kind<S> {
    /// Reads the text of `key` from a file and stores it in `target`.
    ///
    /// # Errors
    /// What the text should have been; `target` is then unchanged.
    pub fn read(&self, target: &mut S, key: &str, text: &str) -> Result<(), Expected> {
        match self {
            Self::Flag(field) => *(field.at)(target) = flag(text)?,
            Self::MaybeFlag(field) => *(field.at)(target) = Some(flag(text)?),
            Self::Count(field) => *(field.at)(target) = integer(text, Expected::Count)?,
            Self::Processes(field) => *(field.at)(target) = processes(text)?,
            Self::Whole(field) => *(field.at)(target) = integer(text, Expected::Count)?,
            Self::Integer(field) => *(field.at)(target) = integer(text, Expected::Integer)?,
            Self::Port(field) => *(field.at)(target) = integer(text, Expected::Port)?,
            Self::Octal(field) => *(field.at)(target) = octal(text)?,
            Self::WholeSeconds(field) => {
                *(field.at)(target) = Seconds::Whole(integer(text, Expected::WholeSeconds)?);
            }
            Self::FloatSeconds(field) => {
                let seconds = python::to_float(text).filter(|s| *s >= 0.0).ok_or(Expected::Seconds)?;
                *(field.at)(target) = Seconds::Fractional(seconds);
            }
            Self::Period(field) => *(field.at)(target) = python::to_float(text).ok_or(Expected::Period)?,
            Self::Text(field) => *(field.at)(target) = text.to_owned(),
            Self::MaybeText(field) => *(field.at)(target) = Some(text.to_owned()),
            Self::TextUnlessEmpty(field) => {
                *(field.at)(target) = (!text.is_empty()).then(|| text.to_owned());
            }
            Self::MaybePath(field) | Self::Directory(field) => {
                *(field.at)(target) = (!text.is_empty()).then(|| PathBuf::from(text));
            }
            Self::Args(field) => *(field.at)(target) = Args::Text(text.to_owned()),
            Self::Identity(field) => *(field.at)(target) = identity(text)?,
            Self::Signal(field) => {
                // The reason is left out on purpose: the expected spellings say more to the writer of a file.
                *(field.at)(target) = Signal::parse(text).ok().ok_or(Expected::Signal)?;
            }
            Self::Retries(field) => *(field.at)(target) = retries(text)?,
            Self::Size(field, range) => *(field.at)(target) = sized(text, *range)?,
            Self::Overflow(field) => *(field.at)(target) = Overflow::parse(text).ok_or(Expected::Overflow)?,
            Self::Metrics(field) => *(field.at)(target) = metrics(text)?,
            Self::Env(_) => return Err(Expected::EnvSection),
            Self::Stream(name, field) => read_stream((field.at)(target), name, key, text)?,
            Self::Rlimits(field) => {
                let (name, value) = rlimit(key, text)?;
                (field.at)(target).insert(name, value);
            }
            Self::Hooks(field) => {
                let (name, hook) = hook(key, text)?;
                (field.at)(target).insert(name, hook);
            }
            Self::Family(field) => *(field.at)(target) = family(text)?,
            Self::SocketKind(field) => *(field.at)(target) = socket_kind(text)?,
        }
        Ok(())
    }

    /// What a negative number in a file counts as, where Circus takes one although there is no such amount. `None`: it is not
    /// negative, or has a meaning, or is refused.
    pub fn instead_of_negative(&self, text: &str) -> Option<&'static str> {
        let less_than = |least: i64| python::to_int(text).is_some_and(|number| number < least);
        match self {
            Self::Count(_) | Self::Processes(_) | Self::Whole(_) | Self::WholeSeconds(_) => less_than(0).then_some("0"),
            Self::FloatSeconds(_) => python::to_float(text).is_some_and(|number| number < 0.0).then_some("0"),
            // -1 is no limit.
            Self::Retries(_) => less_than(-1).then_some("0"),
            Self::Rlimits(_) => less_than(-1).then_some("-1"),
            Self::Flag(_)
            | Self::MaybeFlag(_)
            | Self::Integer(_)
            | Self::Port(_)
            | Self::Octal(_)
            | Self::Period(_)
            | Self::Text(_)
            | Self::MaybeText(_)
            | Self::TextUnlessEmpty(_)
            | Self::MaybePath(_)
            | Self::Directory(_)
            | Self::Args(_)
            | Self::Identity(_)
            | Self::Signal(_)
            | Self::Size(..)
            | Self::Overflow(_)
            | Self::Metrics(_)
            | Self::Env(_)
            | Self::Stream(..)
            | Self::Hooks(_)
            | Self::Family(_)
            | Self::SocketKind(_) => None,
        }
    }

    /// The value as `options` and `get` show it (spec c.8): JSON with Circus's types.
    pub fn get(&self, source: &S) -> Value {
        match self {
            Self::Flag(field) => json!((field.get)(source)),
            Self::MaybeFlag(field) => json!((field.get)(source)),
            Self::Count(field) | Self::Processes(field) => json!((field.get)(source)),
            Self::Whole(field) => json!((field.get)(source)),
            Self::Integer(field) => json!((field.get)(source)),
            Self::Port(field) => json!((field.get)(source)),
            Self::Octal(field) => json!((field.get)(source)),
            Self::WholeSeconds(field) | Self::FloatSeconds(field) => match *(field.get)(source) {
                Seconds::Whole(seconds) => json!(seconds),
                Seconds::Fractional(seconds) => json!(seconds),
            },
            Self::Period(field) => json!((field.get)(source)),
            Self::Text(field) => json!((field.get)(source)),
            Self::MaybeText(field) => json!((field.get)(source)),
            // As written: an empty value is shown as the empty text.
            Self::TextUnlessEmpty(field) => json!((field.get)(source).as_deref().unwrap_or_default()),
            Self::MaybePath(field) => path(None, (field.get)(source).as_ref()),
            Self::Directory(field) => path(std::env::current_dir().ok(), (field.get)(source).as_ref()),
            Self::Args(field) => match (field.get)(source) {
                Args::Text(text) => json!(text),
                Args::List(items) => json!(items),
            },
            Self::Identity(field) => match (field.get)(source) {
                None => Value::Null,
                Some(Identity::Name(name)) => json!(name),
                Some(Identity::Id(id)) => json!(id.to_string()),
            },
            Self::Signal(field) => json!((field.get)(source).number()),
            Self::Retries(field) => match *(field.get)(source) {
                Retries::Unlimited => json!(-1),
                Retries::Times(times) => json!(times),
            },
            Self::Size(field, _) => json!((field.get)(source)),
            Self::Overflow(field) => json!((field.get)(source).name()),
            Self::Metrics(field) => json!((field.get)(source).as_ref().map(ToString::to_string).unwrap_or_default()),
            Self::Env(field) => json!((field.get)(source)),
            // Without `class`: Circus takes it out when it builds the stream.
            Self::Stream(_, field) => match (field.get)(source) {
                None => json!({}),
                Some(stream) => json!(stream.settings),
            },
            Self::Rlimits(field) => (field.get)(source).iter().map(rlimit_entry).collect::<Map<_, _>>().into(),
            Self::Hooks(field) => json!((field.get)(source)),
            Self::Family(field) => json!(match (field.get)(source) {
                SocketFamily::Inet => "AF_INET",
                SocketFamily::Inet6 => "AF_INET6",
                SocketFamily::Unix => "AF_UNIX",
            }),
            Self::SocketKind(field) => json!(match (field.get)(source) {
                SocketKind::Stream => "SOCK_STREAM",
                SocketKind::Datagram => "SOCK_DGRAM",
                SocketKind::SeqPacket => "SOCK_SEQPACKET",
                SocketKind::Raw => "SOCK_RAW",
                SocketKind::Rdm => "SOCK_RDM",
            }),
        }
    }
}

fn path(absent: Option<PathBuf>, given: Option<&PathBuf>) -> Value {
    match given.cloned().or(absent) {
        None => Value::Null,
        Some(path) => json!(path.to_string_lossy()),
    }
}

fn rlimit_entry((name, value): (&String, &RlimitValue)) -> (String, Value) {
    let value = match value {
        RlimitValue::Infinity => json!(-1),
        RlimitValue::At(value) => json!(value),
    };
    (name.clone(), value)
}

fn flag(text: &str) -> Result<bool, Expected> {
    python::to_bool(text).ok_or(Expected::Boolean)
}

fn integer<T: TryFrom<i64>>(text: &str, expected: Expected) -> Result<T, Expected> {
    python::to_int(text).and_then(|number| T::try_from(number).ok()).ok_or(expected)
}

fn sized(text: &str, range: SizeRange) -> Result<u64, Expected> {
    size(text).filter(|bytes| (range.least..=range.most).contains(bytes)).ok_or(Expected::Size(range))
}

/// An empty value is none.
fn metrics(text: &str) -> Result<Option<MetricsEndpoint>, Expected> {
    if text.is_empty() {
        return Ok(None);
    }
    MetricsEndpoint::parse(text).map(Some).ok_or(Expected::MetricsEndpoint)
}

fn processes(text: &str) -> Result<u32, Expected> {
    let count = integer(text, Expected::Count)?;
    if count <= MAX_PROCESSES { Ok(count) } else { Err(Expected::Processes) }
}

/// The largest file mode mask (umask(2)).
const UMASK_MAX: u32 = 0o777;

/// An empty value is no mask, as in Circus.
fn octal(text: &str) -> Result<Option<u32>, Expected> {
    if text.is_empty() {
        return Ok(None);
    }
    let mask = python::to_octal(text).and_then(|number| u32::try_from(number).ok());
    mask.filter(|mask| *mask <= UMASK_MAX).map(Some).ok_or(Expected::Octal)
}

fn retries(text: &str) -> Result<Retries, Expected> {
    match python::to_int(text) {
        Some(-1) => Ok(Retries::Unlimited),
        // More than there will ever be is as many as there can be.
        Some(number) if number > i64::from(u32::MAX) => Ok(Retries::Times(u32::MAX)),
        Some(number) => u32::try_from(number).ok().map(Retries::Times).ok_or(Expected::Retries),
        None => Err(Expected::Retries),
    }
}

/// An empty value is no user, as in Circus. The highest number is setuid(2)'s "leave unchanged", hence refused.
fn identity(text: &str) -> Result<Option<Identity>, Expected> {
    if text.is_empty() {
        return Ok(None);
    }
    match python::to_int(text) {
        None => Ok(Some(Identity::Name(text.to_owned()))),
        Some(number) => match u32::try_from(number) {
            Ok(id) if id < u32::MAX => Ok(Some(Identity::Id(id))),
            Ok(_) | Err(_) => Err(Expected::Identity),
        },
    }
}

fn read_stream(stream: &mut Option<StreamOptions>, name: &'static str, key: &str, text: &str) -> Result<(), Expected> {
    let setting = key.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
    let setting = setting.ok_or(Expected::StreamKey(name))?;
    let class = match setting {
        "class" => Some(StreamClass::parse(text).ok_or(Expected::StreamClass)?),
        _ => None,
    };
    let stream = stream.get_or_insert_with(StreamOptions::file);
    match class {
        Some(class) => stream.class = class,
        None => {
            stream.settings.insert(setting.to_owned(), text.to_owned());
        }
    }
    Ok(())
}

fn rlimit(key: &str, text: &str) -> Result<(String, RlimitValue), Expected> {
    let written = key.strip_prefix("rlimit_").ok_or(Expected::RlimitName)?;
    // An unknown one is kept: the watcher exists and says so when it is started (spec n.2).
    let name = super::rlimit_name(written).map_or_else(|| written.to_lowercase(), str::to_owned);
    let value = match text {
        "" => RlimitValue::Infinity,
        _ => match python::to_int(text) {
            // RLIM_INFINITY as Python shows it.
            Some(-1) => RlimitValue::Infinity,
            Some(number) => RlimitValue::At(u64::try_from(number).ok().ok_or(Expected::RlimitValue)?),
            None => return Err(Expected::RlimitValue),
        },
    };
    Ok((name, value))
}

fn hook(key: &str, text: &str) -> Result<(String, (String, bool)), Expected> {
    let name = key.strip_prefix("hooks.").ok_or(Expected::HookKey)?;
    let (target, ignore_failure) = match text.split_once(',') {
        None => (text, false),
        Some((target, word)) => (target, python::to_bool(word).ok_or(Expected::HookFlag)?),
    };
    Ok((name.to_owned(), (python::strip(target).to_owned(), ignore_failure)))
}

fn family(text: &str) -> Result<SocketFamily, Expected> {
    match text.to_uppercase().as_str() {
        "AF_INET" => Ok(SocketFamily::Inet),
        "AF_INET6" => Ok(SocketFamily::Inet6),
        "AF_UNIX" => Ok(SocketFamily::Unix),
        _ => Err(Expected::SocketFamily),
    }
}

fn socket_kind(text: &str) -> Result<SocketKind, Expected> {
    match text.to_uppercase().as_str() {
        "SOCK_STREAM" => Ok(SocketKind::Stream),
        "SOCK_DGRAM" => Ok(SocketKind::Datagram),
        "SOCK_SEQPACKET" => Ok(SocketKind::SeqPacket),
        "SOCK_RAW" => Ok(SocketKind::Raw),
        "SOCK_RDM" => Ok(SocketKind::Rdm),
        _ => Err(Expected::SocketKind),
    }
}

/// Whether Circus calls a hook of this name (spec i).
pub fn is_hook_name(name: &str) -> bool {
    HOOK_NAMES.contains(&name)
}
