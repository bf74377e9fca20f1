//! From a watcher's options to what the core is asked for: expansion, splitting, environment, descriptors.
//!
//! Pure. User and group names stay names here, because looking them up may block; the shell resolves them.

use super::heritage::{Heritage, NOFILE, rlimit};
use super::{Making, SpawnTicket, Wid};
use crate::arbiter::SocketTable;
use crate::config::{expand, words};
use crate::options::{self, Args, Identity, Seconds, WatcherOptions};
use ringmaster_protocol::message::{Ext, Keeping, Lifetime, Overflow, Rlimit, Spawn, Stdin, Stdout, StopPlan};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// A descriptor of circusd itself that a child gets because no stream is configured for it (spec f.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inherited {
    /// fd 0.
    Stdin,
    /// fd 1.
    Stdout,
    /// fd 2.
    Stderr,
}

/// A spawn that only lacks the numbers of its user and groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// Pairs the answer.
    pub ticket: SpawnTicket,
    /// The request, without `uid`, `gid` and `groups`.
    pub spawn: Spawn,
    /// User to resolve.
    pub uid: Option<Identity>,
    /// Group to resolve.
    pub gid: Option<Identity>,
    /// Descriptors to send, in the order in which the request counts them.
    pub inherited: Vec<Inherited>,
}

/// Why a watcher's command cannot even be tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// `cmd` is empty.
    #[error("the watcher has no command; expected an option 'cmd'")]
    NoCommand,
    /// A quote is not closed or an escape ends the text; in Python's words. File and line are told when it is loaded.
    #[error("{reason}")]
    Words {
        /// `cmd`, `args` or `shell_args`.
        option: &'static str,
        /// After expansion.
        text: String,
        /// From the splitter.
        reason: String,
    },
    /// `rlimit_NAME` with a name that Linux does not have.
    #[error("unknown resource limit '{0}'")]
    UnknownLimit(String),
    /// `overflow = spill`, set at run time, and no directory.
    #[error("overflow = spill needs an option 'spill_dir'")]
    NoSpillDir,
    /// `stdin_socket` names no socket.
    #[error("stdin_socket = {name} names no configured socket")]
    NoSocket {
        /// As configured.
        name: String,
    },
}

/// Where a process is to be started.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The watcher's options.
    pub options: &'a WatcherOptions,
    /// The environment of its children, complete.
    pub environment: &'a BTreeMap<String, String>,
    /// What they are made of.
    pub making: &'a Making,
    /// All sockets.
    pub sockets: &'a SocketTable,
    /// Directory for watchers that name none.
    pub working_dir: &'a Path,
    /// Number of the process.
    pub wid: Wid,
    /// Pairs the answer.
    pub ticket: SpawnTicket,
    /// Distinguishes the tickets of this circusd from those of an earlier one.
    pub session: u32,
    /// What the child inherits of circusd.
    pub heritage: Heritage,
}

