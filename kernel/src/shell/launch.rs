//! From a spawn request to a running process: everything is resolved here, so that the child only obeys.

use super::child::{Child, Pipe};
use super::file::ProcessFile;
use super::{clock, socket, tree};
use crate::core::{Made, Passed, ring::Ring};
use crate::state::{Facts, Phase, StateFile};
use crate::sys::{self, CHILD_STEPS, Placement, ResourceLimit, ResultWords, SpawnStack};
use ringmaster_protocol::message::{Listen, ProcessId, Refusal, Spawn, SpawnStep, Stdin, Stdout};
use ringmaster_protocol::ring::Stream;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::pipe::PipeFlags;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

/// `RLIMIT_NOFILE` as Linux numbers it (asm-generic/resource.h; the same on x86-64 and arm64).
const RLIMIT_NOFILE: u32 = 7;

/// What children inherit from the way in which the core itself was started.
#[derive(Debug, Clone, Copy)]
pub struct Original {
    /// The starter's file mode mask.
    pub umask: u32,
    /// The starter's limit of open files; the core raises its own.
    pub open_files: rustix::process::Rlimit,
}

/// Makes processes.
pub struct Launcher {
    stack: SpawnStack,
    original: Original,
    null: OwnedFd,
    rings: OwnedFd,
}

/// A listening socket, as the launcher needs it.
#[derive(Debug)]
pub struct Inheritable {
    /// What was asked for.
    pub listen: Listen,
    /// The number in children.
    pub number: u32,
    /// The socket; `None` with `reuse_port`.
    pub socket: Option<OwnedFd>,
}

/// The descriptors of a child: where each number comes from.
type Sources<'a> = BTreeMap<RawFd, BorrowedFd<'a>>;

