//! Completion as shells ask for it, and the bash script in a real bash.

use std::process::Stdio;

use tokio::process::Command;

use crate::stage::{against, circusctl, circusd, finish, texts};

/// Asks with these variables, and a circusd that answers.
async fn asked(variables: &[(&str, &str)]) -> (i32, String, String) {
    let command = |endpoint: &str| {
        let mut command = circusctl(&[]);
        command.envs(variables.iter().copied()).env("CIRCUSCTL_ENDPOINT", endpoint);
        command
    };
    texts(&against(command, circusd).await.0)
}

#[tokio::test]
async fn circuss_way() {
    for (words, position, expected) in [
        ("circusctl st", "1", "start stats status stop\n"),
        ("circusctl nosuch", "1", ""),
        // A name with a space cannot be said in this way.
        ("circusctl stop ", "2", "idle Beta\n"),
        ("circusctl stop be", "2", "Beta\n"),
    ] {
        let variables = [("AUTO_COMPLETE", "1"), ("COMP_WORDS", words), ("COMP_CWORD", position)];
        let (code, stdout, stderr) = asked(&variables).await;
        let sorted = |text: &str| {
            let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            words.sort();
            words
        };
        assert_eq!((code, sorted(&stdout), stderr.as_str()), (1, sorted(expected), ""), "{words}");
    }
}

#[tokio::test]
async fn our_scripts_way() {
    let line = |line: &'static str| [("AUTO_COMPLETE", "lines"), ("COMP_LINE", line)];
    let result = asked(&line("circusctl --json stop with")).await;
    assert_eq!(result, (0, "with space\tactive\n".into(), String::new()));
    let (_, stdout, _) = asked(&line("circusctl sta")).await;
    assert_eq!(stdout.lines().count(), 3, "{stdout}");
    assert!(stdout.starts_with("start\tStart a watcher"), "{stdout}");
}

#[tokio::test]
async fn without_circusd_there_are_no_names_and_no_complaint() {
    let mut command = circusctl(&[]);
    command
        .env("AUTO_COMPLETE", "lines")
        .env("COMP_LINE", "circusctl stop ")
        .env("CIRCUSCTL_ENDPOINT", "ipc:///nowhere/at/all");
    assert_eq!(texts(&finish(command).await), (0, String::new(), String::new()));
}

#[tokio::test]
async fn every_shell_has_its_script() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, stdout, stderr) = texts(&finish(circusctl(&["--completion", shell])).await);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(stdout.contains("AUTO_COMPLETE=lines"), "{shell}: {stdout}");
    }
    let (code, _, stderr) = texts(&finish(circusctl(&["--completion", "tcsh"])).await);
    assert!(code == 2 && stderr.contains("bash, zsh, fish"), "{stderr}");
}

/// bash calls the function with the line and the cursor as it does at a terminal.
#[tokio::test]
async fn the_script_in_bash() {
    let (_, script, _) = texts(&finish(circusctl(&["--completion", "bash"])).await);
    for (line, expected) in [
        ("circusctl numw", "numwatchers\n"),
        ("circusctl stop with", "with\\ space\n"),
        ("circusctl stop be", "Beta\n"),
        ("circusctl listen watcher.id", "watcher.idle.\n"),
    ] {
        let test = format!(
            "compopt() {{ :; }}\n{script}\nCOMP_LINE='{line}' COMP_POINT={}\n_circusctl {}\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            line.len(),
            env!("CARGO_BIN_EXE_circusctl")
        );
        let command = |endpoint: &str| {
            let mut command = Command::new("bash");
            command
                .args(["--norc", "-c", &test])
                .env("CIRCUSCTL_ENDPOINT", endpoint)
                .stdin(Stdio::null())
                .kill_on_drop(true);
            command
        };
        let (output, _) = against(command, circusd).await;
        assert_eq!(texts(&output), (0, expected.to_owned(), String::new()), "{line}");
    }
}
