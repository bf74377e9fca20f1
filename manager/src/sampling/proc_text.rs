//! The texts of `/proc/PID/*`, taken apart (proc(5)). Pure; nothing is read here.

use std::hash::{DefaultHasher, Hash, Hasher};

/// What we need of `/proc/PID/stat`. Times are clock ticks, `start` counted from boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    /// Zombie or dead: no longer a process to anybody but its parent.
    pub(super) ended: bool,
    /// User and system time of the process itself.
    pub(super) own_ticks: u64,
    /// The same of children it has reaped.
    pub(super) reaped_ticks: u64,
    /// Nice value, -20 to 19.
    pub(super) nice: i64,
    /// Threads.
    pub(super) threads: u64,
    /// When it started.
    pub(super) start_ticks: u64,
    /// Tells one program from another: it changes when the process executes another one.
    pub(super) program: u64,
}

impl Stat {
    /// Reads the line. The program's name in parentheses may itself hold spaces and parentheses, so the
    /// fields are counted from the last `)`, after which comes field 3.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.rsplit_once(')')?;
        let mut fields = Fields { rest: rest.split_ascii_whitespace(), next: 3 };
        let ended = matches!(fields.field(3)?, "Z" | "X" | "x");
        // Times of reaped children are signed in the manual page and never negative in practice.
        let own_ticks = fields.count(14)?.saturating_add(fields.count(15)?);
        let reaped_ticks = fields.count(16)?.saturating_add(fields.count(17)?);
        let nice = fields.field(19)?.parse().ok()?;
        let (threads, start_ticks) = (fields.count(20)?, fields.count(22)?);
        // Where the arguments lie; 0, or nothing at all, where we may not know. A new program has them elsewhere.
        let mut hasher = DefaultHasher::new();
        (name, start_ticks, fields.field(48), fields.field(49)).hash(&mut hasher);
        Some(Self { ended, own_ticks, reaped_ticks, nice, threads, start_ticks, program: hasher.finish() })
    }
}

/// The fields of `stat` by their numbers in proc(5), to be asked for in rising order.
struct Fields<'a> {
    rest: std::str::SplitAsciiWhitespace<'a>,
    /// Number of the next one.
    next: usize,
}

impl<'a> Fields<'a> {
    fn field(&mut self, number: usize) -> Option<&'a str> {
        let skipped = number.checked_sub(self.next)?;
        self.next = number + 1;
        self.rest.nth(skipped)
    }

    fn count(&mut self, number: usize) -> Option<u64> {
        self.field(number)?.parse().ok()
    }
}

/// What we need of `/proc/PID/statm`, in pages. (`stat` has the same two numbers, but recent kernels put only
/// an estimate there: 0.2 MiB less for a small process on Linux 6.18.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory {
    /// Virtual memory.
    pub(super) virtual_pages: u64,
    /// Resident memory.
    pub(super) resident_pages: u64,
}

impl Memory {
    /// Reads the first two numbers.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split_ascii_whitespace().map(str::parse);
        Some(Self { virtual_pages: fields.next()?.ok()?, resident_pages: fields.next()?.ok()? })
    }
}

/// The real uid, the first number of the line `Uid:` in `/proc/PID/status`.
pub(super) fn real_uid(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_ascii_whitespace().next()?.parse().ok()
}

/// The pids in a `children` file.
pub(super) fn pids(children: &str) -> impl Iterator<Item = i32> {
    children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok())
}

