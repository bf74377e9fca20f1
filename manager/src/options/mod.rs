//! The typed options of `[circus]`, `[watcher:]` and `[socket:]`, and the tables that describe them.
//!
//! A value is text only inside `config`; from here on it has its type. The tables (`WATCHER_OPTIONS`, …) are the one
//! list from which reading a file, `options`, `get`, `set`, help and the manual are derived.

mod assign;
mod circus;
mod circus_table;
mod difference;
mod error;
mod kind;
mod metrics;
mod name;
mod number;
mod overflow;
pub mod python;
mod signal;
mod socket;
mod socket_table;
mod stream;
mod variables;
mod watcher;
mod watcher_table;

pub use circus::CircusOptions;
pub use circus_table::{CIRCUS_KEYS_NEVER_READ, CIRCUS_OPTIONS, CircusOption, GLOBAL_OPTIONS, global_options};
pub use difference::differences;
pub use error::{Expected, OptionErrno, OptionError};
pub use kind::{Kind, Lens};
pub use metrics::{MetricsEndpoint, MetricsPlace};
pub use name::{LONGEST_NAME, NameError, check_name};
pub use number::Seconds;
pub use overflow::{OVERFLOW_NAMES, Overflow, SizeRange, size};
pub use signal::{SIGNAL_NAMES, Signal, SignalError};
pub use socket::{SocketAddressSpec, SocketFamily, SocketKind, SocketOptions};
pub use socket_table::{SOCKET_OPTIONS, SocketDraft, SocketOption};
pub use stream::{STREAM_CLASS_NAMES, StreamClass, StreamOptions};
pub use watcher::{Args, HOOK_NAMES, Identity, MAX_PROCESSES, RLIMIT_NAMES, Retries, RlimitValue, WatcherOptions};
pub use watcher_table::{Change, Effect, Shown, WATCHER_OPTIONS, WatcherOption, check, get, set, shown};

pub use variables::variable;

use overflow::overflow_names;
use stream::stream_class_names;
use watcher::{rlimit_name, rlimit_names};
