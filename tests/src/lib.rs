//! The harness of the tests: sandboxes, the real programs, the real Circus from PyPI, and waiting.
//!
//! What is tested lives in the test targets beside this folder. Nothing here knows what a right answer is.
#![forbid(unsafe_code)]

pub mod daemon;
pub mod driver;
pub mod ports;
pub mod processes;
pub mod program;
pub mod sandbox;
pub mod venv;
pub mod wait;

/// The error of a test: shown to people as text, without a stack trace.
pub struct Failure(anyhow::Error);

impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        self.0
            .chain()
            .skip(1)
            .try_for_each(|cause| write!(f, "\n  because: {cause}"))
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}
