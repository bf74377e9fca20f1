//! The configuration corpus: what Circus 0.19 made of its own test files and examples, and of about a hundred probes of
//! its grammar. Our files hold the same keys and values in words of our own; our typed result must agree with every
//! recorded value, and must not have a value that was not recorded.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops where a fact is missing")]

use ringmaster_manager::config::{Config, Severity, load};
use ringmaster_manager::options::{
    CIRCUS_OPTIONS, CircusOptions, SocketAddressSpec, SocketFamily, SocketOptions, WATCHER_OPTIONS, WatcherOption,
    WatcherOptions,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `RINGMASTER_CONFIG_CORPUS` names another folder with files of the same shape, for longer lists of probes.
fn corpus() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/config-corpus");
    std::env::var_os("RINGMASTER_CONFIG_CORPUS").map_or(own, PathBuf::from)
}

fn text_of(file: &str) -> String {
    std::fs::read_to_string(corpus().join(file)).unwrap()
}

/// What ours says where Circus says `recorded`, in Circus's words. `Err` tells the first difference.
type Agreement = Result<(), String>;

fn agree(what: &str, ours: &Value, recorded: &Value) -> Agreement {
    // 30 and 30.0 are one number; a custom option is text in Circus where ours has its type.
    let same_number = ours.as_f64().is_some() && ours.as_f64() == recorded.as_f64();
    let same_text = ours.is_number() && recorded.as_str() == Some(&ours.to_string());
    if ours == recorded || same_number || same_text {
        return Ok(());
    }
    Err(format!("{what}: ours {ours}, recorded {recorded}"))
}

fn watcher_agrees(ours: &WatcherOptions, recorded: &Map<String, Value>) -> Agreement {
    for (key, value) in recorded {
        let name = format!("watcher {} {key}", ours.name);
        match key.as_str() {
            "name" => agree(&name, &json!(ours.name), value)?,
            // `__name__` is no variable for children here (on purpose).
            "env" => agree(&name, &json!(ours.env), &without_title(value))?,
            "rlimits" => agree(&name, &watcher_value(ours, "rlimit"), &lower_case_keys(value))?,
            "stdout_stream" => agree(&name, &stream(ours, "stdout_stream"), &with_class(value))?,
            "stderr_stream" => agree(&name, &stream(ours, "stderr_stream"), &with_class(value))?,
            "hooks" => agree(&name, &watcher_value(ours, "hooks"), &sorted(value))?,
            "use_papa" => agree(&name, &json!(ours.extra.get(key)), value)?,
            _ if WatcherOption::find(key).is_some() => agree(&name, &watcher_value(ours, key), value)?,
            _ => agree(&name, &json!(ours.extra.get(key)), value)?,
        }
    }
    // Nothing that Circus did not find.
    for row in WATCHER_OPTIONS {
        let key = if row.name == "rlimit" { "rlimits" } else { row.name };
        if row.is_changed(ours) && !recorded.contains_key(key) {
            return Err(format!("watcher {}: {key} is set here and not in Circus", ours.name));
        }
    }
    match ours.extra.keys().find(|key| !recorded.contains_key(*key)) {
        Some(key) => Err(format!("watcher {}: custom option {key} is not in Circus", ours.name)),
        None => Ok(()),
    }
}

/// The value as it is kept, not as `options` shows it.
fn watcher_value(watcher: &WatcherOptions, key: &str) -> Value {
    match (key, &watcher.working_dir) {
        ("working_dir", None) => Value::Null,
        _ => WatcherOption::find(key).unwrap().kind.get(watcher),
    }
}

fn stream(watcher: &WatcherOptions, key: &str) -> Value {
    let stream = match key {
        "stdout_stream" => &watcher.stdout_stream,
        _ => &watcher.stderr_stream,
    };
    let Some(stream) = stream else { return json!({}) };
    let mut all = stream.settings.clone();
    all.insert("class".to_owned(), stream.class.to_string());
    json!(all)
}

