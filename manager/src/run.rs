//! circusd from the command line to its exit status: reads arguments and configuration, then runs one life after
//! another until one ends for good.

use crate::arbiter::Ending;
use crate::cli::{Arguments, LogLevel};
use crate::config::{self, Config, Severity};
use crate::daemon::{
    LineFormat, LogFile, LogTarget, LoggerConfig, Outlet, Pidfile, PidfileError, leave_terminal, read_logger_config,
    start_in_background, start_logging,
};
use crate::print::{arguments, complain, show};
use crate::process::Heritage;
use crate::program::Program;
use crate::replace::{Beginning, ReplaceError};
use crate::shell::{self, Ended, Plan, Signals};
use crate::stand_by::{self, Outcome};
use clap::CommandFactory as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Configuration, pid file and start errors (spec b.2).
const FAILURE: u8 = 1;

/// How often in a row a start is tried again whose core went away in the middle, and after which pause: a half of the core takes
/// milliseconds to replace the other, seconds on a machine with thousands of processes.
pub(crate) const STARTS: u32 = 50;
pub(crate) const BEFORE_START: Duration = Duration::from_millis(100);

/// The whole program.
pub fn main() -> ExitCode {
    let arguments: Arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    let config = arguments.config.clone();
    let outcome = match (&arguments, &config) {
        (arguments, _) if arguments.version => tell(&format!("{}\n", Arguments::version_text())),
        (_, None) => tell(&format!("{}\n", Arguments::command().render_help())),
        (arguments, Some(path)) => act(arguments, path),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("circusd: {error}"));
            ExitCode::from(FAILURE)
        }
    }
}

fn act(arguments: &Arguments, path: &Path) -> Result<ExitCode, Box<dyn std::error::Error>> {
    match arguments {
        arguments if arguments.check => check(path),
        arguments if arguments.print_config => print_config(arguments, path),
        arguments if arguments.trial => trial(arguments, path),
        Arguments { stand_by: Some(replaced), .. } => stand_by(arguments, path, *replaced),
        arguments => serve(arguments, path, None),
    }
}

fn tell(text: &str) -> Result<ExitCode, Box<dyn std::error::Error>> {
    show(text)?;
    Ok(ExitCode::SUCCESS)
}

/// `--check`: says what would run; fails when something would not.
fn check(path: &Path) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let config = config::load(path, &environment())?;
    show(&config::check::report(&config))?;
    let left_out = config.problems.iter().any(|problem| problem.severity == Severity::LeftOut);
    Ok(if left_out { ExitCode::from(FAILURE) } else { ExitCode::SUCCESS })
}

/// `--print-config`: the effective values. A running circusd is asked for nothing; its core tells what clients have changed.
fn print_config(arguments: &Arguments, path: &Path) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let environment = environment();
    let config = config::load(path, &environment)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let seeds = runtime.block_on(shell::present_watchers(&config, environment.clone()))?;
    let level = arguments.log_level.and_then(|level| clap::ValueEnum::to_possible_value(&level));
    let pidfile = arguments.pidfile.as_ref().map(|path| path.display().to_string());
    let given = [
        ("loglevel", level.map(|level| level.get_name().to_owned())),
        ("logoutput", arguments.log_output.clone()),
        ("loggerconfig", arguments.logger_config.clone()),
        ("pidfile", pidfile),
    ];
    let command_line = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let overrides = config::print::Overrides { command_line, seeds };
    tell(&config::print::effective(&config, &environment, &overrides)?)
}

/// `--trial`: everything that a start does, up to the point where it would have consequences.
fn trial(arguments: &Arguments, path: &Path) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let path = std::path::absolute(path)?;
    let config = load(&path)?;
    // What it says of the log is checked; what it logs itself goes to whoever tries it.
    logging(arguments, &config)?;
    let quiet = Outlet { target: LogTarget::Terminal, level: LogLevel::Critical, format: LineFormat::circus() };
    let log = start_logging(&[quiet])?;
    let plan = plan(config, &log, &Beginning::now());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tell(&format!("{}\n", runtime.block_on(shell::trial(plan))?))
}

