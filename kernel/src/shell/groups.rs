//! A cgroup for the processes of each watcher (cgroups(7), version 2): who was made in it belongs to them, whatever became of
//! its parent, its session and its descriptors, and one write kills all of them (docs/adr/0009-trees.md).
//!
//! The core knows no watcher; processes whose names differ in a last number only (`circus.web.1`) share a group, and nobody
//! else is in it. Only membership is used, no controller: nothing is limited here, and the limits of the core's own group go on to hold for
//! all that it starts. Where there are no groups, `tree.rs` looks for what belongs to a process in another way.

use super::tree::{self, Identity};
use crate::instance::{GROUPS, through};
use crate::limits::MAX_NESTED_GROUPS;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Characters of a process's name in that of its group: the system allows 255 for all, and a longer one ends with its hash.
const LONGEST_STEM: usize = 200;

/// Ends the group of processes that have numbers, so that a process which is called like them, but has none, is not theirs.
const NUMBERED: char = '.';

/// The room for a list of members at first: some hundred pids.
const LIST_BYTES: usize = 4096;

/// The variable that, set to `off`, keeps the core from making groups.
const SWITCH: &str = "CIRCUS_CGROUP";

/// Why processes get no group.
#[derive(Debug, thiserror::Error)]
pub enum Without {
    /// Somebody does not want it.
    #[error("{SWITCH} is off")]
    Off,
    /// The keeper has tried and told why.
    #[error("they did not work when the core started")]
    Probed,
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

/// The directory of a group: `papa-INSTANCE-NAME`, the number being that of the state file, and the name spelt in letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupName(String);

/// The processes of a group that the core made.
#[derive(Debug, Default)]
struct Users {
    /// Those that are not forgotten.
    known: usize,
    /// Those that live.
    living: usize,
}

/// Who is in a group at one moment.
#[derive(Debug, Default)]
pub struct Company {
    /// All members that live.
    pub pids: HashSet<i32>,
    /// Somebody is among them whom the core did not make.
    pub strangers: bool,
}

/// The groups of one instance.
#[derive(Debug)]
pub struct Groups {
    /// `papa-INSTANCE-`.
    prefix: String,
    /// Where new ones are made: in the group of the core itself.
    folder: Result<PathBuf, Without>,
    /// Where former cores made theirs.
    former: Vec<PathBuf>,
    users: HashMap<GroupName, Users>,
    /// The group of the last process that was made: the next one is often its sibling.
    last: Option<(GroupName, OwnedFd)>,
    /// Groups of forgotten processes, with somebody in them.
    left: BTreeSet<GroupName>,
}

impl Groups {
    /// Finds the place for new groups, and those of former cores. All of them are noted in `directory`, so that a core that
    /// is started elsewhere finds them.
    pub fn find(directory: BorrowedFd<'_>, instance: u64) -> Self {
        let record = through(directory, GROUPS);
        let own = own_folder();
        let noted = std::fs::read_to_string(&record).unwrap_or_default();
        let others = noted.lines().map(PathBuf::from).filter(|path| own.as_ref().ok() != Some(path));
        let prefix = format!("papa-{instance:016x}-");
        let former = others.filter(|folder| groups_in(folder).any(|name| name.0.starts_with(&prefix))).collect();
        let mut groups = Self { prefix, folder: own, former, users: HashMap::new(), last: None, left: BTreeSet::new() };
        let folders: String = groups.folders().map(|folder| format!("{}\n", folder.display())).collect();
        // As a rule they are those that a former half has noted; then a full disk is no obstacle.
        if folders == noted {
            return groups;
        }
        let new = through(directory, &format!("{GROUPS}.new"));
        let written = std::fs::write(&new, folders).and_then(|()| std::fs::rename(&new, &record));
        if let Err(source) = written {
            groups.give_up(Without::System { path: PathBuf::from(GROUPS), action: "noting where groups are", source });
        }
        groups
    }

    /// Those of an instance with the number 26 in any folder, for tests.
    #[cfg(test)]
    pub fn of_folder(folder: PathBuf) -> Self {
        let prefix = format!("papa-{:016x}-", 26);
        let (former, users, left) = (Vec::new(), HashMap::new(), BTreeSet::new());
        Self { prefix, folder: Ok(folder), former, users, last: None, left }
    }

    /// Makes no more of them.
    pub fn give_up(&mut self, why: Without) {
        self.folder = Err(why);
    }

    /// Whether new processes get one.
    pub fn are_made(&self) -> Result<(), &Without> {
        self.folder.as_ref().map(|_| ())
    }

    /// The group of a process, by its name.
    pub fn name(&self, process: &str) -> GroupName {
        let of_many = process.rsplit_once('.').filter(|(_, number)| number.parse::<u64>().is_ok());
        let stem: String = of_many.map_or(process, |(stem, _)| stem).bytes().map(spelt).collect();
        let short = match stem.get(..LONGEST_STEM) {
            Some(begin) if stem.len() > LONGEST_STEM => format!("{begin}_{:016x}", hash(&stem)),
            Some(_) | None => stem,
        };
        GroupName(self.prefix.chars().chain(short.chars()).chain(of_many.map(|_| NUMBERED)).collect())
    }

