//! The requests of processes without captured output: one page for each slot of the state, in one file.
//!
//! A process whose output goes into rings has a file of its own, and its request lies behind them. For the others a file each
//! would cost more than the process itself on a disk file system, so their requests share this one. A page is written
//! before its process is made and by one call, so a death of the core leaves it whole or as it was.

use crate::instance::LEDGER;
use ringmaster_protocol::message::{ProcessId, Spawn};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt as _;

/// Bytes of a page: an ordinary request without program and environment is a tenth of it.
const PAGE: usize = 4096;

/// Bytes before the request: the id of the process and the length of the request.
const HEAD: usize = 16;

/// The open file.
#[derive(Debug)]
pub struct Ledger(File);

impl Ledger {
    /// Opens it in the instance directory, or makes it.
    pub fn open(directory: BorrowedFd<'_>) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, LEDGER, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Self(File::from(file)))
    }

    /// Enters the request of a process. `false`: it is too long for a page.
    pub fn enter(&self, index: usize, id: ProcessId, body: &[u8]) -> io::Result<bool> {
        if HEAD + body.len() > PAGE {
            return Ok(false);
        }
        let length = u64::try_from(body.len()).unwrap_or(0);
        let page = [&id.0.to_le_bytes(), &length.to_le_bytes(), body].concat();
        self.0.write_all_at(&page, position(index)).map(|()| true)
    }

    /// The request of a process, when it has been entered for that slot.
    pub fn find(&self, index: usize, id: ProcessId) -> Option<Spawn> {
        let mut page = [0; PAGE];
        let read = self.0.read_at(&mut page, position(index)).ok()?;
        let (head, rest) = page.get(..read)?.split_first_chunk::<HEAD>()?;
        let (owner, length) = head.split_first_chunk::<8>()?;
        let length: [u8; 8] = length.try_into().ok()?;
        let length = usize::try_from(u64::from_le_bytes(length)).ok()?;
        let owns = u64::from_le_bytes(*owner) == id.0;
        rest.get(..length).filter(|_| owns).and_then(|body| super::file::decode(body).ok())
    }
}

fn position(index: usize) -> u64 {
    u64::try_from(index.saturating_mul(PAGE)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmaster_protocol::message::{Lifetime, Overflow, Stdin, Stdout, StopPlan};
    use std::os::fd::AsFd as _;

    fn spawn(name: &str) -> Spawn {
        Spawn {
            name: name.to_owned(),
            token: 1,
            lifetime: Lifetime::Leased,
            stop: StopPlan { signal: 15, grace_ms: 1 },
            argv: Vec::new(),
            env: Vec::new(),
            cwd: None,
            uid: None,
            gid: None,
            groups: None,
            rlimits: Vec::new(),
            umask: None,
            stdin: Stdin::Null,
            stdout: Stdout::Null,
            stderr: Stdout::Null,
            sockets: Vec::new(),
            ring: 0,
            overflow: Overflow::DropOldest,
            note: Vec::new(),
            ext: Vec::new(),
        }
    }

    #[test]
    fn a_page_belongs_to_one_process_of_its_slot() {
        let directory = tempfile::tempdir().unwrap();
        let folder = File::open(directory.path()).unwrap();
        let ledger = Ledger::open(folder.as_fd()).unwrap();
        for (index, name) in [(0, "zero"), (7, "seven")] {
            let body = super::super::file::encode(&spawn(name));
            assert!(ledger.enter(index, ProcessId(100), &body).unwrap());
        }
        let again = Ledger::open(folder.as_fd()).unwrap();
        assert_eq!(again.find(7, ProcessId(100)).unwrap().name, "seven");
        assert_eq!(again.find(0, ProcessId(100)).unwrap().name, "zero");
        assert_eq!(again.find(7, ProcessId(101)), None, "of another process");
        assert_eq!(again.find(3, ProcessId(100)), None, "never entered");
        assert_eq!(again.find(9, ProcessId(0)), None, "behind the end");
        assert!(!ledger.enter(1, ProcessId(1), &vec![0; PAGE]).unwrap());
    }
}
