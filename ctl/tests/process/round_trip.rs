//! The built `circusctl` against a ROUTER that answers what the test says: reply, silence, foreign ids, errors,
//! a connection that ends, nobody at all.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use ringmaster_manager::endpoints::{Listening, serve_control};
use serde_json::{Value, json};

use crate::stage::{circusctl, finish, reply, request, router, texts};

/// Runs `circusctl` with `arguments` while `answers` makes the payloads for its request.
async fn talk(arguments: &[&str], answers: impl FnOnce(&Value) -> Vec<String>) -> (i32, String, String) {
    let (mut router, endpoint) = router().await;
    let arguments: Vec<&str> = ["--endpoint", &endpoint].iter().chain(arguments).copied().collect();
    let serve = async {
        let (identity, request) = request(&mut router).await;
        for payload in answers(&request) {
            reply(&mut router, &identity, &payload).await;
        }
        // Keep the connection until circusctl is gone.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        output = finish(circusctl(&arguments)) => texts(&output),
        () = serve => unreachable!("serve never ends"),
    }
}

#[tokio::test]
async fn a_reply_becomes_text() {
    let result = talk(&["status"], |request| {
        assert_eq!(request["command"], "status");
        assert_eq!(request["properties"], json!({}));
        let id = request["id"].as_str().unwrap();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        vec![json!({"status": "ok", "statuses": {"b": "stopped", "a": "active"}, "id": id}).to_string()]
    })
    .await;
    assert_eq!(result, (0, "a: active\nb: stopped\n".into(), String::new()));
}

#[tokio::test]
async fn replies_with_other_ids_and_other_shapes_are_skipped() {
    let result = talk(&["numwatchers"], |request| {
        vec![
            json!({"status": "ok", "numwatchers": 1, "id": "another"}).to_string(),
            json!({"status": "ok", "numwatchers": 2, "id": null}).to_string(),
            "not json".to_owned(),
            "[]".to_owned(),
            json!({"status": "ok", "numwatchers": 3, "id": request["id"]}).to_string(),
        ]
    })
    .await;
    assert_eq!(result, (0, "3\n".into(), String::new()));
}

#[tokio::test]
async fn a_refusal_goes_to_stderr_with_status_3() {
    let refuse = |request: &Value| {
        vec![json!({"status": "error", "reason": "program x not found", "errno": 3, "id": request["id"]}).to_string()]
    };
    let result = talk(&["list", "x"], refuse).await;
    assert_eq!(result, (3, String::new(), "error: program x not found\n".into()));
    let result = talk(&["status", "x"], refuse).await;
    assert_eq!(result, (3, String::new(), "error\n".into()));
    let result = talk(&["globaloptions", "x"], refuse).await;
    assert_eq!(result, (3, String::new(), "program x not found\n".into()));
}

#[tokio::test]
async fn json_is_the_raw_reply_and_status_0_even_for_refusals() {
    let mut sent = String::new();
    let (code, stdout, stderr) = talk(&["--json", "list", "x"], |request| {
        sent = format!(r#"{{"status":  "error", "reason": "caf\u00e9", "id": {}}}"#, request["id"]);
        vec![sent.clone()]
    })
    .await;
    assert_eq!((code, stdout.trim_end(), stderr.as_str()), (0, sent.as_str(), ""));
    let (code, stdout, stderr) = talk(&["--json", "--prettify", "list"], |request| {
        vec![json!({"status": "ok", "pids": [1], "id": request["id"]}).to_string()]
    })
    .await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.ends_with("  \"pids\": [\n    1\n  ],\n  \"status\": \"ok\"\n}\n"), "{stdout}");
}

#[tokio::test]
async fn silence_times_out_with_status_1() {
    let started = Instant::now();
    let (code, stdout, stderr) = talk(&["--timeout", "1", "incr", "a", "--waiting"], |_| Vec::new()).await;
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with("Timed out.\n") && stderr.contains("'incr' within 1 s"), "{stderr}");
    let (code, _, stderr) = talk(&["--timeout", "1", "--json", "list"], |_| Vec::new()).await;
    assert!(code == 1 && stderr.starts_with("Timed out.\n"), "{code} {stderr}");
}

#[tokio::test]
async fn nobody_there_is_told_at_once() {
    // The port was ours a moment ago and nobody listens on it now.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("tcp://127.0.0.1:{port}");
    let started = Instant::now();
    let output = finish(circusctl(&["--timeout", "15", "--endpoint", &endpoint, "list"])).await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let expected =
        format!("error: cannot reach circusd at {endpoint}: Connection refused (os error 111); is it running?\n");
    assert_eq!(texts(&output), (1, String::new(), expected));

    let folder = tempfile::tempdir().unwrap();
    let endpoint = format!("ipc://{}", folder.path().join("absent.sock").display());
    let output = finish(circusctl(&["--endpoint", &endpoint, "list"])).await;
    let expected =
        format!("error: cannot reach circusd at {endpoint}: No such file or directory (os error 2); is it running?\n");
    assert_eq!(texts(&output), (1, String::new(), expected));
}

