//! The option tables against what Circus 0.19 answered to `options`, `get`, `globaloptions` and `set` (spec c.7, c.8).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops where a fact is missing")]

use ringmaster_manager::options::{
    CIRCUS_OPTIONS, Change, CircusOptions, OptionErrno, SOCKET_OPTIONS, Seconds, Shown, Signal, StreamOptions,
    WATCHER_OPTIONS, WatcherOption, WatcherOptions, get, global_options, set, shown,
};
use serde_json::{Value, json};

fn alpha() -> WatcherOptions {
    let mut watcher = WatcherOptions::new("alpha");
    watcher.extra.insert("__name__".to_owned(), "watcher:alpha".to_owned());
    watcher
}

#[test]
fn options_shows_the_keys_and_types_of_circus_in_its_order() {
    let mut watcher = alpha();
    watcher.cmd = "python worker.py".to_owned();
    watcher.numprocesses = 2;
    watcher.graceful_timeout = Seconds::Fractional(2.0);
    watcher.working_dir = Some("/srv".into());
    let expected = concat!(
        r#"{"__name__":"watcher:alpha","args":"","close_child_stderr":false,"close_child_stdin":true,"#,
        r#""close_child_stdout":false,"cmd":"python worker.py","copy_env":false,"env":{},"executable":null,"#,
        r#""gid":null,"graceful_timeout":2.0,"max_age":0,"max_age_variance":30,"max_retry":5,"numprocesses":2,"#,
        r#""on_demand":false,"priority":0,"respawn":true,"send_hup":false,"shell":false,"shell_args":null,"#,
        r#""singleton":false,"stderr_stream_conf":{},"stdout_stream_conf":{},"stop_children":false,"#,
        r#""stop_signal":15,"uid":null,"use_sockets":false,"warmup_delay":0,"working_dir":"/srv"}"#
    );
    assert_eq!(serde_json::to_string(&shown(&watcher)).unwrap(), expected);
}

#[test]
fn what_is_shown_only_when_given() {
    let mut watcher = alpha();
    watcher.extra.insert("use_papa".to_owned(), "True".to_owned());
    watcher.check_flapping = Some(true);
    watcher.executable = Some("/bin/x".into());
    let mut stream = StreamOptions::file();
    stream.settings.insert("filename".to_owned(), "s.log".to_owned());
    watcher.stdout_stream = Some(stream);
    let shown = shown(&watcher);
    assert_eq!(shown["use_papa"], "True");
    assert_eq!(shown["check_flapping"], true);
    assert_eq!(shown["executable"], Value::Null);
    assert_eq!(shown["stdout_stream_conf"], json!({"filename": "s.log"}));
    assert_eq!(get(&watcher, "__name__"), Some(json!("watcher:alpha")));
    for hidden in ["nosuch", "autostart", "rlimits", "hooks", "stdout_stream"] {
        assert_eq!(get(&watcher, hidden), None, "{hidden}");
    }
}

#[test]
fn global_options_come_in_their_order() {
    let mut circus = CircusOptions { check_delay: 0.5, ..CircusOptions::default() };
    circus.multicast_endpoint = None;
    assert_eq!(
        serde_json::to_string(&global_options(&circus)).unwrap(),
        r#"{"endpoint":"tcp://127.0.0.1:5555","stats_endpoint":"tcp://127.0.0.1:5557","pubsub_endpoint":"tcp://127.0.0.1:5556","check_delay":0.5,"multicast_endpoint":""}"#
    );
}

