//! Discovery over UDP as the real Circus answered it. The transcript was taken in a network of its own on Circus's own port, so
//! this asks at a free one, and over loopback only: what is sent to the group would be heard by everybody on this network.

use crate::golden::folder;
use crate::stage::{Cast, Stage};
use anyhow::{Context, Result, ensure};
use ringmaster_tests::daemon::Subject;
use serde::Deserialize;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
struct Transcript {
    ini: String,
    exchanges: Vec<Exchange>,
}

/// One question and its answer.
#[derive(Deserialize)]
struct Exchange {
    /// As Python writes bytes.
    sent: String,
    to: (String, u16),
    reply: String,
}

fn ask(subject: Subject) -> Result<()> {
    let text = std::fs::read_to_string(folder().join("multicast_discovery.json"))?;
    let transcript: Transcript = serde_json::from_str(&text)?;
    let mut stage = Stage::new("discovery", Cast { daemon: subject, ctl: subject })?;
    let port = stage.sandbox.port(4);
    stage.configure(&format!("{}\nmulticast_endpoint = udp://237.219.251.97:{port}\n", transcript.ini.trim_end()))?;
    stage.start_daemon(&[], "circus.ini")?;
    stage.await_control()?;
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    client.set_read_timeout(Some(ANSWER))?;
    let asked = transcript.exchanges.iter().filter(|exchange| exchange.to.0 == "127.0.0.1");
    let mut count = 0;
    for exchange in asked {
        let question = exchange.sent.strip_prefix("b'").and_then(|text| text.strip_suffix('\'')).context("bytes")?;
        client.send_to(question.as_bytes(), (Ipv4Addr::LOCALHOST, port))?;
        let mut answer = [0; 1000];
        let (length, from) = client.recv_from(&mut answer).with_context(|| stage.sandbox.logs())?;
        let answer = String::from_utf8_lossy(answer.get(..length).unwrap_or_default()).into_owned();
        ensure!((answer.as_str(), from.port()) == (stage.fill(&exchange.reply).as_str(), port), "{question}: {answer}");
        count += 1;
    }
    ensure!(count == 4, "the transcript has {count} questions over loopback");
    stage.quit(ANSWER)?;
    stage.wait_exit(ANSWER)?;
    stage.sandbox.finish()
}

#[test]
fn ours() -> Result<()> {
    ask(Subject::Ringmaster)
}

#[test]
#[ignore = "asks Circus itself; run with --ignored after a change of the rules"]
fn reference() -> Result<()> {
    ask(Subject::Circus)
}
