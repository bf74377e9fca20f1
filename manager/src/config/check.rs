//! What `circusd --check FILE` prints: what would run, and what is wrong.

use super::{Config, Severity};
use crate::options::{Args, Retries, Seconds, SocketAddressSpec, SocketOptions, StreamOptions, WatcherOptions};
use std::fmt::Write as _;

/// A summary for people: endpoints, sockets, watchers, plugins, and the problems last.
pub fn report(config: &Config) -> String {
    let mut lines = vec![format!("configuration {}", config.path.display())];
    for included in config.files.iter().skip(1) {
        lines.push(format!("  includes {}", included.display()));
    }
    let circus = &config.circus;
    lines.push(format!("commands  {}", circus.endpoint));
    lines.push(format!("events    {}", circus.pubsub_endpoint));
    if let Some(endpoint) = &circus.metrics_endpoint {
        lines.push(format!("metrics   {endpoint}"));
    }
    if let Some(instance) = &circus.instance {
        lines.push(format!("instance  {instance}"));
    }
    lines.push(heading("sockets", config.sockets.len()));
    lines.extend(config.sockets.iter().map(socket));
    lines.push(heading("watchers", config.watchers.len()));
    lines.extend(config.watchers.iter().flat_map(watcher));
    if !config.plugins.is_empty() {
        lines.push(heading("plugins", config.plugins.len()));
        lines.extend(config.plugins.iter().map(|plugin| format!("  {}", plugin.name)));
    }
    lines.push(problems(config));
    lines.join("\n") + "\n"
}

fn heading(what: &str, count: usize) -> String {
    if count == 0 { format!("no {what}") } else { format!("{what}:") }
}

fn socket(socket: &SocketOptions) -> String {
    let address = match &socket.address {
        SocketAddressSpec::Inet { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        SocketAddressSpec::Inet { host, port } => format!("{host}:{port}"),
        SocketAddressSpec::Unix(path) => path.display().to_string(),
    };
    let mut line = format!("  {} at {address}", socket.name);
    if socket.so_reuseport {
        line.push_str(", one for every process");
    }
    if socket.use_papa {
        line.push_str(", kept when circusd quits");
    }
    line
}

fn watcher(watcher: &WatcherOptions) -> Vec<String> {
    let mut head = format!("  {}: {} × {}", watcher.name, watcher.numprocesses, command(watcher));
    if !watcher.autostart {
        head.push_str(", started by hand");
    }
    let lifetime = match (watcher.use_papa, watcher.respawn) {
        (true, true) => "outlives circusd, replaced when it ends",
        (true, false) => "outlives circusd, not replaced when it ends",
        (false, true) => "ends with circusd, replaced when it ends",
        (false, false) => "ends with circusd, not replaced when it ends",
    };
    let mut lines = vec![head, format!("    {lifetime}; {}", stop(watcher))];
    for (name, stream, is_closed) in [
        ("stdout", &watcher.stdout_stream, watcher.close_child_stdout),
        ("stderr", &watcher.stderr_stream, watcher.close_child_stderr),
    ] {
        lines.push(format!("    {name} to {}", target(stream.as_ref(), is_closed)));
    }
    lines
}

fn command(watcher: &WatcherOptions) -> String {
    let args = match &watcher.args {
        Args::Text(text) => text.clone(),
        Args::List(items) => items.join(" "),
    };
    let command = format!("{} {args}", watcher.cmd);
    let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
    if command.is_empty() { "(no command: cannot start)".to_owned() } else { command }
}

fn stop(watcher: &WatcherOptions) -> String {
    let seconds = match watcher.graceful_timeout {
        Seconds::Whole(seconds) => seconds.to_string(),
        Seconds::Fractional(seconds) => seconds.to_string(),
    };
    let mut text = format!("stopped by {}, killed after {seconds} s", watcher.stop_signal);
    if watcher.max_retry == Retries::Unlimited {
        text.push_str("; spawn retried without limit");
    }
    if watcher.max_age > 0 {
        // A string takes any text, so writing cannot fail.
        let _ = write!(text, "; replaced after {} to {} s", watcher.max_age, {
            watcher.max_age.saturating_add(watcher.max_age_variance)
        });
    }
    text
}

fn target(stream: Option<&StreamOptions>, is_closed: bool) -> String {
    match stream {
        _ if is_closed => "/dev/null".to_owned(),
        None => "where circusd's goes".to_owned(),
        Some(stream) => match stream.settings.get("filename") {
            Some(filename) => format!("{} {filename}", stream.class),
            None => stream.class.to_string(),
        },
    }
}

fn problems(config: &Config) -> String {
    if config.problems.is_empty() {
        return "no problems".to_owned();
    }
    let count = config.problems.len();
    let left_out = config.problems.iter().filter(|problem| problem.severity == Severity::LeftOut).count();
    let mut text = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
    if left_out > 0 {
        let verb = if left_out == 1 { "leaves" } else { "leave" };
        let _ = write!(text, " ({left_out} {verb} something out)");
    }
    text.push(':');
    for problem in &config.problems {
        let _ = write!(text, "\n  {problem}");
    }
    text
}
