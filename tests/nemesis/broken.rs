//! The programs to which the core is upgraded: two good copies, and one of each broken kind.

use crate::plan::Broken;
use anyhow::Result;
use ringmaster_kernel::keeper::READY;
use ringmaster_tests::program::{Program, profile_dir};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where the machine is named in an ELF header (elf(5), `e_machine`).
const E_MACHINE: usize = 18;

/// `EM_S390`: not where these tests run.
const OTHER_MACHINE: u8 = 22;

/// All of them, in one folder.
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Makes them.
    pub fn new(folder: &Path) -> Result<Self> {
        fs::create_dir(folder)?;
        let programs = Self { folder: folder.to_path_buf() };
        let good = fs::read(Program::Papa.path()?)?;
        let actor = fs::read(profile_dir()?.join("nemesis-actor"))?;
        let mut other = good.clone();
        other[E_MACHINE] = OTHER_MACHINE;
        let liar = format!("#!/bin/sh\necho '{READY}9'\n");
        programs.write("good-1", &good)?;
        programs.write("good-2", &good)?;
        programs.write("not-executable", &good)?;
        fs::set_permissions(programs.folder.join("not-executable"), fs::Permissions::from_mode(0o644))?;
        programs.write("aborts", b"#!/bin/sh\nkill -ABRT $$\n")?;
        programs
            .write("refuses", b"#!/bin/sh\necho 'the state file is of layout 2; this core reads layout 1'; exit 1\n")?;
        programs.write("other-machine", &other)?;
        programs.write("damaged", &good[..5000])?;
        programs.write("silent", b"#!/bin/sh\nexit 0\n")?;
        programs.write("script", liar.as_bytes())?;
        for name in ["dies", "ends", "hangs"] {
            programs.write(name, &actor)?;
        }
        programs.write("hangs-at-once", b"#!/bin/sh\nexec sleep 1000\n")?;
        Ok(programs)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, content)?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
    }

    /// A good one; they take turns.
    pub fn good(&self, round: usize) -> PathBuf {
        self.folder.join(if round.is_multiple_of(2) { "good-1" } else { "good-2" })
    }

    pub fn broken(&self, kind: Broken) -> PathBuf {
        self.folder.join(match kind {
            Broken::Missing => "missing",
            Broken::NotExecutable => "not-executable",
            Broken::Aborts => "aborts",
            Broken::RefusesTheState => "refuses",
            Broken::WrongArchitecture => "other-machine",
            Broken::Damaged => "damaged",
            Broken::SaysNothing => "silent",
            Broken::Script => "script",
            Broken::DiesAtTakeOver => "dies",
            Broken::EndsAtTakeOver => "ends",
            Broken::HangsInDryRun => "hangs-at-once",
            Broken::HangsAtTakeOver => "hangs",
        })
    }
}
