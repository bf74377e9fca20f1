//! `FileStream`: appends to a file, with rotation by size and an optional time prefix (spec h).

use super::render::Look;
use super::rotation::Rotation;
use super::settings::{SettingRow, Settings, StreamError};
use super::time_format::TimeFormat;
use super::{StreamClassRow, StreamSetup, Target};
use std::path::PathBuf;

const FILENAME: SettingRow = SettingRow {
    key: "filename",
    expected: "the path of a file",
    default: "a new file in the directory for temporary files",
};

const MAX_BYTES: SettingRow = SettingRow {
    key: "max_bytes",
    expected: "a whole number of bytes, 0 for no rotation",
    default: "0",
};

const BACKUP_COUNT: SettingRow = SettingRow {
    key: "backup_count",
    expected: "a whole number of old files to keep",
    default: "0: the file is reopened at max_bytes and grows on",
};

const TIME_FORMAT: SettingRow = SettingRow {
    key: "time_format",
    expected: "a strftime pattern such as %Y-%m-%d %H:%M:%S",
    default: "no prefix",
};

pub(super) const ROW: StreamClassRow = StreamClassRow {
    name: "FileStream",
    summary: "Appends to a file; rotates it by size; puts the time before each line.",
    settings: &[FILENAME, MAX_BYTES, BACKUP_COUNT, TIME_FORMAT],
    build,
};

fn build(settings: &Settings<'_>) -> Result<StreamSetup, StreamError> {
    let path = settings.text(&FILENAME).map(PathBuf::from);
    if path.as_ref().is_some_and(|path| path.file_name().is_none()) {
        return Err(settings.bad(&FILENAME, FILENAME.expected));
    }
    let rotation = Rotation {
        max_bytes: settings.count(&MAX_BYTES)?,
        backup_count: u32::try_from(settings.count(&BACKUP_COUNT)?).unwrap_or(u32::MAX),
    };
    let look = match settings.text(&TIME_FORMAT) {
        None | Some("") => Look::Raw,
        Some(pattern) => match TimeFormat::new(pattern) {
            Ok(format) => Look::Prefixed(format),
            Err(error) => {
                return Err(settings.bad(&TIME_FORMAT, &format!("{} ({error})", TIME_FORMAT.expected)));
            }
        },
    };
    Ok(StreamSetup {
        target: Target::File { path, rotation },
        look,
    })
}