impl Launcher {
    /// `rings` is the folder of process files.
    pub fn new(original: Original, rings: OwnedFd) -> io::Result<Self> {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self {
            stack: SpawnStack::new()?,
            original,
            null,
            rings,
        })
    }

    /// The folder of process files.
    pub fn rings(&self) -> BorrowedFd<'_> {
        self.rings.as_fd()
    }

    /// Starts a process. When it fails, nothing is left of the attempt.
    pub fn start(
        &mut self,
        spawn: &Spawn,
        passed: &[OwnedFd],
        sockets: &BTreeMap<String, Inheritable>,
        state: &mut StateFile,
    ) -> Result<(Box<Made>, Child), Refusal> {
        if passed.len() < usize::from(spawn.passed()) {
            return Err(Refusal::Malformed {
                reason: "descriptors that it names did not come with it".into(),
            });
        }
        let id = state.header().draw_id();
        let (index, slot) = state.take().map_err(|error| Refusal::System {
            action: error.to_string(),
            errno: libc::ENOSPC,
        })?;
        let made = self.start_in(index, slot, id, spawn, passed, sockets);
        if made.is_err() {
            state.release(index);
            ProcessFile::remove(self.rings.as_fd(), id);
        }
        made
    }

    fn start_in(
        &mut self,
        index: usize,
        slot: crate::state::Slot,
        id: ProcessId,
        spawn: &Spawn,
        passed: &[OwnedFd],
        sockets: &BTreeMap<String, Inheritable>,
    ) -> Result<(Box<Made>, Child), Refusal> {
        let file = ProcessFile::create(self.rings.as_fd(), id, spawn)
            .map_err(|error| prepare("the process file", &error))?;
        let pipes = [
            Ends::for_stream(spawn.stdout, spawn).map_err(|error| prepare("the pipe of stdout", &error))?,
            Ends::for_stream(spawn.stderr, spawn).map_err(|error| prepare("the pipe of stderr", &error))?,
        ];
        for (stream, entry) in Stream::ALL.map(|stream| (stream, file.entry(stream))) {
            slot.stream(stream).begin(entry.data_at);
        }
        let began = clock::now();
        let mut facts = Facts {
            id,
            phase: Phase::Opening,
            pid: 0,
            start_ticks: 0,
            started_ns: began.real_ns,
            opened_ns: began.boot_ns,
            pipes: pipes
                .each_ref()
                .map(|ends| ends.as_ref().map_or(0, |ends| ends.inode)),
        };
        slot.publish(Some(&facts));
        let fresh = fresh_sockets(spawn, sockets)?;
        let sources = self.sources(spawn, passed, sockets, &fresh, &pipes)?;
        let (placements, _kept) = lift(&sources).map_err(|error| prepare("the descriptors", &error))?;
        let plan = self.plan(spawn, placements)?;
        let words = ResultWords {
            pid: slot.pid(),
            pidfd: slot.pidfd(),
            failure: slot.failure(),
        };
        let (pid, pidfd) =
            sys::spawn(&mut self.stack, &plan, &words).map_err(|error| Refusal::SpawnFailed {
                step: SpawnStep::Clone,
                subject: spawn.name.clone(),
                errno: error.raw_os_error().unwrap_or(libc::EAGAIN),
            })?;
        let failure = slot.failure().load(Ordering::Acquire);
        if failure != 0 {
            // Its zombie is taken away with those of strangers.
            return Err(spawn_failure(failure, spawn));
        }
        facts.pid = pid;
        facts.start_ticks = tree::stat(pid).map_or(0, |stat| stat.identity.start);
        facts.phase = Phase::Running;
        slot.publish(Some(&facts));
        let rings = Stream::ALL.map(|stream| {
            let entry = file.entry(stream);
            (entry.capacity > 0).then(|| (Ring::new(entry.capacity, entry.records, began), true))
        });
        let made = Made {
            id,
            pid,
            started_ns: began.real_ns,
            rings,
            seq: 0,
            exit: None,
        };
        let pipes = pipes.map(|ends| ends.map(|ends| Pipe::new(ends.read)));
        Ok((
            Box::new(made),
            Child::new(index, slot, facts, Some(pidfd), file, pipes),
        ))
    }

    fn sources<'a>(
        &'a self,
        spawn: &Spawn,
        passed: &'a [OwnedFd],
        sockets: &'a BTreeMap<String, Inheritable>,
        fresh: &'a BTreeMap<String, OwnedFd>,
        pipes: &'a [Option<Ends>; 2],
    ) -> Result<Sources<'a>, Refusal> {
        let missing = |what: &str| Refusal::NotFound {
            what: "descriptor".into(),
            name: what.into(),
        };
        let given = |n: u8| passed.get(usize::from(n)).map(AsFd::as_fd);
        let socket = |name: &str| {
            let kept = sockets.get(name).and_then(|socket| socket.socket.as_ref());
            kept.or_else(|| fresh.get(name)).map(AsFd::as_fd)
        };
        let mut sources = Sources::new();
        let stdin = match &spawn.stdin {
            Stdin::Null => Some(self.null.as_fd()),
            Stdin::Socket(name) => socket(name),
            Stdin::Passed(n) => given(*n),
        };
        sources.insert(0, stdin.ok_or_else(|| missing("stdin"))?);
        for (target, (wanted, ends)) in (1..).zip([spawn.stdout, spawn.stderr].into_iter().zip(pipes)) {
            let source = match wanted {
                Stdout::Captured => ends.as_ref().map(|ends| ends.child.as_fd()),
                Stdout::Null => Some(self.null.as_fd()),
                Stdout::Passed(n) => given(n),
                Stdout::Merged => sources.get(&1).copied(),
            };
            sources.insert(target, source.ok_or_else(|| missing("stdout or stderr"))?);
        }
        for name in &spawn.sockets {
            let number = sockets
                .get(name)
                .and_then(|known| RawFd::try_from(known.number).ok());
            let (Some(number), Some(source)) = (number, socket(name)) else {
                return Err(Refusal::NotFound {
                    what: "socket".into(),
                    name: name.clone(),
                });
            };
            sources.insert(number, source);
        }
        Ok(sources)
    }

    fn plan(&self, spawn: &Spawn, descriptors: Vec<Placement>) -> Result<sys::Plan, Refusal> {
        let text = |bytes: &[u8]| {
            CString::new(bytes).map_err(|error| prepare("the program's arguments", &error.into()))
        };
        let argv = spawn
            .argv
            .iter()
            .map(|word| text(word))
            .collect::<Result<_, _>>()?;
        let pairs = spawn
            .env
            .iter()
            .map(|(key, value)| [key.as_slice(), b"=", value].concat());
        let env = pairs.map(|pair| text(&pair)).collect::<Result<_, _>>()?;
        let programs = programs(spawn)
            .iter()
            .map(|path| text(path))
            .collect::<Result<_, _>>()?;
        let own = rlimit(RLIMIT_NOFILE, self.original.open_files);
        let restore = spawn
            .rlimits
            .iter()
            .all(|limit| limit.resource != own.resource)
            .then_some(own);
        let asked = spawn.rlimits.iter().map(|limit| ResourceLimit {
            resource: limit.resource,
            limit: libc::rlimit64 {
                rlim_cur: limit.soft,
                rlim_max: limit.hard,
            },
        });
        Ok(sys::Plan {
            argv,
            env,
            programs,
            cwd: text(spawn.cwd.as_deref().unwrap_or(b"/"))?,
            groups: spawn.groups.clone(),
            gid: spawn.gid,
            uid: spawn.uid,
            limits: asked.chain(restore).collect(),
            umask: spawn.umask.unwrap_or(self.original.umask),
            descriptors,
        })
    }
}

fn prepare(subject: &str, error: &io::Error) -> Refusal {
    let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
    Refusal::SpawnFailed {
        step: SpawnStep::Prepare,
        subject: subject.into(),
        errno,
    }
}

fn rlimit(resource: u32, limit: rustix::process::Rlimit) -> ResourceLimit {
    let word = |bound: Option<u64>| bound.unwrap_or(u64::MAX);
    ResourceLimit {
        resource,
        limit: libc::rlimit64 {
            rlim_cur: word(limit.current),
            rlim_max: word(limit.maximum),
        },
    }
}

