//! The picture's place on a terminal: taken over at the start and given back at the end, cut to its size at each picture.

use super::picture::{Kind, Line, body, title};
use super::table::Table;
use super::view::View;
use rustix::termios::tcgetwinsize;
use std::io::{self, IsTerminal as _, Write as _};

/// The other screen of a terminal, without cursor and without wrapping; and back (xterm's control sequences).
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// The upper left corner, the rest of a line, and the rest of the screen.
const HOME: &str = "\x1b[H";
const END_OF_LINE: &str = "\x1b[K";
const END_OF_SCREEN: &str = "\x1b[J";

/// Back from any colour.
const PLAIN: &str = "\x1b[0m";

/// How the last line looks.
const FOOTER: &str = "\x1b[7m";

/// What a terminal that tells no size has.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// Whether a screen has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// On a terminal that is not told otherwise.
    Yes,
    /// In a file, with `--no-color`, or with `NO_COLOR` in the environment (no-color.org).
    No,
}

impl Colours {
    /// What is wanted; `plain`: the command line wants none.
    pub fn wanted(plain: bool) -> Self {
        let unwanted = plain || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if unwanted || !io::stdout().is_terminal() { Self::No } else { Self::Yes }
    }

    /// Before a line of that kind.
    fn of(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Self::No, _) | (_, Kind::Plain) => "",
            (Self::Yes, Kind::Heading) => "\x1b[1m",
            (Self::Yes, Kind::Columns) => "\x1b[36m",
            (Self::Yes, Kind::Busy) => "\x1b[33m",
            (Self::Yes, Kind::Full) => "\x1b[31m",
            (Self::Yes, Kind::Total) => "\x1b[2m",
        }
    }
}

/// The terminal, given back when dropped.
#[derive(Debug)]
pub struct Screen {
    colours: Colours,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// It cannot be written to.
    pub fn open(colours: Colours) -> io::Result<Self> {
        let mut out = io::stdout().lock();
        out.write_all(ENTER.as_bytes())?;
        out.flush()?;
        Ok(Self { colours })
    }

    /// One picture, as large as the terminal is now, with `footer` in its last line.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub fn paint(&mut self, table: &Table, view: &mut View, footer: &str) -> io::Result<()> {
        let picture = picture(table, view, (size(), self.colours), footer);
        let mut out = io::stdout().lock();
        out.write_all(picture.as_bytes())?;
        out.flush()
    }

    /// How many lines of the table one picture shows.
    pub fn page(&self) -> usize {
        size().1.saturating_sub(FIXED)
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

/// Lines that are not the table's: title, rule, footer.
const FIXED: usize = 3;

/// All that is written for one picture. No line is longer and none more than the terminal has.
fn picture(table: &Table, view: &mut View, look: ((usize, usize), Colours), footer: &str) -> String {
    let ((width, height), colours) = look;
    let cut = |text: &str| text.chars().take(width).collect::<String>();
    let body = body(table, view);
    let window = view.window(body.len(), height.saturating_sub(FIXED));
    let shown: Vec<Line> =
        title(table, view).into_iter().chain(body.get(window).unwrap_or_default().to_vec()).collect();
    let mut picture = HOME.to_owned();
    for line in shown.iter().take(height.saturating_sub(1)) {
        let (before, text) = (colours.of(line.kind), cut(&line.text));
        let after = if before.is_empty() { "" } else { PLAIN };
        // Erased first: a cursor in the last column would erase what it has just written.
        picture.extend([END_OF_LINE, before, &text, after, "\r\n"]);
    }
    picture.push_str(END_OF_SCREEN);
    if !footer.is_empty() {
        // The last line, whatever the number of lines above it.
        picture.push_str(&format!("\x1b[{height};1H"));
        match colours {
            Colours::Yes => picture.extend([FOOTER, &cut(footer), PLAIN]),
            Colours::No => picture.push_str(&cut(footer)),
        }
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::super::arguments::Arguments;
    use super::*;
    use clap::Parser as _;
    use tokio::time::Instant;

    /// Lines without control sequences.
    fn shown(size: (usize, usize), colours: Colours) -> Vec<String> {
        let mut table = Table::default();
        for pid in 0..9 {
            table.take(format!("stat.web.{pid}").as_bytes(), br#"{"cpu": 90.0}"#, Instant::now());
        }
        let mut view = View::new(&Arguments::parse_from(["circus-top"]));
        let picture = picture(&table, &mut view, (size, colours), "the keys");
        let control = regex::Regex::new("\x1b\\[[0-9;?]*[A-Za-z]").unwrap();
        let place = format!("\x1b[{};1H", size.1);
        let text = picture.replacen(&place, "\n", 1);
        control.replace_all(&text, "").lines().map(|line| line.trim_end_matches('\r').to_owned()).collect()
    }

    #[test]
    fn a_picture_is_never_larger_than_the_terminal() {
        for size in [(80, 24), (20, 5), (1, 1), (200, 60), (10, 3)] {
            for colours in [Colours::Yes, Colours::No] {
                let lines = shown(size, colours);
                assert!(lines.iter().all(|line| line.chars().count() <= size.0), "{size:?}: {lines:?}");
                // The line break after the last line, and the place of the footer, are not lines of the terminal.
                let text = lines.iter().filter(|line| !line.is_empty()).count();
                assert!(text <= size.1.max(1), "{size:?}: {lines:?}");
            }
        }
        let lines = shown((80, 24), Colours::No);
        assert_eq!(lines[0], "Circus Top   processes: 9, by cpu");
        assert_eq!(lines.last().map(String::as_str), Some("the keys"));
    }
}
