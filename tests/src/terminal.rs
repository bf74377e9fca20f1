//! A program in a pseudo-terminal (pty(7)), typed to as a person would.

use crate::sandbox::Sandbox;
use crate::venv::Venv;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// A running program; it is hung up on with the value.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Terminal {
    /// Starts a program with arguments in a terminal of 200 columns.
    pub fn start(sandbox: &Sandbox, program: &Path, arguments: &[&str]) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/terminal.py");
        let mut command = sandbox.command(Venv::get()?.program("python"));
        command.arg(script).arg(program).args(arguments);
        command.env("XDG_STATE_HOME", sandbox.work()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let input = child.stdin.take().context("a pipe was asked for")?;
        let output = BufReader::new(child.stdout.take().context("a pipe was asked for")?);
        Ok(Self { child, input, output })
    }

    /// Presses keys.
    pub fn keys(&mut self, keys: &str) -> Result<()> {
        self.ask(&json!({"type": keys})).map(|_| ())
    }

    /// Waits until `text` is on the terminal; gives everything since the last time, up to it, without movements of the cursor.
    pub fn see(&mut self, text: &str) -> Result<String> {
        self.ask(&json!({"see": text})).map(|(seen, _)| seen)
    }

    /// Waits for the program's end; gives its last words and its exit status.
    pub fn end(mut self) -> Result<(String, i64)> {
        self.ask(&json!({"end": true}))
    }

    fn ask(&mut self, request: &Value) -> Result<(String, i64)> {
        writeln!(self.input, "{request}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line).with_context(|| format!("the terminal says {line:?}"))?;
        if let Some(error) = answer.get("error") {
            bail!("{error}");
        }
        let seen = answer.get("seen").and_then(Value::as_str).context("seen")?;
        Ok((seen.to_owned(), answer.get("status").and_then(Value::as_i64).unwrap_or(0)))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
