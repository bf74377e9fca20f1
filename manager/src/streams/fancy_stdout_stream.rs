//! `FancyStdoutStream`: writes lines in colour, with time and pid, to circusd's own stdout (spec h). Colours also when that is no
//! terminal, as in Circus; on a terminal, control characters of the line itself are made visible.

use super::file_stream::{TIME_FORMAT as FILE_TIME_FORMAT, time_format};
use super::render::Look;
use super::settings::{SettingRow, Settings, StreamError};
use super::wrapping::Wrapping;
use super::{StreamClassRow, StreamSetup, Target};

/// In the order of their numbers, from 1 (ECMA-48, select graphic rendition 31 to 37).
const COLOURS: [&str; 7] = ["red", "green", "yellow", "blue", "magenta", "cyan", "white"];

const COLOR: SettingRow = SettingRow {
    key: "color",
    expected: "red, green, yellow, blue, magenta, cyan or white",
    default: "one made of the watcher's name; also for any other word",
};

const DEFAULT_FORMAT: &str = "%Y-%m-%d %H:%M:%S";

const TIME_FORMAT: SettingRow = SettingRow { default: DEFAULT_FORMAT, ..FILE_TIME_FORMAT };

pub(super) const ROW: StreamClassRow = StreamClassRow {
    name: "FancyStdoutStream",
    summary: "Writes to the standard output of circusd, in colour, with time and pid.",
    settings: &[COLOR, TIME_FORMAT],
    note: None,
    build,
};

fn build(settings: &Settings<'_>) -> Result<StreamSetup, StreamError> {
    let wanted = settings.text(&COLOR);
    let numbered = (1..).zip(COLOURS);
    let colour = numbered.into_iter().find(|(_, name)| Some(*name) == wanted);
    let pattern = settings.text(&TIME_FORMAT).filter(|text| !text.is_empty());
    let look = Look::Wrapped(Wrapping::Fancy {
        colour: colour.map(|(number, _)| number),
        format: time_format(settings, pattern.unwrap_or(DEFAULT_FORMAT))?,
        harmless: false,
    });
    let target = Target::Stdout;
    Ok(StreamSetup { target, look })
}
