//! The table as lines of text, with Circus's columns (spec e). Pure.

use super::arguments::Sort;
use super::table::{Process, Table, totals};
use super::view::{Direction, View};

/// The line under the title.
const RULE: usize = 80;

/// Percent of a CPU from which a process is busy, and from which it has one for itself.
const BUSY: f64 = 30.0;
const FULL: f64 = 80.0;

/// Of the hundred slices of a second in which somebody waited at a socket: from which it is worth a look.
const WAITING: u64 = 10;

/// What a line is; colours follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The title, a watcher, `sockets`.
    Heading,
    /// Names of columns.
    Columns,
    /// A process or socket with nothing to say about it.
    Plain,
    /// One that is busy.
    Busy,
    /// One that takes all it can get.
    Full,
    /// Sums.
    Total,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Without an end.
    pub text: String,
    /// What it is.
    pub kind: Kind,
}

fn line(kind: Kind, text: impl Into<String>) -> Line {
    Line { text: text.into(), kind }
}

/// Title and rule: what stays in its place.
pub fn title(table: &Table, view: &View) -> Vec<Line> {
    let mut text = "Circus Top".to_owned();
    if let Some(focus) = view.focus() {
        text.push_str(&format!("   {}", focus.replace('-', ".")));
    }
    if !table.is_empty() {
        let (by, order) = (view.sort.word(), direction(view.direction));
        text.push_str(&format!("   processes: {}, by {by}{order}", table.count(view)));
    }
    vec![line(Kind::Heading, text), line(Kind::Total, "-".repeat(RULE))]
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Usual => "",
        Direction::Reversed => ", reversed",
    }
}

/// Everything below the title, uncut.
pub fn body(table: &Table, view: &View) -> Vec<Line> {
    if table.is_empty() {
        return vec![line(Kind::Plain, "*** Waiting for data ***")];
    }
    let mut lines = Vec::new();
    for (name, processes) in table.watchers(view).into_iter().filter(|(name, _)| view.lists(name)) {
        lines.push(line(Kind::Heading, name.replace('-', ".")));
        lines.push(line(Kind::Columns, columns(view)));
        lines.extend(processes.iter().take(view.processes()).map(|process| process_line(process)));
        let left_out = processes.len().saturating_sub(view.processes());
        let (cpu, mem, age) = totals(&processes);
        let (cpu, mem, age) = (format!("{cpu:.2} (avg)"), format!("{mem:.2} (sum)"), format!("{age:.2} (older)"));
        let more = if left_out > 0 { format!("and {left_out} more") } else { String::new() };
        lines.extend([line(Kind::Total, row(&more, [&cpu, &mem, &age])), line(Kind::Plain, "")]);
    }
    lines.extend(sockets(table, view));
    lines
}

fn sockets(table: &Table, view: &View) -> Vec<Line> {
    let mut all = table.sockets().peekable();
    if all.peek().is_none() || view.is_narrow() {
        return Vec::new();
    }
    let mut lines = vec![line(Kind::Heading, "sockets"), line(Kind::Columns, format!("   {:<25}HITS", "ADDRESS"))];
    let mut sum = 0;
    for (_, socket) in all {
        sum += socket.reads;
        let kind = if socket.reads >= WAITING { Kind::Busy } else { Kind::Plain };
        lines.push(line(kind, format!("   {:<25}{:>3}", socket.address, socket.reads)));
    }
    lines.push(line(Kind::Total, format!("   {:<25}{sum:>3} (sum)", "")));
    lines
}

/// Names of columns; the one that is sorted by has an arrow.
fn columns(view: &View) -> String {
    let name = |sort: Sort, text: &str| match (view.sort == sort, view.direction) {
        (false, _) => text.to_owned(),
        (true, Direction::Usual) => format!("{text} v"),
        (true, Direction::Reversed) => format!("{text} ^"),
    };
    let [cpu, mem, age] = [(Sort::Cpu, "CPU (%)"), (Sort::Mem, "MEMORY (%)"), (Sort::Age, "AGE (s)")]
        .map(|(sort, text)| name(sort, text));
    row(&name(Sort::Pid, "PID"), [&cpu, &mem, &age])
}

