//! `make process`, `list processes`, `remove processes`.

use super::names::{select, select_known};
use super::options::{Options, integer, size};
use super::reference::replace;
use super::{Host, Tables, TextError, list};
use crate::limits::{MAX_NOTE, MAX_RING, MIN_RING};
use crate::message::{
    Lifetime, Overflow, ProcessInfo, RLIMITS, Refusal, Reply, Rlimit, Spawn, SpawnStep, Stdin, Stdout, StopPlan,
};

/// SIGTERM, as signal(7) numbers it.
const SIGTERM: i32 = 15;

/// No such file, as errno(3) numbers it.
const ENOENT: i32 = 2;

/// What `list` shows of a process besides what the core knows; kept in the core's note.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Note {
    /// As asked for; 0: not.
    pub uid: u32,
    /// As asked for; 0: not.
    pub gid: u32,
    /// Run through a shell.
    pub shell: bool,
    /// `bufsize`, where less was asked for than a ring holds.
    pub bufsize: Option<u64>,
    /// Program and arguments as given.
    pub arguments: String,
}

/// The first bytes of our notes; a manager's note never begins so.
const NOTE: &str = "text-1 ";

impl Note {
    /// The bytes to keep; overlong arguments are cut.
    fn write(&self) -> Vec<u8> {
        let shell = if self.shell { "shell" } else { "-" };
        let shell = self.bufsize.map_or(shell.to_owned(), |bytes| format!("{shell},{bytes}"));
        let mut text = format!("{NOTE}{} {} {shell} {}", self.uid, self.gid, self.arguments);
        text.truncate(text.floor_char_boundary(MAX_NOTE));
        text.into_bytes()
    }

