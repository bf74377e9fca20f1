//! The head of an answer.

use super::request::{Persistence, Refusal};
use crate::metrics::Format;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::endpoints) enum Answer {
    /// Figures in this format.
    Figures(Format),
    /// A sentence.
    Refusal(Refusal),
}

/// Everything before the body, which has `length` bytes.
pub(in crate::endpoints) fn head(answer: Answer, length: usize, persistence: Persistence, now: Timestamp) -> String {
    let (status, content) = match answer {
        Answer::Figures(format) => ("200 OK", format.content_type()),
        Answer::Refusal(refusal) => (refusal.status(), "text/plain; charset=utf-8"),
    };
    let allow = if answer == Answer::Refusal(Refusal::Method) { "Allow: GET, HEAD\r\n" } else { "" };
    let close = if persistence == Persistence::Close { "Connection: close\r\n" } else { "" };
    // Only years that RFC 9110 cannot write have no date.
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&now);
    let date = date.map(|date| format!("Date: {date}\r\n")).unwrap_or_default();
    format!(
        "HTTP/1.1 {status}\r\n{date}Content-Type: {content}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\n{allow}{close}\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(
            head(Answer::Figures(Format::Text), 5, Persistence::Keep, now),
            "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
             Content-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: 5\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\n\r\n"
        );
        let refused = head(Answer::Refusal(Refusal::Method), 0, Persistence::Close, now);
        assert!(refused.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{refused}");
        assert!(refused.ends_with("Allow: GET, HEAD\r\nConnection: close\r\n\r\n"), "{refused}");
    }
}
