//! Our plugins and Circus's own beside each other at one circusd, ours and Circus's: statsd is told the same names.

use anyhow::{Context as _, Result};
use ringmaster_tests::daemon::{Daemon, Subject};
use ringmaster_tests::program::Program;
use ringmaster_tests::sandbox::Sandbox;
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::statsd::StatsdServer;
use ringmaster_tests::wait::wait_until;
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeSet;

/// A plugin, its settings, and the names that it must have told both servers.
const PLUGINS: &[(&str, &str, &[&str])] = &[
    (
        "circus.plugins.statsd.StatsdEmitter",
        "application_name:shop",
        &[
            "circus.shop.watcher.alpha.kill c",
            "circus.shop.watcher.alpha.reap c",
            "circus.shop.watcher.alpha.spawn c",
            "circus.shop.watcher.alpha.start c",
            "circus.shop.watcher.alpha.stop c",
        ],
    ),
    (
        "circus.plugins.statsd.FullStats",
        "loop_rate:0.2",
        &[
            "circus.app.watcher._stats.alpha.cpu_max g",
            "circus.app.watcher._stats.alpha.cpu_sum g",
            "circus.app.watcher._stats.alpha.mem_max g",
            "circus.app.watcher._stats.alpha.mem_pct_max g",
            "circus.app.watcher._stats.alpha.mem_pct_sum g",
            "circus.app.watcher._stats.alpha.mem_sum g",
            "circus.app.watcher._stats.alpha.watchers_num g",
        ],
    ),
    // Its restarts make the events for the first one.
    (
        "circus.plugins.resource_watcher.ResourceWatcher",
        "watcher:alpha:::loop_rate:0.5:::max_count:2:::max_cpu:-1:::min_cpu:9999:::max_mem:0.0001:::min_mem:99:::\
         health_threshold:-9",
        &[
            "circus.app.watcher._resource_watcher.alpha.over_cpu c",
            "circus.app.watcher._resource_watcher.alpha.over_health c",
            "circus.app.watcher._resource_watcher.alpha.over_memory c",
            "circus.app.watcher._resource_watcher.alpha.restarting c",
            "circus.app.watcher._resource_watcher.alpha.under_cpu c",
            "circus.app.watcher._resource_watcher.alpha.under_memory c",
        ],
    ),
    (
        "circus.plugins.resource_watcher.ResourceWatcher",
        "watcher:nobody:::loop_rate:0.2:::application_name:b.c",
        &["circus.b.c.watcher._resource_watcher.nobody.error c"],
    ),
];

/// A plugin at work, and what it tells.
struct Working {
    program: Daemon,
    statsd: StatsdServer,
}

impl Working {
    fn start(stack: &Stack, subject: Subject, class: &str, settings: &str) -> Result<Self> {
        let statsd = StatsdServer::start()?;
        let host = statsd.settings()?.trim().replace(" = ", ":").replace('\n', ":::");
        let (endpoint, pubsub) = (stack.sandbox.endpoint(), stack.sandbox.pubsub_endpoint());
        let settings = format!("{host}:::{settings}");
        let arguments = ["--endpoint", &endpoint, "--pubsub", &pubsub, "--config", &settings, class];
        let command = stack.sandbox.command(Sandbox::program(subject, Program::CircusPlugin)?);
        Ok(Self { program: stack.sandbox.start_command(command, &arguments)?, statsd })
    }

    /// What it told so far: names and types, without values.
    fn names(&mut self) -> BTreeSet<String> {
        let name = |line: &String| {
            let (bucket, reading) = line.split_once(':')?;
            Some(format!("{bucket} {}", reading.split_once('|')?.1))
        };
        self.statsd.seen().iter().map(|line| name(line).unwrap_or_else(|| line.clone())).collect()
    }

    fn end(mut self) -> Result<()> {
        self.program.signal(Signal::TERM)?;
        self.program.wait(PATIENCE)?;
        Ok(())
    }
}

fn tell_the_same(daemon: Subject) -> Result<()> {
    let mut stack = Stack::empty("plugins-of-both", daemon)?;
    stack.configure("check_delay = 0.5", "[watcher:alpha]\ncmd = sleep 3600\nnumprocesses = 2\n")?;
    stack.start()?;
    let mut pairs = Vec::new();
    for (class, settings, _) in PLUGINS {
        let ours = Working::start(&stack, Subject::Ringmaster, class, settings)?;
        pairs.push((ours, Working::start(&stack, Subject::Circus, class, settings)?));
    }
    for ((ours, circuss), (class, _, wanted)) in pairs.iter_mut().zip(PLUGINS) {
        let wanted: BTreeSet<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        let same = wait_until(PATIENCE, &format!("both have told everything of {class}"), || {
            let (ours, circuss) = (ours.names(), circuss.names());
            let done = ours == wanted && circuss == wanted;
            if done { Ok(()) } else { Err(format!("ours {ours:?}, Circus's {circuss:?}")) }
        });
        same.with_context(|| stack.sandbox.logs())?;
    }
    for (ours, circuss) in pairs {
        ours.end()?;
        circuss.end()?;
    }
    // Circus refuses a command while another, such as the last restart, is under way.
    let stopped = wait_until(PATIENCE, "alpha is stopped", || {
        stack.call("stop", &json!({ "waiting": true })).map(drop).map_err(|error| format!("{error:#}"))
    });
    stopped?;
    stack.end()
}

#[test]
fn at_our_circusd() -> Result<()> {
    tell_the_same(Subject::Ringmaster)
}

#[test]
fn at_the_real_circusd() -> Result<()> {
    tell_the_same(Subject::Circus)
}
