//! A cgroup for each process (cgroups(7), version 2): who was made in it belongs to the tree, whatever became of its parent,
//! its session and its descriptors, and one write kills all of them (docs/adr/0009-trees.md).
//!
//! Only membership is used, no controller: nothing is limited here, and the limits of the core's own group go on to hold for
//! all that it starts. Where there are no groups, `tree.rs` looks for what belongs to a process in another way.

use super::tree::{self, Identity};
use crate::instance::{GROUPS, through};
use crate::limits::MAX_NESTED_GROUPS;
use ringmaster_protocol::message::ProcessId;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The variable that, set to `off`, keeps the core from making groups.
const SWITCH: &str = "CIRCUS_CGROUP";

/// Why processes get no group of their own.
#[derive(Debug, thiserror::Error)]
pub enum Without {
    /// Somebody does not want it.
    #[error("{SWITCH} is off")]
    Off,
    /// No hierarchy of version 2.
    #[error("no cgroup v2 is mounted")]
    NotMounted,
    /// A container that shows a part of the hierarchy in which it is not itself.
    #[error("the core's own group {0} is not under the mounted part of cgroup v2")]
    OutOfSight(String),
    /// It cannot be spawned into.
    #[error("spawning into a cgroup: {0}")]
    Clone(io::Error),
    /// The system refused.
    #[error("{}: {action}: {source}", path.display())]
    System {
        /// The directory or file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// The groups of one instance: directories `papa-INSTANCE-PROCESS`, both numbers those of the state file.
#[derive(Debug)]
pub struct Groups {
    instance: u64,
    /// Where new ones are made: in the group of the core itself.
    folder: Result<PathBuf, Without>,
    /// Where former cores made theirs.
    former: Vec<PathBuf>,
    /// Of forgotten processes, with somebody in them.
    left: BTreeSet<ProcessId>,
}

impl Groups {
    /// Finds the place for new groups, and those of former cores. All of them are noted in `directory`, so that a core that
    /// is started elsewhere finds them.
    pub fn find(directory: BorrowedFd<'_>, instance: u64) -> Self {
        let record = through(directory, GROUPS);
        let own = own_folder();
        let noted = std::fs::read_to_string(&record).unwrap_or_default();
        let others = noted.lines().map(PathBuf::from).filter(|path| own.as_ref().ok() != Some(path));
        let former = others.filter(|folder| groups_in(folder).any(|(of, _)| of == instance)).collect();
        let mut groups = Self { instance, folder: own, former, left: BTreeSet::new() };
        let folders: Vec<String> = groups.folders().map(|folder| format!("{}\n", folder.display())).collect();
        let new = through(directory, &format!("{GROUPS}.new"));
        let written = std::fs::write(&new, folders.concat()).and_then(|()| std::fs::rename(&new, &record));
        if let Err(source) = written {
            groups.give_up(Without::System { path: PathBuf::from(GROUPS), action: "noting where groups are", source });
        }
        groups
    }

    /// Makes no more of them.
    pub fn give_up(&mut self, why: Without) {
        self.folder = Err(why);
    }

    /// Whether new processes get one.
    pub fn are_made(&self) -> Result<(), &Without> {
        self.folder.as_ref().map(|_| ())
    }

    /// A group for a process that is about to be made; `None` when processes get none.
    pub fn make(&self, id: ProcessId) -> Result<Option<OwnedFd>, Without> {
        let Ok(folder) = &self.folder else {
            return Ok(None);
        };
        let path = folder.join(self.name(id));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let made = match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o755)) {
            // Of an attempt before: no number is given twice.
            Err(Errno::EXIST) => Ok(()),
            made => made,
        };
        match made.and_then(|()| rustix::fs::openat(CWD, &path, flags, Mode::empty())) {
            Ok(group) => Ok(Some(group)),
            Err(errno) => Err(Without::System { path, action: "making a group", source: errno.into() }),
        }
    }

