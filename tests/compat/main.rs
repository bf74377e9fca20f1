//! Compatibility with Circus 0.19, transcript by transcript.
//!
//! Each transcript is replayed with several casts: `ours` (our daemon and our command line), `real_ctl` (our daemon, the
//! real `circusctl`; only transcripts that use it), and, with `--ignored`, `our_ctl` (our command line, the real daemon)
//! and `reference` (the real Circus throughout), which proves the transcripts and the rules of comparison themselves.
#![forbid(unsafe_code)]

mod differences;
mod discovery;
mod events;
mod golden;
mod judge;
mod papa_017;
mod replay;
mod side_by_side;
mod stage;
mod text;

use anyhow::{Context, Result};
use golden::{Kind, Transcript};
use ringmaster_tests::daemon::Subject;
use stage::{Cast, Stage};
use std::sync::{Mutex, PoisonError};

/// Transcripts that are replayed, each with the watchers of it whose options are not there yet.
macro_rules! scenarios {
    ($($name:ident without $without:expr;)+) => {
        /// Names and left-out watchers.
        const SCENARIOS: &[(&str, &[&str])] = &[$((stringify!($name), &$without),)+];

        mod ours {
            $(#[test] fn $name() -> anyhow::Result<()> {
                super::ours(stringify!($name), ringmaster_tests::daemon::Subject::Ringmaster)
            })+
        }

        mod real_ctl {
            $(#[test] fn $name() -> anyhow::Result<()> {
                super::ours(stringify!($name), ringmaster_tests::daemon::Subject::Circus)
            })+
        }

        mod our_ctl {
            $(#[test]
            #[ignore = "our circusctl with the real circusd; run with --ignored after a change of circusctl"]
            fn $name() -> anyhow::Result<()> {
                super::our_ctl(stringify!($name))
            })+
        }

        mod reference {
            $(#[test]
            #[ignore = "replays against Circus itself; run with --ignored after a change of the rules"]
            fn $name() -> anyhow::Result<()> {
                super::reference(stringify!($name))
            })+
        }
    };
}

scenarios! {
    add_rm without [];
    bad_no_cmd without [];
    bad_quote without [];
    bad_rlimit without [];
    bad_sockets without [];
    bad_stream_conf without ["mid3", "mid7"];
    circus_top without [];
    circusctl_cli without [];
    circusd_cli without [];
    circusd_sig_alrm without [];
    circusd_sig_int without [];
    circusd_sig_quit without [];
    circusd_sig_usr1 without [];
    circusd_sig_usr2 without [];
    conflicts without [];
    crash_respawn without [];
    double_term without [];
    empty_cmd_wedge without [];
    endpoint_owner without [];
    flapping without [];
    incr_decr without [];
    kill_string_timeout without [];
    protocol_errors without [];
    query_commands without [];
    quit_cmd without [];
    quit_ctl without [];
    quit_waiting without [];
    reloadconfig without [];
    restart_all without [];
    rm_nostop without [];
    set_options without [];
    signals_to_circusd without [];
    singleton_misc without [];
    start_stop_restart without [];
    // The names of the files of `timed` are times of day; `streams::schedule` and the worker are tested with a clock of their own.
    streams without ["timed"];
    watchdog_plugin without [];
}

/// Transcripts with a test of their own.
const APART: &[&str] = &["multicast_discovery", "papa_017"];

/// Transcripts that wait for what they are about.
const NOT_YET: &[(&str, &str)] = &[];

/// Transcripts that only prove the rules of comparison: what they show is not wanted here, and later steps build on it.
const REFERENCE_ONLY: &[(&str, &str)] = &[
    ("circusd_sig_usr2", "SIGUSR2 ends Circus; here it upgrades (the story upgrade)"),
    (
        "conflicts",
        "commands on different watchers exclude each other in Circus; here they run side by side (side_by_side.rs)",
    ),
];

/// Events that the real Circus itself sometimes sends and sometimes does not, beside those that the transcripts name:
/// transcript, step, kind.
const ALSO_RACY: &[(&str, usize, &str)] = &[
    // Whether housekeeping or the command `kill` notices the end first decides whether there is a `reap` (spec d).
    ("conflicts", 45, "reap"),
];

/// Transcripts that, with a circusctl that really sends `--nostop`, leave a process to itself at the end.
const LEAVES_A_PROCESS: &[&str] = &["add_rm"];

