//! HTTP/1.1 (RFC 9110, RFC 9112) as far as reading one page needs it: bytes to a request, an answer to bytes.
//!
//! No I/O, no clock but for `Date`, no bodies of requests, no compression, no ranges. What is not plainly a GET or HEAD is
//! refused with a status and a sentence, and the connection ends.

mod accept;
mod request;
mod response;

pub use request::{Method, Persistence, Refusal, Request, parse};
pub(super) use response::{Answer, head};
