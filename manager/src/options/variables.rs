//! What `$(circus.NAME)` means for a watcher when one of its processes is spawned (spec a.3 item 5).
//!
//! Only what the options tell. The caller adds what belongs to one process: `wid`, and `sockets.NAME` for the numbers of
//! the inherited sockets.

use super::{RlimitValue, WatcherOptions, get, python};

/// The text for a name in lower case without its leading `circus.`; `None` for a name that is no option, which then stays
/// as it is written. Values look as Python shows them: `True`, `None`, `30.0`.
///
/// Known are `env.NAME`, `rlimits.NAME`, `use_fds` (that is `use_sockets`), and every name that `options` shows, custom
/// ones among them. `name` is not, as in Circus.
pub fn variable(watcher: &WatcherOptions, name: &str) -> Option<String> {
    if let Some(wanted) = name.strip_prefix("env.") {
        return last_named(watcher.env.iter(), wanted).cloned();
    }
    if let Some(wanted) = name.strip_prefix("rlimits.") {
        return last_named(watcher.rlimits.iter(), wanted).map(|limit| match limit {
            RlimitValue::Infinity => "-1".to_owned(),
            RlimitValue::At(value) => value.to_string(),
        });
    }
    let name = if name == "use_fds" { "use_sockets" } else { name };
    // Objects are reached by their members only.
    if let Some(value) = get(watcher, name).filter(|value| !value.is_object()) {
        return Some(python::display(&value));
    }
    if let Some(text) = last_named(watcher.extra.iter(), name) {
        return Some(text.clone());
    }
    let (object, member) = name.split_once('.')?;
    let object = get(watcher, object)?;
    last_named(object.as_object()?.iter(), member).map(python::display)
}

/// The last of the entries whose name is the wanted one in lower case, as in Circus.
fn last_named<'a, V>(entries: impl Iterator<Item = (&'a String, &'a V)>, wanted: &str) -> Option<&'a V> {
    entries.filter(|(name, _)| name.to_lowercase() == wanted).last().map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Seconds, StreamOptions};

    #[test]
    fn options_look_as_python_shows_them() {
        let mut watcher = WatcherOptions::new("web");
        watcher.graceful_timeout = Seconds::Fractional(2.0);
        watcher.env.insert("Path".to_owned(), "/bin".to_owned());
        watcher.rlimits.insert("nofile".to_owned(), RlimitValue::At(5));
        watcher.extra.insert("Port".to_owned(), "80".to_owned());
        watcher.extra.insert("flapping.window".to_owned(), "3".to_owned());
        let mut stream = StreamOptions::file();
        stream.settings.insert("filename".to_owned(), "/log".to_owned());
        watcher.stdout_stream = Some(stream);
        for (name, text) in [
            ("env.path", Some("/bin")),
            ("rlimits.nofile", Some("5")),
            ("shell", Some("False")),
            ("uid", Some("None")),
            ("numprocesses", Some("1")),
            ("graceful_timeout", Some("2.0")),
            ("use_fds", Some("False")),
            ("executable", Some("None")),
            ("port", Some("80")),
            ("flapping.window", Some("3")),
            ("stdout_stream_conf.filename", Some("/log")),
            ("stdout_stream_conf", None),
            ("env", None),
            ("env.home", None),
            ("name", None),
            ("autostart", None),
            ("wid", None),
        ] {
            assert_eq!(variable(&watcher, name).as_deref(), text, "{name}");
        }
    }
}
