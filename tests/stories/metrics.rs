//! Figures, as a monitoring system reads them.

use crate::upgrade::{ctl, own_programs, replace};
use anyhow::{Context, Result, ensure};
use ringmaster_tests::daemon::{Daemon, Subject};
use ringmaster_tests::processes;
use ringmaster_tests::program::Program;
use ringmaster_tests::scrape::{OPEN_METRICS, Page, get};
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::tool;
use ringmaster_tests::wait::wait_until;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The sandbox's port for figures.
const PORT: usize = 2;

fn started(name: &str, more: &str, rest: &str) -> Result<(Stack, u16)> {
    let mut stack = Stack::empty(name, Subject::Ringmaster)?;
    let port = stack.sandbox.port(PORT);
    stack.sandbox.write("talk.sh", TALK)?;
    stack.configure(&format!("metrics_endpoint = http://127.0.0.1:{port}/metrics\n{more}"), rest)?;
    stack.start()?;
    Ok((stack, port))
}

/// Scrapes until the page is as it should be.
fn await_page(stack: &Stack, port: u16, what: &str, fits: impl Fn(&Page) -> Result<bool>) -> Result<Page> {
    let page = wait_until(PATIENCE, what, || {
        let page = Page::scrape(port, "").map_err(|error| format!("{error:#}"))?;
        match fits(&page) {
            Ok(true) => Ok(page),
            Ok(false) => Err(page.text),
            Err(error) => Err(format!("{error:#}")),
        }
    });
    page.with_context(|| stack.sandbox.logs())
}

/// Has Prometheus's own checker read a page.
fn check_with_promtool(page: &str) -> Result<()> {
    let Some(promtool) = tool::find("promtool", "prometheus")? else {
        return Ok(());
    };
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    check.stdin.take().context("a pipe")?.write_all(page.as_bytes())?;
    let output = check.wait_with_output()?;
    let words = [output.stdout, output.stderr].concat();
    ensure!(output.status.success() && words.is_empty(), "promtool: {}", String::from_utf8_lossy(&words));
    Ok(())
}

/// Three kilobytes, in lines.
const TALK: &str = "i=0\nwhile [ $i -lt 200 ]; do echo line number $i; i=$((i+1)); done\nexec sleep 3600\n";

const LOGGING: &str = "[watcher:web]\ncmd = sleep 3600\nnumprocesses = 2\n[watcher:talker]\ncmd = sh talk.sh\n\
    stdout_stream.class = FileStream\nstdout_stream.filename = talker.log\nstdout_stream.max_bytes = 1000\n\
    stdout_stream.backup_count = 2\n[watcher:off]\ncmd = sleep 3600\nautostart = False\n";

