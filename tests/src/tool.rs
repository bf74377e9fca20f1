//! Programs of others that check what we write, where this machine has them.

use anyhow::{Result, bail};
use std::path::PathBuf;

/// Set by `.ci/run`: a tool that is not there is an error, not a reason to go on without.
const REQUIRED: &str = "RINGMASTER_TOOLS";

/// A program on PATH. `None`: it is not there, what it would check is not checked, and the test's output says so.
///
/// # Errors
/// It is not there and `RINGMASTER_TOOLS=required`.
pub fn find(name: &str, package: &str) -> Result<Option<PathBuf>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file());
    if found.is_none() {
        if std::env::var(REQUIRED).is_ok_and(|value| value == "required") {
            bail!("{name} is not installed, and {REQUIRED}=required; it is in the Debian package {package}");
        }
        println!("NOT CHECKED by {name}: it is not installed (Debian package {package})");
    }
    Ok(found)
}