    /// The directory for a process that is about to be made; `None` when processes get no group.
    pub fn make(&mut self, name: &GroupName) -> Result<Option<BorrowedFd<'_>>, Without> {
        let Ok(folder) = &self.folder else {
            return Ok(None);
        };
        if self.last.as_ref().is_some_and(|(last, _)| last == name) {
            return Ok(self.last.as_ref().map(|(_, group)| group.as_fd()));
        }
        let path = folder.join(&name.0);
        let open = || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat(CWD, &path, flags, Mode::empty())
        };
        let group = match open() {
            Err(Errno::NOENT) => rustix::fs::mkdir(&path, Mode::from_raw_mode(0o755)).and_then(|()| open()),
            opened => opened,
        };
        let group = group.map_err(|errno| Without::System { path, action: "making a group", source: errno.into() })?;
        let last = self.last.insert((name.clone(), group));
        Ok(Some(last.1.as_fd()))
    }

    /// No process can be made in the group that was given last: it is looked up anew.
    pub fn look_again(&mut self) {
        self.last = None;
    }

    /// A process belongs to a group until it is forgotten.
    pub fn enter(&mut self, name: &GroupName) {
        self.users.entry(name.clone()).or_default().known += 1;
    }

    /// It lives, or has ended.
    pub fn lives(&mut self, name: &GroupName, lives: bool) {
        if let Some(users) = self.users.get_mut(name) {
            users.living = if lives { users.living + 1 } else { users.living.saturating_sub(1) };
        }
    }

    /// How many of the processes that the core made in a group live.
    pub fn living(&self, name: &GroupName) -> usize {
        self.users.get(name).map_or(0, |users| users.living)
    }

    /// A process is forgotten. Its group goes with the last one, as soon as it is empty.
    pub fn leave(&mut self, name: &GroupName) {
        if let Some(users) = self.users.get_mut(name) {
            users.known -= 1;
            if users.known > 0 {
                return;
            }
            self.users.remove(name);
        }
        self.last.take_if(|(last, _)| last == name);
        let stays = |folder: &PathBuf| {
            let path = folder.join(&name.0);
            remove_one(&path).or_else(|_| nested(&path).iter().rev().try_for_each(|path| remove_one(path))).is_err()
        };
        if self.folders().any(stays) {
            self.left.insert(name.clone());
        }
    }

    /// Somebody has ended: tries again to remove what could not be removed before.
    pub fn remove_left(&mut self) {
        for name in std::mem::take(&mut self.left) {
            if !self.users.contains_key(&name) {
                self.leave(&name);
            }
        }
    }

    /// Whether there is such a group.
    pub fn is_there(&self, name: &GroupName) -> bool {
        self.users.contains_key(name) || self.paths(name).any(|path| path.exists())
    }

    /// Pids of the living members of a group; `None` when there is no such group.
    pub fn pids(&self, name: &GroupName) -> Option<Vec<i32>> {
        let mut found = self.paths(name).filter_map(|path| pids_below(&path)).peekable();
        found.peek()?;
        Some(found.flatten().collect())
    }

    /// The same by identity. Each was in the group after its start had been read: a pid that was used again by somebody
    /// else is not among them.
    pub fn members(&self, name: &GroupName, pids: Vec<i32>) -> Vec<Identity> {
        let found: Vec<Identity> = pids.into_iter().filter_map(tree::stat).map(|stat| stat.identity).collect();
        let still: BTreeSet<i32> = self.pids(name).into_iter().flatten().collect();
        found.into_iter().filter(|member| still.contains(&member.pid)).collect()
    }

    /// Kills all members at once, those that are being made included. `false`: this Linux (before 5.14) cannot do that.
    pub fn kill(&self, name: &GroupName) -> bool {
        self.write(name, "cgroup.kill", "1")
    }

    /// Keeps all members from running, and so from making more, or lets them go on.
    pub fn freeze(&self, name: &GroupName, freeze: bool) {
        self.write(name, "cgroup.freeze", if freeze { "1" } else { "0" });
    }

    fn write(&self, name: &GroupName, file: &str, text: &str) -> bool {
        // Where it has no group there is nobody. A group that cannot be looked at is no such place: its members would be missed.
        let nobody = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
        self.paths(name).all(|path| std::fs::write(path.join(file), text).map_or_else(nobody, |()| true))
    }

    /// Called when all that is left of a former core has been taken over. Lets groups go on that it kept from running, and
    /// removes those of this instance that nobody uses, and the empty ones of others. Should one of those belong to a
    /// process that a core beside us is about to make, it makes the group again.
    pub fn clean(&mut self) {
        let found: Vec<(PathBuf, GroupName)> =
            self.folders().flat_map(|folder| groups_in(folder).map(|name| (folder.join(&name.0), name))).collect();
        for (path, name) in found {
            if !name.0.starts_with(&self.prefix) {
                let _ = std::fs::remove_dir(path);
            } else if self.users.contains_key(&name) {
                self.freeze(&name, false);
            } else {
                self.leave(&name);
            }
        }
    }

    fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        self.folder.as_ref().ok().into_iter().chain(&self.former)
    }

    fn paths(&self, name: &GroupName) -> impl Iterator<Item = PathBuf> {
        self.folders().map(|folder| folder.join(&name.0))
    }
}

