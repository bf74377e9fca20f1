//! Built-in plugins do what they are for, and a Python class runs as Circus runs it.

use anyhow::{Context, Result, ensure};
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::statsd::StatsdServer;
use ringmaster_tests::venv::Venv;
use ringmaster_tests::wait::wait_until;
use serde_json::{Value, json};
use std::net::UdpSocket;

/// The state of a watcher.
fn status(stack: &mut Stack, watcher: &str) -> Result<String> {
    let reply = stack.call("status", &json!({ "name": watcher }))?;
    Ok(reply.get("status").and_then(Value::as_str).context("a status")?.to_owned())
}

fn await_status(stack: &mut Stack, watcher: &str, wanted: &str) -> Result<()> {
    wait_until(PATIENCE, &format!("{watcher} is {wanted}"), || match status(stack, watcher) {
        Ok(status) if status == wanted => Ok(()),
        other => Err(format!("{other:?}")),
    })
}

/// Waits until the only process of a watcher is another one than `old`.
fn await_other(stack: &mut Stack, watcher: &str, old: i32) -> Result<i32> {
    wait_until(PATIENCE, &format!("{watcher} has another process than {old}"), || match stack.pids(watcher) {
        Ok(pids) if pids.len() == 1 && pids.first() != Some(&old) => Ok(pids.first().copied().unwrap_or_default()),
        other => Err(format!("{other:?}")),
    })
}

fn only(stack: &mut Stack, watcher: &str) -> Result<i32> {
    stack.await_count(watcher, 1)?.first().copied().context("one process")
}

#[test]
fn flapping_pauses_a_crash_loop_and_gives_up_as_configured() -> Result<()> {
    let starts = "[watcher:crash]\ncmd = /bin/sh -c \"echo x >> starts; sleep 0.05; exit 1\"\n\
                  flapping.max_retry = 1\nflapping.retry_in = 0.5\n";
    let rest = format!(
        "{starts}[watcher:calm]\ncmd = sleep 3600\n[plugin:flapping]\nuse = circus.plugins.flapping.Flapping\n\
         attempts = 2\nwindow = 20\nretry_in = 3600\nmax_retry = 5\n"
    );
    let mut stack = Stack::new("flapping", "check_delay = 0.5", &rest)?;
    stack.start()?;
    await_status(&mut stack, "crash", "stopped").with_context(|| stack.sandbox.logs())?;
    // Its own retry_in, not the plugin's hour, starts it again: two ends more, and that was its only try.
    wait_until(PATIENCE, "crash has been started four times and is stopped", || {
        let starts = std::fs::read_to_string(stack.sandbox.work().join("starts")).unwrap_or_default();
        let status = status(&mut stack, "crash").unwrap_or_default();
        if starts.lines().count() >= 4 && status == "stopped" { Ok(()) } else { Err(format!("{starts:?} {status}")) }
    })
    .with_context(|| stack.sandbox.logs())?;
    ensure!(status(&mut stack, "calm")? == "active");
    stack.end()
}

#[test]
fn a_watcher_has_its_own_idea_of_flapping() -> Result<()> {
    let watcher = |name: &str, own: &str| {
        format!("[watcher:{name}]\ncmd = /bin/sh -c \"echo x >> {name}; sleep 0.05; exit 1\"\n{own}\n")
    };
    let rest = [
        watcher("strict", ""),
        watcher("patient", "flapping.attempts = 1000"),
        watcher("exempt", "flapping.active = False"),
        "[plugin:flapping]\nuse = circus.plugins.flapping.Flapping\nattempts = 4\nwindow = 60\nretry_in = 3600\n"
            .to_owned(),
    ];
    let mut stack = Stack::new("own-flapping", "check_delay = 0.2", &rest.concat())?;
    stack.start()?;
    await_status(&mut stack, "strict", "stopped").with_context(|| stack.sandbox.logs())?;
    // More ends than the plugin's own rule allows.
    wait_until(PATIENCE, "the others go on", || {
        let starts =
            |name| std::fs::read_to_string(stack.sandbox.work().join(name)).unwrap_or_default().lines().count();
        let (patient, exempt) = (starts("patient"), starts("exempt"));
        if patient > 8 && exempt > 8 { Ok(()) } else { Err(format!("{patient} {exempt}")) }
    })
    .with_context(|| stack.sandbox.logs())?;
    for (name, wanted) in [("strict", "stopped"), ("patient", "active"), ("exempt", "active")] {
        ensure!(status(&mut stack, name)? == wanted, "{name}\n{}", stack.sandbox.logs());
    }
    stack.end()
}

/// What a resource_watcher tells statsd, as far as it is about memory.
const OVER_MEMORY: [&str; 2] = ["over_memory:1|c", "restarting:1|c"];

