//! "Did you mean": the known name that a misspelt one is closest to.

/// How many letters may differ. Two catches a swap of neighbours and a doubled slip; three matches unrelated words.
const MAX_DISTANCE: usize = 2;

/// What other supervisors call an option (supervisord's configuration, systemd.service(5), systemd.exec(5)).
const ELSEWHERE: &[(&str, &str)] = &[
    ("command", "cmd"),
    ("execstart", "cmd"),
    ("directory", "working_dir"),
    ("workingdirectory", "working_dir"),
    ("cwd", "working_dir"),
    ("user", "uid"),
    ("group", "gid"),
    ("numprocs", "numprocesses"),
    ("workers", "numprocesses"),
    ("autorestart", "respawn"),
    ("restart", "respawn"),
    ("startretries", "max_retry"),
    ("stopsignal", "stop_signal"),
    ("kill_signal", "stop_signal"),
    ("killsignal", "stop_signal"),
    ("stopwaitsecs", "graceful_timeout"),
    ("stop_timeout", "graceful_timeout"),
    ("timeoutstopsec", "graceful_timeout"),
    ("stopasgroup", "stop_children"),
    ("killasgroup", "stop_children"),
    ("stdout_logfile", "stdout_stream"),
    ("stderr_logfile", "stderr_stream"),
    ("limitnofile", "rlimit"),
    ("nofile", "rlimit"),
];

/// The known name for what another supervisor calls `word`.
pub fn elsewhere(word: &str) -> Option<&'static str> {
    let lower = word.trim().to_lowercase();
    ELSEWHERE.iter().find(|(name, _)| *name == lower).map(|(_, known)| *known)
}

/// The known name that `word` was probably meant to be. `None` when it is a known name, or like none of them.
///
/// Short words must be closer: at most half of their letters may differ.
pub fn nearest(word: &str, known: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    let lower = word.trim().to_lowercase();
    let allowed = MAX_DISTANCE.min(lower.chars().count().saturating_sub(1) / 2);
    let mut best: Option<(usize, &'static str)> = None;
    for name in known {
        if name == word {
            return None;
        }
        let distance = distance(&lower, name);
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

/// Levenshtein's distance: insertions, deletions and replacements of one letter.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i.saturating_add(1)];
        for ((to, above_left), above) in b.iter().zip(&row).zip(row.iter().skip(1)) {
            let left = next.last().copied().unwrap_or_default();
            let replaced = above_left.saturating_add(usize::from(from != *to));
            next.push(replaced.min(above.saturating_add(1)).min(left.saturating_add(1)));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_find_their_option() {
        let known = ["cmd", "args", "numprocesses", "uid", "gid", "max_age"];
        for (word, name) in [
            ("numproceses", Some("numprocesses")),
            ("numprocess", Some("numprocesses")),
            ("CMD", Some("cmd")),
            ("arg", Some("args")),
            ("  cmd", Some("cmd")),
            ("max_mem", None),
            ("foo", None),
            ("and", None),
            ("x", None),
            ("cmd", None),
        ] {
            assert_eq!(nearest(word, known), name, "{word:?}");
        }
    }

    #[test]
    fn distances() {
        for (a, b, d) in [("", "", 0), ("", "ab", 2), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }
}