    /// Whether a process has a group.
    pub fn has(&self, id: ProcessId) -> bool {
        self.folders().any(|folder| folder.join(self.name(id)).exists())
    }

    /// Living members of its group, the process itself among them; `None` when it has none. Each was in the group after its
    /// start had been read: a pid that was used again by somebody else is not among them.
    pub fn members(&self, id: ProcessId) -> Option<Vec<Identity>> {
        let (path, pids) = self.look(id)?;
        if pids.is_empty() {
            return Some(Vec::new());
        }
        let found: Vec<Identity> = pids.into_iter().filter_map(tree::stat).map(|stat| stat.identity).collect();
        let still: BTreeSet<i32> = pids_below(&path).into_iter().collect();
        Some(found.into_iter().filter(|member| still.contains(&member.pid)).collect())
    }

    /// Kills all members at once, those that are being made included; gives whom it found. `None`: it has no group, or this
    /// Linux (before 5.14) cannot do that.
    pub fn kill(&self, id: ProcessId) -> Option<Vec<i32>> {
        let (path, pids) = self.look(id)?;
        if pids.is_empty() {
            return Some(pids);
        }
        std::fs::write(path.join("cgroup.kill"), "1").ok().map(|()| pids)
    }

    /// Takes the group of a forgotten process away; as soon as it is empty.
    pub fn remove(&mut self, id: ProcessId) {
        let name = self.name(id);
        let stays = |folder: &PathBuf| {
            let path = folder.join(&name);
            remove_one(&path).or_else(|_| nested(&path).iter().rev().try_for_each(|path| remove_one(path))).is_err()
        };
        if self.folders().any(stays) {
            self.left.insert(id);
        }
    }

    /// Somebody has ended: tries again to remove what could not be removed before.
    pub fn remove_left(&mut self) {
        for id in std::mem::take(&mut self.left) {
            self.remove(id);
        }
    }

    /// Removes what former cores left: the groups of this instance whose process is not `known`, and the empty ones of
    /// others. Should one of those belong to a core that lives, its process is about to be made without a group.
    pub fn clean(&mut self, known: impl Fn(ProcessId) -> bool) {
        let mut ours = BTreeSet::new();
        for folder in self.folders() {
            for (instance, id) in groups_in(folder) {
                if instance != self.instance {
                    let _ = std::fs::remove_dir(folder.join(name(instance, id)));
                } else if !known(id) {
                    ours.insert(id);
                }
            }
        }
        for id in ours {
            self.remove(id);
        }
    }

    fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        self.folder.as_ref().ok().into_iter().chain(&self.former)
    }

    fn name(&self, id: ProcessId) -> String {
        name(self.instance, id)
    }

    fn look(&self, id: ProcessId) -> Option<(PathBuf, Vec<i32>)> {
        let path = self.folders().map(|folder| folder.join(self.name(id))).find(|path| path.exists())?;
        let pids = pids_below(&path);
        Some((path, pids))
    }
}

/// Groups of any instance in a folder.
fn groups_in(folder: &Path) -> impl Iterator<Item = (u64, ProcessId)> + use<> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| parse(entry.file_name().to_str()?))
}

fn name(instance: u64, id: ProcessId) -> String {
    format!("papa-{instance:016x}-{}", id.0)
}

/// The reverse of [`name`].
fn parse(text: &str) -> Option<(u64, ProcessId)> {
    let (instance, id) = text.strip_prefix("papa-")?.split_once('-')?;
    Some((u64::from_str_radix(instance, 16).ok()?, ProcessId(id.parse().ok()?)))
}

