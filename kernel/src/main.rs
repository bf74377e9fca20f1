//! `papa`: serves an instance, or tells how one does.
#![forbid(unsafe_code)]

use ringmaster_kernel::limits::RING_MEMORY;
use ringmaster_kernel::print::{complain, show as put};
use ringmaster_kernel::shell::{Options, Place, ServeError, Verbosity};
use ringmaster_kernel::status::{self, StatusError};
use ringmaster_kernel::{daemon, instance::InstanceError, keeper, policy::POLICY};
use ringmaster_protocol::circus::to_json;
use ringmaster_protocol::instance::{InstanceName, instance_directory, socket_path};
use ringmaster_protocol::limits::MIN_RING;
use ringmaster_protocol::status as show;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const HELP: &str = "\
papa: the persistent process kernel of Ringmaster

Usage: papa [--instance NAME] [-u PATH] [-p PORT] [--policy PATH] [--ring-memory SIZE] [-d] [--daemonize]
       papa status [--instance NAME | -u PATH] [--json]
       papa attach [--instance NAME | -u PATH]
       papa upgrade [BINARY] [--instance NAME | -u PATH]
       papa rollback [--instance NAME | -u PATH]

  --instance NAME  which instance; without it `default`, or a name made from PATH
  -u PATH          the Unix socket, when it is not in the instance's directory
  -p PORT          speak Papa's text protocol on 127.0.0.1:PORT, too; only with clients of the same user, and root
  --ring-memory SIZE
                   how much output is kept in memory, of all processes together; bytes, or with K, M or G; default 256M
  --policy PATH    which other users may use a core of root; /etc/circus/papa.policy (docs/manual/security.md)
  -d               say on standard error what happens
  --daemonize      return when clients can connect; serve in the background
  --json           status as JSON
  --version        print the version
  -h, --help       print this

`papa attach` talks to a core in Papa's text protocol, with an editor and a history; it runs `circusctl attach`.
Type `help`; leave with `quit`.

`papa upgrade` makes a core go on as BINARY (without it: as the program that is typed), `papa rollback` as what it was before.
Nothing that it owns notices. The program is tried first on a copy of the state; one that cannot take over changes nothing.

A core is two processes. Either may die: the other starts it anew, or takes its place. A core ends when its manager asks it to and nothing is left to own. SIGTERM ends it only when it owns no process, no
socket and no value, and otherwise means nothing: it is not kept for later. SIGINT (Ctrl-C) is the same for a core in the
foreground and means nothing to one in the background; SIGHUP means nothing to either. SIGKILL to both at once leaves
its processes running; the next core of the same instance takes them back.

Exit status: 0 done; 1 failed; 2 wrong usage; 3 the instance is served already, or (status, attach) is not served.
";

/// The program that holds conversations.
const CIRCUSCTL: &str = "circusctl";

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const OTHERWISE: u8 = 3;

/// What the command line asks for.
#[derive(Debug, Default)]
struct Arguments {
    command: Task,
    instance: Option<String>,
    socket: Option<PathBuf>,
    port: Option<u16>,
    policy: Option<PathBuf>,
    output: Output,
    ring_memory: Option<u64>,
    verbosity: Option<Verbosity>,
    place: Place,
    program: Option<PathBuf>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Task {
    #[default]
    Serve,
    Status,
    Attach,
    Upgrade,
    Rollback,
    Help,
    Version,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Output {
    #[default]
    Text,
    Json,
}

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "resume") {
        return resume(words);
    }
    let arguments = match parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(text) => {
            complain(&format!("{text}\nTry `papa --help`."));
            return ExitCode::from(USAGE);
        }
    };
    let name = match instance_name(&arguments) {
        Ok(name) => name,
        Err(text) => {
            complain(&text);
            return ExitCode::from(USAGE);
        }
    };
    let uid = rustix::process::geteuid().as_raw();
    let directory = instance_directory(&name, |variable| std::env::var_os(variable), uid);
    match arguments.command {
        Task::Help => print(HELP),
        Task::Version => print(concat!("papa ", env!("CARGO_PKG_VERSION"), "\n")),
        Task::Status => {
            let socket = arguments.socket.unwrap_or_else(|| socket_path(&directory));
            tell_status(&socket, &arguments.output)
        }
        Task::Attach => {
            let socket = arguments.socket.unwrap_or_else(|| socket_path(&directory));
            attach(&socket)
        }
        Task::Upgrade | Task::Rollback => {
            let socket = arguments.socket.unwrap_or_else(|| socket_path(&directory));
            let program = arguments.program.or_else(|| std::env::current_exe().ok());
            upgrade(&socket, program.filter(|_| arguments.command == Task::Upgrade).as_deref())
        }
        Task::Serve => {
            let mask = rustix::process::umask(rustix::fs::Mode::empty());
            rustix::process::umask(mask);
            let options = Options {
                directory,
                socket: arguments.socket.map(|path| std::path::absolute(&path).unwrap_or(path)),
                port: arguments.port,
                ring_memory: arguments.ring_memory.unwrap_or(RING_MEMORY),
                policy: arguments.policy.unwrap_or_else(|| POLICY.into()),
                verbosity: arguments.verbosity.unwrap_or(Verbosity::Quiet),
                place: arguments.place,
            };
            match arguments.place {
                Place::Foreground => finish(keeper::serve(&options, mask.as_raw_mode(), || {})),
                Place::Background => daemonize(&options, mask.as_raw_mode()),
            }
        }
    }
}

/// Only a core says these words, to the program that is to take over.
fn resume(words: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    match keeper::resume(words) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(FAILED)
        }
    }
}

