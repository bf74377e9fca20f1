//! Loading whole configurations: what is reported, what is left out, what stops circusd, and `--check`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops where a fact is missing")]

use proptest::prelude::*;
use ringmaster_manager::config::{Config, ConfigErrors, Environment, check, load, substituted_env};
use ringmaster_manager::options::{Retries, SocketAddressSpec, SocketFamily};
use std::path::Path;

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            std::fs::write(folder.0.path().join(name), text).unwrap();
        }
        folder
    }

    fn load(&self, env: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        load(&self.0.path().join("t.ini"), &environment(env))
    }

    /// A text without the folder's own name.
    fn plain(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn problems(text: &str) -> Vec<String> {
    let folder = Folder::with(&[("t.ini", text)]);
    let config = folder.load(&[]).unwrap();
    config.problems.iter().map(|problem| folder.plain(&problem.to_string())).collect()
}

#[test]
fn one_bad_watcher_is_named_and_the_rest_starts() {
    let text = "[watcher:bad]\ncmd = x\nnumprocesses = 2.5\nshell = y\n\n[watcher:good]\ncmd = sleep 1\n";
    let folder = Folder::with(&[("t.ini", text)]);
    let config = folder.load(&[]).unwrap();
    assert_eq!(config.watchers.iter().map(|w| w.name.as_str()).collect::<Vec<_>>(), ["good"]);
    assert_eq!(
        problems(text),
        [
            "t.ini:3: [watcher:bad] numprocesses = 2.5: expected a whole number, 0 or more (this watcher is left out)",
            "t.ini:4: [watcher:bad] shell = y: expected yes or no (also true, false, on, off, 1, 0) \
             (this watcher is left out)",
        ]
    );
}

#[test]
fn misspelt_options_and_sections_get_a_suggestion() {
    assert_eq!(
        problems(
            "[DEFAULT]\nnumproces = 1\n[circus]\nendpiont = x\n[watcher:a]\ncmd = x\nnumproceses = 3\nmyopt = 1\nstdout_steam.class = x\n\
             flapping.window = 3\n[Watcher:b]\ncmd = x\n[wacher:c]\ncmd = x\n[other]\ncmd = x\n[socket:s]\nbacklg = 1\n"
        ),
        [
            "t.ini:4: [circus] unknown option 'endpiont' (did you mean 'endpoint'?)",
            "t.ini:7: [watcher:a] unknown option 'numproceses' (did you mean 'numprocesses'?)",
            "t.ini:8: [watcher:a] unknown option 'myopt': it is kept and has no effect",
            "t.ini:9: [watcher:a] unknown option 'stdout_steam.class' (did you mean 'stdout_stream'?)",
            "t.ini:11: [Watcher:b] unknown section, ignored (did you mean 'watcher'?)",
            "t.ini:13: [wacher:c] unknown section, ignored (did you mean 'watcher'?)",
            "t.ini:18: [socket:s] unknown option 'backlg' (did you mean 'backlog'?)",
        ]
    );
}

#[test]
fn options_without_effect_are_named_only_when_they_would_have_one() {
    assert_eq!(
        problems(
            "[circus]\nstatsd = False\nmulticast_endpoint =\nhttpd = no\ndebug = False\n\
             [watcher:a]\ncmd = x\non_demand = no\ncopy_path = 0\n"
        ),
        [""; 0]
    );
    assert_eq!(
        problems(
            "[circus]\nstatsd = True\nstats_endpoint = tcp://127.0.0.1:5557\nssh_server = x\n\
             multicast_endpoint = udp://237.219.251.97:12027\n\
             [watcher:a]\ncmd = x\non_demand = yes\nhooks.before_start = a.b\nhooks.befor_start = a.b\n\
             [plugin:p]\nuse = a.b\n"
        ),
        [
            "t.ini:4: [circus] ssh_server: has no effect, neither here nor in Circus",
            "t.ini:10: [watcher:a] unknown hook 'befor_start': it is never called",
            "t.ini:8: [watcher:a] on_demand: the watcher holds no socket, so that nobody can connect and it never starts",
        ]
    );
}

#[test]
fn what_no_single_option_shows() {
    assert_eq!(
        problems(
            "[watcher:a]\nargs = x\n[watcher:b]\ncmd = sleep 'x\n[watcher:c]\ncmd = x $(circus.sockets.Web)\n\
             stdin_socket = q\n[watcher:d]\ncmd = x\ncopy_path = 1\n[socket:s]\nfamily = af_unix\n\
             [watcher:e]\ncmd = x\ncmd = y\nenv = A=b\nstdout_stream.time_format = x\n"
        ),
        [
            "t.ini:15: [watcher:e] cmd: given before, at t.ini:14; the first one counts",
            "t.ini:1: [watcher:a] cmd: expected a command; without one the watcher cannot start",
            "t.ini:4: [watcher:b] cmd: No closing quotation; the watcher cannot start",
            "t.ini:10: [watcher:d] copy_path: needs copy_env = True (this watcher is left out)",
            "t.ini:12: [socket:s] family = AF_UNIX: expected a path, too (this socket is left out)",
            "t.ini:16: [watcher:e] env = A=b: expected no such key here: it is set by [env] and [env:NAME] sections",
            "t.ini:17: [watcher:e] stdout_stream: expected stdout_stream.class or stdout_stream.filename among its \
             keys (this watcher is left out)",
            "t.ini:6: [watcher:c] there is no [socket:web]; the variable stays as it is written",
            "t.ini:7: [watcher:c] there is no [socket:q]; the variable stays as it is written",
        ]
    );
}

#[test]
fn policies_for_full_buffers_are_checked() {
    assert_eq!(
        problems(
            "[watcher:a]\ncmd = x\noverflow = drop\n[watcher:b]\ncmd = x\noverflow = spill\n\
             [watcher:c]\ncmd = x\nring_size = 1M\nspill_quota = 2T\n\
             [watcher:d]\ncmd = x\noverflow = spill\nspill_dir = /s\nspill_quota = 64k\nring_size = 65536\n"
        ),
        [
            "t.ini:3: [watcher:a] overflow = drop: expected one of drop-oldest, block, drop-newest, spill (this watcher is left out)",
            "t.ini:6: [watcher:b] overflow = spill: needs a directory, spill_dir = /PATH (this watcher is left out)",
            "t.ini:10: [watcher:c] spill_quota = 2T: expected a number of bytes such as 4194304 or 4M, 64K to 1T (this watcher is left out)",
        ]
    );
}

#[test]
fn streams_that_cannot_be_used_or_hold_a_surprise_are_named() {
    assert_eq!(
        problems(
            "[watcher:a]\ncmd = x\nstdout_stream.class = my.Stream\nstderr_stream.filename = /e\n\
             stderr_stream.max_bytes = 10MB\n\
             [watcher:b]\ncmd = x\nstdout_stream.class = TimedRotatingFileStream\nstdout_stream.filename = /b\n\
             [watcher:c]\ncmd = x\nstdout_stream.class = WatchedFileStream\nstdout_stream.max_bytes = 1\n\
             stdout_stream.refresh_time = 0.3\nstderr_stream.class = QueueStream\n"
        ),
        [
            "t.ini:5: [watcher:a] stderr_stream: FileStream: max_bytes is \"10MB\"; expected a whole number of bytes, \
             0 for no rotation (this watcher is left out)",
            "t.ini:8: [watcher:b] stdout_stream: TimedRotatingFileStream: rotate_when is \"\"; expected S, M, H, D, \
             MIDNIGHT or a day from W0 (Monday) to W6 (this watcher is left out)",
            "t.ini:13: [watcher:c] stdout_stream.max_bytes: WatchedFileStream reads no such setting, it has no effect",
            "t.ini:14: [watcher:c] stdout_stream.refresh_time: WatchedFileStream reads no such setting, it has no \
             effect",
            "t.ini:15: [watcher:c] stderr_stream.class = QueueStream: output is thrown away, because nobody can read \
             such a queue from outside",
        ]
    );
}

#[test]
fn every_reason_not_to_start_comes_at_once() {
    let folder = Folder::with(&[(
        "t.ini",
        "[circus]\nwarmup_delay = 0.5\ncheck_delay = soon\numask = 9\nhttpd_port = 70000\n[watcher:a]\nshell = y\n",
    )]);
    let errors = folder.load(&[]).unwrap_err();
    assert_eq!(
        folder.plain(&errors.to_string()),
        "t.ini:2: [circus] warmup_delay = 0.5: expected a whole number, 0 or more\n\
         t.ini:3: [circus] check_delay = soon: expected a number of seconds such as 5 or 0.5\n\
         t.ini:4: [circus] umask = 9: expected an octal number such as 022, at most 777\n\
         t.ini:5: [circus] httpd_port = 70000: expected a port number from 0 to 65535\n\
         t.ini:7: [watcher:a] shell = y: expected yes or no (also true, false, on, off, 1, 0) \
         (this watcher is left out)\n\
         t.ini:6: [watcher:a] cmd: expected a command; without one the watcher cannot start"
    );
}

#[test]
fn files_that_cannot_be_read() {
    let missing = load(Path::new("/no/such/file.ini"), &Environment::new()).unwrap_err();
    assert_eq!(missing.to_string(), "the configuration file '/no/such/file.ini' does not exist");

    let folder = Folder::with(&[]);
    let directory = load(folder.0.path(), &Environment::new()).unwrap_err().to_string();
    assert!(directory.ends_with(": cannot be read: Is a directory (os error 21)"), "{directory}");

    std::fs::write(folder.0.path().join("t.ini"), b"[circus]\n# caf\xe9\n").unwrap();
    let latin = folder.load(&[]).unwrap_err();
    assert_eq!(folder.plain(&latin.to_string()), "t.ini:2: is not UTF-8 text");
}

#[test]
fn bad_lines_of_all_files_and_includes_that_lead_nowhere() {
    let main = "[circus]\ninclude = no*.ini\n  sub broken.ini\n[watcher:a]\nfoo\n";
    let folder = Folder::with(&[("t.ini", main), ("broken.ini", "cmd = x\n")]);
    std::fs::create_dir(folder.0.path().join("sub")).unwrap();
    let errors = folder.load(&[]).unwrap_err();
    assert_eq!(
        folder.plain(&errors.to_string()),
        "t.ini:5: expected 'key = value' instead of 'foo'\n\
         broken.ini:1: expected a section such as [circus] before 'cmd = x'\n\
         t.ini:2: [circus] 'no*.ini' does not lead to any config. Make sure include paths are relative to the main \
         config file\n\
         t.ini:2: [circus] included file sub is skipped: Is a directory (os error 21)"
    );
}

#[test]
fn problems_of_an_included_file_name_that_file() {
    let folder = Folder::with(&[
        ("t.ini", "[circus]\ninclude = more.ini\n[watcher:a]\ncmd = main\n"),
        ("more.ini", "[watcher:a]\ncmd = more\nmax_age = old\n"),
    ]);
    let config = folder.load(&[]).unwrap();
    let texts: Vec<_> = config.problems.iter().map(|problem| folder.plain(&problem.to_string())).collect();
    let expected = "more.ini:3: [watcher:a] max_age = old: expected a whole number, 0 or more";
    assert_eq!(texts, [format!("{expected} (this watcher is left out)")]);
    assert_eq!(config.files.len(), 2);
}

#[test]
fn sockets() {
    let text =
        "[socket:Uni]\npath = /run/u.sock\numask = 077\nhost = ignored\n[socket:six]\nfamily = af_inet6\nport = 0\n";
    let folder = Folder::with(&[("t.ini", text)]);
    let config = folder.load(&[]).unwrap();
    assert_eq!(config.problems, []);
    let [six, uni] = config.sockets.as_slice() else { panic!("{:?}", config.sockets) };
    assert_eq!((six.name.as_str(), six.family, six.backlog), ("six", SocketFamily::Inet6, 2048));
    assert_eq!(six.address, SocketAddressSpec::Inet { host: "localhost".to_owned(), port: 0 });
    assert_eq!((uni.name.as_str(), uni.family, uni.umask), ("uni", SocketFamily::Unix, Some(0o77)));
}

#[test]
fn a_socket_is_shared_where_there_is_a_port_to_share() {
    let text = "[socket:any]\nport = 0\nso_reuseport = yes\n[socket:file]\npath = /run/u.sock\nso_reuseport = 1\n\
                [socket:web]\nport = 80\nso_reuseport = on\n";
    let folder = Folder::with(&[("t.ini", text)]);
    let config = folder.load(&[]).unwrap();
    assert_eq!(config.sockets.iter().map(|socket| socket.so_reuseport).collect::<Vec<_>>(), [false, false, true]);
    let no_effect = "so_reuseport: has no effect without a port of its own; all processes get one socket";
    assert_eq!(
        problems(text),
        [format!("t.ini:3: [socket:any] {no_effect}"), format!("t.ini:6: [socket:file] {no_effect}")]
    );
}

#[test]
fn more_attempts_than_can_be_counted_are_as_many_as_can() {
    let folder = Folder::with(&[("t.ini", "[watcher:a]\ncmd = x\nmax_retry = 999999999999\n")]);
    let config = folder.load(&[]).unwrap();
    assert_eq!((config.watchers[0].max_retry, config.problems), (Retries::Times(u32::MAX), Vec::new()));
}

#[test]
fn more_processes_than_there_can_be_leave_out_their_watcher() {
    assert_eq!(
        problems("[watcher:a]\ncmd = x\nnumprocesses = 16385\n"),
        ["t.ini:3: [watcher:a] numprocesses = 16385: expected at most 16384 processes (this watcher is left out)"]
    );
}

#[test]
fn the_environment_of_children() {
    let text = "[env]\nA = $HOME/x:$UNDEFINED_VAR:$lower:${HOME}\n[watcher:a]\ncmd = x\n\
                [watcher:b]\ncmd = x\ncopy_env = 1\n[env:b]\nB =  two \n";
    let folder = Folder::with(&[("t.ini", text)]);
    let process_env = environment(&[("HOME", "/root"), ("TERM", "xterm")]);
    let config = folder.load(&[("HOME", "/root"), ("TERM", "xterm")]).unwrap();
    let of = |index: usize| substituted_env(&config.watchers[index], &process_env);
    assert_eq!(of(0), environment(&[("A", "/root/x::$lower:${HOME}")]));
    let copied = [("A", "/root/x::$lower:${HOME}"), ("B", "two"), ("HOME", "/root"), ("TERM", "xterm")];
    assert_eq!(of(1), environment(&copied));
    assert_eq!(config.watchers[1].extra["__name__"], "watcher:b");
}

#[test]
fn typed_values_see_env_sections_in_two_steps() {
    // Circus reads numbers before it knows [env:a]; a variable that only [env:a] has stops it there. Here it counts.
    let text = "[env]\nN = 2\n[watcher:a]\ncmd = x $(circus.env.n)\nnumprocesses = $(circus.env.n)\n\
                max_age = $(circus.env.only)\n[env:a]\nN = 3\nONLY = 9\n";
    let folder = Folder::with(&[("t.ini", text)]);
    let config = folder.load(&[]).unwrap();
    let watcher = &config.watchers[0];
    assert_eq!((watcher.cmd.as_str(), watcher.numprocesses, watcher.max_age), ("x 3", 2, 9));
}

#[test]
fn check_says_what_would_run() {
    let text = "[circus]\nendpoint = tcp://127.0.0.1:7000\n[socket:web]\nport = 8000\nuse_papa = yes\n\
                [watcher:web]\ncmd = server --fd $(circus.sockets.web)\nnumprocesses = 3\nuse_papa = yes\n\
                stdout_stream.filename = /log/web\nmax_age = 60\n[watcher:idle]\ncmd = sleep\nargs = 5\n\
                autostart = no\nclose_child_stderr = yes\nrespawn = no\nstop_signal = RTMIN+1\n[watcher:bad]\nshell = y\n";
    let folder = Folder::with(&[("t.ini", text)]);
    let report = check::report(&folder.load(&[]).unwrap());
    assert_eq!(
        folder.plain(&report),
        "configuration t.ini\n\
         commands  tcp://127.0.0.1:7000\n\
         events    tcp://127.0.0.1:5556\n\
         sockets:\n\
         \x20 web at localhost:8000, kept when circusd quits\n\
         watchers:\n\
         \x20 idle: 1 × sleep 5, started by hand\n\
         \x20   ends with circusd, not replaced when it ends; stopped by signal 35, killed after 30 s\n\
         \x20   stdout to where circusd's goes\n\
         \x20   stderr to /dev/null\n\
         \x20 web: 3 × server --fd $(circus.sockets.web)\n\
         \x20   outlives circusd, replaced when it ends; stopped by SIGTERM, killed after 30 s; replaced after 60 to 90 s\n\
         \x20   stdout to FileStream /log/web\n\
         \x20   stderr to where circusd's goes\n\
         2 problems (1 leaves something out):\n\
         \x20 t.ini:20: [watcher:bad] shell = y: expected yes or no (also true, false, on, off, 1, 0) \
         (this watcher is left out)\n\
         \x20 t.ini:19: [watcher:bad] cmd: expected a command; without one the watcher cannot start\n"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_loaded_without_panic(bytes in any::<Vec<u8>>(), tail in "(\\[watcher:[a-c]\\]\n[a-z_.]{1,9}=[0-9a-z$()]{0,5}\n){0,4}") {
        let folder = Folder::with(&[("t.ini", "")]);
        let mut content = bytes;
        content.extend(tail.as_bytes());
        std::fs::write(folder.0.path().join("t.ini"), content).unwrap();
        if let Ok(config) = folder.load(&[]) {
            prop_assert!(check::report(&config).ends_with('\n'));
        }
    }
}

#[test]
fn names_of_other_supervisors_are_told_in_circus_words_and_used_keys_are_meant() {
    assert_eq!(
        problems(
            "[watcher:a]\ncmd = x $(circus.Port)\nport = 1\nstop_timeout = 5\nnice = 3\nUser = me\n\
             [socket:raw]\ntype = SOCK_RAW\n[socket:sctp]\nproto = sctp\n"
        ),
        [
            "t.ini:4: [watcher:a] unknown option 'stop_timeout' (did you mean 'graceful_timeout'?)",
            "t.ini:5: [watcher:a] unknown option 'nice': it is kept and has no effect",
            "t.ini:6: [watcher:a] unknown option 'User' (did you mean 'uid'?)",
            "t.ini:8: [socket:raw] type: only SOCK_STREAM, SOCK_DGRAM and SOCK_SEQPACKET are supported (this socket is left out)",
            "t.ini:10: [socket:sctp] proto = sctp: only the protocol that belongs to the type is supported (this socket is left out)",
        ]
    );
}

#[test]
fn a_virtualenv_goes_before_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let packages = folder.path().join("venv/lib/python3.9/site-packages");
    std::fs::create_dir_all(&packages).unwrap();
    let (venv, ini) = (folder.path().join("venv"), folder.path().join("t.ini"));
    let text = |venv: &str, more: &str| {
        format!("[watcher:a]\ncmd = x\ncopy_env = True\nvirtualenv = {venv}\n{more}[env:a]\nPYTHONPATH = /own\n")
    };
    let env = std::collections::BTreeMap::from([("PATH".to_owned(), "/bin".to_owned())]);
    std::fs::write(&ini, text(venv.to_str().unwrap(), "")).unwrap();
    let config = load(&ini, &env).unwrap();
    let watcher = &config.watchers[0];
    assert_eq!(watcher.env["PATH"], format!("{}/bin:/bin", venv.display()));
    assert_eq!(watcher.env["PYTHONPATH"], format!("{}:/own", packages.display()));
    std::fs::write(&ini, text("/no/such/venv", "virtualenv_py_ver = 3.9\n")).unwrap();
    let config = load(&ini, &env).unwrap();
    assert!(config.watchers.is_empty());
    let problem = config.problems[0].to_string();
    let sentence = "[watcher:a] virtualenv = /no/such/venv: expected a folder with lib/python3.9/site-packages";
    assert!(problem.contains(sentence), "{problem}");
}

#[test]
fn negative_numbers_that_circus_takes_leave_nobody_out() {
    let folder = Folder::with(&[(
        "t.ini",
        "[circus]\nwarmup_delay = -1\n[watcher:a]\ncmd = x\nnumprocesses = -2\nwarmup_delay = -1\nmax_age = -3\n\
         max_age_variance = -4\ngraceful_timeout = -0.5\nmax_retry = -7\nrlimit_nofile = -9\n[watcher:b]\ncmd = x\nmax_retry = -1\n",
    )]);
    let config = folder.load(&[]).unwrap();
    let [a, b] = config.watchers.as_slice() else { panic!("{:?}", config.problems) };
    assert_eq!((a.numprocesses, a.max_age, a.max_age_variance, a.max_retry), (0, 0, 0, Retries::Times(0)));
    assert!(a.graceful_timeout.duration().is_zero() && a.warmup_delay.duration().is_zero());
    assert_eq!((b.max_retry, config.circus.warmup_delay), (Retries::Unlimited, 0));
    let told: Vec<String> = config.problems.iter().map(|problem| folder.plain(&problem.to_string())).collect();
    assert_eq!(told.len(), 8, "{told:?}");
    assert_eq!(told[0], "t.ini:2: [circus] warmup_delay = -1: a negative number counts as 0");
    assert_eq!(told[7], "t.ini:11: [watcher:a] rlimit_nofile = -9: a negative number counts as -1");
}

#[test]
fn a_zero_byte_leaves_its_watcher_out() {
    assert_eq!(
        problems("[watcher:a]\ncmd = x\nargs = a\0b\n[watcher:c]\ncmd = x\n[env:c]\nKEY = a\0b\n"),
        [
            "t.ini:3: [watcher:a] args = a\0b: expected no zero byte (this watcher is left out)",
            "t.ini:4: [watcher:c] the variable \"KEY\" of its environment, or its value, has a zero byte (this watcher is left out)",
        ]
    );
}

/// Ten times as many watchers take about ten times as long: a search through all sections for each takes a hundred times.
#[test]
fn a_file_with_thousands_of_watchers_is_read_in_proportion() {
    let seconds = |watchers: usize| {
        let text: String = (0..watchers).map(|n| format!("[watcher:w{n}]\ncmd = sleep {n}\n")).collect();
        let folder = Folder::with(&[("t.ini", &text)]);
        let once = || {
            let before = own_seconds();
            assert_eq!(folder.load(&[]).unwrap().watchers.len(), watchers);
            own_seconds() - before
        };
        (0..3).map(|_| once()).fold(f64::INFINITY, f64::min)
    };
    let (few, many) = (seconds(800), seconds(8000));
    assert!(many < 20.0 * few, "{few} s of processor time for 800, {many} s for 8000");
}

/// Processor time of this thread.
fn own_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::try_from(time).unwrap().as_secs_f64()
}

#[test]
fn names_that_no_watcher_can_have_leave_it_out() {
    let long = "n".repeat(300);
    let told = problems(&format!("[watcher:{long}]\ncmd = x\n[watcher:b]\ncmd = x\nname = b\n  forged\n"));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].ends_with("] the name of a watcher has at most 182 bytes (this watcher is left out)"),
        "{}",
        told[0]
    );
    assert_eq!(
        told[1],
        "t.ini:5: [watcher:b] the name of a watcher has no line breaks and no other control characters (this watcher is left out)"
    );
}
