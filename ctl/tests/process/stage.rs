//! What every test here needs: the built `circusctl`, an end in time, and a ROUTER of the `zeromq` crate.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use zeromq::{RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

/// More than any step here needs on a loaded machine; a test that gets there fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn circusctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_circusctl"));
    command.args(arguments).env_remove("CIRCUSCTL_ENDPOINT").stdin(Stdio::null()).kill_on_drop(true);
    command
}

pub async fn finish(mut command: Command) -> Output {
    tokio::time::timeout(PATIENCE, command.output()).await.expect("circusctl does not end").unwrap()
}

pub fn texts(output: &Output) -> (i32, String, String) {
    (
        output.status.code().expect("ended by a signal"),
        String::from_utf8(output.stdout.clone()).unwrap(),
        String::from_utf8(output.stderr.clone()).unwrap(),
    )
}

/// A bound ROUTER and its endpoint.
pub async fn router() -> (RouterSocket, String) {
    let mut router = RouterSocket::new();
    let endpoint = router.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
    (router, endpoint)
}

/// One request: the sender's identity and the decoded payload. Panics unless it is exactly one frame.
pub async fn request(router: &mut RouterSocket) -> (Vec<u8>, Value) {
    let message = tokio::time::timeout(PATIENCE, router.recv()).await.expect("no request").unwrap();
    assert_eq!(message.len(), 2, "identity and one payload frame");
    (message.get(0).unwrap().to_vec(), serde_json::from_slice(message.get(1).unwrap()).unwrap())
}

pub async fn reply(router: &mut RouterSocket, identity: &[u8], payload: &str) {
    let mut message = ZmqMessage::from(payload.to_owned());
    message.push_front(identity.to_vec().into());
    router.send(message).await.unwrap();
}

/// Answers every request of `router` with the fields that `answers` gives, and the request's id. Never ends.
pub async fn serve(mut router: RouterSocket, mut answers: impl FnMut(&Value) -> Value) {
    loop {
        let message = router.recv().await.unwrap();
        let request: Value = serde_json::from_slice(message.get(1).unwrap()).unwrap();
        let mut fields = answers(&request);
        fields["id"] = request["id"].clone();
        reply(&mut router, message.get(0).unwrap(), &fields.to_string()).await;
    }
}

/// What a circusd with three watchers answers.
pub fn circusd(request: &Value) -> Value {
    match request["command"].as_str().unwrap() {
        "status" => {
            json!({"status": "ok", "statuses": {"with space": "active", "Beta": "active", "idle": "stopped"}})
        }
        "numwatchers" => json!({"status": "ok", "numwatchers": 3}),
        "globaloptions" => {
            json!({"status": "ok", "options": {"pubsub_endpoint": "tcp://127.0.0.1:5559"}})
        }
        "incr" => json!({"status": "ok"}),
        _ => json!({"status": "error", "reason": "program x not found", "errno": 3, "tb": null}),
    }
}

/// Runs `command` while `answers` answers its requests; all of them come back, too.
pub async fn against(
    command: impl FnOnce(&str) -> Command,
    mut answers: impl FnMut(&Value) -> Value,
) -> (Output, Vec<Value>) {
    let (router, endpoint) = router().await;
    let mut requests = Vec::new();
    let output = {
        let serve = serve(router, |request| {
            requests.push(request.clone());
            answers(request)
        });
        tokio::select! {
            output = finish(command(&endpoint)) => output,
            () = serve => unreachable!("serve never ends"),
        }
    };
    (output, requests)
}