/// Paths to try for the program, as execvpe(3) looks them up, but with the child's own `PATH`.
fn programs(spawn: &Spawn) -> Vec<Vec<u8>> {
    let Some(name) = spawn.argv.first() else {
        return Vec::new();
    };
    if name.contains(&b'/') {
        return vec![name.clone()];
    }
    let path = spawn
        .env
        .iter()
        .find(|(key, _)| key == b"PATH")
        .map(|(_, value)| value.as_slice());
    let path = path.unwrap_or(b"/bin:/usr/bin");
    let folders = path.split(|byte| *byte == b':');
    folders
        .map(|folder| {
            if folder.is_empty() {
                name.clone()
            } else {
                [folder, b"/", name].concat()
            }
        })
        .collect()
}

/// What the child wrote into the failure word.
fn spawn_failure(word: u64, spawn: &Spawn) -> Refusal {
    let number = usize::try_from((word >> 56).saturating_sub(1)).unwrap_or(0);
    let step = CHILD_STEPS.get(number).copied().unwrap_or(SpawnStep::Exec);
    let subject = word >> 32 & 0xff_ffff;
    let lossy =
        |bytes: Option<&Vec<u8>>| String::from_utf8_lossy(bytes.map_or(b"/", Vec::as_slice)).into_owned();
    let subject = match step {
        SpawnStep::Rlimit => {
            let index = usize::try_from(subject).unwrap_or(usize::MAX);
            spawn
                .rlimits
                .get(index)
                .map_or_else(|| "NOFILE".into(), |limit| format!("limit {}", limit.resource))
        }
        SpawnStep::WorkingDirectory => lossy(spawn.cwd.as_ref()),
        SpawnStep::Gid => format!("gid {}", spawn.gid.unwrap_or(0)),
        SpawnStep::Uid => format!("uid {}", spawn.uid.unwrap_or(0)),
        SpawnStep::Groups => format!("groups {:?}", spawn.groups.clone().unwrap_or_default()),
        SpawnStep::Descriptors => format!("descriptor {subject}"),
        SpawnStep::Exec => lossy(spawn.argv.first()),
        SpawnStep::Prepare | SpawnStep::Clone | SpawnStep::Session => spawn.name.clone(),
    };
    Refusal::SpawnFailed {
        step,
        subject,
        errno: i32::try_from(word & 0xffff_ffff).unwrap_or(0),
    }
}

/// Sockets with `reuse_port` are made anew for every process.
fn fresh_sockets(
    spawn: &Spawn,
    sockets: &BTreeMap<String, Inheritable>,
) -> Result<BTreeMap<String, OwnedFd>, Refusal> {
    let stdin = match &spawn.stdin {
        Stdin::Socket(name) => Some(name),
        Stdin::Null | Stdin::Passed(_) => None,
    };
    let mut fresh = BTreeMap::new();
    for name in spawn.sockets.iter().chain(stdin) {
        if let Some(known) = sockets.get(name).filter(|known| known.listen.reuse_port)
            && !fresh.contains_key(name)
        {
            let (made, _) = socket::bind(&known.listen)?;
            fresh.insert(name.clone(), made);
        }
    }
    Ok(fresh)
}

/// Copies every source above every target, so that the child can place them in any order.
fn lift(sources: &Sources<'_>) -> io::Result<(Vec<Placement>, Vec<OwnedFd>)> {
    let floor = sources
        .keys()
        .max()
        .map_or(0, |highest| highest.saturating_add(1));
    let mut placements = Vec::with_capacity(sources.len());
    let mut kept = Vec::with_capacity(sources.len());
    for (target, source) in sources {
        let copy = rustix::io::fcntl_dupfd_cloexec(source, floor)?;
        placements.push(Placement {
            source: copy.as_raw_fd(),
            target: *target,
        });
        kept.push(copy);
    }
    Ok((placements, kept))
}

/// The two ends of a captured stream.
struct Ends {
    read: OwnedFd,
    child: OwnedFd,
    inode: u64,
}

impl Ends {
    /// The child's end is the pipe opened anew for reading and writing: while the child lives the pipe has a reader, so
    /// no death of ours can give it SIGPIPE (research: 3,000 total losses without one lost line).
    fn for_stream(wanted: Stdout, spawn: &Spawn) -> io::Result<Option<Self>> {
        if wanted != Stdout::Captured {
            return Ok(None);
        }
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK)?;
        if spawn.uid.is_some() || spawn.gid.is_some() {
            // So that the child may open /dev/stdout under its own user.
            let owner = |uid: Option<u32>| uid.filter(|uid| *uid != u32::MAX);
            let (uid, gid) = (
                owner(spawn.uid).map(Uid::from_raw),
                owner(spawn.gid).map(Gid::from_raw),
            );
            // One who may not give it away may not change its user either, and learns so from that step.
            let _ = rustix::fs::fchown(&write, uid, gid);
        }
        let path = format!("/proc/self/fd/{}", write.as_raw_fd());
        let child = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let inode = rustix::fs::fstat(&read)?.st_ino;
        Ok(Some(Self { read, child, inode }))
    }
}
