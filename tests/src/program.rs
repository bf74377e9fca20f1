//! Where the programs under test are.

use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A program of this repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The manager.
    Circusd,
    /// The core.
    Papa,
    /// The command line.
    Circusctl,
    /// Statistics.
    CircusdStats,
    /// Plugins.
    CircusPlugin,
    /// The live table.
    CircusTop,
    /// circusd inside of another program: the example of the manager's crate.
    Embedded,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Circusd,
        Self::Papa,
        Self::Circusctl,
        Self::CircusdStats,
        Self::CircusPlugin,
        Self::CircusTop,
        Self::Embedded,
    ];

    /// The name under which it is installed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Circusd => "circusd",
            Self::Papa => "papa",
            Self::Circusctl => "circusctl",
            Self::CircusdStats => "circusd-stats",
            Self::CircusPlugin => "circus-plugin",
            Self::CircusTop => "circus-top",
            Self::Embedded => "embedded",
        }
    }

    /// Its path. All of them lie in one folder under their right names, because `circusd` looks for `papa` beside itself.
    pub fn path(self) -> Result<PathBuf> {
        let folder = profile_dir()?.join("under-test");
        fs::create_dir_all(&folder)?;
        for program in Self::ALL {
            program.link(&folder)?;
        }
        Ok(folder.join(self.name()))
    }

    /// Gives the file that cargo built its right name in `folder`.
    fn link(self, folder: &Path) -> Result<()> {
        let built = profile_dir()?.join(format!("tested-{}", self.name()));
        let wanted = folder.join(self.name());
        let inode = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
        if inode(&built).is_none() {
            bail!("{} is not built; run `cargo test`", built.display());
        }
        if inode(&built) == inode(&wanted) {
            return Ok(());
        }
        let fresh = folder.join(format!("{}.{:?}", self.name(), std::thread::current().id()));
        // Left behind by a run that was killed between the two steps.
        let _ = fs::remove_file(&fresh);
        fs::hard_link(&built, &fresh)
            .and_then(|()| fs::rename(&fresh, &wanted))
            // Renaming a link onto another link of the same file does nothing and leaves both.
            .and_then(|()| if fresh.exists() { fs::remove_file(&fresh) } else { Ok(()) })
            .with_context(|| format!("cannot link {} to {}", built.display(), wanted.display()))
    }
}

/// The folder of the running profile: `target/debug` or `target/release`.
pub fn profile_dir() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().context("a test program lies in a folder")?;
    let folder = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    Ok(folder.context("the profile's folder")?.to_path_buf())
}

/// Cargo's target folder.
pub fn target_dir() -> Result<PathBuf> {
    Ok(profile_dir()?.parent().context("the profile's folder has a parent")?.to_path_buf())
}

/// The top folder of the repository.
pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_path_buf()
}
