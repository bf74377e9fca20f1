//! Signal numbers and names.

/// A signal number that exists on Linux: 1 to 64 (signal(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(i32);

impl Signal {
    /// `SIGTERM`, Circus's default `stop_signal`.
    pub const TERM: Self = Self(15);
    /// `SIGKILL`.
    pub const KILL: Self = Self(9);
    /// `SIGHUP`.
    pub const HUP: Self = Self(1);

    /// A checked number; `None` outside 1..=64.
    pub fn new(number: i32) -> Option<Self> {
        (1..=64).contains(&number).then_some(Self(number))
    }

    /// The number.
    pub fn number(self) -> i32 {
        self.0
    }
}
