//! The interactive shell, fed from a pipe as in the recorded transcript `circusctl_cli`.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::stage::{PATIENCE, circusctl, circusd, router, serve, texts};

/// What the shell prints before anything is typed.
const BEGIN: &str = "circusctl 0.19.0\nBeta: active\nidle: stopped\nwith space: active\n";

async fn fed(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let write = async move { stdin.write_all(input).await.unwrap() };
    let (output, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(child.wait_with_output(), write) })
        .await
        .expect("the shell does not end");
    output.unwrap()
}

/// Runs the shell with `input`: exit status, stdout behind the beginning, stderr, and the requests after the first.
async fn shell(options: &[&str], input: impl AsRef<[u8]>) -> (i32, String, String, Vec<Value>) {
    let (router, endpoint) = router().await;
    let mut requests = Vec::new();
    let mut arguments = vec!["--endpoint", &endpoint];
    arguments.extend(options);
    let output = {
        let serve = serve(router, |request| {
            requests.push(json!([request["command"], request["properties"]]));
            circusd(request)
        });
        tokio::select! {
            output = fed(circusctl(&arguments), input.as_ref()) => output,
            () = serve => unreachable!("serve never ends"),
        }
    };
    assert_eq!(requests.remove(0), json!(["status", {}]));
    let (code, stdout, stderr) = texts(&output);
    let stdout = stdout.strip_prefix(BEGIN).unwrap_or(&stdout).to_owned();
    (code, stdout, stderr, requests)
}

#[tokio::test]
async fn a_command_a_line_and_an_end() {
    let (code, stdout, stderr, _) = shell(&[], "numwatchers\n").await;
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "(circusctl) 3\n(circusctl) \n", ""));
    let (code, stdout, _, requests) = shell(&[], "EOF\nnumwatchers\n").await;
    assert_eq!((code, stdout.as_str(), requests.len()), (0, "(circusctl) \n", 0));
}

#[tokio::test]
async fn an_empty_line_repeats_the_last_one() {
    let (_, stdout, _, requests) = shell(&[], "\nincr 'with space' 2\n\n  \nnosuch\n\n").await;
    let incr = json!(["incr", {"name": "with space", "nb": 2, "waiting": false}]);
    assert_eq!(requests, [incr.clone(), incr.clone(), incr]);
    assert_eq!(stdout.matches("*** Unknown syntax: nosuch\n").count(), 2, "{stdout}");
}

#[tokio::test]
async fn a_line_that_is_no_text_is_left_out() {
    let (code, stdout, stderr, requests) = shell(&[], b"list \xff\xfe\nnumwatchers\n").await;
    assert_eq!((code, requests.len()), (0, 1), "{stdout}{stderr}");
    assert_eq!(stderr, "error: the line is not UTF-8 and is left out\n");
    assert!(stdout.ends_with("(circusctl) 3\n(circusctl) \n"), "{stdout}");
}

#[tokio::test]
async fn what_makes_no_sense_is_told_and_does_not_end_it() {
    let input = "list a b c\nstop --nope\nlist x\nlist 'x\nquit_typo\n--json status\nnumwatchers\n";
    let (code, stdout, stderr, requests) = shell(&[], input).await;
    assert_eq!(code, 0);
    assert!(stdout.ends_with("(circusctl) 3\n(circusctl) \n"), "{stdout}");
    assert!(stdout.contains("*** Unknown syntax: quit_typo\n"), "{stdout}");
    assert!(stdout.contains("*** Unknown syntax: --json status\n"), "{stdout}");
    for text in [
        "Invalid number of arguments\n",
        "circusctl: error: unexpected argument '--nope' found\n",
        "error: program x not found\n",
        "error: a quote is open at the end of the line\n",
    ] {
        assert!(stderr.contains(text), "{text} is missing in {stderr}");
    }
    assert_eq!(requests.len(), 2, "{requests:?}");
}

#[tokio::test]
async fn help() {
    let (_, stdout, _, requests) = shell(&[], "help\n? incr\nhelp nosuch\nincr --help\n").await;
    for text in ["reloadconfig   Read", "NB is how many", "*** No help on nosuch\n", "--waiting"] {
        assert!(stdout.contains(text), "{text} is missing in {stdout}");
    }
    assert!(requests.is_empty());
}