/// A stream with only a file name is a FileStream; Circus finds that out later.
fn with_class(value: &Value) -> Value {
    let mut stream: BTreeMap<&str, Value> =
        value.as_object().unwrap().iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    stream.entry("class").or_insert_with(|| json!("FileStream"));
    json!(stream)
}

fn sorted(value: &Value) -> Value {
    json!(value.as_object().unwrap().iter().collect::<BTreeMap<_, _>>())
}

fn lower_case_keys(value: &Value) -> Value {
    let entries = value.as_object().unwrap().iter();
    json!(entries.map(|(key, value)| (key.to_lowercase(), value)).collect::<BTreeMap<_, _>>())
}

fn without_title(value: &Value) -> Value {
    let entries = value.as_object().unwrap().iter().filter(|(key, _)| *key != "__name__");
    json!(entries.collect::<BTreeMap<_, _>>())
}

fn socket_agrees(ours: &SocketOptions, recorded: &Map<String, Value>) -> Agreement {
    let text = |key: &str, default: &str| recorded.get(key).and_then(Value::as_str).unwrap_or(default).to_owned();
    let flag = |key: &str| recorded.get(key).and_then(Value::as_bool).unwrap_or_default();
    let (address, family) = match recorded.get("path").and_then(Value::as_str) {
        Some(path) => (SocketAddressSpec::Unix(path.into()), SocketFamily::Unix),
        None => {
            let port = text("port", "8080").parse().unwrap();
            (SocketAddressSpec::Inet { host: text("host", "localhost"), port }, SocketFamily::Inet)
        }
    };
    let what = format!("socket {}", ours.name);
    agree(&what, &json!(ours.name), &json!(text("name", "")))?;
    agree(&what, &json!(ours.so_reuseport), &json!(flag("so_reuseport")))?;
    agree(&what, &json!(ours.replace), &json!(flag("replace")))?;
    if ours.address == address && ours.family == family {
        return Ok(());
    }
    Err(format!("{what}: ours {:?} {:?}, recorded {address:?} {family:?}", ours.address, ours.family))
}

fn plugin_agrees(name: &str, settings: &BTreeMap<String, String>, recorded: &Map<String, Value>) -> Agreement {
    let as_text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
    let mut expected: BTreeMap<&str, String> =
        recorded.iter().map(|(key, value)| (key.as_str(), as_text(value))).collect();
    assert_eq!(expected.remove("name").as_deref(), expected.remove("__name__").as_deref());
    agree("plugin", &json!(name), &recorded["name"])?;
    agree(name, &json!(settings), &json!(expected))
}

fn circus_agrees(ours: &CircusOptions, recorded: &Map<String, Value>) -> Agreement {
    for (key, value) in recorded {
        let row = CIRCUS_OPTIONS.iter().find(|row| row.name == key).unwrap();
        agree(key, &row.get(ours), value)?;
    }
    Ok(())
}

fn sections_agree(config: &Config, watchers: &Value, sockets: &Value, plugins: &Value) -> Agreement {
    let objects = |value: &Value| -> Vec<Map<String, Value>> {
        value.as_array().unwrap().iter().map(|object| object.as_object().unwrap().clone()).collect()
    };
    let (watchers, sockets, plugins) = (objects(watchers), objects(sockets), objects(plugins));
    let counts = (config.watchers.len(), config.sockets.len(), config.plugins.len());
    if counts != (watchers.len(), sockets.len(), plugins.len()) {
        return Err(format!("{counts:?} sections, problems {:?}", texts(config)));
    }
    for (ours, recorded) in config.watchers.iter().zip(&watchers) {
        watcher_agrees(ours, recorded)?;
    }
    for (ours, recorded) in config.sockets.iter().zip(&sockets) {
        socket_agrees(ours, recorded)?;
    }
    for (ours, recorded) in config.plugins.iter().zip(&plugins) {
        plugin_agrees(&ours.name, &ours.settings, recorded)?;
    }
    Ok(())
}