impl Place<'_> {
    /// The whole request.
    pub fn launch(&self) -> Result<Launch, LaunchError> {
        let options = self.options;
        let mut inherited = Vec::new();
        let stdin = self.stdin(&mut inherited)?;
        let stdout = self.output(Inherited::Stdout, &mut inherited);
        let stderr = self.output(Inherited::Stderr, &mut inherited);
        let spawn = Spawn {
            name: process_name(&options.name, self.wid),
            token: u64::from(self.session) << 32 | (self.ticket.0 & 0xffff_ffff),
            lifetime: if options.use_papa { Lifetime::Persistent } else { Lifetime::Leased },
            stop: StopPlan { signal: options.stop_signal.number(), grace_ms: milliseconds(options.graceful_timeout) },
            argv: self.argv()?.into_iter().map(String::into_bytes).collect(),
            env: self.environment.iter().map(|(k, v)| (k.clone().into_bytes(), v.clone().into_bytes())).collect(),
            cwd: Some(self.directory().into_os_string().into_vec()),
            uid: None,
            gid: None,
            groups: None,
            rlimits: self.limits()?,
            umask: Some(self.heritage.umask),
            stdin,
            stdout,
            stderr,
            sockets: self.passed_sockets(),
            ring: options.ring_size,
            overflow: match options.overflow {
                options::Overflow::Block => Overflow::Block,
                options::Overflow::DropOldest | options::Overflow::DropNewest | options::Overflow::Spill => {
                    Overflow::DropOldest
                }
            },
            note: self.making.note(&options.name, self.wid),
            ext: self.keeping()?,
        };
        Ok(Launch { ticket: self.ticket, spawn, uid: options.uid.clone(), gid: options.gid.clone(), inherited })
    }

    /// What a core of the first release does not know: it drops the oldest output then, as everybody does by default.
    fn keeping(&self) -> Result<Ext, LaunchError> {
        let keeping = match self.options.overflow {
            options::Overflow::DropOldest | options::Overflow::Block => return Ok(Ext::new()),
            options::Overflow::DropNewest => Keeping::DropNewest,
            options::Overflow::Spill => {
                let directory = self.options.spill_dir.as_ref().ok_or(LaunchError::NoSpillDir)?;
                let directory = std::path::absolute(self.working_dir.join(directory)).unwrap_or(directory.clone());
                Keeping::Spill { directory: directory.into_os_string().into_vec(), quota: self.options.spill_quota }
            }
        };
        Ok(vec![keeping.addition()])
    }

    /// The configured limits; that of open files is circusd's own unless it is configured, because circusd has raised its
    /// since.
    fn limits(&self) -> Result<Vec<Rlimit>, LaunchError> {
        let configured = self.options.rlimits.iter();
        let mut limits: Vec<Rlimit> = configured
            .map(|(name, value)| rlimit(name, *value).ok_or_else(|| LaunchError::UnknownLimit(name.clone())))
            .collect::<Result<_, _>>()?;
        if !limits.iter().any(|limit| limit.resource == NOFILE) {
            limits.push(self.heritage.files);
        }
        Ok(limits)
    }

    /// The working directory; a relative one starts at circusd's own.
    fn directory(&self) -> PathBuf {
        match &self.options.working_dir {
            Some(directory) => self.working_dir.join(directory),
            None => self.working_dir.to_owned(),
        }
    }

    fn stdin(&self, inherited: &mut Vec<Inherited>) -> Result<Stdin, LaunchError> {
        if let Some(name) = &self.options.stdin_socket {
            return match self.sockets.by_name(name) {
                Some(socket) => Ok(Stdin::Socket(socket.kernel_name())),
                None => Err(LaunchError::NoSocket { name: name.clone() }),
            };
        }
        if self.options.close_child_stdin || self.options.use_papa {
            return Ok(Stdin::Null);
        }
        Ok(Stdin::Passed(pass(Inherited::Stdin, inherited)))
    }

    /// A configured stream is captured; so is everything of a persistent process, because a descriptor inherited
    /// from this circusd would not outlive it.
    fn output(&self, which: Inherited, inherited: &mut Vec<Inherited>) -> Stdout {
        let (stream, close) = match which {
            Inherited::Stderr => (&self.options.stderr_stream, self.options.close_child_stderr),
            Inherited::Stdin | Inherited::Stdout => (&self.options.stdout_stream, self.options.close_child_stdout),
        };
        if close {
            Stdout::Null
        } else if stream.is_some() || self.options.use_papa {
            Stdout::Captured
        } else {
            Stdout::Passed(pass(which, inherited))
        }
    }

    /// With `use_sockets` all; a `so_reuseport` socket only if the command names it (spec f.12).
    fn passed_sockets(&self) -> Vec<String> {
        self.sockets
            .iter()
            .filter(|socket| match socket.reuse_port {
                true => self.options.mentions_socket(&socket.name),
                false => self.options.use_sockets,
            })
            .map(|socket| socket.kernel_name())
            .collect()
    }

    fn argv(&self) -> Result<Vec<String>, LaunchError> {
        let options = self.options;
        let cmd = self.expand(&options.cmd);
        if cmd.trim().is_empty() {
            return Err(LaunchError::NoCommand);
        }
        let mut argv = if options.shell { self.shell_argv(cmd)? } else { self.plain_argv(&cmd)? };
        if let (Some(executable), Some(program)) = (&options.executable, argv.first_mut()) {
            *program = executable.to_string_lossy().into_owned();
        }
        Ok(argv)
    }

    fn plain_argv(&self, cmd: &str) -> Result<Vec<String>, LaunchError> {
        let mut argv = split("cmd", cmd)?;
        match &self.options.args {
            Args::Text(text) => argv.extend(split("args", &self.expand(text))?),
            Args::List(list) => argv.extend(list.iter().map(|word| self.expand(word))),
        }
        Ok(argv)
    }

    /// `/bin/sh -c "cmd args" shell_args…`. Circus 0.19 quotes every word, so that `;` or `$X` mean nothing;
    /// the documented meaning is honoured here (spec n.2).
    fn shell_argv(&self, cmd: String) -> Result<Vec<String>, LaunchError> {
        let mut script = cmd;
        match &self.options.args {
            Args::Text(text) if text.trim().is_empty() => {}
            Args::Text(text) => {
                script.push(' ');
                script.push_str(&self.expand(text));
            }
            Args::List(list) => {
                for word in list {
                    script.push(' ');
                    script.push_str(&shell_words::quote(&self.expand(word)));
                }
            }
        }
        let mut argv = vec!["/bin/sh".to_owned(), "-c".to_owned(), script];
        if let Some(extra) = &self.options.shell_args {
            argv.extend(split("shell_args", &self.expand(extra))?);
        }
        Ok(argv)
    }

    fn expand(&self, text: &str) -> String {
        expand::expand_wid(&expand::expand(text, &|name| self.variable(name)), self.wid.0)
    }

    /// The value of `$(circus.NAME)` at spawn time (spec a.3 item 5); `name` is in lower case, without `circus.`.
    fn variable(&self, name: &str) -> Option<String> {
        if let Some(variable) = name.strip_prefix("env.") {
            let found = self.environment.iter().rev().find(|(key, _)| key.to_lowercase() == variable);
            return found.map(|(_, value)| value.clone());
        }
        if let Some(socket) = name.strip_prefix("sockets.") {
            return self.sockets.by_name(socket).map(|socket| socket.number.to_string());
        }
        match name {
            "wid" => Some(self.wid.0.to_string()),
            "working_dir" => Some(self.directory().to_string_lossy().into_owned()),
            _ => options::variable(self.options, name),
        }
    }
}

