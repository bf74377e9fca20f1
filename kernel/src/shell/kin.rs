//! By what others are recognised as belonging to a process: its session, its pipes, its descent, and who was seen before. It can be
//! kept when the process itself has ended and is forgotten.

use super::child::Origin;
use super::tree::{self, Identity, Snapshot};
use crate::limits::MAX_REMEMBERED;
use std::collections::HashMap;

/// What is known of one process.
#[derive(Debug, Clone)]
pub struct Kin {
    /// Who it is.
    pub main: Identity,
    /// Whether it lives.
    pub lives: bool,
    /// Who made it.
    pub origin: Origin,
    /// Inodes of the pipes that its output goes to; 0: none.
    pub pipes: [u64; 2],
    /// Descendants seen at earlier signals.
    pub remembered: Vec<Identity>,
}

impl Kin {
    /// Pids from which its descendants can be found: its own while it lives, and those of orphans that are known.
    pub fn roots(&self) -> impl Iterator<Item = i32> {
        let known = self.remembered.iter().map(|identity| identity.pid);
        self.lives.then_some(self.main.pid).into_iter().chain(known)
    }

    /// Living members of the tree besides the process itself: descendants, its session, those seen before, and orphans
    /// that write to its pipes; and what descends from them.
    pub fn tree(&mut self, snapshot: &Snapshot, orphans: &Writers, mains: impl Fn(i32) -> bool) -> Vec<Identity> {
        let main = self.main;
        let mut roots = snapshot.session(main);
        roots.extend(snapshot.still(&self.remembered));
        roots.extend(orphans.of(self.pipes));
        let mut members = snapshot.descendants([main].into_iter().chain(roots.iter().copied()));
        members.extend(roots);
        members.retain(|member| *member != main && !mains(member.pid));
        members.sort_unstable_by_key(|member| member.pid);
        members.dedup();
        self.remembered = members.iter().copied().take(MAX_REMEMBERED).collect();
        members
    }
}

/// Orphans that came to the keeper, by the pipes that they write to.
#[derive(Debug, Default)]
pub struct Writers(HashMap<u64, Vec<Identity>>);

impl Writers {
    /// Looks at the orphans in a snapshot, if there is a pipe to look for. `mains` are those that the core made.
    pub fn find<'a>(
        snapshot: &Snapshot,
        keeper: i32,
        kin: impl IntoIterator<Item = &'a Kin>,
        mains: impl Fn(i32) -> bool,
    ) -> Self {
        let mut writers = Self::default();
        if kin.into_iter().all(|kin| kin.pipes == [0, 0]) {
            return writers;
        }
        for orphan in snapshot.adopted_by(keeper).into_iter().filter(|orphan| !mains(orphan.pid)) {
            for inode in tree::outputs(orphan.pid) {
                writers.0.entry(inode).or_default().push(orphan);
            }
        }
        writers
    }

    fn of(&self, pipes: [u64; 2]) -> impl Iterator<Item = Identity> {
        pipes.into_iter().filter_map(|inode| self.0.get(&inode)).flatten().copied()
    }
}