#[test]
fn refusals_have_the_texts_of_circus() {
    for (key, value, text) in [
        ("numprocesses", json!("3"), "'numprocesses' isn't an integer"),
        ("warmup_delay", json!("x"), "'warmup_delay' isn't a number"),
        ("max_retry", json!("3"), "'max_retry' isn't an integer"),
        ("graceful_timeout", json!("1"), "'graceful_timeout' isn't a number"),
        ("max_age", json!(1.5), "'max_age' isn't an integer"),
        ("stop_signal", json!("INT"), "'stop_signal' isn't an integer"),
        ("send_hup", json!("yes"), "'send_hup' isn't a valid boolean"),
        ("close_child_stdout", json!(1), "'close_child_stdout' isn't a valid boolean"),
        ("retry_in", json!("x"), "'retry_in' isn't a number"),
        ("uid", json!(1.5), "'uid' isn't an integer or string"),
        ("env", json!("A=b"), "'env' isn't a valid object"),
        ("env", json!({"A": 1}), "'A' isn't a string"),
        ("rlimit_bogus", json!(1), "'rlimit_bogus' isn't a valid rlimit setting"),
        ("rlimit_nofile", json!("x"), "'x' rlimit value isn't a valid int"),
        ("priority", json!(4), "unknown key 'priority'"),
        ("bogus", json!(1), "unknown key 'bogus'"),
        ("use_sockets", json!(true), "unknown key 'use_sockets'"),
        ("autostart", json!(true), "unknown key 'autostart'"),
        ("hooks", json!({"bogus": "x"}), "Unknown hook {'bogus': 'x'}"),
        ("hooks", json!("x"), "'x' isn't a valid hook dict"),
        ("stdout_stream", json!({"filename": "x"}), "'stdout_stream' must have a 'class' key"),
        ("stdout_stream", json!("x"), "'stdout_stream' isn't a valid object"),
    ] {
        let mut watcher = alpha();
        let error = set(&mut watcher, key, &value).unwrap_err();
        assert_eq!(error.to_string(), text);
        assert_eq!(error.errno(), OptionErrno::Message, "{key}");
        assert_eq!(watcher, alpha(), "{key} changed the watcher");
    }
}

#[test]
fn sizes_and_policies_may_be_set_as_they_are_written() {
    let mut watcher = alpha();
    for (key, value, shown) in [
        ("overflow", json!("drop-newest"), json!("drop-newest")),
        ("ring_size", json!("64K"), json!(65_536)),
        ("ring_size", json!(131_072), json!(131_072)),
        ("spill_dir", json!("/spill"), json!("/spill")),
        ("spill_quota", json!("1t"), json!(1_u64 << 40)),
    ] {
        assert_eq!(set(&mut watcher, key, &value), Ok(Change::Reload), "{key}");
        assert_eq!(get(&watcher, key), Some(shown), "{key}");
    }
    let before = watcher.clone();
    let refused = |watcher: &mut WatcherOptions, key, value| set(watcher, key, &value).unwrap_err().to_string();
    assert_eq!(
        refused(&mut watcher, "ring_size", json!(true)),
        "'ring_size': expected a number of bytes such as 4194304 or 4M, 64K to 1G"
    );
    assert_eq!(refused(&mut watcher, "ring_size", json!([1])), "'ring_size' isn't an integer or string");
    assert_eq!(
        refused(&mut watcher, "overflow", json!("no")),
        "'overflow': expected one of drop-oldest, block, drop-newest, spill"
    );
    assert_eq!(refused(&mut watcher, "overflow", json!(1)), "'overflow' isn't a string");
    assert_eq!(watcher, before);
}

#[test]
fn late_refusals() {
    let mut beta = alpha();
    beta.singleton = true;
    let error = set(&mut beta, "numprocesses", &json!(2)).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.errno()),
        ("Singleton watcher has a single process", OptionErrno::Command)
    );
    let error = set(&mut beta, "stop_signal", &json!(99)).unwrap_err();
    assert_eq!(error.to_string(), "[Errno 22] Invalid argument");
    let error = set(&mut beta, "graceful_timeout", &json!(-1)).unwrap_err();
    assert_eq!(error.to_string(), "'graceful_timeout' is out of range: -1");
}