/// Pids in a group and in those that its members made in it. One whose pid cannot be seen from here is shown as 0.
fn pids_below(group: &Path) -> Vec<i32> {
    let mut pids = Vec::new();
    for path in nested(group) {
        let list = std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
        pids.extend(list.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    }
    pids
}

/// A group and those below it, each after its parent.
fn nested(group: &Path) -> Vec<PathBuf> {
    let mut found = vec![group.to_owned()];
    let mut at = 0;
    while let Some(path) = found.get(at).filter(|_| found.len() < MAX_NESTED_GROUPS) {
        at += 1;
        // A directory has two links and one for each directory in it: most have none.
        if std::fs::metadata(path).is_ok_and(|found| found.nlink() > 2) {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            let below: Vec<PathBuf> = below.map(|entry| entry.path()).collect();
            found.extend(below);
        }
    }
    found
}

fn remove_one(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The directory of our own group.
fn own_folder() -> Result<PathBuf, Without> {
    if std::env::var_os(SWITCH).is_some_and(|value| value == "off") {
        return Err(Without::Off);
    }
    let read = |path: &str| {
        let fail = |source| Without::System { path: path.into(), action: "reading", source };
        std::fs::read_to_string(path).map_err(fail)
    };
    let (mounts, own) = (read("/proc/self/mountinfo")?, read("/proc/self/cgroup")?);
    let own = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or(Without::NotMounted)?;
    folder_of(&mounts, own)
}

/// Where the group `own` (proc(5), `/proc/PID/cgroup`) lies in the file system, by the table of mounts (`mountinfo`: its
/// fourth field is the group that is mounted, its fifth the place).
fn folder_of(mounts: &str, own: &str) -> Result<PathBuf, Without> {
    let mut seen = false;
    for line in mounts.lines().filter(|line| line.contains(" - cgroup2 ")) {
        seen = true;
        let mut fields = line.split(' ').skip(3);
        if let (Some(root), Some(place)) = (fields.next(), fields.next())
            && let Ok(below) = Path::new(own).strip_prefix(root)
        {
            return Ok(Path::new(place).join(below));
        }
    }
    Err(if seen { Without::OutOfSight(own.into()) } else { Without::NotMounted })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        38 31 0:35 / /sys/fs/cgroup/unified rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw\n";

    fn found(mounts: &str, own: &str) -> String {
        match folder_of(mounts, own) {
            Ok(path) => path.display().to_string(),
            Err(why) => why.to_string(),
        }
    }

    #[test]
    fn our_own_group_is_found_by_the_table_of_mounts() {
        assert_eq!(found(HYBRID, "/"), "/sys/fs/cgroup/unified/");
        assert_eq!(found(HYBRID, "/a.slice/b.service"), "/sys/fs/cgroup/unified/a.slice/b.service");
        let part = "40 30 0:36 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(found(part, "/docker/1/x"), "/sys/fs/cgroup/x");
        let outside = "the core's own group /docker/11 is not under the mounted part of cgroup v2";
        assert_eq!(found(part, "/docker/11"), outside);
        assert_eq!(found("35 31 0:32 / /x rw - cgroup cgroup rw,memory\n", "/"), "no cgroup v2 is mounted");
    }

    #[test]
    fn names_are_read_back_and_others_left_alone() {
        assert_eq!(parse(&name(7, ProcessId(12))), Some((7, ProcessId(12))));
        assert_eq!(parse(&name(u64::MAX, ProcessId(u64::MAX))), Some((u64::MAX, ProcessId(u64::MAX))));
        for other in ["papa", "papa-1", "papa-x-1", "user-1-2", "papa-1-2.scope"] {
            assert_eq!(parse(other), None);
        }
    }

    #[test]
    fn a_folder_that_takes_no_groups_is_told_with_its_reason() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("missing");
        let groups = Groups { instance: 1, folder: Ok(folder.clone()), former: Vec::new(), left: BTreeSet::new() };
        let why = groups.make(ProcessId(1)).unwrap_err().to_string();
        let path = folder.join("papa-0000000000000001-1");
        assert_eq!(why, format!("{}: making a group: No such file or directory (os error 2)", path.display()));
        assert!(!groups.has(ProcessId(1)) && groups.members(ProcessId(1)).is_none());
    }
}
