//! `papa`: serves an instance, or tells how one does.
#![forbid(unsafe_code)]

use ringmaster_kernel::shell::{Options, Place, ServeError, Verbosity};
use ringmaster_kernel::{attach, daemon, instance::InstanceError, keeper, status};
use ringmaster_protocol::instance::{InstanceName, instance_directory, socket_path};
use ringmaster_protocol::status as show;
use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
papa: the persistent process kernel of Ringmaster

Usage: papa [--instance NAME] [-u PATH] [-p PORT] [-d] [--daemonize]
       papa status [--instance NAME | -u PATH] [--json]
       papa attach [--instance NAME | -u PATH]
       papa upgrade [BINARY] [--instance NAME | -u PATH]
       papa rollback [--instance NAME | -u PATH]

  --instance NAME  which instance; without it `default`, or a name made from PATH
  -u PATH          the Unix socket, when it is not in the instance's directory
  -p PORT          speak Papa's text protocol on 127.0.0.1:PORT, too; only with clients of the same user, and root
  -d               say on standard error what happens
  --daemonize      return when clients can connect; serve in the background
  --json           status as JSON
  --version        print the version
  -h, --help       print this

`papa attach` talks to a core in Papa's text protocol; type `help`, leave with `quit`. (`rlwrap papa attach` adds a history.)

`papa upgrade` makes a core go on as BINARY (without it: as the program that is typed), `papa rollback` as what it was before.
Nothing that it owns notices. The program is tried first on a copy of the state; one that cannot take over changes nothing.

A core is two processes. Either may die: the other starts it anew, or takes its place. A core ends when its manager asks it to and nothing is left to own. SIGTERM ends it only when it owns no process, no
socket and no value, and otherwise means nothing: it is not kept for later. SIGINT (Ctrl-C) is the same for a core in the
foreground and means nothing to one in the background; SIGHUP means nothing to either. SIGKILL to both at once leaves
its processes running; the next core of the same instance takes them back.

Exit status: 0 done; 1 failed; 2 wrong usage; 3 the instance is served already, or (status, attach) is not served.
";

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const OTHERWISE: u8 = 3;

/// What the command line asks for.
#[derive(Debug, Default)]
struct Arguments {
    command: Command,
    instance: Option<String>,
    socket: Option<PathBuf>,
    port: Option<u16>,
    output: Output,
    verbosity: Option<Verbosity>,
    place: Place,
    program: Option<PathBuf>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Command {
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
            eprintln!("papa: {text}\nTry `papa --help`.");
            return ExitCode::from(USAGE);
        }
    };
    let name = match instance_name(&arguments) {
        Ok(name) => name,
        Err(text) => {
            eprintln!("papa: {text}");
            return ExitCode::from(USAGE);
        }
    };
    let uid = rustix::process::geteuid().as_raw();
    let directory = instance_directory(&name, |variable| std::env::var_os(variable), uid);
    match arguments.command {
        Command::Help => print!("{HELP}"),
        Command::Version => println!("papa {}", env!("CARGO_PKG_VERSION")),
        Command::Status => {
            let socket = arguments.socket.unwrap_or_else(|| socket_path(&directory));
            return tell_status(&socket, &arguments.output);
        }
        Command::Attach => {
            let socket = arguments.socket.unwrap_or_else(|| socket_path(&directory));
            return attach_to(&socket);
        }
        Command::Upgrade | Command::Rollback => {
            let socket = arguments.socket.unwrap_or_else(|| socket_path(&directory));
            let program = arguments.program.or_else(|| std::env::current_exe().ok());
            return upgrade(&socket, program.filter(|_| arguments.command == Command::Upgrade).as_deref());
        }
        Command::Serve => {
            let mask = rustix::process::umask(rustix::fs::Mode::empty());
            rustix::process::umask(mask);
            let options = Options {
                directory,
                socket: arguments.socket.map(|path| std::path::absolute(&path).unwrap_or(path)),
                port: arguments.port,
                verbosity: arguments.verbosity.unwrap_or(Verbosity::Quiet),
                place: arguments.place,
            };
            return match arguments.place {
                Place::Foreground => finish(keeper::serve(&options, mask.as_raw_mode(), || {})),
                Place::Background => daemonize(&options, mask.as_raw_mode()),
            };
        }
    }
    ExitCode::SUCCESS
}

/// Only a core says these words, to the program that is to take over.
fn resume(words: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    match keeper::resume(words) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("papa: {error}");
            ExitCode::from(FAILED)
        }
    }
}

fn finish(result: Result<u8, ServeError>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("papa: {error}");
            ExitCode::from(code(&error))
        }
    }
}

fn code(error: &ServeError) -> u8 {
    match error {
        ServeError::Instance(InstanceError::Served { .. } | InstanceError::SocketTaken { .. }) => OTHERWISE,
        ServeError::Instance(InstanceError::System { .. } | InstanceError::Unsafe { .. }) => FAILED,
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
            eprintln!("papa: going to the background failed: {error}");
            ExitCode::from(FAILED)
        }
    }
}

fn tell_status(socket: &std::path::Path, output: &Output) -> ExitCode {
    match status::ask(socket) {
        Ok(reply) => {
            match output {
                Output::Json => println!("{}", show::json(&reply)),
                Output::Text => print!("{}", show::text(&reply)),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("papa: {error}");
            ExitCode::from(if error.is_absence() { OTHERWISE } else { FAILED })
        }
    }
}

/// Says what came of it; an upgrade that did not happen is a failure.
fn upgrade(socket: &std::path::Path, program: Option<&std::path::Path>) -> ExitCode {
    let program = program.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    match status::upgrade(socket, program.as_deref()) {
        Ok(report) => {
            println!("{report}");
            if report.starts_with("done") { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
        }
        Err(error) => {
            eprintln!("papa: {error}");
            ExitCode::from(if error.is_absence() { OTHERWISE } else { FAILED })
        }
    }
}

fn attach_to(socket: &std::path::Path) -> ExitCode {
    match attach::run(socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("papa: {error}");
            ExitCode::from(if error.is_absence() { OTHERWISE } else { FAILED })
        }
    }
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

fn parse(words: impl Iterator<Item = std::ffi::OsString>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    let mut words = words.enumerate();
    while let Some((position, word)) = words.next() {
        let mut value = |option: &str| words.next().map(|(_, value)| value).ok_or(format!("{option} needs a value"));
        match word.to_str() {
            Some("status") if position == 0 => arguments.command = Command::Status,
            Some("attach") if position == 0 => arguments.command = Command::Attach,
            Some("upgrade") if position == 0 => arguments.command = Command::Upgrade,
            Some("rollback") if position == 0 => arguments.command = Command::Rollback,
            Some(path) if arguments.command == Command::Upgrade && position == 1 && !path.starts_with('-') => {
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
            Some("-d") => arguments.verbosity = Some(Verbosity::Debug),
            Some("--daemonize") => arguments.place = Place::Background,
            Some("--json") if arguments.command == Command::Status => arguments.output = Output::Json,
            Some("-h" | "--help") => arguments.command = Command::Help,
            Some("--version") => arguments.command = Command::Version,
            _ => return Err(format!("unknown argument {}", word.to_string_lossy())),
        }
    }
    Ok(arguments)
}