/// `--stand-by`: goes on when the program that takes the place of another circusd does not come to serve.
fn stand_by(arguments: &Arguments, path: &Path, replaced: i32) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let replaced = rustix::process::Pid::from_raw(replaced).ok_or("--stand-by: expected the number of a process")?;
    let config = load(path)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(stand_by::wait(&Program::own(), replaced, &config.circus.endpoint))?;
    drop(runtime);
    match outcome {
        Outcome::Over => Ok(ExitCode::SUCCESS),
        Outcome::Failed(failure) => serve(arguments, path, Some(Instead { failure, config })),
    }
}

/// Why and with what a circusd goes on that has stood by.
struct Instead {
    failure: stand_by::Failure,
    /// The file as it was when this one began to stand by.
    config: Config,
}

/// What circusd begins with.
struct Start {
    config: Config,
    /// Why it goes on, if it has stood by.
    failure: Option<stand_by::Failure>,
    /// Why the file could not be read again then.
    unread: Option<Box<dyn std::error::Error>>,
}

impl Start {
    fn new(path: &Path, instead: Option<Instead>) -> Result<Self, Box<dyn std::error::Error>> {
        let Some(Instead { failure, config }) = instead else {
            return Ok(Self { config: load(path)?, failure: None, unread: None });
        };
        let (config, unread) = match load(path) {
            Ok(config) => (config, None),
            Err(error) => (config, Some(error)),
        };
        Ok(Self { config, failure: Some(failure), unread })
    }
}

/// Said after what is wrong with a file that services go on without.
const AS_IT_WAS: &str = "circusd goes on with the configuration as it was";

/// Serves, in the stead of a program that failed to, if that is why.
fn serve(arguments: &Arguments, path: &Path, instead: Option<Instead>) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let path = &std::path::absolute(path)?;
    let beginning = Beginning::now();
    let Start { config, failure, unread } = Start::new(path, instead)?;
    let Logging { outlets, notes } = logging(arguments, &config)?;
    if arguments.daemon {
        start_in_background()?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.daemonized {
        leave_terminal()?;
    }
    let log = start_logging(&outlets)?;
    for note in notes {
        tracing::warn!("{note}");
    }
    if let Some(failure) = failure {
        tracing::error!("upgrade: {failure}");
    }
    if let Some(error) = unread {
        tracing::error!("{error}; {AS_IT_WAS}");
    }
    let pidfile = arguments.pidfile.clone().or_else(|| config.circus.pidfile.clone());
    let _pidfile = match pidfile.map(|path| Pidfile::create(&path)).transpose() {
        Ok(pidfile) => pidfile,
        Err(error @ (PidfileError::Taken { .. } | PidfileError::NoDirectory { .. })) => {
            show(&format!("{error}\n"))?;
            return Ok(ExitCode::from(FAILURE));
        }
        Err(error) => return Err(error.into()),
    };
    beginning.raise_file_limit();
    lives(path, config, &log, &beginning)
}

/// One life after another. A file that breaks ends none: each begins with the file as it was last read without errors.
fn lives(
    path: &Path,
    mut config: Config,
    log: &LogFile,
    beginning: &Beginning,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let (mut starts, mut signals) = (0, None);
    report_problems(&config);
    loop {
        let ending = match live(plan(config.clone(), log, beginning), &mut signals)? {
            Life::CoreGone if starts < STARTS => {
                starts += 1;
                continue;
            }
            Life::Failed | Life::CoreGone => {
                if signals.as_ref().is_some_and(Signals::is_to_end) {
                    stand_by::dismiss();
                }
                return Ok(ExitCode::from(FAILURE));
            }
            Life::Over(Ended { ending, file }) => {
                config = file.map_or(config, |file| *file);
                ending
            }
        };
        match ending {
            Ending::Quit => {
                if beginning.is_upgrade() {
                    stand_by::dismiss();
                }
                return Ok(ExitCode::SUCCESS);
            }
            Ending::Restart => {}
            Ending::CalledOff => end_next_life(&mut signals),
            Ending::Upgrade => {
                upgrade(beginning, &mut signals)?;
                config = load(path).unwrap_or_else(|error| {
                    tracing::error!("{error}; {AS_IT_WAS}");
                    config
                });
            }
        }
        starts = 0;
        report_problems(&config);
    }
}

