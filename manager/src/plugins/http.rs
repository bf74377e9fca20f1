//! Asks a server of HTTP/1.1 for a page and says how long that took (RFC 9112): one GET, a connection for each.
//!
//! It reads the whole page and keeps nothing of it. It follows redirects. There is no TLS, no proxy and no password here.

use std::fmt::{self, Display};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Bytes of one line of an answer.
const LINE_LIMIT: u64 = 8 * 1024;

/// Lines of an answer's head, or behind its last chunk.
const LINES_LIMIT: usize = 256;

/// Redirects that are followed, as many as Circus's client follows.
const REDIRECTS: usize = 5;

/// What stands for an answer's status where there is no answer, as in Circus.
const NO_ANSWER: u16 = 599;

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Without brackets.
    host: String,
    port: u16,
    /// As it goes into `Host`.
    authority: String,
    /// Path and query.
    target: String,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nobody listens, or the host is not known.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The connection broke.
    #[error("the connection failed: {0}")]
    Broken(io::Error),
    /// The connection ended before the answer did.
    #[error("the server ended the connection in the middle of its answer")]
    Ended,
    /// What came is no answer of HTTP.
    #[error("this is no answer of HTTP/1: '{0}'")]
    Foreign(String),
    /// A line or the head is too long.
    #[error("the head of the answer is longer than {LINES_LIMIT} lines of {} KiB", LINE_LIMIT / 1024)]
    TooLong,
    /// It does not give the page.
    #[error("the server answers with status {0}")]
    Status(u16),
    /// Somewhere else, and there again.
    #[error("more than {REDIRECTS} redirects")]
    Redirects,
    /// Somewhere else, where nobody can go.
    #[error("redirected to '{0}'; only http:// is followed")]
    Elsewhere(String),
    /// Not in time.
    #[error("no complete answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
}

impl HttpError {
    /// The status; 599 where there was no answer.
    pub fn code(&self) -> u16 {
        match self {
            Self::Status(status) => *status,
            Self::Connect(_)
            | Self::Broken(_)
            | Self::Ended
            | Self::Foreign(_)
            | Self::TooLong
            | Self::Redirects
            | Self::Elsewhere(_)
            | Self::TimedOut(_) => NO_ANSWER,
        }
    }
}

impl Url {
    /// Reads `http://HOST[:PORT][/PATH][?QUERY]`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let rest = rest.split('#').next().unwrap_or(rest);
        if !scheme.eq_ignore_ascii_case("http") || !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end)?;
        let (host, port) = host_and_port(authority)?;
        let slash = if target.starts_with('/') { "" } else { "/" };
        Some(Self { host, port, authority: authority.to_owned(), target: format!("{slash}{target}") })
    }

    /// Where a redirect leads from here.
    fn follow(&self, location: &str) -> Option<Self> {
        if location.contains("://") {
            return Self::parse(location);
        }
        if let Some(elsewhere) = location.strip_prefix("//") {
            return Self::parse(&format!("http://{elsewhere}"));
        }
        let path = self.target.split('?').next().unwrap_or_default();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let target = match location.chars().next()? {
            '/' => location.to_owned(),
            '?' => format!("{path}{location}"),
            _ => format!("{folder}/{location}"),
        };
        Self::parse(&format!("http://{}{target}", self.authority))
    }
}

impl Display for Url {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(text, "http://{}{}", self.authority, self.target)
    }
}

/// `host`, `host:8080` or `[::1]:8080`.
fn host_and_port(authority: &str) -> Option<(String, u16)> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => authority.split_at_checked(authority.find(':').unwrap_or(authority.len()))?,
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None if rest.is_empty() => 80,
        None => return None,
    };
    let sane = !host.is_empty() && !host.contains(['@', '[', ']']);
    sane.then(|| (host.to_owned(), port))
}

/// Asks for a page and reads it to its end; how long that took.
///
/// # Errors
/// See [`HttpError`]; a status that is not 2xx is one.
pub async fn check(url: &Url, limit: Duration) -> Result<Duration, HttpError> {
    let begin = Instant::now();
    timeout(limit, get(url)).await.map_err(|_elapsed| HttpError::TimedOut(limit))??;
    Ok(begin.elapsed())
}