#[test]
fn accepted_values_are_stored_and_name_their_consequence() {
    let mut watcher = alpha();
    let mut done = |key: &str, value: Value| set(&mut watcher, key, &value).unwrap();
    assert_eq!(done("numprocesses", json!(-4)), Change::Manage);
    assert_eq!(done("numprocesses", json!(true)), Change::Manage);
    assert_eq!(done("warmup_delay", json!(0)), Change::Manage);
    assert_eq!(done("retry_in", json!(1)), Change::Manage);
    assert_eq!(done("max_age", json!(0)), Change::Reload);
    assert_eq!(done("stop_signal", json!(2)), Change::Manage);
    assert_eq!(done("env", json!({"A": "b"})), Change::Reload);
    assert_eq!(done("uid", json!(0)), Change::Reload);
    assert_eq!(done("rlimit_nofile", json!(256)), Change::Manage);
    assert_eq!(done("rlimit_core", json!(null)), Change::Manage);
    assert_eq!(done("args", json!(["1", "2"])), Change::Reload);
    assert_eq!(done("stdout_stream.filename", json!("x.out")), Change::Reload);
    assert_eq!(done("stdout_stream.class", json!("StdoutStream")), Change::Reload);
    assert_eq!(done("hooks", json!({"before_start": ["a.b", true]})), Change::Manage);
    assert_eq!(done("hooks.after_stop", json!("c.d,1")), Change::Manage);

    let shown = shown(&watcher);
    assert_eq!(shown["numprocesses"], 1);
    assert_eq!(shown["warmup_delay"].to_string(), "0.0");
    assert_eq!(shown["args"], json!(["1", "2"]));
    assert_eq!(shown["stdout_stream_conf"], json!({"filename": "x.out"}));
    assert_eq!(watcher.stop_signal, Signal::new(2).unwrap());
    assert_eq!(watcher.stdout_stream.as_ref().unwrap().class.to_string(), "StdoutStream");
    let hooks = [("after_stop", ("c.d", true)), ("before_start", ("a.b", true))];
    let hooks = hooks.map(|(name, (target, flag))| (name.to_owned(), (target.to_owned(), flag)));
    assert_eq!(watcher.hooks, hooks.into_iter().collect());
}

#[test]
fn rows_are_unique_helpful_and_true() {
    for (index, row) in WATCHER_OPTIONS.iter().enumerate() {
        assert!(!row.help.is_empty());
        assert!(WATCHER_OPTIONS.iter().skip(index + 1).all(|later| later.name != row.name), "{}", row.name);
        assert!(!row.is_changed(&WatcherOptions::new("x")), "{}: the default counts as a change", row.name);
        // A row that shows itself must find itself by the key that it is set with.
        let key = row.separator.map_or(row.name.to_owned(), |separator| format!("{}{separator}x", row.name));
        assert_eq!(WatcherOption::find(&key).map(|found| found.name), Some(row.name));
        if row.shown == Shown::Plain {
            assert_eq!(get(&WatcherOptions::new("x"), row.name), Some(row.default_value()), "{}", row.name);
        }
    }
    assert!(WatcherOption::find("rlimitless").is_none());
    assert!(WatcherOption::find("cmdline").is_none());
    assert!(CIRCUS_OPTIONS.iter().all(|row| !row.help.is_empty()));
    assert!(SOCKET_OPTIONS.iter().all(|row| !row.help.is_empty()));
}

#[test]
fn what_no_program_can_be_given_is_refused_before_it_is_tried() {
    let refused = |key: &str, value: Value| {
        let mut watcher = alpha();
        let before = watcher.clone();
        let error = set(&mut watcher, key, &value).unwrap_err();
        assert_eq!(watcher, before);
        (error.errno(), error.to_string())
    };
    let zero = |key: &str| (OptionErrno::Message, format!("'{key}' has a zero byte"));
    assert_eq!(refused("cmd", json!("x\0y")), zero("cmd"));
    assert_eq!(refused("args", json!(["a", "\0"])), zero("args"));
    assert_eq!(refused("working_dir", json!("/tmp\0")), zero("working_dir"));
    assert_eq!(refused("env", json!({"KEY": "a\0b"})), zero("env"));
    assert_eq!(refused("env", json!({"K\0": "a"})), zero("env"));
    assert_eq!(refused("stdout_stream", json!({"class": "FileStream", "filename": "\0"})), zero("stdout_stream"));
    let name = (OptionErrno::Message, "illegal environment variable name 'A=B'".to_owned());
    assert_eq!(refused("env", json!({"A=B": "c"})), name);
}
