//! `circus-plugin`: one built-in plugin in a process of its own (spec j).
//!
//! A plugin is a client like any other: it calls circusd and hears its events (`client`), so that it can crash alone. Each is a file
//! and a row of [`PLUGINS`]; what it decides is pure and tested without a circusd. Python classes are not run here: circusd
//! starts those as Circus does (`section`).

mod arguments;
mod command_reloader;
mod flapping;
mod full_stats;
mod http;
mod http_observer;
mod observer;
mod redis;
mod redis_observer;
mod resource_watcher;
pub mod section;
mod settings;
mod statsd;
mod statsd_emitter;
mod usage;
mod watchdog;

pub use arguments::Arguments;
pub use settings::{SettingError, Settings};

use crate::client::{Caller, Events};
use crate::print;
use clap::CommandFactory as _;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// What a plugin works with.
pub struct Host {
    /// circusd.
    pub caller: Caller,
    /// Its events.
    pub events: Events,
    /// `--config`.
    pub settings: Settings,
    /// `--check-delay`: how long circusd may take to notice an end.
    pub check_delay: Duration,
}

/// A plugin at work. It ends only with an error.
type Work = Pin<Box<dyn Future<Output = PluginError>>>;

/// One built-in plugin.
pub struct Plugin {
    /// The class of Circus that it stands for.
    pub class: &'static str,
    /// Other names that Circus has for it.
    pub aliases: &'static [&'static str],
    /// One line for people.
    pub help: &'static str,
    /// Starts it.
    pub run: fn(Host) -> Work,
}

/// All of them.
pub const PLUGINS: &[Plugin] = &[
    Plugin {
        class: "circus.plugins.flapping.Flapping",
        aliases: &[],
        help: "stops a watcher whose processes end again and again, and tries again later",
        run: |host| Box::pin(flapping::run(host)),
    },
    Plugin {
        class: "circus.plugins.resource_watcher.ResourceWatcher",
        aliases: &[],
        help: "restarts a watcher that uses too much or too little CPU or memory",
        run: |host| Box::pin(resource_watcher::run(host)),
    },
    Plugin {
        class: "circus.plugins.watchdog.WatchDog",
        aliases: &[],
        help: "kills a process whose heartbeats over UDP stop",
        run: |host| Box::pin(watchdog::run(host)),
    },
    Plugin {
        class: "circus.plugins.command_reloader.CommandReloader",
        aliases: &[],
        help: "restarts a watcher when the file of its command changes",
        run: |host| Box::pin(command_reloader::run(host)),
    },
    Plugin {
        class: "circus.plugins.statsd.StatsdEmitter",
        aliases: &["circus.plugins._statsd.StatsdEmitter"],
        help: "counts every event of every watcher in a statsd server",
        run: |host| Box::pin(statsd_emitter::run(host)),
    },
    Plugin {
        class: "circus.plugins.statsd.FullStats",
        aliases: &["circus.plugins._statsd.FullStats"],
        help: "tells a statsd server what the processes of each watcher use",
        run: |host| Box::pin(full_stats::run(host)),
    },
    Plugin {
        class: "circus.plugins.http_observer.HttpObserver",
        aliases: &[],
        help: "asks for a page, tells a statsd server how long that took, and restarts a watcher when it fails",
        run: |host| Box::pin(http_observer::run(host)),
    },
    Plugin {
        class: "circus.plugins.redis_observer.RedisObserver",
        aliases: &[],
        help: "tells a statsd server the numbers of a Redis, and restarts a watcher when it does not answer",
        run: |host| Box::pin(redis_observer::run(host)),
    },
];

impl Plugin {
    /// The row of a class.
    pub fn find(class: &str) -> Option<&'static Self> {
        PLUGINS.iter().find(|plugin| plugin.class == class || plugin.aliases.contains(&class))
    }
}

/// Looks every `period`, the first time when one has passed: what is looked at has as long to start. A look that comes late
/// moves those after it.
fn ticks(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Why a plugin ends.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// No built-in plugin of that name.
    #[error("'{class}' is not built in; a Python class needs the circus package: python3 -m circus.plugins")]
    Unknown {
        /// As given.
        class: String,
    },
    /// A setting has no sense.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// An address cannot be listened at.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// Where.
        address: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// No datagram can be sent.
    #[error("cannot make a socket for statsd: {source}")]
    Socket {
        /// What the operating system says.
        source: std::io::Error,
    },
}

/// The whole program.
pub fn main() -> ExitCode {
    let arguments: Arguments = match print::arguments() {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    let show = |text: String| print::show(&text).map_err(Into::into);
    let outcome = match arguments.plugin.clone() {
        _ if arguments.attendant.version => show(format!("{}\n", crate::cli::Arguments::version_text())),
        None => show(format!("{}\n", Arguments::command().render_help())),
        Some(class) => start(&arguments, class).inspect_err(|error| tracing::error!("{error}")),
    };
    print::status_of("circus-plugin", outcome)
}

fn start(arguments: &Arguments, class: String) -> Result<(), Box<dyn std::error::Error>> {
    arguments.attendant.begin()?;
    let plugin = Plugin::find(&class).ok_or(PluginError::Unknown { class })?;
    let host = Host {
        caller: Caller::new(&arguments.attendant.endpoint),
        events: Events::new(&arguments.attendant.pubsub),
        settings: Settings::parse(arguments.config.as_deref().unwrap_or_default()),
        check_delay: Duration::try_from_secs_f64(arguments.check_delay)?,
    };
    let is_active = host.settings.flag("active", true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Nothing is to be tidied up at the end, so signals end it as they end any program.
    let end = runtime.block_on(async {
        if !is_active {
            // An end would only be followed by another start.
            tracing::info!("active = False: it does nothing");
            std::future::pending::<()>().await;
        }
        (plugin.run)(host).await
    });
    Err(end.into())
}