    /// From the core's note; `None`: somebody else made the process.
    pub fn read(note: &[u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(note).ok()?.strip_prefix(NOTE)?.splitn(4, ' ');
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let words = fields.next()?;
        let (shell, bufsize) =
            words.split_once(',').map_or((words, None), |(shell, bytes)| (shell, bytes.parse().ok()));
        Some(Self { uid, gid, shell: shell == "shell", bufsize, arguments: fields.next()?.to_owned() })
    }
}

/// What `make process` has made or found.
#[derive(Debug)]
pub struct Made {
    /// The process.
    pub info: ProcessInfo,
    /// Whether its output is to follow.
    pub watch: bool,
}

/// `make process`.
pub fn make(host: &mut impl Host, words: &[String]) -> Result<Made, TextError> {
    let (name, rest) = words.split_first().ok_or(TextError::ProcessName)?;
    let (mut options, command) = Options::take(rest);
    if command.is_empty() {
        return Err(TextError::NoCommand);
    }
    let watch = options.remove("watch").map_or(Ok(0), |text| integer(&text))? != 0;
    // Equal words are the same process: what was asked for decides, not what it was resolved to.
    let token = digest(&options, command);
    let sockets: Vec<_> = host.sockets().into_iter().map(|(_, info)| info).collect();
    let mut spawn = read(name, options, command, &host.tables())?;
    let mut inherited = Vec::new();
    for argument in &mut spawn.argv {
        let text = String::from_utf8_lossy(argument);
        *argument = replace(name, &text, &sockets, &mut inherited)?.into_bytes();
    }
    spawn.sockets = inherited;
    spawn.token = token;
    let (program, folder) = (command.first().cloned().unwrap_or_default(), spawn.cwd.clone());
    match host.ask(spawn.into()) {
        Ok(Reply::Spawned(spawned)) => Ok(Made { info: spawned.process, watch }),
        Ok(_) => Err(TextError::NotFound(name.clone())),
        Err(Refusal::NameTaken { .. }) => {
            let known = host.processes().into_iter().find(|info| info.name == *name);
            let line = known.map(|info| list::process(&info)).unwrap_or_default();
            Err(TextError::ProcessTaken(name.clone(), line))
        }
        Err(refusal) => Err(failure(refusal, program, &folder.unwrap_or_default())),
    }
}

/// `list processes`.
pub fn list(host: &impl Host, patterns: &[String]) -> Result<String, TextError> {
    list::sorted(select(patterns, host.processes()).iter().map(list::process))
}

/// `remove processes`.
pub fn remove(host: &mut impl Host, patterns: &[String]) -> Result<(), TextError> {
    for info in select_known(patterns, host.processes())? {
        host.abandon(info.id)?;
    }
    Ok(())
}

fn read(name: &str, mut options: Options, command: &[String], tables: &Tables) -> Result<Spawn, TextError> {
    let user = options.remove("uid").map(|word| tables.user(&word)).transpose()?;
    let gid = options.remove("gid").map(|word| tables.group(&word)).transpose()?;
    let uid = user.as_ref().map(|user| user.uid);
    let gid = gid.or(user.map(|user| user.gid));
    let groups = gid.filter(|gid| *gid != 0).map(|gid| tables.groups_of(uid.unwrap_or(tables.own_uid), gid));
    let rlimits = options.remove_all("rlimit.").into_iter().map(|(name, value)| rlimit(&name, &value));
    let rlimits = rlimits.collect::<Result<_, _>>()?;
    let env = options.remove_all("env.").into_iter().map(|(key, value)| (key.into_bytes(), value.into_bytes()));
    let env = env.collect();
    let folder = options.remove("working_dir").filter(|folder| !folder.is_empty());
    let bytes = options.remove("bufsize").map_or(Ok(1 << 20), |text| size(&text))?;
    let out = options.remove("stdout").map_or(Ok(1), |text| integer(&text))?;
    let err = match options.remove("stderr").as_deref() {
        Some("stdout") => None,
        Some(text) => Some(integer(text)?),
        None => Some(1),
    };
    let shell = options.remove("shell").is_some_and(|text| !text.is_empty());
    options.finish("process")?;
    let captured = |wanted: i64| {
        if wanted == 0 || bytes <= 0 { Stdout::Null } else { Stdout::Captured }
    };
    let prefix = if shell { &["/bin/sh", "-c"][..] } else { &[] };
    let bufsize = u64::try_from(bytes).ok().filter(|bytes| *bytes < MIN_RING);
    let note = Note { uid: uid.unwrap_or(0), gid: gid.unwrap_or(0), shell, bufsize, arguments: command.join(" ") };
    Ok(Spawn {
        name: name.into(),
        token: 0,
        lifetime: Lifetime::Persistent,
        stop: StopPlan { signal: SIGTERM, grace_ms: 10_000 },
        argv: prefix.iter().copied().chain(command.iter().map(String::as_str)).map(|word| word.into()).collect(),
        env,
        // The core's own, wherever it was started.
        cwd: Some(folder.unwrap_or_else(|| String::from(".")).into_bytes()),
        uid,
        gid,
        groups,
        rlimits,
        umask: None,
        stdin: Stdin::Null,
        stdout: captured(out),
        stderr: err.map_or(Stdout::Merged, captured),
        sockets: Vec::new(),
        ring: u64::try_from(bytes).unwrap_or(0).clamp(MIN_RING, MAX_RING),
        overflow: Overflow::DropOldest,
        note: note.write(),
        ext: Vec::new(),
    })
}

fn rlimit(name: &str, value: &str) -> Result<Rlimit, TextError> {
    let lower = name.to_lowercase();
    let known = RLIMITS.iter().find(|(known, _)| *known == lower);
    let (_, resource) = known.ok_or_else(|| TextError::Rlimit(name.into()))?;
    let number = integer(value).map_err(|_number| TextError::RlimitValue(name.into(), value.into()))?;
    // -1 is infinity, as in setrlimit(2).
    let bound = u64::try_from(number).unwrap_or(u64::MAX);
    Ok(Rlimit { resource: *resource, soft: bound, hard: bound })
}

/// FNV-1a over options and command in their order; options come sorted, so that their order does not matter.
fn digest(options: &Options, command: &[String]) -> u64 {
    let texts = options.sorted();
    let words = texts.iter().map(String::as_str).chain([""]).chain(command.iter().map(String::as_str));
    let bytes = words.flat_map(|word| word.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Papa's words for a child that did not come up.
fn failure(refusal: Refusal, program: String, folder: &[u8]) -> TextError {
    let Refusal::SpawnFailed { step, errno, subject } = refusal else {
        return refusal.into();
    };
    match step {
        SpawnStep::Exec if errno == ENOENT => TextError::Program { program, errno },
        SpawnStep::Exec => TextError::System { subject: program, errno },
        SpawnStep::WorkingDirectory => {
            let folder = String::from_utf8_lossy(folder).into_owned();
            TextError::Folder { folder, errno }
        }
        SpawnStep::Rlimit | SpawnStep::Groups | SpawnStep::Gid | SpawnStep::Uid => TextError::InChild,
        SpawnStep::Prepare | SpawnStep::Clone | SpawnStep::Descriptors | SpawnStep::Session => {
            TextError::System { subject, errno }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spawn(line: &str) -> Result<Spawn, TextError> {
        let words = super::super::words::split(line);
        let (options, command) = Options::take(&words);
        read("p", options, command, &Tables::default())
    }

    #[test]
    fn options_make_a_request() {
        let made =
            spawn("env.B=\"x\\ y\" env.A= rlimit.nofile=77 stderr=stdout bufsize=2m shell=1 echo\\ hi a").unwrap();
        assert_eq!(made.argv, [&b"/bin/sh"[..], b"-c", b"echo hi", b"a"]);
        assert_eq!(made.env, [(b"A".to_vec(), b"".to_vec()), (b"B".to_vec(), b"x y".to_vec())]);
        assert_eq!((made.ring, made.stdout, made.stderr), (2 << 20, Stdout::Captured, Stdout::Merged));
        assert_eq!(made.rlimits, [Rlimit { resource: 7, soft: 77, hard: 77 }]);
        let note = Note::read(&made.note).unwrap();
        assert_eq!((note.shell, note.arguments.as_str()), (true, "echo hi a"));
    }

    #[test]
    fn no_buffer_means_no_pipes() {
        let made = spawn("bufsize=0 x").unwrap();
        assert_eq!((made.stdout, made.stderr), (Stdout::Null, Stdout::Null));
        let made = spawn("stdout=0 bufsize=100 x").unwrap();
        assert_eq!((made.stdout, made.stderr, made.ring), (Stdout::Null, Stdout::Captured, MIN_RING));
    }

    #[test]
    fn wrong_options_are_named() {
        for (line, text) in [
            ("nope=1 x", "Unknown process option \"nope\""),
            ("rlimit.foo=1 x", "Unknown rlimit \"foo\""),
            ("rlimit.nofile=x x", "The rlimit value for \"nofile\" must be an integer, not \"x\""),
            ("bufsize=1q x", "'q'"),
            ("uid=7 x", "'7' is not a valid user id"),
            ("gid=x x", "No such group: 'x'"),
        ] {
            assert_eq!(spawn(line).unwrap_err().to_string(), text, "{line}");
        }
    }

    #[test]
    fn a_note_of_somebody_else_is_not_ours() {
        assert_eq!(Note::read(b"{\"watcher\": 1}"), None);
        let long = Note { arguments: "\u{e9}".repeat(MAX_NOTE), ..Note::default() };
        assert!(long.write().len() <= MAX_NOTE && Note::read(&long.write()).is_some());
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in "((uid|gid|env.A|rlimit.x|bufsize|stdout|stderr|shell)=\\PC{0,6} ){0,4}\\PC{0,9}") {
            let _ = spawn(&line);
        }
    }
}
