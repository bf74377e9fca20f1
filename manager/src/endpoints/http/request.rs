//! The head of a request, from the bytes that have come so far.

use super::accept::preferred;
use crate::endpoints::limits;
use crate::metrics::Format;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The page.
    Get,
    /// What is before the page.
    Head,
}

/// What becomes of the connection afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Another request may follow.
    Keep,
    /// It ends.
    Close,
}

/// A request that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub method: Method,
    /// The path, without a query.
    pub path: String,
    /// `Host` without its port; empty when there is none, which HTTP/1.0 allows.
    pub host: String,
    /// The format that is preferred.
    pub format: Format,
    /// What becomes of the connection.
    pub persistence: Persistence,
}

/// Why there is no answer but this. The text is the body that the client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not HTTP, or not well formed.
    #[error("this is not a request of HTTP/1.1: {0}")]
    Malformed(&'static str),
    /// The head does not end.
    #[error("the head of a request may have {} bytes and {} fields", limits::HTTP_HEAD_BYTES, limits::HTTP_FIELDS)]
    TooLarge,
    /// Another method.
    #[error("only GET and HEAD are served here")]
    Method,
    /// A body.
    #[error("a request with a body is not served here")]
    Body,
    /// Another version.
    #[error("only HTTP/1.0 and HTTP/1.1 are spoken here")]
    Version,
    /// Another path.
    #[error("there is nothing at this path; the option metrics_endpoint says where the figures are")]
    Path,
    /// A name that only a manipulated resolver gives a local address (DNS rebinding).
    #[error("this address is for programs of this host; use 127.0.0.1 or localhost, or set metrics_remote = True")]
    Host,
    /// Not complete in time.
    #[error("the request did not come within {} s", limits::HTTP_REQUEST_DEADLINE.as_secs())]
    Slow,
    /// There are no figures.
    #[error("circusd has no figures now")]
    Unavailable,
}

impl Refusal {
    /// The status line's number and phrase.
    pub fn status(self) -> &'static str {
        match self {
            Self::Malformed(_) => "400 Bad Request",
            Self::Path => "404 Not Found",
            Self::Method => "405 Method Not Allowed",
            Self::Slow => "408 Request Timeout",
            Self::Body => "413 Content Too Large",
            Self::Host => "421 Misdirected Request",
            Self::TooLarge => "431 Request Header Fields Too Large",
            Self::Unavailable => "503 Service Unavailable",
            Self::Version => "505 HTTP Version Not Supported",
        }
    }
}

/// Reads a request from the beginning of what has come. Gives it with the number of its bytes; `None`: more has to come.
///
/// # Errors
/// It will not become one that is served.
pub fn parse(received: &[u8]) -> Result<Option<(Request, usize)>, Refusal> {
    let within = received.get(..limits::HTTP_HEAD_BYTES).unwrap_or(received);
    if within.iter().any(|byte| byte.is_ascii_control() && !matches!(byte, b'\r' | b'\n' | b'\t')) {
        return Err(Refusal::Malformed("it has control characters"));
    }
    match split_head(within) {
        Some((lines, used)) => Ok(Some((request(&lines)?, used))),
        None if received.len() >= limits::HTTP_HEAD_BYTES => Err(Refusal::TooLarge),
        None => Ok(None),
    }
}

/// The lines before the first empty one, and the bytes with it. Empty lines before the first are passed over (RFC 9112, 2.2).
fn split_head(received: &[u8]) -> Option<(Vec<&[u8]>, usize)> {
    let mut lines = Vec::new();
    let mut used = 0;
    for piece in received.split_inclusive(|byte| *byte == b'\n') {
        let line = piece.strip_suffix(b"\n")?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        used += piece.len();
        match (line.is_empty(), lines.is_empty()) {
            (true, false) => return Some((lines, used)),
            (true, true) => {}
            (false, _) => lines.push(line),
        }
    }
    None
}

/// What the fields say, as far as it matters.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a str>,
    accept: Vec<&'a str>,
    connection: Vec<&'a str>,
}

fn request(lines: &[&[u8]]) -> Result<Request, Refusal> {
    let (first, rest) = lines.split_first().ok_or(Refusal::Malformed("it has no first line"))?;
    let first = text(first)?;
    let words: Vec<&str> = first.split(' ').collect();
    let [method, target, version] = words.as_slice() else {
        return Err(Refusal::Malformed("its first line is not METHOD PATH VERSION"));
    };
    let is_newest = match *version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        other if other.starts_with("HTTP/") => return Err(Refusal::Version),
        _ => return Err(Refusal::Malformed("its first line does not end with a version")),
    };
    let method = match *method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        other if is_token(other) => return Err(Refusal::Method),
        _ => return Err(Refusal::Malformed("its method is none")),
    };
    let fields = fields(rest)?;
    if fields.host.is_none() && is_newest {
        return Err(Refusal::Malformed("it has no Host"));
    }
    let said = |word: &str| fields.connection.iter().any(|said| said.trim().eq_ignore_ascii_case(word));
    let keeps = if is_newest { !said("close") } else { said("keep-alive") };
    Ok(Request {
        method,
        path: path(target)?.to_owned(),
        host: host(fields.host.unwrap_or_default()).to_owned(),
        format: preferred(&fields.accept.join(",")),
        persistence: if keeps { Persistence::Keep } else { Persistence::Close },
    })
}

