//! Where Ringmaster is meant to differ from Circus 0.19. Each reason is explained in `docs/COMPATIBILITY.md` under its
//! name, and a difference that no longer occurs is an error like one that is not listed.

use crate::replay::{Finding, What};
use ringmaster_tests::daemon::Subject;

/// One intended difference.
#[derive(Debug)]
pub struct Difference {
    pub scenario: &'static str,
    /// Numbers of the steps; empty for what belongs to the whole transcript.
    pub steps: &'static [usize],
    pub what: What,
    /// Part of what is seen instead; empty when that varies.
    pub instead: &'static str,
    /// Name of the reason in `docs/COMPATIBILITY.md`.
    pub reason: &'static str,
    /// Whether it always occurs; some depend on which of two things comes first.
    pub always: bool,
    /// Whether it comes from our command line, not from the daemon.
    pub by_ctl: bool,
}

/// All of them, by scenario.
pub const DIFFERENCES: &[Difference] = &[
    always("bad_no_cmd", &[0, 1, 6], What::Reply, "", "one-bad-watcher"),
    always("bad_no_cmd", &[], What::Log, "error in 'mid'", "clear-messages"),
    always("bad_no_cmd", &[7], What::Events, "zzz", "one-bad-watcher"),
    always("bad_rlimit", &[0, 1, 4, 5], What::Reply, "", "one-bad-watcher"),
    always("bad_rlimit", &[4, 5], What::Events, "", "one-bad-watcher"),
    always("bad_sockets", &[], What::Log, "this socket is left out", "clear-messages"),
    always("bad_stream_conf", &[], What::Log, "this watcher is left out", "clear-messages"),
    always("streams", &[], What::Log, "this watcher is left out", "clear-messages"),
    sometimes("crash_respawn", &[1], What::Reply, "numprocesses is", "back-off"),
    always("endpoint_owner", &[5], What::Reply, "", "owner-holds-for-set"),
    always("endpoint_owner", &[5], What::Events, "a: [\"kill", "owner-holds-for-set"),
    always("endpoint_owner", &[], What::Log, "INFO a reloaded", "owner-holds-for-set"),
    always("endpoint_owner", &[6], What::Reply, "added is too much", "changed-is-shown"),
    always("flapping", &[1], What::Reply, "circus-plugin", "plugins-are-programs"),
    // How far it is three seconds after the start depends on the machine.
    sometimes("flapping", &[3], What::Stdout, ": stopped", "flapping-stops"),
    // On a slow one a watcher may be between two tries, not both.
    always("flapping", &[4], What::Reply, "is \"stopped\"", "flapping-stops"),
    always("incr_decr", &[13, 14, 18], What::Reply, "'nb' isn't an integer", "numbers-are-checked"),
    // Circus counts in halves there.
    always("incr_decr", &[15], What::Reply, "", "numbers-are-checked"),
    always("incr_decr", &[5], What::Events, "alpha", "every-reap"),
    always("signals_to_circusd", &[0], What::Events, "plain", "every-reap"),
    always("singleton_misc", &[10], What::Events, "three", "every-reap"),
    always("add_rm", &[11, 24, 26], What::Reply, "added is too much", "changed-is-shown"),
    always("add_rm", &[12], What::Reply, "status is \"ok\"", "set-takes-effect"),
    always("add_rm", &[17], What::Reply, "'n5' already exist", "set-takes-effect"),
    always("add_rm", &[29, 37], What::Reply, "\"n5\"", "set-takes-effect"),
    always("add_rm", &[12], What::Events, "n5: [\"add(time)\"]", "set-takes-effect"),
    always("add_rm", &[18], What::Events, ": [\"add(time)\"]", "empty-name"),
    by_ctl("add_rm", &[50], What::Events, "k5: []", "nostop-is-sent"),
    by_ctl("add_rm", &[], What::Log, "the log lacks [\"INFO k5 stopped\"]", "nostop-is-sent"),
    always("set_options", &[76], What::Reply, "changed is too much", "changed-is-shown"),
    always("protocol_errors", &[32], What::Reply, "json invalid", "nan-is-not-json"),
    always("query_commands", &[30], What::Reply, "watcher:alpha", "custom-keys"),
    always("empty_cmd_wedge", &[1, 2], What::Reply, "", "one-bad-watcher"),
    always("empty_cmd_wedge", &[3], What::Events, "n6", "one-bad-watcher"),
    always("empty_cmd_wedge", &[], What::Log, "error in 'n6'", "clear-messages"),
    always("incr_decr", &[15], What::Reply, "numprocesses is 1, not 2.5", "numbers-are-checked"),
    always("set_options", &[32, 75], What::Reply, "", "set-takes-effect"),
    always("set_options", &[33], What::Reply, "Cannot have 2 processes", "set-takes-effect"),
    always("set_options", &[42], What::Reply, "isn't a valid group name", "clear-messages"),
    always("set_options", &[58, 61, 62], What::Reply, "ok", "not-yet"),
    always("set_options", &[64], What::Reply, "ok", "set-takes-effect"),
    always("set_options", &[8], What::Events, "alpha", "every-reap"),
    always("set_options", &[70], What::Events, "beta", "every-reap"),
    always("set_options", &[87], What::ExitCode, "0", "not-yet"),
    always("set_options", &[87], What::Stdout, "ok", "not-yet"),
    always("set_options", &[87], What::Stderr, "", "not-yet"),
    by_ctl("set_options", &[84], What::ExitCode, "0", "set-takes-effect"),
    by_ctl("set_options", &[84], What::Stdout, "ok", "set-takes-effect"),
    by_ctl("set_options", &[84], What::Stderr, "", "set-takes-effect"),
    by_ctl("set_options", &[88], What::Stderr, "unknown hook", "clear-messages"),
    always("reloadconfig", &[35], What::Reply, "foo", "custom-keys"),
    always("reloadconfig", &[56], What::Reply, "__name__ is missing", "no-name-in-env"),
    always("reloadconfig", &[77], What::Events, "", "reload-what-differs"),
    by_ctl("quit_ctl", &[1, 2], What::Stderr, "cannot reach circusd", "unreachable-at-once"),
    always("start_stop_restart", &[16], What::Reply, "invalid pattern", "regex-words"),
    by_ctl("circusctl_cli", &[0], What::Stdout, "Ringmaster", "version"),
    by_ctl("circusctl_cli", &[17], What::Stderr, "cannot reach circusd", "unreachable-at-once"),
    by_ctl("circusctl_cli", &[19], What::Stdout, "kernel", "more-commands"),
    by_ctl("circusctl_cli", &[21], What::Stdout, "topic", "json-events"),
    by_ctl("circusctl_cli", &[22], What::ExitCode, "is circusd's control endpoint", "listen-control"),
    by_ctl("circusctl_cli", &[22], What::Stderr, "is circusd's control endpoint", "listen-control"),
    always("kill_string_timeout", &[1, 5, 6, 7], What::Reply, "\"status\": \"ok\"", "string-timeout"),
    // SIGKILL comes a second after the answer of step 0, so its events belong to the one or to the other.
    sometimes("kill_string_timeout", &[0, 1], What::Events, "stubborn", "string-timeout"),
    always("kill_string_timeout", &[], What::Log, "stubborn stopped", "string-timeout"),
    always("papa_017", &[10], What::Check, "\"INFO Daemonizing Papa\"", "own-affairs"),
    always("papa_017", &[], What::Log, "INFO removing all papa sockets", "own-affairs"),
    // A third process was added before circusd was started again, and there is one more from then on.
    always("papa_017", &[12, 13, 16, 18, 19, 22], What::Stdout, "", "changes-survive"),
    always("papa_017", &[14, 17, 20, 23, 25], What::Check, "circus.keep.", "changes-survive"),
    always("circusd_cli", &[0], What::Stdout, "Ringmaster", "version"),
    always("circusd_cli", &[4], What::Stderr, "possible values", "clear-messages"),
    always("circusd_cli", &[7, 9], What::ExitCode, "this watcher is left out", "one-bad-watcher"),
    always("circusd_cli", &[10, 11], What::ExitCode, "", "not-yet"),
    always("circusd_cli", &[11], What::Stderr, "no effect yet", "not-yet"),
    always("circusd_cli", &[17, 21], What::ExitCode, "1 ", "failed-start"),
    always("circusd_cli", &[17, 21], What::Stderr, "", "clear-messages"),
];

