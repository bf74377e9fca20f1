//! circusd as a process: background, pid file, log lines, signals.

mod background;
mod line;
mod logger_config;
mod logger_ini;
mod logging;
mod pidfile;
mod syslog;

pub use background::{BackgroundError, DAEMONIZED, leave_terminal, start_in_background};
pub use line::{LineFormat, LineFormatError};
pub use logger_config::{LoggerConfig, LoggerConfigError, read as read_logger_config};
pub use logging::{LogFile, LogTarget, LoggingError, Outlet, start_logging};
pub use pidfile::{Pidfile, PidfileError};
pub use syslog::{SyslogError, SyslogTarget, facility};
