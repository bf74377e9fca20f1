//! From a spawn request to a running process: everything is resolved here, so that the child only obeys.

use super::child::{Child, Origin, Pipe};
use super::descriptors::{Ends, Inheritable, Stage, fresh_sockets, sources};
use super::file::ProcessFile;
use super::groups::{GroupName, Groups, Without};
use super::ledger::Ledger;
use super::{clock, tree};
use crate::core::{Made, Now, Passed, ring::Ring};
use crate::keeper::Original;
use crate::state::{Facts, Header, Phase, StateFile};
use crate::sys::{self, Behalf, CHILD_STEPS, Kin, OOM_SCORE, Parent, ResourceLimit, ResultWords, SpawnStack};
use ringmaster_protocol::message::{Keeping, ProcessId, Refusal, Spawn, SpawnStep};
use ringmaster_protocol::ring::Stream;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// `RLIMIT_NOFILE` as Linux numbers it (asm-generic/resource.h; the same on x86-64 and arm64).
const RLIMIT_NOFILE: u32 = 7;

/// Who asks for a process.
pub struct Caller {
    /// In whose name it is made.
    pub behalf: Behalf,
    /// The descriptors that came with the request.
    pub descriptors: Vec<OwnedFd>,
}

/// A process that was made.
pub struct Started {
    /// For the core.
    pub made: Box<Made>,
    /// For the shell.
    pub child: Child,
    /// What kept it from a group.
    pub ungrouped: Option<Without>,
}

/// Where a process is about to be made.
struct Opened {
    index: usize,
    slot: crate::state::Slot,
    instance: u64,
    id: ProcessId,
    group: GroupName,
}

/// Makes processes.
pub struct Launcher {
    stack: SpawnStack,
    original: Original,
    stage: Stage,
    null: OwnedFd,
    rings: OwnedFd,
    ledger: Ledger,
}