/// A byte of a name in that of a directory. Two names never come to the same: a stop of one would reach what the other left.
fn spelt(byte: u8) -> String {
    match byte {
        b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).into(),
        _ => format!("_{byte:02x}"),
    }
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Groups of any instance in a folder.
fn groups_in(folder: &Path) -> impl Iterator<Item = GroupName> + use<> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| parse(entry.file_name().to_str()?))
}

/// One of ours, of whichever instance.
fn parse(directory: &str) -> Option<GroupName> {
    let (instance, name) = directory.strip_prefix("papa-")?.split_once('-')?;
    let ours = instance.len() == 16 && u64::from_str_radix(instance, 16).is_ok() && !name.is_empty();
    ours.then(|| GroupName(directory.to_owned()))
}

/// Pids in a group and in those that its members made in it; `None` when it is not there. One whose pid cannot be seen from
/// here is shown as 0.
fn pids_below(group: &Path) -> Option<Vec<i32>> {
    let read = |path: &Path| read_list(&path.join("cgroup.procs"));
    let own = read(group).ok()?;
    let below = nested(group).into_iter().skip(1).filter_map(|path| read(&path).ok());
    let lists: Vec<String> = [own].into_iter().chain(below).collect();
    let pids = lists.iter().flat_map(|list| list.lines()).filter_map(|line| line.parse().ok());
    Some(pids.filter(|pid| *pid > 0).collect())
}

/// The system tells no size of such a file: it is read in large pieces, which the system fills one page at a time.
fn read_list(path: &Path) -> io::Result<String> {
    let mut text = String::with_capacity(LIST_BYTES);
    std::fs::File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// A group and those below it, each after its parent.
fn nested(group: &Path) -> Vec<PathBuf> {
    let mut found = vec![group.to_owned()];
    let mut at = 0;
    while let Some(path) = found.get(at).filter(|_| found.len() < MAX_NESTED_GROUPS) {
        at += 1;
        // A directory has two links and one for each directory in it: most have none.
        if std::fs::metadata(path).map_or(true, |found| found.nlink() > 2) {
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

    fn groups(folder: PathBuf) -> Groups {
        Groups::of_folder(folder)
    }

    #[test]
    fn processes_of_one_watcher_share_a_group() {
        let groups = groups(PathBuf::new());
        let name = |process: &str| groups.name(process).0;
        assert_eq!(name("circus.web.1"), "papa-000000000000001a-circus_2eweb.");
        assert_eq!(name("circus.web.1"), name("circus.web.22"));
        assert_eq!(name("../ä"), "papa-000000000000001a-_2e_2e_2f_c3_a4");
        assert_eq!(parse(&name("web")), Some(groups.name("web")));
        assert_eq!(parse(&name("web.1")), Some(groups.name("web.1")));
        for other in ["papa", "papa-1", "papa-000000000000001a-", "papa-00000000000000xx-a", "user-000000000000001a-a"]
        {
            assert_eq!(parse(other), None);
        }
    }

    #[test]
    fn nobody_else_is_in_the_group_of_a_watcher() {
        let groups = groups(PathBuf::new());
        let long = "n".repeat(5000);
        let (longer, other) = (format!("{long}n"), format!("{long}.1"));
        let names = [
            "a", "a.1", "a.1.1", "a.b", "a.b.1", "a_b", "a_b.1", "a b", "A", "a_2eb", "a-b", "ä", "ö", "", ".1", &long,
            &longer, &other,
        ];
        let all: BTreeSet<GroupName> = names.iter().map(|name| groups.name(name)).collect();
        assert_eq!(all.len(), names.len(), "{all:#?}");
        assert!(all.iter().all(|name| name.0.len() < 255));
    }

    #[test]
    fn a_folder_that_takes_no_groups_is_told_with_its_reason() {
        let directory = tempfile::tempdir().unwrap();
        let mut groups = groups(directory.path().join("missing"));
        let name = groups.name("web");
        let why = groups.make(&name).unwrap_err().to_string();
        let path = directory.path().join("missing/papa-000000000000001a-web");
        assert_eq!(why, format!("{}: making a group: No such file or directory (os error 2)", path.display()));
        assert_eq!(groups.pids(&name), None);
    }

    #[test]
    fn a_group_goes_with_its_last_user() {
        let directory = tempfile::tempdir().unwrap();
        let mut groups = groups(directory.path().to_owned());
        let name = groups.name("web.1");
        groups.make(&name).unwrap().unwrap();
        groups.enter(&name);
        groups.enter(&name);
        groups.leave(&name);
        assert!(directory.path().join(&name.0).exists());
        groups.leave(&name);
        assert!(!directory.path().join(&name.0).exists());
    }
}
