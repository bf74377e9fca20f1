//! A program in a pseudo-terminal (pty(7)), typed to as a person would.

use crate::sandbox::Sandbox;
use crate::venv::Venv;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

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
        Self::launch(Self::command(sandbox, program, arguments)?)
    }

    /// The same in a terminal of a size, in lines and columns, that it learns from the terminal only.
    pub fn sized(sandbox: &Sandbox, (lines, columns): (u16, u16), program: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Self::command(sandbox, program, arguments)?;
        command.env("TERMINAL_SIZE", format!("{lines}x{columns}")).env_remove("LINES").env_remove("COLUMNS");
        Self::launch(command)
    }

    fn command(sandbox: &Sandbox, program: &Path, arguments: &[&str]) -> Result<Command> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/terminal.py");
        let mut command = sandbox.command(Venv::get()?.program("python"));
        command.arg(script).arg(program).args(arguments);
        command.env("XDG_STATE_HOME", sandbox.work()).stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(command)
    }

    fn launch(mut command: Command) -> Result<Self> {
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

    /// Waits until each of these texts has been on the terminal, in whatever order.
    pub fn see_all(&mut self, texts: &[&str]) -> Result<String> {
        self.ask(&json!({"all": texts})).map(|(seen, _)| seen)
    }

    /// For a program that paints whole pictures: waits for one with `text`, and gives the lines of the last whole one.
    pub fn picture(&mut self, text: &str) -> Result<Vec<String>> {
        let (seen, _) = self.ask(&json!({"picture": text}))?;
        Ok(seen.lines().map(str::to_owned).collect())
    }

    /// Gives the terminal another size.
    pub fn resize(&mut self, lines: u16, columns: u16) -> Result<()> {
        self.ask(&json!({"resize": [lines, columns]})).map(|_| ())
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
