//! The part of a slot that changes as a whole: which process it is and how far its life has come.

use ringmaster_protocol::message::{Exit, ExitStatus, ProcessId, Rusage};

/// Words of an encoded [`Facts`], without the checksum.
pub(super) const WORDS: usize = 19;

/// How far a process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// About to be made; the pid word tells whether it was.
    Opening,
    /// It runs.
    Running,
    /// It has ended; its status and last words are kept until it is forgotten.
    Exited(Exit),
}

/// A slot in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Whose slot.
    pub id: ProcessId,
    /// How far it has come.
    pub phase: Phase,
    /// Its pid; 0 while opening.
    pub pid: i32,
    /// Its start in clock ticks since boot (proc(5), field 22): with the pid, an identity that is not used twice.
    pub start_ticks: u64,
    /// Nanoseconds since the Unix epoch at its start.
    pub started_ns: u64,
    /// `CLOCK_BOOTTIME` when the slot was opened.
    pub opened_ns: u64,
    /// Inodes of the pipes of stdout and stderr; 0: none.
    pub pipes: [u64; 2],
}

impl Facts {
    /// As words; a free slot is all zero.
    pub(super) fn encode(facts: Option<&Self>) -> [u64; WORDS] {
        let Some(facts) = facts else {
            return [0; WORDS];
        };
        let (phase, exit) = match facts.phase {
            Phase::Opening => (1, None),
            Phase::Running => (2, None),
            Phase::Exited(exit) => (3, Some(exit)),
        };
        let (kind, value) = match exit.map(|exit| exit.status) {
            None => (0, 0),
            Some(ExitStatus::Code(code)) => (1, word_of(code)),
            Some(ExitStatus::Signal(signal)) => (2, word_of(signal)),
            Some(ExitStatus::Unknown) => (3, 0),
        };
        let usage = exit.map(|exit| exit.rusage).unwrap_or_default();
        let [out, err] = exit.map(|exit| exit.heads).unwrap_or_default();
        let [pipe_out, pipe_err] = facts.pipes;
        let at = exit.map_or(0, |exit| exit.realtime_ns);
        [
            phase,
            facts.id.0,
            word_of(facts.pid),
            facts.start_ticks,
            facts.started_ns,
            facts.opened_ns,
            pipe_out,
            pipe_err,
            kind,
            value,
            at,
            usage.user_us,
            usage.system_us,
            usage.max_rss_kib,
            out,
            err,
            0,
            0,
            0,
        ]
    }

    /// The reverse; `None` for a free slot and for words that no build of this layout writes.
    pub(super) fn decode(words: &[u64; WORDS]) -> Option<Self> {
        let [
            phase,
            id,
            pid,
            start_ticks,
            started_ns,
            opened_ns,
            pipe_out,
            pipe_err,
            kind,
            value,
            at,
            user_us,
            system_us,
            max_rss_kib,
            out,
            err,
            ..,
        ] = *words;
        let status = match kind {
            1 => ExitStatus::Code(number_of(value)),
            2 => ExitStatus::Signal(number_of(value)),
            _ => ExitStatus::Unknown,
        };
        let exit =
            Exit { status, realtime_ns: at, rusage: Rusage { user_us, system_us, max_rss_kib }, heads: [out, err] };
        let phase = match phase {
            1 => Phase::Opening,
            2 => Phase::Running,
            3 => Phase::Exited(exit),
            _ => return None,
        };
        Some(Self {
            id: ProcessId(id),
            phase,
            pid: number_of(pid),
            start_ticks,
            started_ns,
            opened_ns,
            pipes: [pipe_out, pipe_err],
        })
    }
}

fn word_of(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

fn number_of(word: u64) -> i32 {
    u32::try_from(word & 0xffff_ffff).unwrap_or(0).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_survive_their_encoding() {
        let running = Facts {
            id: ProcessId(7),
            phase: Phase::Running,
            pid: 4711,
            start_ticks: 1,
            started_ns: 2,
            opened_ns: 3,
            pipes: [4, 5],
        };
        let exit = Exit {
            status: ExitStatus::Code(-3),
            realtime_ns: 9,
            rusage: Rusage { user_us: 1, system_us: 2, max_rss_kib: 3 },
            heads: [10, u64::MAX],
        };
        for phase in [
            Phase::Opening,
            Phase::Running,
            Phase::Exited(exit),
            Phase::Exited(Exit { status: ExitStatus::Signal(9), ..exit }),
            Phase::Exited(Exit { status: ExitStatus::Unknown, ..exit }),
        ] {
            let facts = Facts { phase, ..running };
            assert_eq!(Facts::decode(&Facts::encode(Some(&facts))), Some(facts));
        }
        assert_eq!(Facts::decode(&Facts::encode(None)), None);
    }
}