/// The name at the core: Papa's scheme (spec k).
pub fn process_name(watcher: &str, wid: Wid) -> String {
    format!("circus.{}.{}", watcher.to_lowercase(), wid.0)
}

fn pass(which: Inherited, inherited: &mut Vec<Inherited>) -> u8 {
    let position = inherited.len();
    inherited.push(which);
    u8::try_from(position).unwrap_or(u8::MAX)
}

fn split(option: &'static str, text: &str) -> Result<Vec<String>, LaunchError> {
    words::split(text).map_err(|error| LaunchError::Words { option, text: text.to_owned(), reason: error.to_string() })
}

fn milliseconds(seconds: Seconds) -> u64 {
    u64::try_from(seconds.duration().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place<'a>(
        options: &'a WatcherOptions,
        environment: &'a BTreeMap<String, String>,
        sockets: &'a SocketTable,
    ) -> Place<'a> {
        let working_dir = Path::new("/here");
        Place {
            options,
            environment,
            making: Box::leak(Box::new(Making::of(options, environment))),
            sockets,
            working_dir,
            wid: Wid(3),
            ticket: SpawnTicket(7),
            session: 1,
            heritage: Heritage::for_test(),
        }
    }

    fn argv(change: impl FnOnce(&mut WatcherOptions)) -> Vec<String> {
        let mut options = WatcherOptions::new("Web");
        options.numprocesses = 4;
        change(&mut options);
        let environment = BTreeMap::from([("Key".to_owned(), "value".to_owned())]);
        let launch = place(&options, &environment, &SocketTable::default()).launch().unwrap();
        launch.spawn.argv.into_iter().map(|word| String::from_utf8(word).unwrap()).collect()
    }

    #[test]
    fn variables_are_expanded_before_the_words_are_split() {
        let words = argv(|options| {
            options.cmd = "run $(circus.wid) ((circus.env.key)) $WID".to_owned();
            options.args =
                Args::Text("--n=$(circus.numprocesses) '$(circus.unknown)' $(circus.working_dir)".to_owned());
        });
        assert_eq!(words, ["run", "3", "value", "3", "--n=4", "$(circus.unknown)", "/here"]);
    }

    #[test]
    fn a_shell_gets_the_command_as_it_is_written() {
        let words = argv(|options| {
            options.shell = true;
            options.cmd = "echo $HOME | cat".to_owned();
            options.shell_args = Some("a 'b c'".to_owned());
        });
        assert_eq!(words, ["/bin/sh", "-c", "echo $HOME | cat", "a", "b c"]);
    }

    #[test]
    fn an_executable_stands_in_the_place_of_the_first_word() {
        let words = argv(|options| {
            options.cmd = "python3 -V".to_owned();
            options.executable = Some("/opt/python".into());
        });
        assert_eq!(words, ["/opt/python", "-V"]);
    }

    #[test]
    fn output_goes_where_it_outlives_whom_it_has_to() {
        let environment = BTreeMap::new();
        let sockets = SocketTable::default();
        let mut options = WatcherOptions::new("w");
        options.cmd = "x".to_owned();
        let launch = place(&options, &environment, &sockets).launch().unwrap();
        assert_eq!((launch.spawn.stdout, launch.spawn.stderr), (Stdout::Passed(0), Stdout::Passed(1)));
        assert_eq!(launch.inherited, [Inherited::Stdout, Inherited::Stderr]);
        options.use_papa = true;
        options.close_child_stderr = true;
        let launch = place(&options, &environment, &sockets).launch().unwrap();
        assert_eq!((launch.spawn.stdout, launch.spawn.stderr), (Stdout::Captured, Stdout::Null));
        assert_eq!(launch.spawn.lifetime, Lifetime::Persistent);
    }

    #[test]
    fn the_core_is_asked_for_the_policy_in_words_that_an_old_one_understands() {
        let (environment, sockets) = (BTreeMap::new(), SocketTable::default());
        let mut options = WatcherOptions::new("w");
        (options.cmd, options.ring_size, options.spill_quota) = ("x".to_owned(), 65_536, 1 << 20);
        let ask = |options: &WatcherOptions| {
            let launched = place(options, &environment, &sockets).launch();
            launched.map(|launch| (launch.spawn.ring, launch.spawn.overflow, launch.spawn.keeping()))
        };
        use options::Overflow as Wish;
        assert_eq!(ask(&options).unwrap(), (65_536, Overflow::DropOldest, None));
        options.overflow = Wish::Block;
        assert_eq!(ask(&options).unwrap(), (65_536, Overflow::Block, None));
        options.overflow = Wish::DropNewest;
        assert_eq!(ask(&options).unwrap(), (65_536, Overflow::DropOldest, Some(Keeping::DropNewest)));
        options.overflow = Wish::Spill;
        assert_eq!(ask(&options).unwrap_err(), LaunchError::NoSpillDir);
        options.spill_dir = Some("spill".into());
        let spill = Keeping::Spill { directory: b"/here/spill".to_vec(), quota: 1 << 20 };
        assert_eq!(ask(&options).unwrap(), (65_536, Overflow::DropOldest, Some(spill)));
    }

    #[test]
    fn a_watcher_without_a_command_says_what_it_lacks() {
        let options = WatcherOptions::new("w");
        let error = place(&options, &BTreeMap::new(), &SocketTable::default()).launch().unwrap_err();
        assert_eq!(error, LaunchError::NoCommand);
    }
}
