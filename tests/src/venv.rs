//! Real Circuses in Python environments under cargo's target folder, each made once: 0.19, and 0.17.2, the last with Papa.

use crate::program::target_dir;
use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Exact versions of everything that is installed.
const REQUIREMENTS: &str = include_str!("../python/requirements.txt");

/// The same for the last Circus that uses Papa.
const REQUIREMENTS_017: &str = include_str!("../python/requirements-0.17.txt");

/// A finished environment.
#[derive(Debug, Clone)]
pub struct Venv {
    folder: PathBuf,
}

impl Venv {
    /// The environment; the first caller of all test programs makes it, which needs the network for some seconds.
    pub fn get() -> Result<&'static Self> {
        static VENV: OnceLock<Result<Venv, String>> = OnceLock::new();
        Self::once(&VENV, "venv", REQUIREMENTS)
    }

    /// The environment with Circus 0.17.2 and Papa.
    pub fn with_papa() -> Result<&'static Self> {
        static VENV: OnceLock<Result<Venv, String>> = OnceLock::new();
        Self::once(&VENV, "venv-0.17", REQUIREMENTS_017)
    }

    fn once(place: &'static OnceLock<Result<Self, String>>, name: &str, requirements: &str) -> Result<&'static Self> {
        match place.get_or_init(|| Self::make(name, requirements).map_err(|error| format!("{error:#}"))) {
            Ok(venv) => Ok(venv),
            Err(reason) => bail!("{reason}"),
        }
    }

    /// Papa's source package, unpacked: its own tests are in no installed package.
    pub fn source_of_papa(&self) -> Result<PathBuf> {
        let (folder, name) = (self.folder.join("source"), "papa-1.0.6");
        let unpacked = folder.join(name);
        let lock = File::create(self.folder.join("source.lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        if !unpacked.join("PKG-INFO").exists() {
            let download =
                ["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "papa", "papa==1.0.6", "--dest"];
            run(Command::new(self.program("python")).args(download).arg(&folder))
                .context("the source package of Papa is fetched once, which needs the network")?;
            let archive = folder.join(format!("{name}.tar.gz"));
            run(Command::new(self.program("python")).args(["-m", "tarfile", "-e"]).args([&archive, &folder]))?;
        }
        Ok(unpacked)
    }

    /// A program of the environment: `python`, `circusd`, `circusctl` …
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    fn make(name: &str, requirements: &str) -> Result<Self> {
        let target = target_dir()?;
        let folder = target.join(name);
        let stamp = folder.join("complete");
        let lock = File::create(target.join(format!("{name}.lock")))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        if fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == requirements) {
            return Ok(Self { folder });
        }
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
            .context("the tests need python3 with the venv module (Debian: python3-venv)")?;
        install(&folder, requirements)?;
        fs::write(&stamp, requirements)?;
        Ok(Self { folder })
    }
}

fn install(folder: &Path, text: &str) -> Result<()> {
    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, text)?;
    run(Command::new(folder.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"])
        .arg(&requirements))
    .with_context(|| {
        format!(
            "the tests compare with the real Circus and install it once with pip into {}; \
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