#[tokio::test]
async fn global_options_hold_for_every_line() {
    let (_, stdout, _, _) = shell(&["--json"], "numwatchers\n").await;
    assert!(stdout.contains(r#""numwatchers":3"#), "{stdout}");
}

#[tokio::test]
async fn nobody_there_is_told_for_each_line() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", gone.local_addr().unwrap());
    drop(gone);
    let output = fed(circusctl(&["--endpoint", &endpoint]), b"numwatchers\nstatus idle\n").await;
    let (code, stdout, stderr) = texts(&output);
    let expected = "circusctl 0.19.0\n(circusctl) (circusctl) (circusctl) \n";
    assert_eq!((code, stdout.as_str()), (0, expected));
    assert_eq!(stderr.matches("cannot reach circusd").count(), 3, "{stderr}");
}

/// The line that nobody types is waited for in a thread; a signal must not wait for it.
#[tokio::test]
async fn a_signal_ends_the_wait_for_a_line() {
    let (router, endpoint) = router().await;
    let mut child = circusctl(&["--endpoint", &endpoint]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // Kept open: the end of the input would end the shell, too.
    let _stdin = child.stdin.take();
    let mut stdout = child.stdout.take().unwrap();
    let ended = async {
        let mut seen = Vec::new();
        while !seen.ends_with(b"(circusctl) ") {
            let count = tokio::io::AsyncReadExt::read_buf(&mut stdout, &mut seen).await;
            assert!(count.unwrap() > 0, "{}", String::from_utf8_lossy(&seen));
        }
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        child.wait().await.unwrap()
    };
    let status = tokio::select! {
        status = tokio::time::timeout(PATIENCE, ended) => status.expect("the shell does not end"),
        () = serve(router, circusd) => unreachable!("serve never ends"),
    };
    assert_eq!(status.code(), Some(1), "{status}");
}

/// What appears at the terminal, and what is typed then.
const CONVERSATION: &[(&str, &str)] = &[
    ("(circusctl) ", "inc\t"),
    ("incr ", "wit\t"),
    ("'with space' ", "\r"),
    ("ok\r\n", ""),
    // The last line again, from the history.
    ("(circusctl) ", "\u{1b}[A"),
    ("incr 'with space' ", "\r"),
    ("ok\r\n", ""),
    ("(circusctl) ", " secret\r"),
    ("*** Unknown syntax: secret\r\n", ""),
    ("(circusctl) ", "\u{4}"),
];

/// Has the [`CONVERSATION`] with `command` and returns its exit status.
async fn converse(mut command: Command) -> Option<i32> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut seen = Vec::new();
    for (awaited, typed) in CONVERSATION {
        loop {
            let text = String::from_utf8_lossy(&seen).into_owned();
            if let Some((_, rest)) = text.split_once(awaited) {
                seen = rest.as_bytes().to_vec();
                break;
            }
            let more = tokio::io::AsyncReadExt::read_buf(&mut stdout, &mut seen);
            let more = tokio::time::timeout(PATIENCE, more).await;
            let count = more.unwrap_or_else(|_| panic!("no {awaited:?} in {text:?}"));
            assert!(count.unwrap() > 0, "no {awaited:?} in {text:?}");
        }
        stdin.write_all(typed.as_bytes()).await.unwrap();
    }
    let status = tokio::time::timeout(PATIENCE, child.wait()).await;
    status.expect("the shell does not end").unwrap().code()
}

/// At a terminal, which the program `script` of util-linux plays: the tab key, the history, the end.
#[tokio::test]
async fn at_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let (router, endpoint) = router().await;
    let program = env!("CARGO_BIN_EXE_circusctl");
    let mut command = Command::new("script");
    command
        .args(["-qec", &format!("{program} --endpoint {endpoint}"), "/dev/null"])
        .env("XDG_STATE_HOME", folder.path())
        .env("TERM", "xterm")
        .kill_on_drop(true);
    let mut requests = Vec::new();
    let code = {
        let serve = serve(router, |request| {
            requests.push(json!([request["command"], request["properties"]["name"]]));
            circusd(request)
        });
        tokio::select! {
            code = converse(command) => code,
            () = serve => unreachable!("serve never ends"),
        }
    };
    assert_eq!(code, Some(0));
    requests.retain(|request| request[0] == "incr");
    let incr = json!(["incr", "with space"]);
    assert_eq!(requests, [incr.clone(), incr]);
    let history = std::fs::read_to_string(folder.path().join("circusctl/history")).unwrap();
    assert!(history.contains("incr 'with space'"), "{history}");
    assert!(!history.contains("secret"), "{history}");
}