fn texts(config: &Config) -> Vec<String> {
    config.problems.iter().map(ToString::to_string).collect()
}

fn environment(value: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(value.clone()).unwrap()
}

/// Files of which a watcher is left out here at once; Circus reads it and then drops it when it is created.
const LEFT_OUT_FILES: &[(&str, &str)] = &[(
    "tests/config/virtualenv.ini",
    "tests/config/virtualenv.ini:7: [watcher:test] virtualenv: needs copy_env = True (this watcher is left out)",
)];

#[test]
fn every_file_of_circus_means_the_same() {
    let expected: Value = serde_json::from_str(&text_of("expected.json")).unwrap();
    let process_env = environment(&expected["environment_used"]);
    let files = expected["files"].as_object().unwrap();
    assert!(files.len() >= 65, "{}", files.len());
    for (file, recorded) in files {
        let path = corpus().join("ini").join(file);
        let config = load(&path, &process_env).unwrap_or_else(|errors| panic!("{file}: {errors}"));
        let left_out: Vec<_> = config.problems.iter().filter(|p| p.severity == Severity::LeftOut).collect();
        if let Some((_, text)) = LEFT_OUT_FILES.iter().find(|(name, _)| name == file) {
            assert!(config.watchers.is_empty());
            assert!(left_out.iter().any(|problem| problem.to_string().ends_with(text)), "{:?}", texts(&config));
            continue;
        }
        assert!(left_out.is_empty(), "{file}: {:?}", texts(&config));
        let mut circus = expected["circus_defaults"].as_object().unwrap().clone();
        for list in ["watchers", "plugins", "sockets"] {
            circus.remove(list);
        }
        circus.extend(recorded["circus"].as_object().unwrap().clone());
        let agreement = circus_agrees(&config.circus, &circus)
            .and_then(|()| sections_agree(&config, &recorded["watchers"], &recorded["sockets"], &recorded["plugins"]));
        agreement.unwrap_or_else(|difference| panic!("{file}: {difference}"));
    }
}

/// One probe: its label, its variables, its files (the main one first).
struct Probe {
    label: String,
    environment: BTreeMap<String, String>,
    files: Vec<(String, String)>,
}

fn probes() -> Vec<Probe> {
    let inputs = text_of("probe-inputs.txt");
    let probe = |block: &str| {
        let (head, text) = block.split_once('\n').unwrap_or((block, ""));
        let (label, variables) = head.split_once(" | ").unwrap_or((head, ""));
        let fixed = [("HOME", "/root"), ("PATH", "/bin"), ("LC_CTYPE", "C.UTF-8")];
        let mut parts = format!("t.ini\n{text}");
        parts = parts.replace("{CR}", "\r").replace("{BOM}", "\u{feff}");
        Probe {
            label: label.to_owned(),
            environment: (fixed.into_iter())
                .chain(variables.split_whitespace().map(|pair| pair.split_once('=').unwrap()))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            files: (parts.split("\n--- "))
                .map(|part| part.split_once('\n').unwrap())
                .map(|(name, text)| (name.to_owned(), format!("{text}\n")))
                .collect(),
        }
    };
    inputs.split("\n=== ").skip(1).map(probe).collect()
}

/// Label to what was recorded: an object, or the text of an exception.
fn records() -> BTreeMap<String, Result<Value, String>> {
    let mut records = BTreeMap::new();
    let mut label = String::new();
    for line in text_of("parser-probes.txt").lines() {
        let result = match line.split_once(" => ") {
            Some((name, result)) => {
                label = name.to_owned();
                result
            }
            // Warnings were written in between.
            None if line.starts_with("{\"w\"") => line,
            None => continue,
        };
        let record = match result.strip_prefix("ERR ") {
            Some(error) => Err(error.to_owned()),
            None => Ok(serde_json::from_str(result).unwrap_or_default()),
        };
        records.insert(label.clone(), record);
    }
    records
}

