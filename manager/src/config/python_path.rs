//! `virtualenv` and `copy_path`: what they put into the environment of children (spec a.5).
//!
//! A virtualenv is looked at when the configuration is read, so that one that is not there is named with its line. No
//! Python runs for it. `copy_path` asks `python3`, because only Python knows where it finds its modules.

use super::environment::{Environment, Environments};
use super::problem::{ProblemKind, Severity};
use super::reader::Document;
use super::sections::Reading;
use crate::options::WatcherOptions;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Where Python programs find modules beside its own.
const PYTHONPATH: &str = "PYTHONPATH";

/// Prints the module folders of a Python; the first one stands for the folder of the script.
const PRINT_PATH: &str = "import sys; print(*sys.path[1:], sep=':')";

impl Reading<'_> {
    /// Puts a watcher's `copy_path` and `virtualenv` into its environment.
    pub fn python_path(&mut self, watcher: &mut WatcherOptions, document: &Document, environments: &Environments) {
        let own = environments.of_watcher(document, &watcher.name, false);
        if watcher.copy_path && !own.contains_key(PYTHONPATH) {
            match modules_of_python(&environments.process) {
                Ok(folders) => drop(watcher.env.insert(PYTHONPATH.to_owned(), folders.clone())),
                Err(reason) => self.note_at("copy_path", Severity::Warning, ProblemKind::NoPython(reason.clone())),
            }
        }
        let Some(virtualenv) = watcher.virtualenv.clone().filter(|path| !path.is_empty()) else {
            return;
        };
        let root = std::path::absolute(&virtualenv).unwrap_or_else(|_| PathBuf::from(&virtualenv));
        let Some(packages) = site_packages(&root, watcher.virtualenv_py_ver.as_deref()) else {
            let version = watcher.virtualenv_py_ver.clone().unwrap_or_else(|| "*".to_owned());
            let kind = ProblemKind::NoVirtualenv { path: virtualenv, version };
            return self.note_at("virtualenv", Severity::LeftOut, kind);
        };
        prepend(&mut watcher.env, "PATH", &[root.join("bin")]);
        let folders: Vec<PathBuf> = std::iter::once(packages.clone()).chain(pth_folders(&packages)).collect();
        prepend(&mut watcher.env, PYTHONPATH, &folders);
    }
}

/// The folder of installed packages: that of `version`, or of the newest Python in the virtualenv.
fn site_packages(root: &Path, version: Option<&str>) -> Option<PathBuf> {
    let library = root.join("lib");
    let plain = root.join("site-packages");
    let found = match version.filter(|version| !version.is_empty()) {
        Some(version) => ["python", "pypy"].map(|name| library.join(format!("{name}{version}"))).to_vec(),
        None => {
            let mut pythons: Vec<(Vec<u32>, PathBuf)> = std::fs::read_dir(&library)
                .into_iter()
                .flatten()
                .filter_map(|entry| Some((version_of(entry.as_ref().ok()?.file_name().to_str()?)?, entry.ok()?.path())))
                .collect();
            pythons.sort();
            pythons.into_iter().rev().map(|(_, path)| path).collect()
        }
    };
    let candidates = found.into_iter().map(|folder| folder.join("site-packages"));
    candidates.chain(std::iter::once(plain)).find(|folder| folder.is_dir())
}

/// `[3, 11]` for `python3.11` or `pypy3.11`.
fn version_of(folder: &str) -> Option<Vec<u32>> {
    let version = folder.strip_prefix("python").or_else(|| folder.strip_prefix("pypy"))?;
    version.split('.').map(|part| part.parse().ok()).collect()
}

/// The folders that the `*.pth` files of `packages` name, in the order of the files' names (Python's `site` module); lines
/// that are code are not run.
fn pth_folders(packages: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(packages)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "pth"))
        .collect();
    files.sort();
    let texts = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    let mut folders = Vec::new();
    for line in texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()) {
        let line = line.trim_end();
        let folder = packages.join(line);
        let is_code = line.is_empty() || line.starts_with('#') || line.starts_with("import");
        if !is_code && folder.exists() && !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

fn prepend(environment: &mut Environment, name: &str, folders: &[PathBuf]) {
    let mut all: Vec<String> = folders.iter().map(|folder| folder.to_string_lossy().into_owned()).collect();
    all.extend(environment.get(name).filter(|value| !value.is_empty()).cloned());
    environment.insert(name.to_owned(), all.join(":"));
}

/// The module folders of the `python3` on circusd's `PATH`; asked once, because circusd's environment never changes.
pub(super) fn modules_of_python(environment: &Environment) -> &'static Result<String, String> {
    static MODULES: OnceLock<Result<String, String>> = OnceLock::new();
    MODULES.get_or_init(|| ask_python(environment))
}

fn ask_python(environment: &Environment) -> Result<String, String> {
    let python = Command::new("python3")
        .args(["-c", PRINT_PATH])
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    match python {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Ok(output) => Err(format!("it ended with {}", output.status)),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_python_of_a_virtualenv_counts_unless_one_is_named() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["lib/python3.9/site-packages", "lib/python3.11/site-packages", "lib/pypy3.8/site-packages"] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for (version, folder) in [
            (None, Some("lib/python3.11/site-packages")),
            (Some("3.9"), Some("lib/python3.9/site-packages")),
            (Some("3.8"), Some("lib/pypy3.8/site-packages")),
            (Some("2.7"), None),
        ] {
            assert_eq!(site_packages(root.path(), version), folder.map(|folder| root.path().join(folder)));
        }
    }

    #[test]
    fn pth_files_name_folders_and_their_code_does_not_run() {
        let packages = tempfile::tempdir().unwrap();
        for folder in ["one", "two"] {
            std::fs::create_dir(packages.path().join(folder)).unwrap();
        }
        std::fs::write(packages.path().join("b.pth"), "one\nmissing\n").unwrap();
        std::fs::write(packages.path().join("a.pth"), "# comment\nimport os; os.abort()\ntwo\none  \n").unwrap();
        let folders = ["two", "one"].map(|folder| packages.path().join(folder));
        assert_eq!(pth_folders(packages.path()), folders);
    }
}
