//! A scraper: HTTP by hand, and a strict reader of Prometheus's two text formats.

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The `Accept` of those who want OpenMetrics.
pub const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// `200`
    pub status: u16,
    /// Status line and fields.
    pub head: String,
    /// As long as `Content-Length` says.
    pub body: String,
}

/// Reads one page of 127.0.0.1 over a connection of its own.
///
/// # Errors
/// Nobody is there, or what comes is not HTTP/1.1 as it should be.
pub fn get(port: u16, path: &str, fields: &str) -> Result<Response> {
    let stream = TcpStream::connect(("127.0.0.1", port)).context("connecting")?;
    converse(stream, path, &format!("Host: 127.0.0.1:{port}\r\n{fields}"))
}

/// The same over a stream that is there.
///
/// # Errors
/// See [`get`].
pub fn converse(mut stream: TcpStream, path: &str, fields: &str) -> Result<Response> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).context("reading the answer")?;
    read(&String::from_utf8(bytes)?)
}

/// Takes an answer apart.
///
/// # Errors
/// It is none.
pub fn read(text: &str) -> Result<Response> {
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("no head in {text:?}"))?;
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).with_context(|| head.to_owned())?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).context("Content-Length")?;
    ensure!(length.parse() == Ok(body.len()), "{length} bytes were promised and {} came", body.len());
    Ok(Response { status: status.parse()?, head: head.to_owned(), body: body.to_owned() })
}

/// The values of a page: name and labels, as written, to value.
#[derive(Debug)]
pub struct Page {
    samples: BTreeMap<String, f64>,
    /// The page.
    pub text: String,
}

impl Page {
    /// Scrapes 127.0.0.1.
    ///
    /// # Errors
    /// There is no page, or it breaks a rule of its format.
    pub fn scrape(port: u16, accept: &str) -> Result<Self> {
        let response = get(port, "/metrics", &format!("Accept: {accept}\r\n"))?;
        ensure!(response.status == 200, "{}\n{}", response.head, response.body);
        let open = accept == OPEN_METRICS;
        let kind = if open { "application/openmetrics-text; version=1.0.0" } else { "text/plain; version=0.0.4" };
        ensure!(response.head.contains(&format!("Content-Type: {kind}; charset=utf-8")), "{}", response.head);
        ensure!(response.body.ends_with("# EOF\n") == open, "the end of the page");
        Self::read(response.body)
    }

    fn read(text: String) -> Result<Self> {
        let sample = Regex::new(r#"^([a-z_:]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? (-?[0-9.]+|[+]Inf)$"#)?;
        let (mut samples, mut finished, mut family) = (BTreeMap::new(), BTreeSet::new(), String::new());
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(rest) = line.strip_prefix("# ") {
                let words: Vec<&str> = rest.splitn(3, ' ').collect();
                let [what, name, _] = words.as_slice() else { bail!("a comment that is none: {line}") };
                match *what {
                    "HELP" => {
                        ensure!(finished.insert((*name).to_owned()), "{name} is introduced twice");
                        family = (*name).to_owned();
                    }
                    "TYPE" | "UNIT" => ensure!(family == *name, "{line} is not behind its HELP"),
                    _ => bail!("a comment that is none: {line}"),
                }
                continue;
            }
            let parts = sample.captures(line).with_context(|| format!("not a sample: {line}"))?;
            let (name, labels, value) = (&parts[1], parts.get(2).map_or("", |labels| labels.as_str()), &parts[3]);
            let suffix = name.strip_prefix(family.as_str()).with_context(|| format!("{line} is in no family"))?;
            ensure!(["", "_total", "_info", "_bucket", "_sum", "_count"].contains(&suffix), "{line}: {family}");
            let series = format!("{name}{labels}");
            ensure!(samples.insert(series, value.parse()?).is_none(), "{line} is there twice");
        }
        Ok(Self { samples, text })
    }

    /// One value, by name and labels as they are written.
    ///
    /// # Errors
    /// It is not there.
    pub fn value(&self, series: &str) -> Result<f64> {
        self.samples.get(series).copied().with_context(|| format!("{series} is not in\n{}", self.text))
    }

    /// All names and labels.
    pub fn series(&self) -> impl Iterator<Item = &str> {
        self.samples.keys().map(String::as_str)
    }
}
