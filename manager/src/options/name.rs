//! Which names a watcher can have. Circus takes any; these are kept out because they fail at every start, or forge lines of the log.

use ringmaster_protocol::limits::MAX_NAME;

/// Bytes of the longest name: the core knows a process as `circus.NAME.NUMBER`, with a number of up to ten digits.
pub const LONGEST_NAME: usize = MAX_NAME - "circus.".len() - ".4294967295".len();

/// Why a name will not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The core does not take it.
    #[error("the name of a watcher has at most {LONGEST_NAME} bytes")]
    TooLong,
    /// A line break would begin a line of the log.
    #[error("the name of a watcher has no line breaks and no other control characters")]
    Control,
}

/// Whether a watcher can have this name.
///
/// # Errors
/// Why not.
pub fn check_name(name: &str) -> Result<(), NameError> {
    match name {
        // In lower case, in which a few letters are longer.
        _ if name.to_lowercase().len() > LONGEST_NAME => Err(NameError::TooLong),
        _ if name.contains(char::is_control) => Err(NameError::Control),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_may_be() {
        assert_eq!(check_name(" ünï/..*"), Ok(()));
        assert_eq!(check_name(&"n".repeat(LONGEST_NAME)), Ok(()));
        assert_eq!(check_name(&"n".repeat(LONGEST_NAME + 1)), Err(NameError::TooLong));
        assert_eq!(check_name(&"İ".repeat(LONGEST_NAME / 2)), Err(NameError::TooLong));
        for name in ["a\nb", "a\0", "\u{1b}[2J", "a\u{85}b"] {
            assert_eq!(check_name(name), Err(NameError::Control));
        }
        let longest = crate::process::process_name(&"n".repeat(LONGEST_NAME), crate::process::Wid(u32::MAX));
        assert_eq!(longest.len(), MAX_NAME);
    }
}