#[test]
fn a_scrape_tells_what_runs_and_what_has_happened() -> Result<()> {
    let (mut stack, port) = started("metrics", "metrics_per_process = True\n", LOGGING)?;
    let pids = stack.await_count("web", 2)?;
    let page = await_page(&stack, port, "all output is in its log", |page| {
        let rotations = page.value(r#"ringmaster_watcher_log_rotations_total{watcher="talker"}"#)?;
        Ok(rotations >= 2.0 && page.value(r#"ringmaster_watcher_buffered_bytes{watcher="talker"}"#)? == 0.0)
    })?;
    for (series, expected) in [
        (r#"ringmaster_watchers{status="active"}"#, 2.0),
        (r#"ringmaster_watchers{status="stopped"}"#, 1.0),
        (r#"ringmaster_watcher_active{watcher="off"}"#, 0.0),
        (r#"ringmaster_watcher_processes{watcher="web"}"#, 2.0),
        (r#"ringmaster_watcher_wanted_processes{watcher="web"}"#, 2.0),
        (r#"ringmaster_watcher_starts_total{watcher="web"}"#, 2.0),
        (r#"ringmaster_watcher_restarts_total{watcher="web"}"#, 0.0),
        (r#"ringmaster_watcher_lost_bytes_total{watcher="talker"}"#, 0.0),
        ("ringmaster_core_reachable", 1.0),
        ("ringmaster_core_lost_bytes_total", 0.0),
        ("ringmaster_core_safe_mode", 0.0),
    ] {
        ensure!(page.value(series)? == expected, "{series} is {}, not {expected}\n{}", page.value(series)?, page.text);
    }
    let told: Vec<f64> = (1..=2)
        .map(|wid| page.value(&format!(r#"ringmaster_process_pid{{watcher="web",wid="{wid}"}}"#)))
        .collect::<Result<_>>()?;
    ensure!(pids.iter().all(|pid| told.contains(&f64::from(*pid))), "{told:?} {pids:?}");
    ensure!(page.value(r#"ringmaster_watcher_resident_memory_bytes{watcher="web"}"#)? > 0.0);
    ensure!(page.value("process_resident_memory_bytes")? > 0.0 && page.value("process_open_fds")? > 3.0);

    // A death, a replacement, and a command that takes a moment.
    processes::signal(pids[0], Signal::KILL);
    stack.call("stop", &json!({"name": "talker", "waiting": true}))?;
    let page = await_page(&stack, port, "the death is told", |page| {
        Ok(page.value(r#"ringmaster_watcher_restarts_total{watcher="web"}"#)? == 1.0)
    })?;
    ensure!(page.value(r#"ringmaster_watcher_exits_total{watcher="web",code="-9"}"#)? == 1.0);
    ensure!(page.value(r#"ringmaster_watcher_exits_total{watcher="talker",code="-15"}"#)? == 1.0, "{}", page.text);
    ensure!(page.value(r#"ringmaster_command_duration_seconds_count{command="stop"}"#)? == 1.0);
    ensure!(page.value(r#"ringmaster_command_duration_seconds_bucket{command="stop",le="+Inf"}"#)? == 1.0);
    check_with_promtool(&page.text)?;
    let open = Page::scrape(port, OPEN_METRICS)?;
    ensure!(open.value(r#"ringmaster_watcher_restarts_total{watcher="web"}"#)? == 1.0);
    let names = |page: &Page| page.series().filter(|name| !name.contains("le=")).map(str::to_owned).collect::<Vec<_>>();
    ensure!(names(&open) == names(&page));
    stack.end()
}

#[test]
fn a_core_that_does_not_answer_is_told() -> Result<()> {
    let (stack, port) = started("metrics-core", "", "[watcher:web]\ncmd = sleep 3600\n")?;
    await_page(&stack, port, "all is well", |page| Ok(page.value("ringmaster_core_reachable")? == 1.0))?;
    let daemon = stack.daemon.as_ref().map(Daemon::pid);
    let core: Vec<i32> = stack.own_processes().into_iter().filter(|pid| Some(*pid) != daemon).collect();
    let all_get = |number: Signal| core.iter().all(|pid| processes::signal(*pid, number));
    ensure!(core.len() == 2 && all_get(Signal::STOP), "both halves of the core are there: {core:?}");
    let page = await_page(&stack, port, "the core is away", |page| Ok(page.value("ringmaster_core_reachable")? == 0.0));
    ensure!(all_get(Signal::CONT), "the core is gone: {core:?}");
    let page = page?;
    ensure!(page.value(r#"ringmaster_watcher_processes{watcher="web"}"#)? == 1.0);
    ensure!(page.series().all(|name| name == "ringmaster_core_reachable" || !name.starts_with("ringmaster_core_")));
    await_page(&stack, port, "the core is back", |page| Ok(page.value("ringmaster_core_reachable")? == 1.0))?;
    stack.end()
}

#[test]
fn a_scrape_during_an_upgrade_waits() -> Result<()> {
    let (mut stack, circusd) = own_programs("metrics-upgrade", |sandbox| {
        format!("metrics_endpoint = http://127.0.0.1:{}/metrics\n", sandbox.port(PORT))
    })?;
    let port = stack.sandbox.port(PORT);
    let over = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&over);
    let scraper = std::thread::spawn(move || -> Result<usize> {
        let mut count = 0;
        while !flag.load(Ordering::Relaxed) {
            Page::scrape(port, "").with_context(|| format!("scrape {count}"))?;
            count += 1;
        }
        Ok(count)
    });
    for _ in 0..3 {
        replace(&circusd, &Program::Circusd.path()?)?;
        let (said, complained, code) = ctl(&stack, &["upgrade"])?;
        ensure!(code == 0, "{said}{complained}\n{}", stack.sandbox.logs());
        stack.await_answer()?;
    }
    over.store(true, Ordering::Relaxed);
    let count = scraper.join().map_err(|_panic| anyhow::anyhow!("the scraper"))?;
    let count = count.with_context(|| stack.sandbox.logs())?;
    ensure!(count > 3, "{count} scrapes");
    println!("{count} scrapes while circusd was replaced three times");
    stack.end()
}

#[test]
fn where_figures_are_and_for_whom() -> Result<()> {
    let (mut stack, port) = started("metrics-doors", "", "[watcher:web]\ncmd = sleep 3600\n")?;
    ensure!(get(port, "/", "")?.status == 404);
    let foreign = std::net::TcpStream::connect(("127.0.0.1", port))?;
    let foreign = ringmaster_tests::scrape::converse(foreign, "/metrics", "Host: evil.example\r\n")?;
    ensure!(foreign.status == 421, "{}", foreign.head);
    // Without the option there is no port; what an earlier configuration had is gone.
    stack.quit()?;
    stack.configure("", "[watcher:web]\ncmd = sleep 3600\n")?;
    stack.start()?;
    ensure!(get(port, "/metrics", "").is_err(), "somebody serves {port}");
    stack.quit()?;
    let path = stack.sandbox.work().join("m.sock");
    stack.configure(
        &format!("metrics_endpoint = http+unix://{}\n", path.display()),
        "[watcher:web]\ncmd = sleep 3600\n",
    )?;
    stack.start()?;
    let mut unix = UnixStream::connect(&path)?;
    unix.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    unix.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("ringmaster_build_info{"), "{answer}");
    // Somebody else has the port: services run all the same.
    let taken = std::net::TcpListener::bind(("127.0.0.1", port))?;
    stack.quit()?;
    stack.configure(&format!("metrics_endpoint = http://127.0.0.1:{port}\n"), "[watcher:web]\ncmd = sleep 3600\n")?;
    stack.start()?;
    stack.await_count("web", 1)?;
    let log = stack.daemon.as_ref().map(Daemon::stderr).unwrap_or_default();
    ensure!(log.contains("circusd goes on without it"), "{log}");
    drop(taken);
    stack.end()
}

/// A wrong value is named with its place, before anything starts.
#[test]
fn a_wrong_endpoint_is_named() -> Result<()> {
    let stack = Stack::empty("metrics-wrong", Subject::Ringmaster)?;
    for (line, words) in [
        ("metrics_endpoint = tcp://127.0.0.1:1", "expected http://127.0.0.1:PORT/PATH"),
        ("metrics_endpoint = http://10.1.2.3:9464/metrics", "or metrics_remote = True beside it"),
    ] {
        stack.configure(line, "[watcher:web]\ncmd = sleep 3600\n")?;
        let output = stack.sandbox.command(Program::Circusd.path()?).args(["--check", "circus.ini"]).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1) && said.contains(words), "{said}");
        ensure!(said.contains("circus.ini:5: [circus] metrics_endpoint = "), "{said}");
    }
    let line = "metrics_endpoint = http://*:9464/metrics\nmetrics_remote = True";
    stack.configure(line, "[watcher:web]\ncmd = sleep 3600\n")?;
    let output = stack.sandbox.command(Program::Circusd.path()?).args(["--check", "circus.ini"]).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && said.contains("metrics   http://*:9464/metrics"), "{said}");
    let output = stack.sandbox.command(Program::Circusd.path()?).args(["--print-config", "circus.ini"]).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(said.contains("metrics_endpoint = http://*:9464/metrics"), "{said}");
    stack.sandbox.finish()
}

/// The real Prometheus, which prefers OpenMetrics, reads the page.
#[test]
fn prometheus_scrapes_it() -> Result<()> {
    let Some(prometheus) = tool::find("prometheus", "prometheus")? else {
        return Ok(());
    };
    let (stack, port) = started("metrics-prometheus", "", "[watcher:web]\ncmd = sleep 3600\nnumprocesses = 2\n")?;
    let own = stack.sandbox.port(3);
    let scrape = format!(
        "scrape_configs:\n  - job_name: ringmaster\n    scrape_interval: 1s\n    static_configs:\n      - targets: ['127.0.0.1:{port}']\n"
    );
    stack.sandbox.write("prometheus.yml", &scrape)?;
    let mut server = stack
        .sandbox
        .command(prometheus)
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
        .arg(format!("--web.listen-address=127.0.0.1:{own}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let query = |text: &str| -> Result<Value> {
        let response = get(own, &format!("/api/v1/query?query={text}"), "")?;
        let answer: Value = serde_json::from_str(&response.body)?;
        answer.pointer("/data/result/0/value/1").cloned().with_context(|| response.body.clone())
    };
    let found = wait_until(PATIENCE, "Prometheus has the figures", || {
        let up = query("up").map_err(|error| format!("{error:#}"))?;
        let processes = query("ringmaster_watcher_processes").map_err(|error| format!("{up} {error:#}"))?;
        if up == json!("1") && processes == json!("2") {
            Ok(())
        } else {
            Err(format!("up {up}, processes {processes}"))
        }
    });
    server.kill()?;
    server.wait()?;
    found.with_context(|| stack.sandbox.logs())?;
    stack.end()
}