fn fields<'a>(lines: &[&'a [u8]]) -> Result<Fields<'a>, Refusal> {
    if lines.len() > limits::HTTP_FIELDS {
        return Err(Refusal::TooLarge);
    }
    let mut fields = Fields::default();
    for line in lines {
        let (name, value) = split_field(line)?;
        match name.to_ascii_lowercase().as_str() {
            "host" if fields.host.is_some() => return Err(Refusal::Malformed("it has two Hosts")),
            "host" => fields.host = Some(text(value)?),
            // One that is not text cannot prefer anything.
            "accept" => fields.accept.extend(text(value).ok()),
            "connection" => fields.connection.extend(text(value)?.split(',')),
            "content-length" if value != b"0" => return Err(Refusal::Body),
            "transfer-encoding" => return Err(Refusal::Body),
            _ => {}
        }
    }
    Ok(fields)
}

/// Name and value. A name is a token right before its colon; a line that continues another is obsolete and refused.
fn split_field(line: &[u8]) -> Result<(&str, &[u8]), Refusal> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Refusal::Malformed("a field has no colon"))?;
    let (name, value) = line.split_at(colon);
    let name = text(name)?;
    if !is_token(name) || value.contains(&b'\r') {
        return Err(Refusal::Malformed("a field is not NAME: VALUE"));
    }
    Ok((name, value.get(1..).unwrap_or_default().trim_ascii()))
}

/// The path of an origin or absolute target (RFC 9112, section 3.2).
fn path(target: &str) -> Result<&str, Refusal> {
    let path = match target.split_once("://") {
        Some(("http", rest)) => rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/"),
        Some(_) | None => target,
    };
    let path = path.split('?').next().unwrap_or(path);
    if path.starts_with('/') { Ok(path) } else { Err(Refusal::Malformed("its target is no path")) }
}

/// Without the port.
fn host(field: &str) -> &str {
    match field.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, _)) => inside,
        None => field.split(':').next().unwrap_or(field),
    }
}

fn text(bytes: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii() && !text.contains('\r'));
    text.ok_or(Refusal::Malformed("it is not ASCII"))
}

fn is_token(word: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !word.is_empty() && word.bytes().all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(text: &str) -> Result<Request, Refusal> {
        parse(text.as_bytes()).map(|parsed| parsed.map(|(request, _)| request).unwrap())
    }

    #[test]
    fn a_scrape() {
        let text = "GET /metrics?x=1 HTTP/1.1\r\nHost: 127.0.0.1:9464\r\nAccept: application/openmetrics-text\r\n\r\n";
        let request = Request {
            method: Method::Get,
            path: "/metrics".to_owned(),
            host: "127.0.0.1".to_owned(),
            format: Format::OpenMetrics,
            persistence: Persistence::Keep,
        };
        assert_eq!(parse(text.as_bytes()), Ok(Some((request.clone(), text.len()))));
        let two = format!("{text}{text}");
        assert_eq!(parse(two.as_bytes()), Ok(Some((request, text.len()))));
    }

    #[test]
    fn forms_that_are_served() {
        for (text, path, host, persistence) in [
            ("GET / HTTP/1.0\r\n\r\n", "/", "", Persistence::Close),
            ("GET /a HTTP/1.0\nConnection: Keep-Alive\n\n", "/a", "", Persistence::Keep),
            ("\r\nGET /a HTTP/1.1\r\nhOST:\t[::1]:1 \r\nConnection: x, Close\r\n\r\n", "/a", "::1", Persistence::Close),
            ("HEAD http://h:1/m?q HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", "/m", "h", Persistence::Keep),
            ("GET http://h HTTP/1.1\r\nHost:\r\nX: \u{e9}\r\n\r\n", "/", "", Persistence::Keep),
        ] {
            let request = whole(text).unwrap();
            assert_eq!((request.path.as_str(), request.host.as_str(), request.persistence), (path, host, persistence));
        }
    }

    #[test]
    fn what_is_refused() {
        let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a: b\r\n".repeat(limits::HTTP_FIELDS));
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(limits::HTTP_HEAD_BYTES));
        for (text, status) in [
            ("POST / HTTP/1.1\r\nHost: h\r\n\r\n", "405"),
            ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", "505"),
            ("GET / HTTP/1.1\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", "400"),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
            ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", "413"),
            ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "413"),
            ("\u{16}\u{3}\u{1}", "400"),
            ("hello\r\n\r\n", "400"),
            (many.as_str(), "431"),
            (long.as_str(), "431"),
        ] {
            let refusal = parse(text.as_bytes()).unwrap_err();
            assert!(refusal.status().starts_with(status), "{text}: {}", refusal.status());
        }
        assert_eq!(parse(&b"\r\n".repeat(limits::HTTP_HEAD_BYTES)), Err(Refusal::TooLarge));
    }

    proptest! {
        /// Whatever comes, in whatever pieces: the same outcome, and nothing is taken that is not there.
        #[test]
        fn garbage_in_pieces(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0_usize..300) {
            let whole = parse(&bytes);
            if let Ok(Some((_, used))) = &whole {
                prop_assert!(*used <= bytes.len());
            }
            let early = parse(bytes.get(..cut).unwrap_or(&bytes));
            prop_assert!(early == Ok(None) || early == whole || whole.is_err());
        }

        #[test]
        fn almost_requests(text in "(GET|HEAD|PUT|G T) ?/?[a-z?]{0,5} HTTP/1\\.[012](\r\n(Host|Accept|Connection|content-length)? ?: ?[a-z0-9,;=]{0,9}){0,4}\r?\n\r?\n") {
            if let Ok(Some((request, used))) = parse(text.as_bytes()) {
                prop_assert_eq!(used, text.len());
                prop_assert!(request.path.starts_with('/'));
            }
        }
    }
}