fn process_line(process: &Process) -> Line {
    let number = |value: Option<f64>| value.map_or_else(|| "N/A".to_owned(), |value| format!("{value:.2}"));
    let title = match &process.name {
        Some(name) => format!("{} ({name})", process.pid),
        None => process.pid.to_string(),
    };
    let kind = match process.cpu {
        Some(cpu) if cpu >= FULL => Kind::Full,
        Some(cpu) if cpu >= BUSY => Kind::Busy,
        Some(_) | None => Kind::Plain,
    };
    let (cpu, mem, age) = (number(process.cpu), number(process.mem), number(process.age));
    line(kind, row(&title, [&cpu, &mem, &age]))
}

fn row(title: &str, [cpu, mem, age]: [&str; 3]) -> String {
    format!("   {title:<25}{cpu:<20}{mem:<20}{age}")
}

#[cfg(test)]
mod tests {
    use super::super::arguments::Arguments;
    use super::super::keys::Key;
    use super::*;
    use clap::Parser as _;
    use tokio::time::Instant;

    fn texts(table: &Table, view: &View) -> Vec<String> {
        title(table, view).into_iter().chain(body(table, view)).map(|line| line.text).collect()
    }

    #[test]
    fn the_picture_has_circuss_columns() {
        let mut table = Table::default();
        let mut view = View::new(&Arguments::parse_from(["circus-top"]));
        assert_eq!(texts(&table, &view)[2], "*** Waiting for data ***");
        table.take(b"stat.be-ta.7", br#"{"cpu": 82.0, "mem": 1.0, "age": 5.0}"#, Instant::now());
        table.take(b"stat.circusd-stats.8", br#"{"cpu": 2.0}"#, Instant::now());
        table.take(b"stat.sockets.3", br#"{"address": "h:80", "reads": 4}"#, Instant::now());
        let picture = texts(&table, &view);
        assert_eq!(picture[0], "Circus Top   processes: 1, by cpu");
        assert_eq!(picture[2], "be.ta");
        for (text, column) in [("PID", 3), ("CPU (%) v", 28), ("MEMORY (%)", 48), ("AGE (s)", 68)] {
            assert_eq!(picture[3].find(text), Some(column), "{}", picture[3]);
        }
        for (text, column) in [("7", 3), ("82.00", 28), ("1.00", 48), ("5.00", 68)] {
            assert_eq!(picture[4].find(text), Some(column), "{}", picture[4]);
        }
        assert_eq!(picture.last().unwrap().trim(), "4 (sum)");
        assert!(!picture.iter().any(|line| line.contains("stats")));
        let kinds: Vec<Kind> = body(&table, &view).iter().map(|line| line.kind).collect();
        assert_eq!(kinds[..4], [Kind::Heading, Kind::Columns, Kind::Full, Kind::Total]);
        view.press(Key::NextWatcher, &["be-ta".to_owned()], 10);
        let alone = texts(&table, &view);
        assert_eq!(alone[0], "Circus Top   be.ta   processes: 1, by cpu");
        assert!(!alone.iter().any(|line| line.contains("sockets")), "{alone:?}");
    }

    #[test]
    fn ten_processes_of_a_watcher_among_others_and_all_of_one_alone() {
        let mut table = Table::default();
        for pid in 0..13 {
            table.take(format!("stat.web.{pid}").as_bytes(), br#"{"cpu": 1.0}"#, Instant::now());
        }
        let mut view = View::new(&Arguments::parse_from(["circus-top"]));
        let picture = texts(&table, &view);
        assert!(picture.iter().any(|line| line.contains("and 3 more")), "{picture:?}");
        assert_eq!(picture.iter().filter(|line| line.contains("1.00  ")).count(), 10);
        view.press(Key::NextWatcher, &["web".to_owned()], 10);
        let picture = texts(&table, &view);
        assert_eq!(picture.iter().filter(|line| line.contains("1.00  ")).count(), 13);
        assert!(!picture.iter().any(|line| line.contains("more")));
    }
}
