//! The pages of man(1) in `docs/man`, made from the programs' own tables and parsers.
//!
//! After a change, `cargo test -p ringmaster-tests --test tidy -- --ignored write_the_man_pages` writes them anew.

use super::{manual, report};
use anyhow::{Context, Result, ensure};
use clap::CommandFactory as _;
use ringmaster_manager::plugins::PLUGINS;
use ringmaster_tests::program::{Program, repository};
use std::fmt::Write as _;
use std::fs;

/// Where they are.
const FOLDER: &str = "docs/man";

/// A page: its name with the section, and its text.
type Page = (&'static str, String);

fn pages() -> Result<Vec<Page>> {
    Ok(vec![
        ("circusctl.1", circusctl()),
        ("circusd.1", circusd()),
        ("circusd-stats.1", helper(&STATS)),
        ("circus-plugin.1", helper(&PLUGIN)),
        ("circus-top.1", helper(&TOP)),
        ("papa.1", papa()?),
        ("circus.ini.5", circus_ini()),
    ])
}

#[test]
fn the_man_pages_are_those_of_the_programs() -> Result<()> {
    let stale = |(name, text): &Page| {
        let path = repository().join(FOLDER).join(name);
        (fs::read_to_string(path).ok().as_ref() != Some(text)).then(|| format!("{FOLDER}/{name}"))
    };
    let complaints: Vec<String> = pages()?.iter().filter_map(stale).collect();
    report("not as in the programs (write_the_man_pages mends it)", &complaints)
}

#[test]
#[ignore = "writes the pages of man(1); run it by name after a change of a table or a command line"]
fn write_the_man_pages() -> Result<()> {
    let folder = repository().join(FOLDER);
    fs::create_dir_all(&folder)?;
    for (name, text) in pages()? {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

#[test]
fn what_troff_would_take_for_itself_is_text() {
    let mut page = String::new();
    paragraph(&mut page, ".not a request\n'neither\nback\\slash -- dash");
    assert_eq!(page, ".PP\n\\&.not a request\n\\&'neither\nback\\eslash \\-\\- dash\n");
}

fn heading(name: &str, section: u8, summary: &str) -> String {
    let upper = name.to_uppercase();
    let version = env!("CARGO_PKG_VERSION");
    format!(
        ".\\\" Made by tests/tidy/man.rs\n.TH {upper} {section} \"\" \"Ringmaster {version}\" \"Ringmaster\"\n.SH NAME\n\
         {name} \\- {}\n",
        escaped(summary)
    )
}

/// Text as troff shows it literally.
fn escaped(text: &str) -> String {
    let line = |line: &str| {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn paragraph(page: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, ".PP\n{}", escaped(text));
}

fn tagged(page: &mut String, tag: &str, text: &str) {
    let _ = writeln!(page, ".TP\n\\fB{}\\fR\n{}", escaped(tag), escaped(text));
}

fn options(page: &mut String, command: &clap::Command) {
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        let short = argument.get_short().map(|short| format!("-{short}"));
        let long = argument.get_long().map(|long| format!("--{long}"));
        let names: Vec<String> = short.into_iter().chain(long).collect();
        let takes = argument.get_action().takes_values();
        let value = argument.get_value_names().filter(|_| takes).and_then(<[_]>::first);
        let tag = match (names.is_empty(), value) {
            (true, _) => argument.get_id().to_string().to_uppercase(),
            (false, Some(value)) => format!("{} {value}", names.join(", ")),
            (false, None) => names.join(", "),
        };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let values: Vec<String> = match takes {
            true => argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect(),
            false => Vec::new(),
        };
        let one_of = if values.is_empty() { String::new() } else { format!(" One of {}.", values.join(", ")) };
        tagged(page, &tag, &format!("{help}{one_of}"));
    }
}

fn circusctl() -> String {
    let mut command = ringmaster_ctl::cli::command_line();
    command.build();
    let mut page = heading("circusctl", 1, "control circusd");
    page.push_str(
        ".SH SYNOPSIS\n\\fBcircusctl\\fR [\\fIoptions\\fR] [\\fIcommand\\fR [\\fIargs\\fR]]\n.SH DESCRIPTION\n",
    );
    paragraph(
        &mut page,
        "Sends one command to circusd and prints the answer. Without a command it is an interactive shell. Options before the \
         command are those below; each command has options of its own behind it.",
    );
    page.push_str(".SH OPTIONS\n");
    options(&mut page, &command);
    page.push_str(".SH COMMANDS\n");
    for row in ringmaster_ctl::commands::COMMANDS {
        let _ = writeln!(page, ".SS \"{} {}\"", row.name, escaped(row.arguments).replace('"', "\\(dq"));
        paragraph(&mut page, &format!("{}. {}", row.summary, row.details));
        if let Some(own) = command.find_subcommand(row.name) {
            let own = own.clone().mut_args(|argument| match argument.get_id().as_str() {
                "help" | "words" => argument.hide(true),
                _ => argument,
            });
            options(&mut page, &own);
        }
    }
    page.push_str(".SH ENVIRONMENT\n");
    tagged(&mut page, "CIRCUSCTL_ENDPOINT", "where circusd listens, instead of tcp://127.0.0.1:5555");
    page.push_str(".SH \"EXIT STATUS\"\n");
    paragraph(&mut page, "0 done; 1 no answer, or a wrong argument; 2 the command line is wrong; 3 circusd refused.");
    page.push_str(".SH \"SEE ALSO\"\n.BR circusd (1),\n.BR papa (1),\n.BR circus.ini (5)\n");
    page
}

fn circusd() -> String {
    let command = ringmaster_manager::cli::Arguments::command();
    let mut page = heading("circusd", 1, "run processes and sockets as a configuration says");
    page.push_str(".SH SYNOPSIS\n\\fBcircusd\\fR [\\fIoptions\\fR] \\fICONFIG\\fR\n.SH DESCRIPTION\n");
    paragraph(
        &mut page,
        "Starts the watchers of a configuration and keeps them running. Sockets and processes belong to papa(1), which circusd \
         starts when it is not there; they outlive a circusd that is killed, and with use_papa one that quits.",
    );
    page.push_str(".SH OPTIONS\n");
    options(&mut page, &command);
    page.push_str(".SH SIGNALS\n");
    for (signal, meaning) in [
        ("TERM, INT, QUIT", "stop the watchers without use_papa and end"),
        ("HUP", "open the logs anew and reload every watcher gracefully"),
        ("USR2", "be replaced by the program that is on disk now, in the same process, when that passes a trial"),
        ("WINCH", "nothing"),
    ] {
        tagged(&mut page, signal, meaning);
    }
    page.push_str(".SH \"SEE ALSO\"\n.BR circusctl (1),\n.BR papa (1),\n.BR circus.ini (5)\n");
    page
}

/// A program beside circusd, all of which is in its options.
struct Helper {
    name: &'static str,
    summary: &'static str,
    description: &'static str,
    command: fn() -> clap::Command,
    /// What else there is to know, a name and its meaning each, under a heading.
    table: Option<Listing>,
}

/// A heading, and the rows below it.
type Listing = (&'static str, fn() -> Vec<[&'static str; 2]>);

const STATS: Helper = Helper {
    name: "circusd-stats",
    summary: "publish what watchers, processes and sockets use",
    description: "Follows a circusd and publishes once a second. circusd runs it itself with statsd = True.",
    command: ringmaster_manager::statsd::Arguments::command,
    table: None,
};

const PLUGIN: Helper = Helper {
    name: "circus-plugin",
    summary: "run a built-in plugin of circusd",
    description: "circusd runs it itself for each section [plugin:NAME] whose class is built in.",
    command: ringmaster_manager::plugins::Arguments::command,
    table: Some(("PLUGINS", || PLUGINS.iter().map(|plugin| [plugin.class, plugin.help]).collect())),
};

const TOP: Helper = Helper {
    name: "circus-top",
    summary: "show what watchers, processes and sockets use",
    description: "Shows what a circusd-stats publishes, live, or once with --once.",
    command: ringmaster_ctl::top::Arguments::command,
    table: None,
};

fn helper(program: &Helper) -> String {
    let mut page = heading(program.name, 1, program.summary);
    let _ = writeln!(page, ".SH SYNOPSIS\n\\fB{}\\fR [\\fIoptions\\fR]\n.SH DESCRIPTION", escaped(program.name));
    paragraph(&mut page, program.description);
    page.push_str(".SH OPTIONS\n");
    options(&mut page, &(program.command)());
    if let Some((heading, rows)) = program.table {
        let _ = writeln!(page, ".SH {heading}");
        for [name, meaning] in rows() {
            tagged(&mut page, name, meaning);
        }
    }
    page.push_str(".SH \"SEE ALSO\"\n.BR circusd (1),\n.BR circusctl (1),\n.BR circus.ini (5)\n");
    page
}

/// papa has no table but its help.
fn papa() -> Result<String> {
    let output = std::process::Command::new(Program::Papa.path()?).arg("--help").output()?;
    ensure!(output.status.success(), "papa --help: {}", output.status);
    let help = String::from_utf8(output.stdout)?;
    let mut page = heading("papa", 1, "the process kernel that owns sockets, processes and their output");
    let text = help.split_once("\n\n").context("a first line, then the rest")?.1;
    let _ = writeln!(page, ".SH USAGE\n.nf\n{}\n.fi", escaped(text.trim_end()));
    page.push_str(".SH \"SEE ALSO\"\n.BR circusd (1),\n.BR circusctl (1)\n");
    Ok(page)
}

fn circus_ini() -> String {
    let mut page = heading("circus.ini", 5, "what circusd runs");
    page.push_str(".SH DESCRIPTION\n");
    paragraph(
        &mut page,
        "A file of sections: [circus], one [watcher:NAME] a service, one [socket:NAME] a listening socket, [env] and \
         [env:NAME] for environment variables. circusd --check FILE says what would run.",
    );
    for (title, rows) in
        [("[CIRCUS]", manual::circus()), ("[WATCHER:NAME]", manual::watcher()), ("[SOCKET:NAME]", manual::socket())]
    {
        let _ = writeln!(page, ".SH \"{title}\"");
        for row in rows.iter().skip(1) {
            let plain: Vec<String> = row.iter().map(|cell| without_markdown(cell)).collect();
            let [name, kind, default, meaning, ..] = plain.as_slice() else {
                continue;
            };
            let not_yet = if row.last().is_some_and(|effect| effect.contains("not yet")) { " (not yet)" } else { "" };
            tagged(&mut page, name, &format!("{meaning} ({kind}; default: {default}){not_yet}"));
        }
    }
    page.push_str(".SH \"SEE ALSO\"\n.BR circusd (1),\n.BR circusctl (1)\n");
    page
}

/// The text of a cell: code marks and the targets of links go.
fn without_markdown(cell: &str) -> String {
    let mut text = cell.replace('`', "").replace("\\|", "|");
    while let Some((before, rest)) = text.clone().split_once("](") {
        let after = rest.split_once(')').map_or("", |(_, after)| after);
        text = format!("{}{after}", before.replacen('[', "", 1));
    }
    text
}