impl Launcher {
    /// `rings` is the folder of process files; the ledger has the processes that need none.
    pub fn new(original: Original, rings: OwnedFd, ledger: Ledger) -> io::Result<Self> {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { stack: SpawnStack::new()?, original, stage: Stage::new()?, null, rings, ledger })
    }

    /// The folder of process files.
    pub fn rings(&self) -> BorrowedFd<'_> {
        self.rings.as_fd()
    }

    /// The requests of processes without a file.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Starts a process. When it fails, nothing is left of the attempt.
    pub fn start(
        &mut self,
        spawn: &Spawn,
        caller: &Caller,
        sockets: &BTreeMap<String, Inheritable>,
        state: &mut StateFile,
        groups: &mut Groups,
    ) -> Result<Started, Refusal> {
        if caller.descriptors.len() < usize::from(spawn.passed()) {
            return Err(Refusal::Malformed { reason: "descriptors that it names did not come with it".into() });
        }
        let id = state.header().draw_id();
        let (index, slot) =
            state.take().map_err(|error| Refusal::System { action: error.to_string(), errno: libc::ENOSPC })?;
        let group = groups.name(&spawn.name);
        groups.enter(&group);
        let opened = Opened { index, slot, instance: state.header().instance(), id, group: group.clone() };
        let started = self.start_in(opened, spawn, caller, sockets, groups);
        if !started.as_ref().is_ok_and(|started| started.child.group.is_some()) {
            groups.leave(&group);
        }
        if started.is_err() {
            state.release(index);
            ProcessFile::remove(self.rings.as_fd(), id);
        }
        started
    }

    /// Runs a program that is to say whether it can take over; gives what it says, and its pidfd. The system writes its pid into
    /// the header, so that it does not outlive a death of ours.
    pub fn try_program(
        &mut self,
        program: &OwnedFd,
        argv: Vec<CString>,
        header: Header,
    ) -> Result<(OwnedFd, OwnedFd), Refusal> {
        let failed = |error: io::Error| prepare("the dry run of the program", &error);
        let (said, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let (null, write, program) = (self.null.as_fd(), write.as_fd(), program.as_fd());
        let sources = BTreeMap::from([(0, null), (1, write), (2, write), (3, program)]);
        let staged = self.stage.place(&sources).map_err(failed)?;
        let mut plan =
            sys::Plan { argv, programs: vec![c"/proc/self/fd/3".to_owned()], ..sys::Plan::bare(self.original.umask) };
        (plan.descriptors, plan.table_end) = (staged.placements, staged.table_end);
        let [spare, pidfd, failure] = [const { AtomicU64::new(0) }; 3];
        let pid = header.begin_trial(clock::now().boot_ns).unwrap_or(&spare);
        let words = ResultWords { pid, pidfd: &pidfd, failure: &failure };
        let kin = Kin { parent: Parent::Ours, group: None };
        let spawned = sys::spawn(&mut self.stack, &plan, &words, &kin);
        self.stage.clear();
        let (_, pidfd) = spawned.map_err(failed)?;
        match i32::try_from(failure.load(Ordering::Acquire) & 0xffff_ffff).unwrap_or(libc::ENOEXEC) {
            0 => Ok((said, pidfd)),
            errno => Err(Refusal::SpawnFailed { step: SpawnStep::Exec, subject: "the program".into(), errno }),
        }
    }

    fn start_in(
        &mut self,
        opened: Opened,
        spawn: &Spawn,
        caller: &Caller,
        sockets: &BTreeMap<String, Inheritable>,
        groups: &mut Groups,
    ) -> Result<Started, Refusal> {
        let Opened { index, slot, instance, id, group } = opened;
        let file = ProcessFile::create(self.rings.as_fd(), &self.ledger, index, (instance, id), spawn)
            .map_err(|error| prepare(&file_subject(spawn), &error))?;
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
            pipes: pipes.each_ref().map(|ends| ends.as_ref().map_or(0, |ends| ends.inode)),
        };
        slot.publish(Some(&facts));
        let fresh = fresh_sockets(spawn, sockets)?;
        let mut plan = self.plan(spawn, caller.behalf)?;
        let sources = sources(&self.null, spawn, &caller.descriptors, sockets, &fresh, &pipes)?;
        let staged = self.stage.place(&sources);
        let words = ResultWords { pid: slot.pid(), pidfd: slot.pidfd(), failure: slot.failure() };
        let before = clock::now();
        let spawned = staged.map(|staged| {
            (plan.descriptors, plan.table_end) = (staged.placements, staged.table_end);
            spawn_in(groups, &group, |group| {
                sys::spawn(&mut self.stack, &plan, &words, &Kin { parent: Parent::Ours, group })
            })
        });
        self.stage.clear();
        let (spawned, ungrouped) = spawned.map_err(|error| prepare("the descriptors", &error))?;
        let (pid, pidfd) = spawned.map_err(|error| Refusal::SpawnFailed {
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
        facts.start_ticks = start_ticks(pid, before);
        facts.phase = Phase::Running;
        slot.publish(Some(&facts));
        let rings = Stream::ALL.map(|stream| {
            let entry = file.entry(stream);
            (entry.capacity > 0).then(|| (Ring::new(entry.capacity, entry.records, began), true))
        });
        let made = Made { id, pid, started_ns: began.real_ns, rings, seq: 0, exit: None };
        let child = Child {
            index,
            slot,
            facts,
            origin: Origin::Ours,
            pidfd: Some(pidfd),
            file,
            pipes: pipes.map(|ends| ends.map(|ends| Pipe::new(ends.read))),
            group: (groups.are_made().is_ok() && ungrouped.is_none()).then_some(group),
            remembered: Vec::new(),
        };
        Ok(Started { made: Box::new(made), child, ungrouped })
    }

    fn plan(&self, spawn: &Spawn, behalf: Behalf) -> Result<sys::Plan, Refusal> {
        let text =
            |bytes: &[u8]| CString::new(bytes).map_err(|error| prepare("the program's arguments", &error.into()));
        let argv = spawn.argv.iter().map(|word| text(word)).collect::<Result<_, _>>()?;
        let pairs = spawn.env.iter().map(|(key, value)| [key.as_slice(), b"=", value].concat());
        let env = pairs.map(|pair| text(&pair)).collect::<Result<_, _>>()?;
        let programs = programs(spawn).iter().map(|path| text(path)).collect::<Result<_, _>>()?;
        let oom_score_adj = self.original.oom_score_adj.map(|score| text(score.to_string().as_bytes())).transpose()?;
        let own = rlimit(RLIMIT_NOFILE, self.original.open_files);
        let restore = spawn.rlimits.iter().all(|limit| limit.resource != own.resource).then_some(own);
        let asked = spawn.rlimits.iter().map(|limit| ResourceLimit {
            resource: limit.resource,
            limit: libc::rlimit64 { rlim_cur: limit.soft, rlim_max: limit.hard },
        });
        Ok(sys::Plan {
            behalf,
            argv,
            env,
            programs,
            cwd: text(spawn.cwd.as_deref().unwrap_or(b"/"))?,
            groups: spawn.groups.clone(),
            gid: spawn.gid,
            uid: spawn.uid,
            limits: asked.chain(restore).collect(),
            umask: spawn.umask.unwrap_or(self.original.umask),
            oom_score_adj,
            ..sys::Plan::bare(self.original.umask)
        })
    }
}

/// Spawns into a group; without one where that cannot be: a group must never keep a process from starting. A core that comes
/// up beside us may take an empty one for a leftover, so a second is tried.
fn spawn_in<T>(
    groups: &mut Groups,
    name: &GroupName,
    mut spawn: impl FnMut(Option<BorrowedFd<'_>>) -> io::Result<T>,
) -> (io::Result<T>, Option<Without>) {
    let mut ungrouped = None;
    for _ in 0..2 {
        match groups.make(name) {
            Ok(None) => break,
            Ok(Some(group)) => match spawn(Some(group)) {
                Ok(made) => return (Ok(made), None),
                Err(error) => {
                    ungrouped = Some(Without::Clone(error));
                    groups.look_again();
                }
            },
            Err(why) => ungrouped = Some(why),
        }
    }
    (spawn(None), ungrouped)
}

/// The start of a process that was made after `before`, as proc(5) has it. The file is not read when no tick lies between
/// then and now.
fn start_ticks(pid: i32, before: Now) -> u64 {
    let (first, last) = (clock::ticks(before.boot_ns), clock::ticks(clock::now().boot_ns));
    if first == last { first } else { tree::stat(pid).map_or(0, |stat| stat.identity.start) }
}

fn prepare(subject: &str, error: &io::Error) -> Refusal {
    let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
    Refusal::SpawnFailed { step: SpawnStep::Prepare, subject: subject.into(), errno }
}

fn file_subject(spawn: &Spawn) -> String {
    match spawn.keeping() {
        Some(Keeping::Spill { directory, .. }) => {
            format!("the process file in {}", String::from_utf8_lossy(&directory))
        }
        Some(Keeping::DropNewest) | None => "the process file".into(),
    }
}

fn rlimit(resource: u32, limit: rustix::process::Rlimit) -> ResourceLimit {
    let word = |bound: Option<u64>| bound.unwrap_or(u64::MAX);
    ResourceLimit { resource, limit: libc::rlimit64 { rlim_cur: word(limit.current), rlim_max: word(limit.maximum) } }
}

/// Paths to try for the program, as execvpe(3) looks them up, but with the child's own `PATH`.
fn programs(spawn: &Spawn) -> Vec<Vec<u8>> {
    let Some(name) = spawn.argv.first() else {
        return Vec::new();
    };
    if name.contains(&b'/') {
        return vec![name.clone()];
    }
    let path = spawn.env.iter().find(|(key, _)| key == b"PATH").map(|(_, value)| value.as_slice());
    let path = path.unwrap_or(b"/bin:/usr/bin");
    let folders = path.split(|byte| *byte == b':');
    folders.map(|folder| if folder.is_empty() { name.clone() } else { [folder, b"/", name].concat() }).collect()
}

/// What the child wrote into the failure word.
fn spawn_failure(word: u64, spawn: &Spawn) -> Refusal {
    let number = usize::try_from((word >> 56).saturating_sub(1)).unwrap_or(0);
    let step = CHILD_STEPS.get(number).copied().unwrap_or(SpawnStep::Exec);
    let subject = word >> 32 & 0xff_ffff;
    let lossy = |bytes: Option<&Vec<u8>>| String::from_utf8_lossy(bytes.map_or(b"/", Vec::as_slice)).into_owned();
    let subject = match step {
        SpawnStep::Rlimit => {
            let index = usize::try_from(subject).unwrap_or(usize::MAX);
            let limit = spawn.rlimits.get(index).map(|limit| format!("limit {}", limit.resource));
            limit.unwrap_or_else(|| if subject == OOM_SCORE { "oom_score_adj".into() } else { "NOFILE".into() })
        }
        SpawnStep::WorkingDirectory => lossy(spawn.cwd.as_ref()),
        SpawnStep::Gid => format!("gid {}", spawn.gid.unwrap_or(0)),
        SpawnStep::Uid => format!("uid {}", spawn.uid.unwrap_or(0)),
        SpawnStep::Groups => format!("groups {:?}", spawn.groups.clone().unwrap_or_default()),
        SpawnStep::Descriptors => format!("descriptor {subject}"),
        SpawnStep::Exec => lossy(spawn.argv.first()),
        SpawnStep::Prepare | SpawnStep::Clone | SpawnStep::Session => spawn.name.clone(),
    };
    Refusal::SpawnFailed { step, subject, errno: i32::try_from(word & 0xffff_ffff).unwrap_or(0) }
}
