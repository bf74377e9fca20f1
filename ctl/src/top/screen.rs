//! The table as text, and its place on a terminal: Circus's columns (spec e), cut to the terminal's size at each picture.

use super::arguments::Arguments;
use super::table::{Process, Table, totals};
use rustix::termios::tcgetwinsize;
use std::io::{self, IsTerminal as _, Write as _};

/// Watchers that Circus does not show under their own names: their processes are in `circus`.
const HELPERS: [&str; 2] = ["circusd-stats", "circushttpd"];

/// Processes shown of one watcher, as in Circus.
const PROCESSES_SHOWN: usize = 10;

/// The other screen of a terminal, without cursor; and back (xterm's control sequences).
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The upper left corner, the rest of a line, and the rest of the screen.
const HOME: &str = "\x1b[H";
const END_OF_LINE: &str = "\x1b[K";
const END_OF_SCREEN: &str = "\x1b[J";

const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// What a terminal that tells no size has.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// The terminal, given back when dropped.
#[derive(Debug)]
pub struct Screen {
    colours: bool,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// It cannot be written to.
    pub fn open() -> io::Result<Self> {
        let mut out = io::stdout().lock();
        out.write_all(ENTER.as_bytes())?;
        out.flush()?;
        Ok(Self { colours: io::stdout().is_terminal() })
    }

    /// One picture, as large as the terminal is now.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub fn paint(&mut self, table: &Table, arguments: &Arguments) -> io::Result<()> {
        let (width, height) = size();
        let mut picture = HOME.to_owned();
        let all = lines(table, arguments);
        let shown = all.iter().take(height.saturating_sub(1));
        for line in shown {
            let cut: String = line.chars().take(width).collect();
            let is_heading = !line.starts_with(' ') && self.colours && !arguments.no_color;
            match is_heading {
                true => picture.extend([BOLD, &cut, PLAIN, END_OF_LINE, "\r\n"]),
                false => picture.extend([&cut, END_OF_LINE, "\r\n"]),
            }
        }
        picture.push_str(END_OF_SCREEN);
        let mut out = io::stdout().lock();
        out.write_all(picture.as_bytes())?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        // A terminal that is gone needs nothing back.
        let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
    }
}

fn size() -> (usize, usize) {
    let told = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    told.map_or(USUAL_SIZE, |size| (usize::from(size.ws_col), usize::from(size.ws_row)))
}

/// The whole table, uncut.
pub fn lines(table: &Table, arguments: &Arguments) -> Vec<String> {
    let mut lines = vec!["Circus Top".to_owned(), "-".repeat(USUAL_SIZE.0)];
    if table.is_empty() {
        lines.push("*** Waiting for data ***".to_owned());
        return lines;
    }
    for (name, processes) in table.watchers(arguments) {
        if HELPERS.contains(&name) && arguments.watcher.is_empty() {
            continue;
        }
        lines.extend([name.replace('-', "."), row("PID", ["CPU (%)", "MEMORY (%)", "AGE (s)"])]);
        lines.extend(processes.iter().take(PROCESSES_SHOWN).map(|process| process_row(process)));
        let (cpu, mem, age) = totals(&processes);
        let (cpu, mem, age) = (format!("{cpu:.2} (avg)"), format!("{mem:.2} (sum)"), format!("{age:.2} (older)"));
        lines.extend([row("", [&cpu, &mem, &age]), String::new()]);
    }
    let mut sockets = table.sockets().peekable();
    if sockets.peek().is_some() && arguments.watcher.is_empty() {
        lines.extend(["sockets".to_owned(), format!("   {:<25}HITS", "ADDRESS")]);
        let mut sum = 0;
        for (_, socket) in sockets {
            sum += socket.reads;
            lines.push(format!("   {:<25}{:>3}", socket.address, socket.reads));
        }
        lines.push(format!("   {:<25}{sum:>3} (sum)", ""));
    }
    lines
}

fn process_row(process: &Process) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "N/A".to_owned(), |value| format!("{value:.2}"));
    let title = match &process.name {
        Some(name) => format!("{} ({name})", process.pid),
        None => process.pid.to_string(),
    };
    let (cpu, mem, age) = (number(process.cpu), number(process.mem), number(process.age));
    row(&title, [&cpu, &mem, &age])
}

fn row(title: &str, [cpu, mem, age]: [&str; 3]) -> String {
    format!("   {title:<25}{cpu:<20}{mem:<20}{age}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use tokio::time::Instant;

    #[test]
    fn the_picture_has_circuss_columns() {
        let mut table = Table::default();
        let arguments = Arguments::parse_from(["circus-top"]);
        assert_eq!(lines(&table, &arguments)[2], "*** Waiting for data ***");
        table.take(b"stat.be-ta.7", br#"{"cpu": 2.0, "mem": 1.0, "age": 5.0}"#, Instant::now());
        table.take(b"stat.circusd-stats.8", br#"{"cpu": 2.0}"#, Instant::now());
        table.take(b"stat.sockets.3", br#"{"address": "h:80", "reads": 4}"#, Instant::now());
        let picture = lines(&table, &arguments);
        assert_eq!(picture[2], "be.ta");
        for (text, column) in [("7", 3), ("2.00", 28), ("1.00", 48), ("5.00", 68)] {
            assert_eq!(picture[4].find(text), Some(column), "{}", picture[4]);
        }
        assert_eq!(picture.last().unwrap().trim(), "4 (sum)");
        assert!(!picture.iter().any(|line| line.contains("stats")));
    }
}
