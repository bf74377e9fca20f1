//! Taking away what differs from one run to the next.

/// Output of a process without numbers that the system gives, and what shells other than dash add to an environment.
fn without_numbers(data: &str) -> String {
    let mut out = String::new();
    for line in data.split_inclusive('\n') {
        let body = line.trim_end_matches('\n');
        let end = &line[body.len()..];
        let words: Vec<&str> = body.split(' ').collect();
        let same = words.len() == 3 && words.iter().all(|word| *word == words[0] && word.parse::<u32>().is_ok());
        let body = match body.split_once(":[") {
            _ if body.starts_with("SHLVL=") || body.starts_with("_=") => continue,
            _ if same => "# # #".into(),
            _ if body.len() == 4 && body.starts_with('0') && body.parse::<u32>().is_ok() => "umask".into(),
            _ if body.len() > 100 && body.chars().all(|c| c == '\0') => format!("@{} NUL@", body.len()),
            _ if !body.is_empty() && body.split(',').all(|part| part.parse::<u32>().is_ok() && part.len() < 4) => {
                body.split(',').map(|_| "#").collect::<Vec<_>>().join(",")
            }
            Some((before, behind)) if behind.ends_with(']') => format!("{before}:[#]"),
            _ => body.into(),
        };
        out.push_str(&body);
        out.push_str(end);
    }
    out
}

/// Puts neighbouring items of one stream together: whether two writes come as one item is a matter of a millisecond.
fn joined(text: &str) -> String {
    let mut out = String::new();
    // Where the newest item begins, its kind and name, and its bytes.
    let mut newest: Option<(usize, String, String)> = None;
    let mut rest = text;
    while let Some((line, behind)) = rest.split_once('\n') {
        let item = item(line).filter(|(_, length)| behind.len() > *length && behind.is_char_boundary(*length));
        let Some((kind, length)) = item else {
            newest = None;
            out.push_str(&rest[..=line.len()]);
            rest = behind;
            continue;
        };
        let mut data = without_numbers(&behind[..length]);
        let mut begin = out.len();
        if let Some((at, before, bytes)) = newest.take().filter(|(_, before, _)| *before == kind) {
            (begin, data) = (at, bytes + &data);
            assert_eq!(before, kind);
        }
        out.truncate(begin);
        out.push_str(&format!("{kind}:0:{}\n{data}\n", data.len()));
        newest = Some((begin, kind, data));
        rest = &behind[length + 1..];
    }
    out + rest
}

/// `out:NAME` and the length of an item's first line.
fn item(line: &str) -> Option<(String, usize)> {
    let (head, length) = line.rsplit_once(':')?;
    let (kind, _) = head.rsplit_once(':')?;
    let is_output = kind.starts_with("out:") || kind.starts_with("err:");
    is_output.then_some((kind.to_owned(), length.parse().ok()?))
}

/// Takes away what differs every time.
pub fn mask(text: &str) -> String {
    let text = joined(text);
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let (body, end) = line.strip_suffix('\n').map_or((line, ""), |body| (body, "\n"));
        let item = ["out:", "err:", "closed:"].iter().any(|kind| body.starts_with(kind));
        if item {
            let mut fields: Vec<&str> = body.split(':').collect();
            let time = fields.len() - 2;
            fields[time] = "#";
            out.push_str(&fields.join(":"));
        } else {
            let words = body.split(' ').map(|word| match word.split_once('=') {
                Some((key @ ("pid" | "running" | "started" | "port" | "fileno" | "fd"), _)) => {
                    format!("{key}=#")
                }
                Some(("uid" | "gid" | "groups", _)) => word.into(),
                _ => match word.strip_prefix("127.0.0.1:") {
                    Some(_) => "127.0.0.1:#:".into(),
                    None => word.into(),
                },
            });
            out.push_str(&words.collect::<Vec<_>>().join(" "));
        }
        out.push_str(end);
    }
    out
}
