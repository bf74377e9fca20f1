//! A core whose half dies while circusd is starting: the connection breaks, and another half serves a moment later.

use anyhow::{Context, Result, ensure};
use ringmaster_protocol::instance::file;
use ringmaster_tests::stack::Stack;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// So many beginnings break off, each an answer later than the one before; the next answer brings a descriptor, which is not passed on.
const BREAKS: usize = 6;

#[test]
fn a_start_during_which_the_core_goes_away_is_begun_again() -> Result<()> {
    let mut stack = Stack::new("core-away", "", "[watcher:kept]\ncmd = sleep 1000\nuse_papa = True\n")?;
    stack.start()?;
    let before = stack.wids("kept")?;
    stack.kill_daemon()?;
    let instance = fs::read_dir(stack.sandbox.run())?.next().context("there is an instance")??.path();
    let between = step_between(&instance.join(file::SOCKET))?;
    stack.start()?;
    let met = between.join().map_err(|_panic| anyhow::anyhow!("the one between panicked"))??;
    ensure!(met == BREAKS, "circusd came {met} times");
    let after = stack.wids("kept")?;
    ensure!(before == after, "{before:?} became {after:?}");
    stack.end()
}

/// Takes the core's place at its socket until it has broken off [`BREAKS`] connections, then gives the place back.
fn step_between(place: &Path) -> Result<JoinHandle<Result<usize>>> {
    let real = place.with_extension("real");
    fs::rename(place, &real)?;
    let listener = UnixListener::bind(place)?;
    let place = place.to_owned();
    Ok(std::thread::spawn(move || break_off(&listener, &real, &place)))
}

fn break_off(listener: &UnixListener, real: &PathBuf, place: &Path) -> Result<usize> {
    for answers in 0..BREAKS {
        let (circusd, _) = listener.accept()?;
        let core = UnixStream::connect(real)?;
        let (mut asks, mut asked) = (circusd.try_clone()?, core.try_clone()?);
        let requests = std::thread::spawn(move || std::io::copy(&mut asks, &mut asked));
        if answers + 1 == BREAKS {
            // From here on the core itself is met.
            fs::rename(real, place)?;
        }
        pass_answers(&core, &circusd, answers)?;
        for side in [&circusd, &core] {
            // The other side may have gone first.
            let _ = side.shutdown(Shutdown::Both);
        }
        let _ = requests.join();
    }
    Ok(BREAKS)
}

/// Passes on what the core says, as often as that.
fn pass_answers(mut core: &UnixStream, mut circusd: &UnixStream, answers: usize) -> Result<()> {
    let mut bytes = [0; 65536];
    for _ in 0..answers {
        let count = core.read(&mut bytes)?;
        circusd.write_all(bytes.get(..count).context("as much as fits")?)?;
    }
    Ok(())
}