#[tokio::test]
async fn the_environment_names_the_endpoint_and_the_option_wins() {
    let (mut router, endpoint) = router().await;
    let serve = async {
        loop {
            let (identity, request) = request(&mut router).await;
            let payload = json!({"status": "ok", "pids": [7], "id": request["id"]});
            reply(&mut router, &identity, &payload.to_string()).await;
        }
    };
    let ask = async {
        let mut by_environment = circusctl(&["list", "a"]);
        by_environment.env("CIRCUSCTL_ENDPOINT", &endpoint);
        assert_eq!(texts(&finish(by_environment).await), (0, "7\n".into(), String::new()));
        let mut by_option = circusctl(&["--endpoint", &endpoint, "list", "a"]);
        by_option.env("CIRCUSCTL_ENDPOINT", "tcp://nonsense");
        assert_eq!(texts(&finish(by_option).await), (0, "7\n".into(), String::new()));
        let mut wrong = circusctl(&["list", "a"]);
        wrong.env("CIRCUSCTL_ENDPOINT", "tcp://nonsense");
        let expected = "error: CIRCUSCTL_ENDPOINT: endpoint 'tcp://nonsense': the port is missing; \
                        expected tcp://HOST:PORT or ipc://PATH\n";
        assert_eq!(texts(&finish(wrong).await), (1, String::new(), expected.into()));
    };
    tokio::select! {
        () = ask => {}
        () = serve => unreachable!("serve never ends"),
    }
}

#[tokio::test]
async fn a_connection_that_ends_is_told_before_the_timeout() {
    let (mut router, endpoint) = router().await;
    let serve = async {
        request(&mut router).await;
        drop(router);
        std::future::pending::<()>().await;
    };
    let output = tokio::select! {
        output = finish(circusctl(&["--timeout", "60", "--endpoint", &endpoint, "quit"])) => output,
        () = serve => unreachable!("serve never ends"),
    };
    let expected = format!(
        "error: circusd at {endpoint} closed the connection before it answered; whether 'quit' was carried out \
         is not known\n"
    );
    assert_eq!(texts(&output), (1, String::new(), expected));
}

#[tokio::test]
async fn a_server_of_another_kind_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let web = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut greeting = [0; 10];
        stream.read_exact(&mut greeting).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        // Listen until the end: circusctl may ask a second time why it takes so long.
        listener
    });
    let (code, stdout, stderr) = texts(&finish(circusctl(&["--endpoint", &endpoint, "list"])).await);
    drop(web.join().unwrap());
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(
        stderr.starts_with(&format!("error: what listens at {endpoint} does not answer as circusd does: ")),
        "{stderr}"
    );
}

#[tokio::test]
async fn a_negative_timeout_waits_for_the_reply() {
    let result = talk(&["--timeout", "-1", "numwatchers"], |request| {
        vec![json!({"status": "ok", "numwatchers": 3, "id": request["id"]}).to_string()]
    })
    .await;
    assert_eq!(result, (0, "3\n".into(), String::new()));
}

/// The other server there is: circusd's own.
#[tokio::test]
async fn circusds_own_endpoint_over_tcp_and_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ctl.sock");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let over_tcp = (format!("tcp://{}", tcp.local_addr().unwrap()), Listening::Tcp(tcp));
    let unix = UnixListener::bind(&path).unwrap();
    let over_unix = (format!("ipc://{}", path.display()), Listening::Unix(unix));
    for (endpoint, listening) in [over_tcp, over_unix] {
        let (requests, mut queue) = tokio::sync::mpsc::channel(1);
        let control = serve_control(listening, requests).unwrap();
        let serve = async {
            let request = queue.recv().await.unwrap();
            let call = ringmaster_protocol::circus::Call::parse(&request.payload).unwrap();
            assert_eq!((call.command.as_str(), &call.properties), ("list", &json!({"name": "a"})));
            let pids = [("pids".to_owned(), json!([3, 4]))].into_iter().collect();
            control.reply(request.from, ringmaster_protocol::circus::ok(&call.id, 1.5, pids));
            std::future::pending::<()>().await;
        };
        let output = tokio::select! {
            output = finish(circusctl(&["--endpoint", &endpoint, "list", "a"])) => output,
            () = serve => unreachable!("serve never ends"),
        };
        assert_eq!(texts(&output), (0, "3,4\n".into(), String::new()), "{endpoint}");
    }
}
