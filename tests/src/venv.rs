//! The real Circus 0.19 in a Python environment under cargo's target folder, made once.

use crate::program::target_dir;
use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Exact versions of everything that is installed.
const REQUIREMENTS: &str = include_str!("../python/requirements.txt");

/// A finished environment.
#[derive(Debug, Clone)]
pub struct Venv {
    folder: PathBuf,
}

impl Venv {
    /// The environment; the first caller of all test programs makes it, which needs the network for some seconds.
    pub fn get() -> Result<&'static Self> {
        static VENV: OnceLock<Result<Venv, String>> = OnceLock::new();
        match VENV.get_or_init(|| Self::make().map_err(|error| format!("{error:#}"))) {
            Ok(venv) => Ok(venv),
            Err(reason) => bail!("{reason}"),
        }
    }

    /// A program of the environment: `python`, `circusd`, `circusctl` …
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    fn make() -> Result<Self> {
        let target = target_dir()?;
        let folder = target.join("venv");
        let stamp = folder.join("complete");
        let lock = File::create(target.join("venv.lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        if fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == REQUIREMENTS) {
            return Ok(Self { folder });
        }
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
            .context("the tests need python3 with the venv module (Debian: python3-venv)")?;
        install(&folder)?;
        fs::write(&stamp, REQUIREMENTS)?;
        Ok(Self { folder })
    }
}

fn install(folder: &Path) -> Result<()> {
    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS)?;
    run(Command::new(folder.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"])
        .arg(&requirements))
    .with_context(|| {
        format!(
            "the tests compare with the real Circus 0.19 and install it once with pip into {}; \
             that needs the network (or PIP_INDEX_URL of a mirror), later runs do not",
            folder.display()
        )
    })
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
