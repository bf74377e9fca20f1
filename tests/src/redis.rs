//! A real Redis for tests.

use anyhow::{Context, Result};
use std::env;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a living Redis may take to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// A command line that runs one in the foreground, on a loopback port; it keeps nothing on disk.
pub fn command(port: u16, folder: &Path) -> Result<String> {
    let server = program()?;
    let folder = folder.display();
    Ok(format!("{} --bind 127.0.0.1 --port {port} --dir {folder} --save \"\" --appendonly no", server.display()))
}

/// The one that is installed.
fn program() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = env::split_paths(&path).chain([PathBuf::from("/usr/bin"), PathBuf::from("/usr/local/bin")]);
    let found = folders.find_map(|folder| Some(folder.join("redis-server")).filter(|program| program.is_file()));
    found.context("this test needs a real redis-server and finds none (Debian: apt-get install redis-server)")
}

/// What it says to PING.
pub fn ping(port: u16) -> Result<(), String> {
    let asked = || -> std::io::Result<Vec<u8>> {
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        server.set_read_timeout(Some(ANSWER))?;
        server.write_all(b"PING\r\n")?;
        let mut answer = vec![0; 5];
        server.read_exact(&mut answer)?;
        Ok(answer)
    };
    match asked() {
        Ok(answer) if answer == b"+PONG" => Ok(()),
        other => Err(format!("{other:?}")),
    }
}
