//! The typed options of `[circus]`, `[watcher:]` and `[socket:]`, and the tables that describe them.
//!
//! A value is text only inside `config`; from here on it has its type. The tables (`WATCHER_OPTIONS`, …) are the one
//! list from which reading a file, `options`, `get`, `set`, help and the manual are derived.

mod circus;
mod number;
mod signal;
mod socket;
mod stream;
mod watcher;

pub use circus::CircusOptions;
pub use number::Seconds;
pub use signal::Signal;
pub use socket::{SocketAddressSpec, SocketFamily, SocketKind, SocketOptions};
pub use stream::{StreamClass, StreamOptions};
pub use watcher::{Args, Identity, Retries, RlimitValue, WatcherOptions};