/// The name of the program in `/proc/PID/cmdline`: the last path component of the first shell word of the
/// first argument (spec c.9). The first *word*, because programs that set their title put all of it into the
/// first argument. `None` when there is no argument, as with kernel threads.
pub(super) fn program_name(cmdline: &[u8]) -> Option<String> {
    let first = cmdline.split(|byte| *byte == 0).next()?;
    let first = String::from_utf8_lossy(first);
    let word = match shell_words::split(&first) {
        Ok(words) => words.into_iter().next()?,
        // An unbalanced quote: no shell word, but still a name.
        Err(_) => first.into_owned(),
    };
    Some(word.rsplit('/').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taken from a running bash, Linux 6.18.
    const BASH: &str = "3874 (bash) S 3873 3874 3874 0 -1 4194560 15466 9263759 0 1078 3 9 22776 3114 20 0 1 0 63386 \
        5500928 1125 18446744073709551615 94024671084544 94024671873949 140723363810480 0 0 0 65536 4 1132560123 1 0 \
        0 17 1 0 0 0 0 0 94024672107248 94024672155492 94025717960704 140723363814267 140723363814282 140723363814282 \
        140723363815402 0\n";

    #[test]
    fn stat_of_a_running_process() {
        let stat = Stat::parse(BASH).unwrap();
        assert_eq!((stat.ended, stat.own_ticks, stat.reaped_ticks), (false, 12, 25890));
        assert_eq!((stat.nice, stat.threads, stat.start_ticks), (0, 1, 63386));
    }

    #[test]
    fn another_program_is_noticed() {
        let program = |text: &str| Stat::parse(text).unwrap().program;
        assert_eq!(program(BASH), program(&BASH.replace(" 3 9 22776", " 4 9 22776")), "only time has passed");
        assert_ne!(program(BASH), program(&BASH.replace("(bash)", "(dash)")), "another name");
        assert_ne!(program(BASH), program(&BASH.replace("140723363814267", "140723363814000")), "other arguments");
        assert_ne!(program(BASH), program(&BASH.replace(" 63386 ", " 63387 ")), "another process");
    }

    #[test]
    fn stat_with_a_hostile_name_and_a_negative_nice() {
        let text = BASH.replace("(bash) S", "(a) Z 1 (b) R) R").replace(" 20 0 1 ", " 15 -5 1 ");
        let stat = Stat::parse(&text).unwrap();
        assert_eq!((stat.ended, stat.nice, stat.start_ticks), (false, -5, 63386));
        for state in ["Z", "X", "x"] {
            assert!(Stat::parse(&BASH.replace(" S ", &format!(" {state} "))).unwrap().ended, "{state}");
        }
    }

    #[test]
    fn stat_cut_short_is_refused() {
        for text in [
            "",
            "1 (a",
            "1 (a) R",
            "1 (a) R 1 2 3",
            "3874 (bash) S 3873 3874 3874 0 -1 4194560 15466 92",
            &BASH.replace("63386", "x"),
        ] {
            assert_eq!(Stat::parse(text), None, "{text}");
        }
    }

    #[test]
    fn memory_in_pages() {
        let expected = Memory { virtual_pages: 1343, resident_pages: 1125 };
        assert_eq!(Memory::parse("1343 1125 771 220 0 300 0\n"), Some(expected));
        for text in ["", "1343", "x 1125", "1343 -1"] {
            assert_eq!(Memory::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_real_uid_is_the_first_one() {
        let status = "Name:\thead\nUmask:\t0022\nState:\tR (running)\nUid:\t1000\t0\t0\t0\nGid:\t5\t5\t5\t5\n";
        assert_eq!(real_uid(status), Some(1000));
        assert_eq!(real_uid("Name:\tUid: 7\n"), None);
        assert_eq!(real_uid(""), None);
    }

    #[test]
    fn children_files() {
        assert_eq!(pids("30968 31000 \n").collect::<Vec<_>>(), [30968, 31000]);
        assert_eq!(pids("").count(), 0);
    }

    /// Expected names are what Circus 0.19 shows, but for the unbalanced quote, on which its `stats` fails.
    #[test]
    fn program_names() {
        for (cmdline, expected) in [
            (&b"sleep\x003600\x00"[..], Some("sleep")),
            (b"/usr/bin/python3\x00-m\x00x\x00", Some("python3")),
            (b"nginx: master process /usr/sbin/nginx\x00\x00", Some("nginx:")),
            (b"/opt/my\\ app/run\x00", Some("run")),
            (b"it's\x00", Some("it's")),
            (b"dir/\x00", Some("")),
            (b"\x00", None),
            (b"", None),
        ] {
            assert_eq!(program_name(cmdline).as_deref(), expected, "{cmdline:?}");
        }
    }
}