#[test]
fn resource_watcher_restarts_a_process_that_leaks() -> Result<()> {
    let (mut statsd, mut errors) = (StatsdServer::start()?, StatsdServer::start()?);
    let rest = format!(
        "[watcher:Old Leak]\ncmd = python3 -c \"import time; x = bytearray(60000000); time.sleep(3600)\"\n\
         [plugin:memory]\nuse = circus.plugins.resource_watcher.ResourceWatcher\nwatcher = \"Old Leak\"\n\
         loop_rate = 0.2\nmax_mem = 40M\nmax_cpu = 10000\nmax_count = 2\n{}\
         [plugin:nobody]\nuse = circus.plugins.resource_watcher.ResourceWatcher\nwatcher = nobody\n\
         loop_rate = 0.2\napplication_name = shop\n{}",
        statsd.settings()?,
        errors.settings()?
    );
    let mut stack = Stack::new("leak", "", &rest)?;
    stack.start()?;
    let first = only(&mut stack, "Old Leak")?;
    await_other(&mut stack, "Old Leak", first).with_context(|| stack.sandbox.logs())?;
    let counters = OVER_MEMORY.map(|counter| format!("circus.app.watcher._resource_watcher.old_leak.{counter}"));
    statsd.await_all(PATIENCE, &counters.each_ref().map(String::as_str), || {})?;
    errors.await_all(PATIENCE, &["circus.shop.watcher._resource_watcher.nobody.error:1|c"], || {})?;
    stack.end()
}

#[test]
fn resource_watcher_signals_a_child_and_not_its_parent() -> Result<()> {
    let mut statsd = StatsdServer::start()?;
    let rest = format!(
        "[watcher:family]\ncmd = {}\n\
         [plugin:memory]\nuse = circus.plugins.resource_watcher.ResourceWatcher\nwatcher = family\n\
         process_children = 1\nchild_signal = KILL\n\
         loop_rate = 0.2\nmax_mem = 40M\nmax_cpu = 10000\nmax_count = 2\n{}",
        crate::python("family.py")?,
        statsd.settings()?
    );
    let mut stack = Stack::new("family", "", &rest)?;
    stack.start()?;
    let parent = only(&mut stack, "family")?;
    let mut children = std::collections::BTreeSet::new();
    wait_until(PATIENCE, "a child has taken the place of another", || {
        let reply = stack.call("stats", &json!({ "name": "family" })).map_err(|error| format!("{error:#}"))?;
        let child = reply.pointer(&format!("/info/{parent}/children/0/pid")).and_then(Value::as_i64);
        children.extend(child);
        if children.len() > 1 { Ok(()) } else { Err(reply.to_string()) }
    })
    .with_context(|| stack.sandbox.logs())?;
    let counters = OVER_MEMORY.map(|counter| format!("circus.app.watcher._resource_watcher.family.{counter}"));
    statsd.await_all(PATIENCE, &counters.each_ref().map(String::as_str), || {})?;
    ensure!(only(&mut stack, "family")? == parent, "{}", stack.sandbox.logs());
    stack.end()
}

#[test]
fn statsd_is_told_events_and_what_processes_use() -> Result<()> {
    let (mut events, mut usage, mut silence) = (StatsdServer::start()?, StatsdServer::start()?, StatsdServer::start()?);
    let rest = format!(
        "[watcher:My App]\ncmd = sleep 3600\nnumprocesses = 2\n[watcher:a.b]\ncmd = sleep 3600\n\
         [plugin:events]\nuse = circus.plugins.statsd.StatsdEmitter\napplication_name = demo\n{}\
         [plugin:usage]\nuse = circus.plugins.statsd.FullStats\nloop_rate = 0.2\nsample_rate = 0.5\n{}\
         [plugin:idle]\nuse = circus.plugins.statsd.StatsdEmitter\nactive = False\n{}",
        events.settings()?,
        usage.settings()?,
        silence.settings()?
    );
    let mut stack = Stack::new("statsd", "", &rest)?;
    stack.start()?;
    let idle = only(&mut stack, "plugin:idle")?;
    let told = ["spawn", "start", "kill", "reap", "stop"];
    let told = told.map(|event| ["my_app", "a-b"].map(|name| format!("circus.demo.watcher.{name}.{event}:1|c")));
    let told: Vec<&str> = told.as_flattened().iter().map(String::as_str).collect();
    // Again and again: the first restart may come before the plugin listens.
    let restarts = events.await_all(PATIENCE, &told, || {
        let _ = ["My App", "a.b"].map(|name| stack.call("restart", &json!({ "name": name, "waiting": true })));
    });
    restarts.with_context(|| stack.sandbox.logs())?;

    let gauges = ["watchers_num:2|g", "cpu_max:", "cpu_sum:", "mem_pct_max:", "mem_pct_sum:", "mem_max:", "mem_sum:"];
    let gauges = gauges.map(|gauge| format!("circus.app.watcher._stats.my_app.{gauge}"));
    usage.await_all(PATIENCE, &gauges.each_ref().map(String::as_str), || {}).with_context(|| stack.sandbox.logs())?;
    for line in usage.seen() {
        ensure!(line.ends_with("|g|@0.5") && !line.contains("plugin"), "{line}");
        let (_, value) = line.split_once(':').with_context(|| line.clone())?;
        let value = value.split('|').next().unwrap_or_default();
        ensure!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
    }
    ensure!(silence.seen().is_empty() && only(&mut stack, "plugin:idle")? == idle, "{:?}", silence.seen());
    stack.end()
}

