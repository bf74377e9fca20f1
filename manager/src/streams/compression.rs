//! The formats of compressed old files: their words in a configuration, their names on the disk, their encoders.
//!
//! Which file is compressed when, and what becomes of the plain one, is decided in [`super::retention`].

use super::retention::with;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Level of zstd: its own default. Its window takes 2 MiB while a file is being compressed, and one is at a time.
const ZSTD_LEVEL: i32 = 3;

/// One format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// RFC 1952.
    Gzip,
    /// RFC 8878, with the checksum of the content.
    Zstd,
}

impl Format {
    /// All of them: a log may have old files of each, from a time when its setting was another.
    pub(super) const ALL: [Self; 2] = [Self::Gzip, Self::Zstd];

    /// The format that is called so in a configuration.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        match word {
            "gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// What follows the name of a file of this format.
    fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }

    /// The name of `plain` when it is compressed.
    pub(super) fn name(self, plain: &Path) -> PathBuf {
        with(plain, self.suffix())
    }

    /// Where the compressed bytes of a log at `path` are until they are complete.
    pub(super) fn unfinished(self, path: &Path) -> PathBuf {
        with(&self.name(path), ".tmp")
    }
}

/// All names that the old file `plain` may have: its own, and one for each format.
pub(super) fn names(plain: &Path) -> impl Iterator<Item = PathBuf> {
    std::iter::once(plain.to_owned()).chain(Format::ALL.into_iter().map(|format| format.name(plain)))
}

/// A name without what a format has put behind it, and that format.
pub(super) fn plain_name(name: &str) -> (&str, Option<Format>) {
    let stripped = |format: Format| Some((name.strip_suffix(format.suffix())?, Some(format)));
    Format::ALL.into_iter().find_map(stripped).unwrap_or((name, None))
}

/// Writes compressed bytes into a file.
pub(super) enum Encoder {
    /// As deflate compresses by default.
    Gzip(GzEncoder<File>),
    /// With [`ZSTD_LEVEL`].
    Zstd(zstd::stream::write::Encoder<'static, File>),
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Encoder").field(self.target()).finish()
    }
}

impl Encoder {
    /// Writes nothing yet.
    pub(super) fn new(format: Format, target: File) -> std::io::Result<Self> {
        Ok(match format {
            Format::Gzip => Self::Gzip(GzEncoder::new(target, flate2::Compression::default())),
            Format::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(target, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
        })
    }

    /// Takes all of `bytes`.
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    /// The end: whatever was taken is in the file then.
    pub(super) fn finish(&mut self) -> std::io::Result<&File> {
        match self {
            Self::Gzip(encoder) => encoder.try_finish()?,
            Self::Zstd(encoder) => encoder.do_finish()?,
        }
        Ok(self.target())
    }

    fn target(&self) -> &File {
        match self {
            Self::Gzip(encoder) => encoder.get_ref(),
            Self::Zstd(encoder) => encoder.get_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_a_word_and_a_name_of_its_own() {
        for (word, format, name) in [("gzip", Format::Gzip, "log.1.gz"), ("zstd", Format::Zstd, "log.1.zst")] {
            assert_eq!(Format::of_word(word), Some(format));
            assert_eq!(format.name(Path::new("log.1")), Path::new(name));
            assert_eq!(plain_name(name), ("log.1", Some(format)));
        }
        assert_eq!(Format::of_word("xz"), None);
        assert_eq!(plain_name("log.1"), ("log.1", None));
        assert_eq!(names(Path::new("log.1")).count(), 1 + Format::ALL.len());
    }
}