fn plan(config: Config, log: &LogFile, beginning: &Beginning) -> Plan {
    Plan {
        environment: environment(),
        working_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        heritage: Heritage { umask: beginning.set_umask(config.circus.umask), files: beginning.files() },
        log: log.clone(),
        program: Some(beginning.program.clone()),
        config,
    }
}

fn end_next_life(signals: &mut Option<Signals>) {
    tracing::info!("no upgrade: circusd was asked to end");
    if let Some(signals) = signals {
        signals.end_next_life();
    }
}

/// Another program takes over. Comes back when it cannot, or when circusd is to end instead.
fn upgrade(beginning: &Beginning, signals: &mut Option<Signals>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let replaced = beginning.replace(|| signals.as_mut().is_some_and(|signals| runtime.block_on(signals.has_end())));
    match replaced {
        Err(ReplaceError::CalledOff) => end_next_life(signals),
        Err(error @ (ReplaceError::Argument(_) | ReplaceError::Exec(_))) => {
            tracing::error!("{}: {error}; this circusd goes on", beginning.program.path.display());
            if let Some(signals) = signals {
                signals.wait_for_life();
            }
        }
    }
    Ok(())
}

/// One life, on a runtime of its own: nothing of an earlier one is left when the next begins.
fn live(plan: Plan, signals: &mut Option<Signals>) -> Result<Life, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(shell::run(plan, signals, None)) {
        Ok(ended) => Ok(Life::Over(ended)),
        Err(error) if error.is_wanted() => {
            tracing::info!("{error}");
            Ok(Life::Over(Ended { ending: Ending::Quit, file: None }))
        }
        Err(error) => {
            tracing::error!("{error}");
            if error.is_core_gone() {
                // Timers are made inside a runtime.
                runtime.block_on(async { tokio::time::sleep(BEFORE_START).await });
                return Ok(Life::CoreGone);
            }
            Ok(Life::Failed)
        }
    }
}

/// How a life went; a failure has been logged.
enum Life {
    Over(Ended),
    Failed,
    /// The core went away before the life had begun.
    CoreGone,
}

fn load(path: &Path) -> Result<Config, Box<dyn std::error::Error>> {
    Ok(config::load(path, &environment())?)
}

fn report_problems(config: &Config) {
    for problem in &config.problems {
        tracing::warn!("{problem}");
    }
}

/// circusd's environment. What is not UTF-8 cannot be written in a configuration, nor compared with one.
pub(crate) fn environment() -> BTreeMap<String, String> {
    let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// Where the log goes, and what of a logger configuration is not done.
struct Logging {
    outlets: Vec<Outlet>,
    notes: Vec<String>,
}

/// The command line's word counts more than the file's; a logger configuration stands in the place of level and output.
fn logging(arguments: &Arguments, config: &Config) -> Result<Logging, Box<dyn std::error::Error>> {
    let circus = &config.circus;
    let named = arguments.logger_config.as_deref().or(circus.loggerconfig.as_deref());
    let LoggerConfig { outlets, notes } = named.map(read_logger_config).transpose()?.flatten().unwrap_or_default();
    if !outlets.is_empty() {
        return Ok(Logging { outlets, notes });
    }
    let target = LogTarget::parse(arguments.log_output.as_deref().or(config.circus.logoutput.as_deref()))?;
    let outlet = Outlet { target, level: level(arguments, config), format: LineFormat::circus() };
    Ok(Logging { outlets: vec![outlet], notes })
}

fn level(arguments: &Arguments, config: &Config) -> LogLevel {
    let configured = config.circus.loglevel.as_deref().map(|text| <LogLevel as clap::ValueEnum>::from_str(text, true));
    match (arguments.log_level, configured) {
        (Some(level), _) | (None, Some(Ok(level))) => level,
        (None, Some(Err(_)) | None) => LogLevel::Info,
    }
}