#[test]
fn watchdog_kills_who_is_silent_and_nobody_else() -> Result<()> {
    let mut stack = Stack::new("watchdog", "", "")?;
    let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let beat = format!("{} {port}", crate::python("beat.py")?);
    let rest = format!(
        "[watcher:silent]\ncmd = sleep 3600\n[watcher:alive]\ncmd = {beat}\n\
         [plugin:dog]\nuse = circus.plugins.watchdog.WatchDog\nport = {port}\nloop_rate = 1\nmax_count = 3\n\
         watchers_regex = \"^(silent|alive)$\"\n"
    );
    stack.configure("", &rest)?;
    stack.start()?;
    let (silent, alive) = (only(&mut stack, "silent")?, only(&mut stack, "alive")?);
    let second = await_other(&mut stack, "silent", silent).with_context(|| stack.sandbox.logs())?;
    await_other(&mut stack, "silent", second)?;
    ensure!(only(&mut stack, "alive")? == alive, "{}", stack.sandbox.logs());
    stack.end()
}

#[test]
fn command_reloader_restarts_what_was_replaced() -> Result<()> {
    let rest = "[watcher:tool]\ncmd = ./tool\n[plugin:reloader]\n\
                use = circus.plugins.command_reloader.CommandReloader\nloop_rate = 0.2\n";
    let mut stack = Stack::new("reloader", "", rest)?;
    let tool = stack.sandbox.write("tool", "#!/bin/sh\nexec sleep 3600\n")?;
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&tool, executable)?;
    stack.start()?;
    let first = only(&mut stack, "tool")?;
    // Each attempt is a change, so it does not matter when the plugin looks for the first time.
    wait_until(PATIENCE, "the tool has another process", || {
        std::fs::File::open(&tool)
            .and_then(|file| file.set_modified(std::time::SystemTime::now()))
            .map_err(|error| error.to_string())?;
        match stack.pids("tool") {
            Ok(pids) if pids.iter().all(|pid| *pid != first) && !pids.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .with_context(|| stack.sandbox.logs())?;
    stack.end()
}

#[test]
fn a_python_class_runs_on_the_real_circus_package() -> Result<()> {
    let python = Venv::get()?.program("python");
    let bin = python.parent().context("a folder")?.display().to_string();
    let mut stack = Stack::new("logger", "", "")?;
    let rest = format!(
        "[env]\nPATH = {bin}:/usr/bin:/bin\nPYTHONPATH = {}\n[watcher:a]\ncmd = sleep 3600\n\
         [plugin:logger]\nuse = logger.Logger\nfile = {}\n",
        stack.sandbox.work().display(),
        stack.sandbox.work().join("events").display()
    );
    stack.sandbox.write("logger.py", LOGGER)?;
    stack.configure("", &rest)?;
    stack.start()?;
    wait_until(PATIENCE, "the plugin has written a restart", || {
        let restarted = stack.call("restart", &json!({ "name": "a", "waiting": true }));
        let events = std::fs::read_to_string(stack.sandbox.work().join("events")).unwrap_or_default();
        if events.contains("a reap") { Ok(()) } else { Err(format!("{events:?} {restarted:?}")) }
    })
    .with_context(|| stack.sandbox.logs())?;
    stack.end()
}

/// In the style of Circus's documentation.
const LOGGER: &str = "\
from circus.plugins import CircusPlugin

class Logger(CircusPlugin):
    name = 'logger'

    def __init__(self, *args, **config):
        super().__init__(*args, **config)
        self.file = open(config['file'], 'a', buffering=1)

    def handle_init(self):
        pass

    def handle_stop(self):
        self.file.close()

    def handle_recv(self, data):
        watcher, action, _ = self.split_data(data)
        self.file.write('%s %s\\n' % (watcher, action))
";
