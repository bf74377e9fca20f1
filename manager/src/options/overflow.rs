//! What happens to output while nobody reads: `overflow`, and the sizes that belong to it. Ours, not Circus's.

/// What happens when a stream's buffer in the core is full and no circusd reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest output makes room.
    #[default]
    DropOldest,
    /// The process waits.
    Block,
    /// What comes is dropped.
    DropNewest,
    /// Output goes to a file under a quota.
    Spill,
}

/// The policies by name.
pub const OVERFLOW_NAMES: &[(&str, Overflow)] = &[
    ("drop-oldest", Overflow::DropOldest),
    ("block", Overflow::Block),
    ("drop-newest", Overflow::DropNewest),
    ("spill", Overflow::Spill),
];

impl Overflow {
    /// The policy of that name.
    pub fn parse(text: &str) -> Option<Self> {
        OVERFLOW_NAMES.iter().find(|(name, _)| *name == text).map(|(_, policy)| *policy)
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        OVERFLOW_NAMES.iter().find(|(_, policy)| *policy == self).map_or("drop-oldest", |(name, _)| name)
    }
}

/// The names for a sentence.
pub(super) fn overflow_names() -> String {
    OVERFLOW_NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Bytes, from and to; the same as the core's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeRange {
    /// The least.
    pub least: u64,
    /// The most.
    pub most: u64,
}

impl std::fmt::Display for SizeRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", shorten(self.least), shorten(self.most))
    }
}

/// Units of 1024, 1024², …, the largest first.
const UNITS: [(char, u64); 4] = [('T', 1 << 40), ('G', 1 << 30), ('M', 1 << 20), ('K', 1 << 10)];

fn shorten(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    unit.map_or_else(|| bytes.to_string(), |(unit, size)| format!("{}{unit}", bytes / size))
}

/// A number of bytes, or of KiB, MiB, GiB or TiB with `K`, `M`, `G` or `T` behind it.
pub fn size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_uppercase();
    let unit = UNITS.iter().find_map(|(unit, size)| Some((text.strip_suffix(*unit)?, *size)));
    let (number, unit) = unit.unwrap_or((&text, 1));
    number.trim().parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("65536", 65_536), ("64K", 65_536), (" 2 m ", 2 << 20), ("1G", 1 << 30), ("1t", 1 << 40)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "K", "-1", "1.5M", "1KB", "99999999999T"] {
            assert_eq!(size(text), None, "{text}");
        }
        assert_eq!(SizeRange { least: 64 << 10, most: 1 << 30 }.to_string(), "64K to 1G");
        assert_eq!(shorten(1000), "1000");
    }

    #[test]
    fn policies_have_names() {
        for (name, policy) in OVERFLOW_NAMES {
            assert_eq!((Overflow::parse(name), policy.name()), (Some(*policy), *name));
        }
        assert_eq!(Overflow::parse("drop"), None);
    }
}
