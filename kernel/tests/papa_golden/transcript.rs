//! Reading a transcript: who sends what, and what is to come.

use std::path::Path;

/// One line of a transcript, or several that belong together.
#[derive(Debug)]
pub enum Step {
    Send(u32, Vec<u8>),
    Expect(u32, Vec<u8>),
    /// All batches of a watch and its end, and the lines by which they are acknowledged.
    Watch(u32, Vec<u8>, Vec<Vec<u8>>),
    Free(u32),
    Hang(u32),
    Closed(u32),
}

pub fn transcripts(prefix: &str) -> (String, String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/golden/papa");
    let found = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let path = found.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix)).unwrap();
    (prefix.to_owned(), std::fs::read_to_string(path).unwrap())
}

/// A Python string literal.
fn unquote(literal: &str) -> Vec<u8> {
    let inner = &literal[1..literal.len() - 1];
    let mut out = Vec::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend(c.to_string().bytes());
            continue;
        }
        match chars.next().unwrap() {
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            'r' => out.push(b'\r'),
            'x' => {
                let hex: String = chars.by_ref().take(2).collect();
                out.push(u8::from_str_radix(&hex, 16).unwrap());
            }
            other => out.extend(other.to_string().bytes()),
        }
    }
    out
}

pub fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut last = 1;
    for line in text.lines() {
        let (client, rest) = match line.strip_prefix('[') {
            Some(rest) => {
                let (number, rest) = rest.split_once("] ").unwrap();
                (number.parse().unwrap(), rest)
            }
            None => (1, line),
        };
        if let Some(comment) = line.strip_prefix("# ") {
            if comment.starts_with("(free help") {
                steps.push(Step::Free(last));
            } else if let Some(rest) = comment.strip_prefix("client [") {
                steps.push(Step::Hang(rest.split(']').next().unwrap().parse().unwrap()));
            } else if comment == "client closes the connection" {
                steps.push(Step::Hang(last));
            } else if comment == "server closed the connection" {
                steps.push(Step::Closed(last));
            }
            continue;
        }
        last = client;
        match rest.split_at(2) {
            ("C ", literal) => steps.push(Step::Send(client, unquote(literal))),
            (_, literal) => match steps.last_mut() {
                Some(Step::Expect(before, bytes)) if *before == client => bytes.extend(unquote(literal)),
                // Free text is read to its prompt.
                Some(Step::Free(_)) => {}
                _ => steps.push(Step::Expect(client, unquote(literal))),
            },
        }
    }
    steps
}

/// Makes one step of each watch that is watched to its end.
pub fn watched_whole(steps: Vec<Step>) -> Vec<Step> {
    let mut whole: Vec<Step> = Vec::new();
    let mut steps = steps.into_iter();
    while let Some(step) = steps.next() {
        let Step::Expect(client, bytes) = step else {
            whole.push(step);
            continue;
        };
        let Some(mut all) = bytes.strip_suffix(b"] ").map(<[u8]>::to_vec) else {
            whole.push(Step::Expect(client, bytes));
            continue;
        };
        let mut acks = Vec::new();
        loop {
            let (Some(Step::Send(_, ack)), Some(Step::Expect(_, bytes))) = (steps.next(), steps.next()) else {
                panic!("a batch is followed by its acknowledgement and an answer");
            };
            acks.push(ack);
            match bytes.strip_suffix(b"] ") {
                Some(batch) => all.extend(batch),
                None => {
                    all.extend(bytes);
                    break;
                }
            }
        }
        whole.push(Step::Watch(client, all, acks));
    }
    whole
}
