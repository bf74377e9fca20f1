//! Opening a log by its path.
//!
//! As root this is a matter of trust: whoever may write into the directory of a log can put a symbolic link there, and root
//! would append a program's output to any file of the machine. So root follows links of root only.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Opens for appending, reading too where that is allowed; makes the file with 0666 less the umask.
pub(super) fn open_for_append(path: &Path) -> std::io::Result<File> {
    // O_NONBLOCK: a FIFO without a reader must not stop the thread; regular files ignore it.
    let mut flags = OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if geteuid().is_root() && !leads_through_links(path)? {
        flags |= OFlags::NOFOLLOW;
    }
    let mode = Mode::from_bits_truncate(0o666);
    match rustix::fs::open(path, flags | OFlags::RDWR, mode) {
        Err(Errno::ACCESS) => Ok(rustix::fs::open(path, flags | OFlags::WRONLY, mode)?.into()),
        opened => Ok(opened?.into()),
    }
}

/// Whether a path is the system's own name for something: `/dev/stdout` and the like may lead to a file, but are not the place
/// of a log.
pub(super) fn is_system(path: &Path) -> bool {
    path.parent() == Some(Path::new("/dev")) || ["/dev/fd", "/proc"].iter().any(|place| path.starts_with(place))
}

/// Whether the last component of `path` is a link. A link of another user, wherever it is, is an error (`ELOOP`).
fn leads_through_links(path: &Path) -> std::io::Result<bool> {
    let mut last_is_link = false;
    let mut ancestors: Vec<&Path> = path.ancestors().collect();
    ancestors.reverse();
    for place in ancestors.into_iter().filter(|place| !place.as_os_str().is_empty()) {
        match std::fs::symlink_metadata(place) {
            Ok(found) => {
                last_is_link = found.is_symlink();
                if last_is_link && found.uid() != 0 {
                    return Err(Errno::LOOP.into());
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(last_is_link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_own_names_are_no_places_for_logs() {
        let system = ["/dev/null", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/2"];
        assert!(system.iter().all(|path| is_system(Path::new(path))));
        let logs = ["/dev/shm/app/a.log", "/var/log/dev/null", "/device.log"];
        assert!(!logs.iter().any(|path| is_system(Path::new(path))));
    }

    #[test]
    fn root_follows_links_of_root_only() {
        if !geteuid().is_root() {
            // The rule is for root; others are held by the system.
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let (aim, link) = (directory.path().join("aim"), directory.path().join("link"));
        std::os::unix::fs::symlink(&aim, &link).unwrap();
        open_for_append(&link).unwrap();
        std::os::unix::fs::lchown(&link, Some(65_534), None).unwrap();
        let error = open_for_append(&link).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::LOOP.raw_os_error()));
        let folder = directory.path().join("folder");
        std::os::unix::fs::symlink(directory.path(), &folder).unwrap();
        std::os::unix::fs::lchown(&folder, Some(65_534), None).unwrap();
        assert!(open_for_append(&folder.join("log")).is_err());
        assert!(!directory.path().join("log").exists());
    }
}