async fn get(url: &Url) -> Result<(), HttpError> {
    let mut url = url.clone();
    for _ in 0..=REDIRECTS {
        match exchange(&url).await? {
            Head { status: 200..=299, .. } => return Ok(()),
            Head { status: 301 | 302 | 303 | 307 | 308, location: Some(location), .. } => {
                url = url.follow(&location).ok_or(HttpError::Elsewhere(location))?;
            }
            Head { status, .. } => return Err(HttpError::Status(status)),
        }
    }
    Err(HttpError::Redirects)
}

async fn exchange(url: &Url) -> Result<Head, HttpError> {
    let mut stream = TcpStream::connect((url.host.as_str(), url.port)).await.map_err(HttpError::Connect)?;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: circus-plugin/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        url.target,
        url.authority,
        env!("CARGO_PKG_VERSION")
    );
    stream.write_all(request.as_bytes()).await.map_err(HttpError::Broken)?;
    let mut answer = BufReader::new(stream);
    // Interim answers (1xx) come in front of the one that counts.
    let head = loop {
        let head = head(&mut answer).await?;
        if head.status >= 200 {
            break head;
        }
    };
    read_body(&mut answer, head.body).await?;
    Ok(head)
}

/// What of an answer's head counts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Head {
    status: u16,
    location: Option<String>,
    body: Body,
}

/// Where the page ends (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Chunked,
    Length(u64),
    /// With the connection.
    ToEnd,
}

async fn head(answer: &mut (impl AsyncBufRead + Unpin)) -> Result<Head, HttpError> {
    let first = line(answer).await?;
    let status = status(&first).ok_or_else(|| HttpError::Foreign(first.chars().take(80).collect()))?;
    let mut head = Head { status, location: None, body: Body::ToEnd };
    for _ in 0..LINES_LIMIT {
        let line = line(answer).await?;
        if line.is_empty() {
            if matches!(status, 100..=199 | 204 | 304) {
                head.body = Body::Length(0);
            }
            return Ok(head);
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("location", value) => head.location = Some(value.to_owned()),
            ("transfer-encoding", value) if value.to_ascii_lowercase().ends_with("chunked") => {
                head.body = Body::Chunked
            }
            ("content-length", value) if head.body != Body::Chunked => {
                let length = value.parse().map_err(|_not_a_number| HttpError::Foreign(line.clone()))?;
                head.body = Body::Length(length);
            }
            _ => {}
        }
    }
    Err(HttpError::TooLong)
}

fn status(line: &str) -> Option<u16> {
    let (version, rest) = line.split_once(' ')?;
    let status = rest.split(' ').next()?.parse().ok()?;
    (version.starts_with("HTTP/1.") && (100..=599).contains(&status)).then_some(status)
}

async fn read_body(answer: &mut (impl AsyncBufRead + Unpin), body: Body) -> Result<(), HttpError> {
    match body {
        Body::Length(length) => skip(answer, length).await,
        Body::ToEnd => {
            let end = tokio::io::copy(answer, &mut tokio::io::sink()).await;
            end.map(drop).map_err(HttpError::Broken)
        }
        Body::Chunked => loop {
            let line = line(answer).await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_not_a_number| HttpError::Foreign(line.clone()))?;
            if size == 0 {
                return trailer(answer).await;
            }
            // And the end of its line.
            skip(answer, size.saturating_add(2)).await?;
        },
    }
}

async fn trailer(answer: &mut (impl AsyncBufRead + Unpin)) -> Result<(), HttpError> {
    for _ in 0..LINES_LIMIT {
        if line(answer).await?.is_empty() {
            return Ok(());
        }
    }
    Err(HttpError::TooLong)
}

async fn skip(answer: &mut (impl AsyncBufRead + Unpin), length: u64) -> Result<(), HttpError> {
    let read = tokio::io::copy(&mut answer.take(length), &mut tokio::io::sink()).await;
    if read.map_err(HttpError::Broken)? == length { Ok(()) } else { Err(HttpError::Ended) }
}

/// One line without its end.
async fn line(answer: &mut (impl AsyncBufRead + Unpin)) -> Result<String, HttpError> {
    let mut line = Vec::new();
    answer.take(LINE_LIMIT).read_until(b'\n', &mut line).await.map_err(HttpError::Broken)?;
    if line.pop_if(|last| *last == b'\n').is_none() {
        let full = u64::try_from(line.len()).is_ok_and(|length| length >= LINE_LIMIT);
        return Err(if full { HttpError::TooLong } else { HttpError::Ended });
    }
    let _ = line.pop_if(|last| *last == b'\r');
    Ok(String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests;
