//! Signal numbers and names.
//!
//! Only what a configuration or a command may say; sending is the core's business.

/// A signal number that exists on Linux: 1 to 64 (signal(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(i32);

/// Every name that Python's `signal` module knows on Linux (x86-64 and arm64 numbers, signal(7)), aliases last.
pub const SIGNAL_NAMES: &[(&str, i32)] = &[
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGSTKFLT", 16),
    ("SIGCHLD", 17),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGVTALRM", 26),
    ("SIGPROF", 27),
    ("SIGWINCH", 28),
    ("SIGIO", 29),
    ("SIGPWR", 30),
    ("SIGSYS", 31),
    ("SIGRTMIN", 34),
    ("SIGRTMAX", 64),
    ("SIGIOT", 6),
    ("SIGCLD", 17),
    ("SIGPOLL", 29),
];

/// Why a text or number is no signal. The texts are Circus's (spec a.5, c.7 `signal`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// A word that is no signal's name; holds it as `SIGNAME`.
    #[error("module 'signal' has no attribute '{0}'")]
    UnknownName(String),
    /// Neither a number nor a word.
    #[error("signal invalid: {0}")]
    Unreadable(String),
    /// A number outside 1 to 64: what kill(2) answers to it.
    #[error("[Errno 22] Invalid argument")]
    OutOfRange(i64),
}

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

    /// The usual name, `SIGTERM`; `None` for real-time signals between the two ends.
    pub fn name(self) -> Option<&'static str> {
        SIGNAL_NAMES.iter().find(|(_, number)| *number == self.0).map(|(name, _)| *name)
    }

    /// A number, or a name with or without `SIG` in any case, with an optional `+N` (`rtmin+1`).
    ///
    /// As in Circus, what follows the word is not looked at: `SIGTERM foo` is SIGTERM.
    ///
    /// # Errors
    /// [`SignalError`] with Circus's text.
    pub fn parse(text: &str) -> Result<Self, SignalError> {
        if let Some(number) = super::python::to_int(text) {
            return Self::from_i64(number);
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let word: String = text.chars().take_while(|c| is_word(*c)).collect();
        if word.is_empty() {
            return Err(SignalError::Unreadable(text.to_owned()));
        }
        let mut name = word.to_uppercase();
        if !name.starts_with("SIG") {
            name.insert_str(0, "SIG");
        }
        let Some((_, number)) = SIGNAL_NAMES.iter().find(|(known, _)| *known == name) else {
            return Err(SignalError::UnknownName(name));
        };
        let digits: String = match text.strip_prefix(word.as_str()).and_then(|rest| rest.strip_prefix('+')) {
            Some(rest) => rest.chars().take_while(char::is_ascii_digit).collect(),
            None => String::new(),
        };
        let offset = if digits.is_empty() { Some(0) } else { digits.parse::<i32>().ok() };
        let sum = offset.and_then(|offset| number.checked_add(offset)).unwrap_or(i32::MAX);
        Self::from_i64(i64::from(sum))
    }

    /// A checked number as JSON gives it.
    ///
    /// # Errors
    /// [`SignalError::OutOfRange`] outside 1..=64.
    pub fn from_i64(number: i64) -> Result<Self, SignalError> {
        i32::try_from(number).ok().and_then(Self::new).ok_or(SignalError::OutOfRange(number))
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_spelling() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("term", 15),
            ("9", 9),
            ("SIGRTMIN+1", 35),
            ("rtmin+3", 37),
            ("15 ", 15),
            ("SIGTERM foo", 15),
            ("sigcld", 17),
        ] {
            assert_eq!(Signal::parse(text).map(Signal::number), Ok(number), "{text:?}");
        }
    }

    #[test]
    fn errors_have_the_texts_of_circus() {
        let text = |input: &str| Signal::parse(input).unwrap_err().to_string();
        assert_eq!(text("ZORK"), "module 'signal' has no attribute 'SIGZORK'");
        assert_eq!(text("$x"), "signal invalid: $x");
        assert_eq!(text("65"), "[Errno 22] Invalid argument");
        assert_eq!(text("RTMAX+1"), "[Errno 22] Invalid argument");
        assert_eq!(text("HUP+99999999999999"), "[Errno 22] Invalid argument");
    }

    #[test]
    fn names_of_numbers() {
        assert_eq!(Signal::TERM.to_string(), "SIGTERM");
        assert_eq!(Signal::new(35).unwrap().to_string(), "signal 35");
    }
}
