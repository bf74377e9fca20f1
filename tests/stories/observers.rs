//! Plugins that ask a service whether it is well, with real services: one that hangs, one that is gone, one that refuses.

use anyhow::{Context as _, Result, ensure};
use ringmaster_tests::processes::signal;
use ringmaster_tests::redis;
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::statsd::StatsdServer;
use ringmaster_tests::wait::{stays_true, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// Every port of a sandbox is its own, so nobody else listens there.
const SERVICE: usize = 3;

/// Looks of an observer that change nothing: as many as this are taken for all.
const LOOKS: usize = 4;

fn only(stack: &mut Stack, watcher: &str) -> Result<i32> {
    stack.await_count(watcher, 1)?.first().copied().context("one process")
}

/// Waits until the only process of a watcher is another one than `old`.
fn await_other(stack: &mut Stack, watcher: &str, old: i32) -> Result<i32> {
    let found =
        wait_until(PATIENCE, &format!("{watcher} has another process than {old}"), || match stack.pids(watcher) {
            Ok(pids) if pids.len() == 1 && pids.first() != Some(&old) => Ok(pids.first().copied().unwrap_or_default()),
            other => Err(format!("{other:?}")),
        });
    found.with_context(|| stack.sandbox.logs())
}

fn status(stack: &mut Stack, watcher: &str) -> Result<String> {
    let reply = stack.call("status", &json!({ "name": watcher }))?;
    Ok(reply.get("status").and_then(Value::as_str).context("a status")?.to_owned())
}

/// A circusd with a Redis and an observer of it. Its statistics arrive at `statsd`.
fn redis_stack(name: &str, statsd: &StatsdServer, more: &str, url: &str) -> Result<Stack> {
    let stack = Stack::new(name, "", "")?;
    let port = stack.sandbox.port(SERVICE);
    let rest = format!(
        "[watcher:redis]\ncmd = {} {more}\ngraceful_timeout = 1\nwarmup_delay = 1\n\
         [plugin:redis]\nuse = circus.plugins.redis_observer.RedisObserver\nredis_url = {}\nloop_rate = 0.5\n\
         timeout = 2\nrestart_on_timeout = redis\n{}",
        redis::command(port, &stack.sandbox.work())?,
        url.replace("PORT", &port.to_string()),
        statsd.settings()?,
    );
    stack.configure("", &rest)?;
    Ok(stack)
}

#[test]
fn a_redis_that_hangs_is_restarted_and_a_stopped_one_is_not() -> Result<()> {
    let mut statsd = StatsdServer::start()?;
    let mut stack = redis_stack("redis", &statsd, "", "redis://127.0.0.1:PORT/1")?;
    stack.start()?;
    let first = only(&mut stack, "redis")?;
    let of = |name: &str| format!("circus.redis_observer.watcher.redis_stats.{name}:");
    let gauges = ["used_memory", "connected_clients", "uptime_in_seconds", "client_biggest_input_buf"].map(of);
    let gauges = gauges.each_ref().map(String::as_str);
    statsd.await_all(PATIENCE, &gauges, || {}).with_context(|| stack.sandbox.logs())?;

    // It holds its port and takes connections, as far as the system does that for it, and never answers.
    signal(first, Signal::STOP);
    statsd.forget();
    let second = await_other(&mut stack, "redis", first)?;
    let counters = [of("error") + "1|c", of("restart_on_error") + "1|c"];
    statsd.await_all(PATIENCE, &counters.each_ref().map(String::as_str), || {})?;
    let port = stack.sandbox.port(SERVICE);
    wait_until(PATIENCE, "the new Redis answers", || redis::ping(port))?;
    statsd.forget();
    statsd.await_all(PATIENCE, &gauges, || {})?;
    ensure!(only(&mut stack, "redis")? == second, "one restart is enough");

    stack.call("stop", &json!({ "name": "redis", "waiting": true }))?;
    statsd.forget();
    wait_until(PATIENCE, "the observer has looked and failed", || match statsd.count(&of("error")) {
        looks if looks >= LOOKS => Ok(()),
        looks => Err(looks.to_string()),
    })?;
    ensure!(status(&mut stack, "redis")? == "stopped", "somebody wants it stopped");
    ensure!(statsd.count(&of("restart_on_error")) == 0);
    stack.end()
}

#[test]
fn a_redis_that_refuses_is_left_alone() -> Result<()> {
    let mut statsd = StatsdServer::start()?;
    let mut stack = redis_stack("refusing", &statsd, "--requirepass right", "redis://:wrong@127.0.0.1:PORT")?;
    let mut entitled = StatsdServer::start()?;
    let port = stack.sandbox.port(SERVICE);
    let ini = std::fs::read_to_string(stack.sandbox.work().join("circus.ini"))?;
    let second = format!(
        "{ini}[plugin:entitled]\nuse = circus.plugins.redis_observer.RedisObserver\n\
         redis_url = redis://:ri%67ht@127.0.0.1:{port}\nloop_rate = 0.5\n{}",
        entitled.settings()?
    );
    stack.sandbox.write("circus.ini", &second)?;
    stack.start()?;
    let first = only(&mut stack, "redis")?;
    entitled.await_all(PATIENCE, &["circus.redis_observer.watcher.redis_stats.used_memory:"], || {})?;
    statsd.forget();
    wait_until(PATIENCE, "it was refused often", || {
        match statsd.count("circus.redis_observer.watcher.redis_stats.error:") {
            looks if looks >= LOOKS => Ok(()),
            looks => Err(looks.to_string()),
        }
    })?;
    ensure!(statsd.count("circus.redis_observer.watcher.redis_stats.restart_on_error:") == 0);
    ensure!(only(&mut stack, "redis")? == first, "{}", stack.sandbox.logs());
    stack.end()
}

/// One GET; status line and page of an answer that is as long as it says, however long its connection lives.
fn get(port: u16, path: &str) -> Result<(String, String)> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    server.set_read_timeout(Some(PATIENCE))?;
    write!(server, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut lines = BufReader::new(server).lines();
    let status = lines.next().context("a status line")??;
    for line in lines.by_ref() {
        if line?.is_empty() {
            break;
        }
    }
    Ok((status, lines.next().context("a page")??))
}

#[test]
fn a_web_server_that_hangs_or_does_not_listen_is_restarted() -> Result<()> {
    let (mut statsd, mut missing) = (StatsdServer::start()?, StatsdServer::start()?);
    let mut stack = Stack::new("web", "", "")?;
    let port = stack.sandbox.port(SERVICE);
    let observer = "use = circus.plugins.http_observer.HttpObserver\nloop_rate = 0.5\ntimeout = 3\n";
    let rest = format!(
        "[watcher:web]\ncmd = {} {port}\ngraceful_timeout = 1\nwarmup_delay = 3\n\
         [plugin:page]\n{observer}check_url = http://127.0.0.1:{port}/moved\nrestart_on_error = web\n{}\
         [plugin:missing]\n{observer}check_url = http://127.0.0.1:{port}/missing\n{}",
        crate::python("web.py")?,
        statsd.settings()?,
        missing.settings()?,
    );
    stack.configure("", &rest)?;
    stack.start()?;
    let of = |name: &str| format!("circus.http_observer.watcher.http_stats.{name}:");
    statsd.await_all(PATIENCE, &[&of("request_time")], || {}).with_context(|| stack.sandbox.logs())?;
    let first = only(&mut stack, "web")?;

    signal(first, Signal::STOP);
    statsd.forget();
    await_other(&mut stack, "web", first)?;
    let told = [of("error"), of("error.599"), of("restart_on_error"), of("request_time")];
    statsd.await_all(PATIENCE, &told.each_ref().map(String::as_str), || {})?;
    let second = only(&mut stack, "web")?;

    statsd.forget();
    ensure!(get(port, "/go-deaf")? == ("HTTP/1.1 200 OK".to_owned(), "page".to_owned()));
    await_other(&mut stack, "web", second)?;
    statsd.await_all(PATIENCE, &[&of("error.599"), &of("restart_on_error")], || {})?;

    // The other observer sees a living server without its page, and has nothing to restart.
    missing.forget();
    missing.await_all(PATIENCE, &[&(of("error.404") + "1|c"), &(of("error") + "1|c")], || {})?;
    ensure!(missing.count(&of("restart_on_error")) == 0);
    stack.end()
}

#[test]
fn a_hook_asks_the_real_redis_before_its_watcher_starts() -> Result<()> {
    let mut stack = Stack::new("check-redis", "", "")?;
    let port = stack.sandbox.port(SERVICE);
    let hooks = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let rest = format!(
        "[watcher:redis]\ncmd = {}\nautostart = False\n\
         [watcher:shop]\ncmd = sleep 3600\nhooks.before_start = hooks_of_a_shop.check_redis\n\
         [env:shop]\nREDIS = 127.0.0.1:{port}\nPYTHONPATH = {}\n",
        redis::command(port, &stack.sandbox.work())?,
        hooks.display(),
    );
    stack.configure("", &rest)?;
    stack.start()?;
    // By itself, at the start of circusd, and when it is told to.
    ensure!(status(&mut stack, "shop")? == "stopped", "{}", stack.sandbox.logs());
    stack.call("start", &json!({ "name": "shop", "waiting": true }))?;
    ensure!(status(&mut stack, "shop")? == "stopped");

    stack.call("start", &json!({ "name": "redis", "waiting": true }))?;
    wait_until(PATIENCE, "Redis answers", || redis::ping(port))?;
    stack.call("start", &json!({ "name": "shop", "waiting": true }))?;
    ensure!(status(&mut stack, "shop")? == "active", "{}", stack.sandbox.logs());
    let shop = only(&mut stack, "shop")?;

    // It is asked before a start, not all the time.
    stack.call("stop", &json!({ "name": "redis", "waiting": true }))?;
    stays_true(Duration::from_millis(300), "the shop is open", || match stack.pids("shop") {
        Ok(pids) if pids == [shop] => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    stack.call("restart", &json!({ "name": "shop", "waiting": true }))?;
    ensure!(status(&mut stack, "shop")? == "stopped");
    stack.end()
}