/// Transcripts that use Circus's default endpoint: one starts a daemon there, another relies on nobody being there.
const ON_THE_DEFAULT_ENDPOINT: &[&str] = &["circusctl_cli", "circusd_cli"];

/// Transcripts in which files are given away, which only root can do.
const AS_ROOT: &[&str] = &["endpoint_owner"];

/// Held while such a transcript is replayed.
static DEFAULT_ENDPOINT: Mutex<()> = Mutex::new(());

fn load(name: &str) -> Result<Transcript> {
    let mut known = SCENARIOS.iter();
    let (_, without) = known.find(|(known, _)| *known == name).context("a known name")?;
    let mut transcript = Transcript::load(name, without)?;
    for (_, step, kind) in ALSO_RACY.iter().filter(|(scenario, ..)| *scenario == name) {
        let kinds = transcript.settings.racy_events.entry(step.to_string()).or_default();
        kinds.push((*kind).to_owned());
    }
    Ok(transcript)
}

fn uses_ctl(transcript: &Transcript) -> bool {
    !transcript.circus_top.is_empty() || transcript.steps.iter().any(|step| matches!(step.kind, Kind::Cli(_)))
}

fn ours(name: &str, ctl: Subject) -> Result<()> {
    let transcript = load(name)?;
    let other = REFERENCE_ONLY.iter().any(|(known, _)| *known == name);
    if other || (ctl == Subject::Circus && !uses_ctl(&transcript)) {
        return Ok(());
    }
    if AS_ROOT.contains(&name) && !rustix::process::getuid().is_root() {
        println!("{name} needs root and is not replayed");
        return Ok(());
    }
    let alone = ON_THE_DEFAULT_ENDPOINT.contains(&name);
    // A replay that failed while it held the lock has left nothing that this one would see.
    let _alone = alone.then(|| DEFAULT_ENDPOINT.lock().unwrap_or_else(PoisonError::into_inner));
    let daemon = Subject::Ringmaster;
    let found = run(name, &transcript, Cast { daemon, ctl })?;
    report(differences::judge(name, &found, ctl))
}

fn our_ctl(name: &str) -> Result<()> {
    let transcript = load(name)?;
    if uses_ctl(&transcript) { with_circus(name, &transcript, Subject::Ringmaster) } else { Ok(()) }
}

fn reference(name: &str) -> Result<()> {
    with_circus(name, &load(name)?, Subject::Circus)
}

fn with_circus(name: &str, transcript: &Transcript, ctl: Subject) -> Result<()> {
    let daemon = Subject::Circus;
    let found = run(name, transcript, Cast { daemon, ctl })?;
    report(differences::describe(&found))
}

fn run(name: &str, transcript: &Transcript, cast: Cast) -> Result<Vec<replay::Finding>> {
    let mut stage = Stage::new(name, cast)?;
    let found = replay::replay(transcript, &mut stage).with_context(|| stage.sandbox.logs())?;
    if !found.is_empty() {
        println!("{}", stage.sandbox.logs());
    }
    // Circus leaves orphans when it dies of a signal; ours leaves its core and what that keeps. Dropping the stage ends
    // both.
    let leaves = cast.ctl == Subject::Ringmaster && LEAVES_A_PROCESS.contains(&name);
    if cast.daemon == Subject::Ringmaster && !leaves && transcript.circusd_exit_code.is_none_or(|code| code >= 0) {
        stage.sandbox.finish()?;
    }
    Ok(found)
}

fn report(wrong: Vec<String>) -> Result<()> {
    anyhow::ensure!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

fn use_papa(ctl: Subject) -> Result<()> {
    let found = run("papa_017", &papa_017::transcript()?, Cast { daemon: Subject::Ringmaster, ctl })?;
    report(differences::judge("papa_017", &found, ctl))
}

#[test]
fn papa_017_ours() -> Result<()> {
    use_papa(Subject::Ringmaster)
}

#[test]
fn papa_017_real_ctl() -> Result<()> {
    use_papa(Subject::Circus)
}

#[test]
fn every_transcript_is_replayed_or_waits_for_a_reason() -> Result<()> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(golden::folder())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        files.extend(name.strip_suffix(".json").map(str::to_owned));
    }
    files.sort();
    let replayed = SCENARIOS.iter().map(|(name, _)| *name);
    let others = NOT_YET.iter().map(|(name, _)| *name).chain(APART.iter().copied());
    let mut known: Vec<&str> = replayed.chain(others).collect();
    known.sort_unstable();
    assert_eq!(files, known);
    Ok(())
}
