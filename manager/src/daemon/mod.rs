//! circusd as a process: background, pid file, log lines, signals.

mod background;
mod logging;
mod pidfile;

pub use background::{BackgroundError, leave_terminal, start_in_background};
pub use logging::{LogFile, LogTarget, LoggingError, start_logging};
pub use pidfile::{Pidfile, PidfileError};
