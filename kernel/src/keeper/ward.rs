//! What both halves of the core hold, whatever dies: the instance, its listening sockets, and how they were asked to serve.
//!
//! A ward goes from one program to the next in its command line ([`Ward::words`] and `resume`), because that is what
//! execve(2) keeps. The words are frozen like messages: a build may add options, and must read those of released builds. An older
//! build refuses an option that it does not know, and nothing changes then, unless `--optional` precedes it.

use super::resume::OPTIONAL;
use crate::instance::Instance;
use crate::limits::RING_MEMORY;
use crate::policy::POLICY;
use crate::shell::{Options, Place, ServeError, Verbosity, fail};
use crate::state::StateFile;
use crate::sys;
use ringmaster_protocol::message::Guarantee;
use rustix::process::Rlimit;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What children inherit from the way in which the core itself was started.
#[derive(Debug, Clone, Copy)]
pub struct Original {
    /// The starter's file mode mask.
    pub umask: u32,
    /// The starter's limit of open files; the core raises its own.
    pub open_files: Rlimit,
    /// The starter's `oom_score_adj`, when the core has lowered its own.
    pub oom_score_adj: Option<i32>,
}

/// An instance, and the way in which it is served.
pub struct Ward {
    /// How to serve.
    pub options: Options,
    /// The locked directory.
    pub instance: Instance,
    /// Where clients connect.
    pub listener: OwnedFd,
    /// Where text is spoken over TCP.
    pub tcp: Option<OwnedFd>,
    /// The program before the last upgrade, for a rollback.
    pub previous: Option<OwnedFd>,
    /// The state as the keeper sees it. The kernel half has a view of its own.
    pub state: StateFile,
    /// What children get back.
    pub original: Original,
    /// Options, with their values, of a later build that this one may do without.
    pub unknown: Vec<[OsString; 2]>,
    /// Which promises hold on this host.
    pub guarantees: Vec<Guarantee>,
}

impl Ward {
    /// Does what only the keeper may: adopts orphans, and is the one to ask for.
    pub fn take_charge(&self) -> Result<(), ServeError> {
        let own = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(own)).map_err(fail("becoming a subreaper"))?;
        Ok(self.instance.write_pid(own)?)
    }

    /// The descriptors that the next kernel half must not close.
    pub fn descriptors(&self) -> Vec<RawFd> {
        let [directory, lock] = self.instance.descriptors();
        let optional = [&self.tcp, &self.previous].into_iter().flatten().map(AsRawFd::as_raw_fd);
        [0, 1, 2, directory, lock, self.listener.as_raw_fd(), self.state.number()].into_iter().chain(optional).collect()
    }

    /// The program before the last upgrade.
    pub fn previous(&self) -> Option<RawFd> {
        self.previous.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Executes a program that takes over: every descriptor stays, and `previous` is the one to fall back on later. Returns only
    /// when it fails.
    pub fn become_program(&self, program: RawFd, previous: Option<RawFd>) -> io::Error {
        let numbers = match sys::open_numbers() {
            Ok(numbers) => numbers,
            Err(error) => return error,
        };
        let argv = match self.words(previous) {
            Ok(argv) => argv,
            Err(error) => return error,
        };
        for number in numbers.iter().filter(|number| **number != program) {
            sys::keep_across_exec(*number);
        }
        let error = sys::become_program(program, &argv);
        sys::close_all_on_exec();
        error
    }

    /// The command line with which another program takes over.
    pub fn words(&self, previous: Option<RawFd>) -> io::Result<Vec<CString>> {
        let [directory, lock] = self.instance.descriptors();
        let limit = |value: Option<u64>| value.map_or("-".into(), |value| value.to_string());
        let files = self.original.open_files;
        let number = |option: &str, number: RawFd| vec![option.as_bytes().to_vec(), number.to_string().into_bytes()];
        let text = |option: &str, text: &[u8]| vec![option.as_bytes().to_vec(), text.to_vec()];
        let mut words = vec![b"papa".to_vec(), b"resume".to_vec()];
        words.extend(text("--directory", self.options.directory.as_os_str().as_bytes()));
        words.extend(number("--directory-fd", directory));
        words.extend(number("--lock-fd", lock));
        words.extend(number("--listener-fd", self.listener.as_raw_fd()));
        words.extend(text("--umask", format!("{:o}", self.original.umask).as_bytes()));
        words.extend(text("--open-files", format!("{}:{}", limit(files.current), limit(files.maximum)).as_bytes()));
        words.extend(self.original.oom_score_adj.iter().flat_map(|score| number("--oom-score-adj", *score)));
        words.extend(self.tcp.iter().flat_map(|tcp| number("--tcp-fd", tcp.as_raw_fd())));
        words.extend(previous.iter().flat_map(|program| number("--previous-fd", *program)));
        words.extend(self.options.socket.iter().flat_map(|path| text("-u", path.as_os_str().as_bytes())));
        words.extend(self.options.port.iter().flat_map(|port| number("-p", i32::from(*port))));
        // Only when it says something: a build that does not know the word refuses it.
        let memory = Some(self.options.ring_memory).filter(|memory| *memory != RING_MEMORY);
        words.extend(memory.iter().flat_map(|memory| text("--ring-memory", memory.to_string().as_bytes())));
        let policy = Some(&self.options.policy).filter(|path| *path != Path::new(POLICY));
        words.extend(policy.iter().flat_map(|path| text("--policy", path.as_os_str().as_bytes())));
        let unknown = self
            .unknown
            .iter()
            .flat_map(|[option, value]| [OsStr::new(OPTIONAL), option.as_os_str(), value.as_os_str()]);
        words.extend(unknown.map(|word| word.as_bytes().to_vec()));
        if self.options.verbosity == Verbosity::Debug {
            words.push(b"-d".to_vec());
        }
        if self.options.place == Place::Background {
            words.push(b"--daemonize".to_vec());
        }
        words.into_iter().map(|word| Ok(CString::new(word)?)).collect()
    }

    /// Removes everything that the instance had, when nothing is left to own.
    pub fn remove(self) {
        if let Some(path) = &self.options.socket {
            let _ = rustix::fs::unlink(path);
        }
        self.instance.remove();
    }
}
