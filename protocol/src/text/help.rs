//! What `help` says.

use super::command::{Command, Topic, find_topic};

const OVERVIEW: &str = "\
This is the process kernel of Ringmaster; it speaks Papa's language.
Commands may be abbreviated (l p); `help COMMAND` tells more.

  list processes | sockets | values [NAME ...]
  make process NAME [OPTION=VALUE ...] PROGRAM [ARGUMENT ...]
  make socket NAME [OPTION=VALUE ...]
  remove processes | sockets | values [NAME ...]
  watch processes [NAME ...]
  tail NAME [LINES]
  signal NAME SIGNAL
  set NAME [VALUE]
  get NAME
  status
  exit-if-idle
  quit

NAME may end in a star (web.*); processes may also be named by pid, sockets by file number.
A backslash at the end of a word keeps the space behind it: sh -c echo\\ hello
";

const LIST: &str = "\
list processes [NAME ...]   one line for each: name, pid, whether it runs, when it started
list sockets [NAME ...]     one line for each: name, address, file number in children
list values [NAME ...]      one line for each: name and value
";

const MAKE_SOCKET: &str = "\
make socket NAME [OPTION=VALUE ...]
Makes a listening socket that is kept here, or finds the one of that name and those options.
  family=inet|inet6|unix   inet; unix with a path
  type=stream              the only one
  backlog=N                5
  host=HOST                127.0.0.1 or ::1; an address, or a name in /etc/hosts
  port=N                   0: a free one
  path=PATH                absolute; an old socket there is replaced
  umask=N                  for the path; decimal
  interface=DEVICE         only this device
  reuseport=1              a fresh socket for each process that refers to it
";

const MAKE_PROCESS: &str = "\
make process NAME [OPTION=VALUE ...] PROGRAM [ARGUMENT ...]
Starts a process that lives on without this connection, or finds the one of that name and those options.
  working_dir=PATH   uid=USER   gid=GROUP   env.KEY=VALUE   rlimit.NAME=N
  bufsize=N[k|m|g]   bytes kept of each stream, 1m; 0: none
  stdout=0, stderr=0 to /dev/null;  stderr=stdout: one stream
  shell=1            the first word is a script for /bin/sh
  watch=1            go on as with `watch processes NAME`
The environment is what env.KEY gives and nothing else. $(socket.NAME.fileno) and $(socket.NAME.port) in arguments are replaced;
a process inherits the sockets whose file numbers it refers to.
";

const REMOVE: &str = "\
remove processes [NAME ...]   forgets processes and their output; one that runs is forgotten when it ends
remove sockets [NAME ...]     closes sockets; processes that have them keep them
remove values NAME ...        forgets values
Without names: all processes or all sockets, but never all values.
";

const WATCH: &str = "\
watch processes [NAME ...]
Shows output and ends until all are gone, in batches that end with `] `. Answer each with an empty line to get the next one,
or with q to stop. What was answered is forgotten here. Output of a manager's processes is shown and stays.
  out:NAME:TIME:BYTES or err:NAME:TIME:BYTES, then the bytes;  closed:NAME:TIME:STATUS (a signal is negative)
";

const HELP: &str = "help [COMMAND]\nExplains.\n";
const TAIL: &str =
    "tail NAME [LINES]\nShows the newest output of processes, 10 lines if not told otherwise, and forgets nothing.\n";
const SIGNAL: &str =
    "signal NAME SIGNAL\nSends a signal (TERM, SIGTERM or 15) to processes that run; not to their children.\n";
const SET: &str = "set NAME [VALUE]\nStores a value under a name; without a value, forgets it.\n";
const GET: &str = "get NAME\nShows a value.\n";
const STATUS: &str =
    "status\nTells what this core is, what it owns and which of its guarantees hold on this machine.\n";
const QUIT: &str = "quit\nEnds this connection; processes, sockets and values stay.\n";
const EXIT: &str = "\
exit-if-idle
Ends the core when it owns nothing and the last connection is closed. Cannot be abbreviated.
";

/// The text for the words behind `help`.
pub fn text(words: &[String]) -> String {
    if words.is_empty() {
        return OVERVIEW.into();
    }
    match find_topic(words) {
        Err(error) => error.to_string(),
        Ok(Topic::Whole(command)) => of(command).into(),
        Ok(Topic::First(word)) => match word {
            "list" => LIST.into(),
            "make" => format!("{MAKE_PROCESS}\n{MAKE_SOCKET}"),
            "remove" => REMOVE.into(),
            "watch" => WATCH.into(),
            other => {
                super::command::find(&[other.to_owned()]).map_or_else(|error| error.to_string(), |(c, _)| of(c).into())
            }
        },
    }
}

fn of(command: Command) -> &'static str {
    match command {
        Command::ExitIfIdle => EXIT,
        Command::Get => GET,
        Command::Help => HELP,
        Command::ListProcesses | Command::ListSockets | Command::ListValues => LIST,
        Command::MakeProcess => MAKE_PROCESS,
        Command::MakeSocket => MAKE_SOCKET,
        Command::Quit => QUIT,
        Command::RemoveProcesses | Command::RemoveSockets | Command::RemoveValues => REMOVE,
        Command::Set => SET,
        Command::Signal => SIGNAL,
        Command::Status => STATUS,
        Command::Tail => TAIL,
        Command::WatchProcesses => WATCH,
    }
}
