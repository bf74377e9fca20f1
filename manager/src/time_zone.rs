//! The time zone of this machine, for people: in logs and in the hours of rotation. Read once, as Python does.
//!
//! `/etc/localtime` is read as it is. To learn the name of the zone, too, `jiff` would look through the whole database of zones
//! (some 70 folders) before the first line of the log.

use jiff::tz::TimeZone;
use std::sync::OnceLock;

/// tzset(3): this file says it when the variable `TZ` does not.
const LOCALTIME: &str = "/etc/localtime";

/// The zone; UTC when the machine does not say.
pub fn local() -> TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    ZONE.get_or_init(|| from_file().unwrap_or_else(TimeZone::system)).clone()
}

fn from_file() -> Option<TimeZone> {
    if std::env::var_os("TZ").is_some() {
        return None;
    }
    TimeZone::tzif(LOCALTIME, &std::fs::read(LOCALTIME).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn it_is_the_zone_that_the_database_has() {
        let (ours, database) = (local(), TimeZone::system());
        for second in (0..4_000_000_000_i64).step_by(86_400 * 17) {
            let at = Timestamp::from_second(second).unwrap();
            assert_eq!(ours.to_offset(at), database.to_offset(at), "{at}");
        }
    }
}
