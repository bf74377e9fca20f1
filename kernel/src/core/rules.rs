//! What a request must look like before anything is done about it.

use ringmaster_protocol::limits::{MAX_FDS, MAX_NAME, MAX_NOTE, MAX_RING, MAX_SPILL, MIN_RING};
use ringmaster_protocol::message::{Keeping, Refusal, Spawn, Stdin, Stdout};

/// Refuses a request that no process can be made of.
pub(super) fn check_spawn(spawn: &Spawn) -> Result<(), Refusal> {
    check_name(&spawn.name)?;
    if spawn.note.len() > MAX_NOTE {
        return Err(invalid("note", spawn.note.len(), &format!("at most {MAX_NOTE} bytes")));
    }
    if spawn.argv.first().is_none_or(Vec::is_empty) {
        return Err(invalid("argv", "empty", "a program"));
    }
    if !(1..=64).contains(&spawn.stop.signal) {
        return Err(invalid("stop.signal", spawn.stop.signal, "1 to 64"));
    }
    if let Some(umask) = spawn.umask.filter(|umask| *umask > 0o777) {
        return Err(invalid("umask", format!("{umask:o}"), "0 to 777 (octal)"));
    }
    if spawn.stdout == Stdout::Merged {
        return Err(invalid("stdout", "merged", "captured, null or passed; only stderr can be merged"));
    }
    let captured = [spawn.stdout, spawn.stderr].contains(&Stdout::Captured);
    if captured && !(MIN_RING..=MAX_RING).contains(&spawn.ring) {
        return Err(invalid("ring", spawn.ring, &format!("{MIN_RING} to {MAX_RING} bytes")));
    }
    match spawn.keeping() {
        Some(Keeping::Spill { directory, .. }) if directory.first() != Some(&b'/') || directory.contains(&0) => {
            let directory = String::from_utf8_lossy(&directory).into_owned();
            return Err(invalid("spill directory", directory, "an absolute path"));
        }
        Some(Keeping::Spill { quota, .. }) if !(MIN_RING..=MAX_SPILL).contains(&quota) => {
            return Err(invalid("spill quota", quota, &format!("{MIN_RING} to {MAX_SPILL} bytes")));
        }
        Some(Keeping::Spill { .. } | Keeping::DropNewest) | None => {}
    }
    let strings = spawn.argv.iter().chain(spawn.env.iter().flat_map(|(key, value)| [key, value]));
    if strings.chain(&spawn.cwd).any(|text| text.contains(&0)) {
        return Err(invalid("argv, env or cwd", "a text with a NUL byte", "texts without one"));
    }
    if let Some((key, _)) = spawn.env.iter().find(|(key, _)| key.is_empty() || key.contains(&b'=')) {
        let key = String::from_utf8_lossy(key);
        return Err(invalid("env", format!("{key:?}"), "names that are not empty and have no '='"));
    }
    let passed = spawn.passed();
    if usize::from(passed) > MAX_FDS {
        return Err(invalid("passed descriptor", passed, &format!("below {MAX_FDS}")));
    }
    Ok(())
}

/// How many descriptors must come with a request.
pub trait Passed {
    /// One more than the highest position that is named.
    fn passed(&self) -> u8;
}

impl Passed for Spawn {
    fn passed(&self) -> u8 {
        let stdin = match self.stdin {
            Stdin::Passed(n) => n.saturating_add(1),
            Stdin::Null | Stdin::Socket(_) => 0,
        };
        let of = |stdout| match stdout {
            Stdout::Passed(n) => n.saturating_add(1),
            Stdout::Captured | Stdout::Null | Stdout::Merged => 0,
        };
        stdin.max(of(self.stdout)).max(of(self.stderr))
    }
}

pub(super) fn invalid(field: &str, value: impl ToString, expected: &str) -> Refusal {
    Refusal::Invalid { field: field.into(), value: value.to_string(), expected: expected.into() }
}

pub(super) fn limit(name: &str, value: usize) -> Refusal {
    Refusal::Limit { limit: name.into(), value: u64::try_from(value).unwrap_or(u64::MAX) }
}

/// Refuses a name that is empty or too long.
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > MAX_NAME {
        let value = format!("{} bytes", name.len());
        return Err(invalid("name", value, &format!("1 to {MAX_NAME} bytes")));
    }
    Ok(())
}
