//! The pid file (spec b.5).

use crate::pidfd::has_ended;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why there is no pid file. The first two texts are Circus's and go to standard output.
#[derive(Debug, thiserror::Error)]
pub enum PidfileError {
    /// It names another living process.
    #[error("pid file '{}' is stale, current pid {pid}", path.display())]
    Taken {
        /// The file.
        path: PathBuf,
        /// That process.
        pid: i32,
    },
    /// There is no such directory.
    #[error("{} doesn't exist. Can't create pidfile", directory.display())]
    NoDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// It cannot be written.
    #[error("cannot write the pid file {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Our pid file; removed when dropped, if it still is ours.
#[derive(Debug)]
pub struct Pidfile {
    path: PathBuf,
}

impl Pidfile {
    /// Writes our pid. A file with another living pid is left alone; garbage and dead pids are overwritten.
    pub fn create(path: &Path) -> Result<Self, PidfileError> {
        let path = std::path::absolute(path).map_err(|source| PidfileError::Write { path: path.to_owned(), source })?;
        if let Some(pid) = living(&path).filter(|pid| *pid != own_pid()) {
            return Err(PidfileError::Taken { path: shorten(&path), pid });
        }
        let directory = path.parent().unwrap_or(Path::new("/"));
        if !directory.is_dir() {
            return Err(PidfileError::NoDirectory { directory: directory.to_owned() });
        }
        write(&path).map_err(|source| PidfileError::Write { path: path.clone(), source })?;
        Ok(Self { path })
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if read(&self.path) == Some(own_pid()) {
            // Nothing is left to tell this to: the process ends.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// As the user wrote it, when it lies in the working directory.
fn shorten(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).to_owned()
}

fn write(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)?;
    file.write_all(format!("{}\n", own_pid()).as_bytes())
}

fn read(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The process that the file names, if it lives. One that has ended and whose parent has not taken notice does not.
fn living(path: &Path) -> Option<i32> {
    let pid = Pid::from_raw(read(path)?)?;
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(Errno::SRCH) => return None,
        Err(_) => return Some(pid.as_raw_nonzero().get()),
    };
    let ended = has_ended(&process, Duration::ZERO).unwrap_or(false);
    (!ended).then_some(pid.as_raw_nonzero().get())
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_the_pid_while_we_live() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("circusd.pid");
        let pidfile = Pidfile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", own_pid()));
        drop(pidfile);
        assert!(!path.exists());
    }

    #[test]
    fn garbage_is_overwritten_and_a_living_process_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("circusd.pid");
        fs::write(&path, "garbage").unwrap();
        drop(Pidfile::create(&path).unwrap());
        fs::write(&path, "1\n").unwrap();
        let error = Pidfile::create(&path).unwrap_err();
        assert!(matches!(error, PidfileError::Taken { pid: 1, .. }), "{error}");
        assert!(path.exists());
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = Pidfile::create(Path::new("/no/such/dir/x.pid")).unwrap_err();
        assert_eq!(error.to_string(), "/no/such/dir doesn't exist. Can't create pidfile");
    }
}