/// A difference that must occur.
const fn always(
    scenario: &'static str,
    steps: &'static [usize],
    what: What,
    instead: &'static str,
    reason: &'static str,
) -> Difference {
    Difference { scenario, steps, what, instead, reason, always: true, by_ctl: false }
}

/// A difference of our command line, which does not occur with the real one.
const fn by_ctl(
    scenario: &'static str,
    steps: &'static [usize],
    what: What,
    instead: &'static str,
    reason: &'static str,
) -> Difference {
    Difference { by_ctl: true, ..always(scenario, steps, what, instead, reason) }
}

/// A difference that depends on which of two things comes first.
const fn sometimes(
    scenario: &'static str,
    steps: &'static [usize],
    what: What,
    instead: &'static str,
    reason: &'static str,
) -> Difference {
    Difference { always: false, ..always(scenario, steps, what, instead, reason) }
}

/// What is wrong: differences that nobody intended, and intended ones that did not occur.
pub fn judge(scenario: &str, found: &[Finding], ctl: Subject) -> Vec<String> {
    let concerns = |one: &&Difference| one.scenario == scenario && (ctl == Subject::Ringmaster || !one.by_ctl);
    let intended: Vec<&Difference> = DIFFERENCES.iter().filter(concerns).collect();
    let covers = |one: &Difference, finding: &Finding| {
        let place = finding.step.map_or(one.steps.is_empty(), |step| one.steps.contains(&step));
        place && one.what == finding.what && finding.observed.contains(one.instead)
    };
    let unlisted = found.iter().filter(|finding| !intended.iter().any(|one| covers(one, finding)));
    let mut wrong = describe(unlisted);
    for one in intended.iter().filter(|one| one.always) {
        let steps: Vec<Option<usize>> =
            if one.steps.is_empty() { vec![None] } else { one.steps.iter().map(|step| Some(*step)).collect() };
        for step in steps {
            if !found.iter().any(|finding| finding.step == step && covers(one, finding)) {
                wrong.push(format!("{step:?}, {:?}: the listed difference `{}` did not occur", one.what, one.reason));
            }
        }
    }
    wrong
}

/// Findings in words.
pub fn describe<'a>(found: impl IntoIterator<Item = &'a Finding>) -> Vec<String> {
    let line = |finding: &Finding| {
        let place = finding.step.map_or_else(|| "whole".to_owned(), |step| format!("step {step}"));
        format!("{place}, {:?}\n    Circus:  {}\n    seen:    {}", finding.what, finding.golden, finding.observed)
    };
    found.into_iter().map(line).collect()
}
