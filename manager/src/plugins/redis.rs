//! Asks a Redis for its INFO, over TCP or a Unix socket: AUTH and SELECT where the URL says so, one command after another (RESP 2).
//!
//! A connection for each look, so that a server that takes no more of them is noticed. There is no TLS here.

use std::fmt::{self, Display};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// Bytes of one line of a reply.
const LINE_LIMIT: u64 = 64 * 1024;

/// Bytes of one reply; INFO has some thousand.
const REPLY_LIMIT: u64 = 4 * 1024 * 1024;

/// Where Redis listens, unless a URL says otherwise.
const PORT: u16 = 6379;

/// A server and how one gets in.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    place: Place,
    user: Option<String>,
    password: Option<String>,
    database: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// Why there is no INFO.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// Nobody listens, or the host is not known.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The connection broke.
    #[error("the connection failed: {0}")]
    Broken(io::Error),
    /// The connection ended before the reply did.
    #[error("the server ended the connection in the middle of a reply")]
    Ended,
    /// What came is no reply of Redis.
    #[error("this is no reply of Redis: '{0}'")]
    Foreign(String),
    /// Too long for a reply to these commands.
    #[error("the reply is longer than {} MiB", REPLY_LIMIT / 1024 / 1024)]
    TooLong,
    /// The server's own words.
    #[error("the server refuses {command}: {words}")]
    Refused {
        /// What it was asked.
        command: &'static str,
        /// What it said.
        words: String,
    },
    /// Not in time.
    #[error("no answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
}

impl RedisError {
    /// Whether the server has spoken, although not as hoped for.
    pub fn is_an_answer(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

impl Server {
    /// Reads `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]` or `unix://[[USER]:PASSWORD@]/PATH[?db=DATABASE]`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (entry, rest) = rest.rsplit_once('@').map_or((None, rest), |(entry, rest)| (Some(entry), rest));
        let (user, password) = match entry.map(|entry| entry.split_once(':').unwrap_or((entry, ""))) {
            Some((user, password)) => (decoded(user)?, decoded(password)?),
            None => (String::new(), String::new()),
        };
        let (place, path) = match scheme.to_ascii_lowercase().as_str() {
            "redis" => {
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                (tcp(authority)?, path)
            }
            "unix" if rest.starts_with('/') => (Place::Unix(decoded(rest)?.into()), ""),
            _ => return None,
        };
        let of_query = query.split('&').find_map(|pair| pair.strip_prefix("db="));
        let database = match of_query.unwrap_or(path.trim_end_matches('/')) {
            "" => 0,
            number => number.parse().ok()?,
        };
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        Some(Self { place, user: given(user), password: given(password), database })
    }
}

/// Without the password: for messages.
impl Display for Server {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp { host, port } => write!(text, "redis://{host}:{port}/{}", self.database),
            Place::Unix(path) => write!(text, "unix://{}", path.display()),
        }
    }
}

fn tcp(authority: &str) -> Option<Place> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => authority.split_at_checked(authority.find(':').unwrap_or(authority.len()))?,
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None if rest.is_empty() => PORT,
        None => return None,
    };
    let host = if host.is_empty() { "localhost" } else { host };
    Some(Place::Tcp { host: host.to_owned(), port })
}

/// `%3A` as the character that it stands for.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let pair = [rest.next()?, rest.next()?];
        bytes.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// The text of INFO.
///
/// # Errors
/// See [`RedisError`].
pub async fn info(server: &Server, limit: Duration) -> Result<String, RedisError> {
    let asked = async {
        match &server.place {
            Place::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(RedisError::Connect)?;
                converse(stream, server).await
            }
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(RedisError::Connect)?;
                converse(stream, server).await
            }
        }
    };
    timeout(limit, asked).await.map_err(|_elapsed| RedisError::TimedOut(limit))?
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, server: &Server) -> Result<String, RedisError> {
    let mut stream = BufReader::new(stream);
    if let Some(password) = &server.password {
        let words: Vec<&str> = ["AUTH"].into_iter().chain(server.user.as_deref()).chain([password.as_str()]).collect();
        ask(&mut stream, "AUTH", &words).await?;
    }
    if server.database != 0 {
        ask(&mut stream, "SELECT", &["SELECT", &server.database.to_string()]).await?;
    }
    ask(&mut stream, "INFO", &["INFO"]).await
}

async fn ask(
    stream: &mut (impl AsyncBufRead + AsyncWrite + Unpin),
    command: &'static str,
    words: &[&str],
) -> Result<String, RedisError> {
    stream.write_all(encoded(words).as_bytes()).await.map_err(RedisError::Broken)?;
    match reply(stream).await? {
        Reply::Text(text) => Ok(text),
        Reply::Error(words) => Err(RedisError::Refused { command, words }),
    }
}

/// A command as an array of texts.
fn encoded(words: &[&str]) -> String {
    let texts: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{texts}", words.len())
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reply {
    Text(String),
    Error(String),
}

/// One reply: a status, an error, or a text with its length. Nothing else answers these commands.
async fn reply(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Reply, RedisError> {
    let first = line(stream).await?;
    let foreign = || RedisError::Foreign(first.chars().take(80).collect());
    if let Some(status) = first.strip_prefix('+') {
        return Ok(Reply::Text(status.to_owned()));
    }
    if let Some(error) = first.strip_prefix('-') {
        return Ok(Reply::Error(error.to_owned()));
    }
    let length: u64 = first.strip_prefix('$').and_then(|length| length.parse().ok()).ok_or_else(foreign)?;
    if length > REPLY_LIMIT {
        return Err(RedisError::TooLong);
    }
    let mut text = Vec::new();
    stream.take(length).read_to_end(&mut text).await.map_err(RedisError::Broken)?;
    if u64::try_from(text.len()).is_ok_and(|read| read < length) {
        return Err(RedisError::Ended);
    }
    Ok(Reply::Text(String::from_utf8_lossy(&text).into_owned()))
}

async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<String, RedisError> {
    let mut line = Vec::new();
    stream.take(LINE_LIMIT).read_until(b'\n', &mut line).await.map_err(RedisError::Broken)?;
    let Some(text) = line.strip_suffix(b"\r\n") else {
        let cut = line.last() != Some(&b'\n') && u64::try_from(line.len()).is_ok_and(|length| length < LINE_LIMIT);
        let start = String::from_utf8_lossy(&line).chars().take(80).collect();
        return Err(if cut { RedisError::Ended } else { RedisError::Foreign(start) });
    };
    Ok(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests;
