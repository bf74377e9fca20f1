//! `--ssh` with a program `ssh` of the test's own on PATH.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use zeromq::{RouterSocket, Socket};

use crate::stage::{PATIENCE, circusctl, circusd, finish, serve, texts};

/// Writes down its arguments and pid, makes the near end a link to the ROUTER's socket, and stays.
const STAYS: &str = r#"#!/bin/sh
echo "$@" > "$TEST/arguments"; echo $$ > "$TEST/pid"
while [ "$1" != -L ]; do shift; done
ln -s "$TEST/router" "${2%%:*}"
exec sleep 600
"#;

/// As ssh does when the server does not know us.
const REFUSES: &str = "#!/bin/sh\necho 'Permission denied (publickey).' >&2\nexit 255\n";

/// Logs in never.
const HANGS: &str = "#!/bin/sh\necho $$ > \"$TEST/pid\"; exec sleep 600\n";

struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn new(ssh: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("ssh");
        fs::write(&program, ssh).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("run")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn circusctl(&self, arguments: &[&str]) -> Command {
        let mut path = self.folder.path().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let mut command = circusctl(arguments);
        command.env("PATH", path).env("TEST", self.folder.path()).env("XDG_RUNTIME_DIR", self.path("run"));
        command
    }

    /// Nothing may be left: no file of the tunnel, no ssh.
    async fn assert_clean(&self) {
        let left: Vec<_> = fs::read_dir(self.path("run")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        let Ok(pid) = fs::read_to_string(self.path("pid")) else {
            return;
        };
        let process = Path::new("/proc").join(pid.trim());
        let gone = async {
            // A killed child of an ended parent is reaped by init in its own time.
            while fs::read_to_string(process.join("stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("ssh is still there");
    }
}

#[tokio::test]
async fn a_command_through_the_tunnel() {
    let stage = Stage::new(STAYS);
    let mut router = RouterSocket::new();
    let near = format!("ipc://{}", stage.path("router").display());
    router.bind(&near).await.unwrap();
    let arguments =
        ["--ssh", "ann@db1:2222", "--ssh_keyfile", "/key", "--endpoint", "tcp://127.0.0.1:5999", "numwatchers"];
    let output = tokio::select! {
        output = finish(stage.circusctl(&arguments)) => output,
        () = serve(router, circusd) => unreachable!("serve never ends"),
    };
    assert_eq!(texts(&output), (0, "3\n".into(), String::new()));
    let told = fs::read_to_string(stage.path("arguments")).unwrap();
    assert!(
        told.starts_with("-N -T -S none -o ExitOnForwardFailure=yes -L ")
            && told.ends_with("/sock:127.0.0.1:5999 -i /key -p 2222 ann@db1\n"),
        "{told}"
    );
    stage.assert_clean().await;
}

#[tokio::test]
async fn ssh_that_refuses_has_the_word() {
    let stage = Stage::new(REFUSES);
    let output = finish(stage.circusctl(&["--ssh", "nosuch@127.0.0.1:1", "list"])).await;
    let expected = "Permission denied (publickey).\n\
                    error: --ssh: no tunnel to nosuch@127.0.0.1:1: ssh ended with exit status: 255\n";
    assert_eq!(texts(&output), (1, String::new(), expected.into()));
    stage.assert_clean().await;
}

#[tokio::test]
async fn a_signal_takes_it_down() {
    let stage = Stage::new(HANGS);
    let mut child = stage.circusctl(&["--ssh", "db1", "list"]).stderr(Stdio::null()).spawn().unwrap();
    let started = async {
        while !fs::read_to_string(stage.path("pid")).is_ok_and(|pid| pid.ends_with('\n')) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, started).await.expect("ssh is not started");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = tokio::time::timeout(PATIENCE, child.wait()).await;
    assert_eq!(status.expect("circusctl does not end").unwrap().code(), Some(1));
    stage.assert_clean().await;
}

#[tokio::test]
async fn bad_servers_and_no_ssh() {
    let stage = Stage::new(HANGS);
    let output = finish(stage.circusctl(&["--ssh=-oProxyCommand=x", "list"])).await;
    let expected = "error: --ssh is '-oProxyCommand=x'; expected [USER@]HOST[:PORT]\n";
    assert_eq!(texts(&output), (1, String::new(), expected.into()));
    let mut command = stage.circusctl(&["--ssh", "db1", "list"]);
    command.env("PATH", "/nowhere");
    let (code, _, stderr) = texts(&finish(command).await);
    assert!(code == 1 && stderr.starts_with("error: --ssh: cannot run the program ssh: "), "{stderr}");
    let (code, _, stderr) = texts(&finish(stage.circusctl(&["--ssh", "db1", "kernel"])).await);
    assert!(code == 1 && stderr.contains("kernel asks the core of this host"), "{stderr}");
    let (code, _, stderr) = texts(&finish(stage.circusctl(&["--ssh_keyfile", "k", "list"])).await);
    assert!(code == 2 && stderr.contains("--ssh"), "{stderr}");
    stage.assert_clean().await;
}