fn finish(result: Result<u8, ServeError>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(code(&error))
        }
    }
}

fn code(error: &ServeError) -> u8 {
    match error {
        ServeError::Instance(InstanceError::Served { .. } | InstanceError::SocketTaken { .. }) => OTHERWISE,
        ServeError::Instance(
            InstanceError::System { .. } | InstanceError::Held { .. } | InstanceError::Unsafe { .. },
        ) => FAILED,
        ServeError::State(_) | ServeError::System { .. } => FAILED,
    }
}

fn daemonize(options: &Options, umask: u32) -> ExitCode {
    let outcome = daemon::start(|report| match keeper::serve(options, umask, || report.ready()) {
        Ok(code) => code,
        Err(error) => {
            report.failed(code(&error), &error.to_string());
            code(&error)
        }
    });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&format!("going to the background failed: {error}"));
            ExitCode::from(FAILED)
        }
    }
}

fn tell_status(socket: &Path, output: &Output) -> ExitCode {
    match status::ask(socket) {
        Ok(reply) => match output {
            Output::Json => print(&format!("{}\n", String::from_utf8_lossy(&to_json(&show::json(&reply))))),
            Output::Text => print(&show::text(&reply)),
        },
        Err(error) => refused(&error),
    }
}

fn refused(error: &StatusError) -> ExitCode {
    complain(&error.to_string());
    ExitCode::from(if error.is_absence() { OTHERWISE } else { FAILED })
}

/// `text` on stdout; a failure is said.
fn print(text: &str) -> ExitCode {
    match put(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("cannot write to stdout: {error}"));
            ExitCode::from(FAILED)
        }
    }
}

/// Says what came of it; an upgrade that did not happen is a failure.
fn upgrade(socket: &Path, program: Option<&Path>) -> ExitCode {
    let program = program.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    match status::upgrade(socket, program.as_deref()) {
        Ok(report) => {
            let shown = print(&format!("{report}\n"));
            if report.starts_with("done") { shown } else { ExitCode::from(FAILED) }
        }
        Err(error) => refused(&error),
    }
}

/// The conversation is held by `circusctl attach`, which has a line editor; it is looked for beside us, then on PATH.
fn attach(socket: &Path) -> ExitCode {
    if let Err(source) = status::connect(socket) {
        return refused(&StatusError::unreached(socket, source));
    }
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(CIRCUSCTL)).filter(|path| path.exists());
    let program = beside.unwrap_or_else(|| CIRCUSCTL.into());
    let error = Command::new(&program).args(["attach", "--socket"]).arg(socket).exec();
    complain(&format!("{}: {error}; `nc -U {}` does the same without an editor", program.display(), socket.display()));
    ExitCode::from(FAILED)
}

fn instance_name(arguments: &Arguments) -> Result<InstanceName, String> {
    match (&arguments.instance, &arguments.socket) {
        (Some(name), _) => InstanceName::new(name).map_err(|error| error.to_string()),
        (None, Some(path)) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            Ok(InstanceName::from_endpoint(&format!("ipc://{}", path.display())))
        }
        (None, None) => Ok(InstanceName::default()),
    }
}

/// Bytes, with `K`, `M` or `G` times 1024, 1024² or 1024³.
fn size(text: &str) -> Option<u64> {
    let units = [('K', 10), ('M', 20), ('G', 30)];
    let unit = units.into_iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, 1_u64 << shift)));
    let (number, unit) = unit.unwrap_or((text, 1));
    number.parse::<u64>().ok()?.checked_mul(unit)
}

fn parse(words: impl Iterator<Item = std::ffi::OsString>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    let mut words = words.enumerate();
    while let Some((position, word)) = words.next() {
        let mut value = |option: &str| words.next().map(|(_, value)| value).ok_or(format!("{option} needs a value"));
        match word.to_str() {
            Some("status") if position == 0 => arguments.command = Task::Status,
            Some("attach") if position == 0 => arguments.command = Task::Attach,
            Some("upgrade") if position == 0 => arguments.command = Task::Upgrade,
            Some("rollback") if position == 0 => arguments.command = Task::Rollback,
            Some(path) if arguments.command == Task::Upgrade && position == 1 && !path.starts_with('-') => {
                arguments.program = Some(path.into());
            }
            Some("--instance") => {
                let name = value("--instance")?;
                arguments.instance = Some(name.to_string_lossy().into_owned());
            }
            Some("-u") => arguments.socket = Some(value("-u")?.into()),
            Some("-p") => {
                let text = value("-p")?.to_string_lossy().into_owned();
                let port = text.parse().ok().filter(|port| *port != 0);
                arguments.port = Some(port.ok_or(format!("-p is {text}; expected a port, 1 to 65535"))?);
            }
            Some("--ring-memory") => {
                let text = value("--ring-memory")?.to_string_lossy().into_owned();
                let size = size(&text).filter(|size| *size >= MIN_RING);
                let expected = format!("--ring-memory is {text}; expected a size such as 512M, at least 64K");
                arguments.ring_memory = Some(size.ok_or(expected)?);
            }
            Some("--policy") => arguments.policy = Some(value("--policy")?.into()),
            Some("-d") => arguments.verbosity = Some(Verbosity::Debug),
            Some("--daemonize") => arguments.place = Place::Background,
            Some("--json") if arguments.command == Task::Status => arguments.output = Output::Json,
            Some("-h" | "--help") => arguments.command = Task::Help,
            Some("--version") => arguments.command = Task::Version,
            _ => return Err(format!("unknown argument {}", word.to_string_lossy())),
        }
    }
    Ok(arguments)
}
