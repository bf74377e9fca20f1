//! `kernel` against a core that the test plays, through the instance directory's rule.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread::JoinHandle;

use ringmaster_protocol::frame::{Frame, FrameReader, PREFACE};
use ringmaster_protocol::message::{Guarantee, LeaseInfo, Refusal, Reply, Request, StatusReply, Welcome};
use serde_json::Value;

use crate::stage::{circusctl, finish, texts};

/// Serves one client at `folder/NAME/sock` with what `answer` makes of each request.
fn core(folder: &Path, name: &str, answer: fn(&Request, u32) -> Frame) -> JoinHandle<()> {
    let instance = folder.join(name);
    std::fs::create_dir(&instance).unwrap();
    let listener = UnixListener::bind(instance.join("sock")).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut preface = [0; PREFACE.len()];
        stream.read_exact(&mut preface).unwrap();
        assert_eq!(preface, PREFACE);
        let mut reader = FrameReader::new();
        let mut portion = [0; 512];
        loop {
            while let Some(frame) = reader.next_frame().unwrap() {
                let request = Request::decode(frame.message, &frame.body).unwrap();
                let mut bytes = Vec::new();
                answer(&request, frame.request).encode(&mut bytes);
                // A client that was refused may be gone already.
                let _ = stream.write_all(&bytes);
            }
            match stream.read(&mut portion) {
                Ok(0) | Err(_) => return,
                Ok(count) => reader.push(&portion[..count]),
            }
        }
    })
}

fn healthy(request: &Request, id: u32) -> Frame {
    let reply: Reply = if matches!(request, Request::Hello(_)) {
        let welcome = Welcome {
            protocol: 1,
            build: "core".into(),
            instance_id: 7,
            keeper_pid: 10,
            kernel_pid: 11,
            ext: Vec::new(),
        };
        welcome.into()
    } else {
        let status = StatusReply {
            version: "9.9.9".into(),
            keeper_pid: 10,
            kernel_pid: 11,
            started_ns: 1_500_000_000,
            uptime_ms: 61_005,
            processes: 3,
            sockets: 2,
            values: 1,
            clients: 2,
            buffered_bytes: 4096,
            lost_bytes: 0,
            lease: Some(LeaseInfo { pid: 12, holder: "circusd".into(), epoch: 4 }),
            guarantees: vec![Guarantee { name: "some-promise".into(), holds: false, reason: "it is a test".into() }],
            ext: Vec::new(),
        };
        status.into()
    };
    reply.frame(id)
}

/// Runs `circusctl ARGUMENTS` with its instances below `folder`.
async fn ask(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = circusctl(arguments);
    command.env("CIRCUS_RUN_DIR", folder);
    texts(&finish(command).await)
}

#[tokio::test]
async fn the_instance_of_an_endpoint_as_text() {
    let folder = tempfile::tempdir().unwrap();
    let core = core(folder.path(), "tcp-127.0.0.1-5777", healthy);
    let (code, stdout, stderr) = ask(folder.path(), &["--endpoint", "tcp://127.0.0.1:5777", "kernel"]).await;
    core.join().unwrap();
    assert_eq!((code, stderr.as_str()), (0, ""));
    for row in [
        "version      9.9.9\n",
        "uptime       61.005 s\n",
        "managed by   circusd (pid 12, epoch 4)\n",
        "buffered     4096 bytes\n",
        "no   it is a test\n",
    ] {
        assert!(stdout.contains(row), "{row} is missing in {stdout}");
    }
}

#[tokio::test]
async fn a_named_instance_and_a_socket_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let core_ = core(folder.path(), "blue", healthy);
    let (code, stdout, _) = ask(folder.path(), &["--json", "kernel", "--instance", "blue"]).await;
    core_.join().unwrap();
    let status: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, 0);
    assert_eq!(status["uptime_s"], 61.005);
    assert_eq!(status["lease"]["epoch"], 4);
    assert_eq!(status["guarantees"][0]["holds"], false);
    // Longer than a Unix address can be.
    let deep = folder.path().join("x".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    std::fs::rename(folder.path().join("blue"), deep.join("moved")).unwrap();
    let path = deep.join("moved/sock");
    let (code, _, stderr) = ask(folder.path(), &["kernel", "--socket", path.to_str().unwrap()]).await;
    assert_eq!(code, 1);
    // The listener is gone: refused, but found.
    assert!(stderr.contains("Connection refused"), "{stderr}");
}

#[tokio::test]
async fn no_core_a_bad_name_and_a_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = ask(folder.path(), &["kernel"]).await;
    let socket = folder.path().join("default/sock");
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with(&format!("error: no core at {}: ", socket.display())), "{stderr}");
    let (code, _, stderr) = ask(folder.path(), &["kernel", "--instance", "../x"]).await;
    assert!(code == 1 && stderr.starts_with("error: --instance: "), "{stderr}");
    let core = core(folder.path(), "red", |request, id| {
        Refusal::Unsupported { message: request.number() }.frame(request.number(), id)
    });
    let (code, _, stderr) = ask(folder.path(), &["kernel", "--instance", "red"]).await;
    core.join().unwrap();
    assert!(code == 1 && stderr.starts_with("error: the core refused: "), "{stderr}");
}
