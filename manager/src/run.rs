//! circusd from the command line to its exit status: reads arguments and configuration, then runs one life after
//! another until one ends for good.

use crate::arbiter::Ending;
use crate::cli::{Arguments, LogLevel};
use crate::config::{self, Config, Severity};
use crate::daemon::{LogFile, LogTarget, Pidfile, PidfileError, leave_terminal, start_in_background, start_logging};
use crate::process::Heritage;
use crate::replace::Beginning;
use crate::shell::{self, Plan};
use clap::{CommandFactory as _, Parser as _};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Configuration, pid file and start errors (spec b.2).
const FAILURE: u8 = 1;

/// The whole program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.version {
        println!("{}", Arguments::version_text());
        return ExitCode::SUCCESS;
    }
    let Some(path) = arguments.config.clone() else {
        println!("{}", Arguments::command().render_help());
        return ExitCode::SUCCESS;
    };
    let outcome = match &arguments {
        arguments if arguments.check => check(&path),
        arguments if arguments.trial => trial(arguments, &path),
        arguments => serve(arguments, &path),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("circusd: {error}");
            ExitCode::from(FAILURE)
        }
    }
}

/// `--check`: says what would run; fails when something would not.
fn check(path: &Path) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let config = config::load(path, &environment())?;
    print!("{}", config::check::report(&config));
    let left_out = config.problems.iter().any(|problem| problem.severity == Severity::LeftOut);
    Ok(if left_out { ExitCode::from(FAILURE) } else { ExitCode::SUCCESS })
}

/// `--trial`: everything that a start does, up to the point where it would have consequences.
fn trial(arguments: &Arguments, path: &Path) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let path = std::path::absolute(path)?;
    let config = load(&path)?;
    logger_config(arguments.logger_config.as_deref())?;
    LogTarget::parse(arguments.log_output.as_deref().or(config.circus.logoutput.as_deref()))?;
    let log = start_logging(&LogTarget::Terminal, LogLevel::Critical)?;
    let plan = plan(config, &log, &Beginning::now());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("{}", runtime.block_on(shell::trial(plan))?);
    Ok(ExitCode::SUCCESS)
}

fn serve(arguments: &Arguments, path: &Path) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let path = &std::path::absolute(path)?;
    let beginning = Beginning::now();
    let mut config = load(path)?;
    logger_config(arguments.logger_config.as_deref())?;
    if arguments.daemon {
        start_in_background()?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.daemonized {
        leave_terminal()?;
    }
    let target = LogTarget::parse(arguments.log_output.as_deref().or(config.circus.logoutput.as_deref()))?;
    let log = start_logging(&target, level(arguments, &config))?;
    let pidfile = arguments.pidfile.clone().or_else(|| config.circus.pidfile.clone());
    let _pidfile = match pidfile.map(|path| Pidfile::create(&path)).transpose() {
        Ok(pidfile) => pidfile,
        Err(error @ (PidfileError::Taken { .. } | PidfileError::NoDirectory { .. })) => {
            println!("{error}");
            return Ok(ExitCode::from(FAILURE));
        }
        Err(error) => return Err(error.into()),
    };
    beginning.raise_file_limit();
    loop {
        report_problems(&config);
        match live(plan(config, &log, &beginning))? {
            Life::Over(Ending::Quit) => return Ok(ExitCode::SUCCESS),
            Life::Over(Ending::Restart) => config = load(path)?,
            Life::Over(Ending::Upgrade) => {
                let Err(error) = beginning.replace();
                tracing::error!("{}: {error}; this circusd goes on", beginning.program.path.display());
                config = load(path)?;
            }
            Life::Failed => return Ok(ExitCode::from(FAILURE)),
        }
    }
}

fn plan(config: Config, log: &LogFile, beginning: &Beginning) -> Plan {
    Plan {
        environment: environment(),
        working_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        heritage: Heritage { umask: beginning.set_umask(config.circus.umask), files: beginning.files() },
        log: log.clone(),
        program: beginning.program.clone(),
        config,
    }
}

/// One life, on a runtime of its own: nothing of an earlier one is left when the next begins.
fn live(plan: Plan) -> Result<Life, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(shell::run(plan)) {
        Ok(ending) => Ok(Life::Over(ending)),
        Err(error) => {
            tracing::error!("{error}");
            Ok(Life::Failed)
        }
    }
}

/// How a life went; a failure has been logged.
enum Life {
    Over(Ending),
    Failed,
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
fn environment() -> BTreeMap<String, String> {
    let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

fn level(arguments: &Arguments, config: &Config) -> LogLevel {
    let configured = config.circus.loglevel.as_deref().map(|text| <LogLevel as clap::ValueEnum>::from_str(text, true));
    match (arguments.log_level, configured) {
        (Some(level), _) | (None, Some(Ok(level))) => level,
        (None, Some(Err(_)) | None) => LogLevel::Info,
    }
}

/// `--logger-config` is read by Python only; what can be checked is checked (spec b.3).
fn logger_config(file: Option<&str>) -> Result<(), UnknownLoggerConfig> {
    match file {
        Some(file) if file != "default" && ![".ini", ".json", ".yaml"].iter().any(|ending| file.ends_with(ending)) => {
            Err(UnknownLoggerConfig(file.to_owned()))
        }
        Some(file) => {
            eprintln!("circusd: --logger-config {file} is accepted but has no effect yet");
            Ok(())
        }
        None => Ok(()),
    }
}

/// The file is none that Python's logging could read.
#[derive(Debug)]
struct UnknownLoggerConfig(String);

impl std::fmt::Display for UnknownLoggerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "--logger-config {}: expected a file named *.ini, *.json or *.yaml, or default", self.0)
    }
}

impl std::error::Error for UnknownLoggerConfig {}