/// Where Circus takes a value and fails later, or means it differently: what ours says, and nothing else is different.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "stop_signal '-1'",
        "t.ini:3: [watcher:a] stop_signal = -1: expected a signal name such as TERM, SIGINT or RTMIN+1, or a number from 1 to 64 (this watcher is left out)",
    ),
    (
        "stop_signal 'SIG_DFL'",
        "t.ini:3: [watcher:a] stop_signal = SIG_DFL: expected a signal name such as TERM, SIGINT or RTMIN+1, or a number from 1 to 64 (this watcher is left out)",
    ),
    (
        "streams",
        "t.ini:5: [watcher:a] stderr_stream: expected stderr_stream.class or stderr_stream.filename among its keys (this watcher is left out)",
    ),
    (
        "max_age",
        "t.ini:4: [watcher:a] max_age_variance = x: expected a whole number, 0 or more (this watcher is left out)",
    ),
    ("virtualenv", "t.ini:3: [watcher:a] virtualenv: needs copy_env = True (this watcher is left out)"),
    (
        "singleton3",
        "t.ini:3: [watcher:a] numprocesses = 3: a singleton watcher has one process or none (this watcher is left out)",
    ),
    (
        // Circus runs both, and every command reaches only one of them.
        "sorted",
        "t.ini:1: [watcher:b] the name 'b' is taken by [watcher:B] at t.ini:5 (this watcher is left out)",
    ),
    (
        "socket name twice",
        "t.ini:1: [socket:a] the name 'a' is taken by [socket:A] at t.ini:3 (this socket is left out)",
    ),
];

fn check_probe(probe: &Probe, record: &Result<Value, String>) -> Agreement {
    let folder = tempfile::tempdir().unwrap();
    let here = format!("{}/", folder.path().display());
    for (name, text) in &probe.files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.replace("{DIR}", &folder.path().display().to_string())).unwrap();
    }
    let loaded = load(&folder.path().join("t.ini"), &probe.environment);
    let plain = |texts: Vec<String>| -> Vec<String> { texts.iter().map(|text| text.replace(&here, "")).collect() };
    if let Some((_, text)) = DIFFERENCES.iter().find(|(label, _)| *label == probe.label) {
        let texts = plain(texts(&loaded.map_err(|errors| errors.to_string())?));
        return if texts.iter().any(|line| line == text) { Ok(()) } else { Err(format!("{texts:?}")) };
    }
    match (record, loaded) {
        // One bad section stops Circus; ours leaves it out, and stops only for syntax and [circus].
        (Err(_), Err(_)) => Ok(()),
        (Err(error), Ok(config)) => {
            let is_empty = config.watchers.is_empty() && config.plugins.is_empty() && config.sockets.is_empty();
            let is_named = config.problems.iter().any(|problem| problem.severity == Severity::LeftOut);
            if is_empty && is_named { Ok(()) } else { Err(format!("Circus stops: {error}")) }
        }
        (Ok(_), Err(errors)) => Err(errors.to_string()),
        (Ok(recorded), Ok(config)) => {
            let left_out = config.problems.iter().find(|problem| problem.severity == Severity::LeftOut);
            if let Some(problem) = left_out {
                return Err(problem.to_string());
            }
            circus_agrees(&config.circus, recorded["c"].as_object().unwrap())?;
            sections_agree(&config, &recorded["w"], &recorded["s"], &recorded["p"])
        }
    }
}

#[test]
fn every_probe_of_the_grammar_means_the_same() {
    let records = records();
    let probes = probes();
    let labels: Vec<&str> = probes.iter().map(|probe| probe.label.as_str()).collect();
    for label in records.keys() {
        assert!(labels.contains(&label.as_str()), "no input for {label:?}");
    }
    assert!(probes.len() >= 96, "{}", probes.len());
    for probe in &probes {
        let record = records.get(&probe.label).unwrap_or_else(|| panic!("no record of {:?}", probe.label));
        check_probe(probe, record).unwrap_or_else(|difference| panic!("{:?}: {difference}", probe.label));
    }
}
