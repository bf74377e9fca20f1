//! Which of the two formats a client prefers (RFC 9110, section 12.5.1).

use crate::metrics::Format;

/// The media type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text";

/// The version of it that we write.
const OPEN_METRICS_VERSION: &str = "1.0.0";

/// Thousandths, so that weights compare exactly.
const FULL_WEIGHT: u32 = 1000;

/// The preferred format: OpenMetrics only for those who name it and want nothing else more. Never neither.
pub(super) fn preferred(accept: &str) -> Format {
    let (mut open, mut plain) = (0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut weight, mut version) = (FULL_WEIGHT, None);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => weight = thousandths(value.trim()),
                "version" => version = Some(value.trim().trim_matches('"')),
                _ => {}
            }
        }
        match kind.as_str() {
            OPEN_METRICS if version.is_none_or(|version| version == OPEN_METRICS_VERSION) => open = weight.max(open),
            "text/plain" | "text/*" | "*/*" => plain = weight.max(plain),
            _ => {}
        }
    }
    if open > 0 && open >= plain { Format::OpenMetrics } else { Format::Text }
}

/// `0.75` is 750; what is no weight counts as none.
fn thousandths(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    let whole: Option<u32> = whole.parse().ok();
    let sum = whole.zip(digits.parse::<u32>().ok()).map(|(whole, rest)| whole.saturating_mul(FULL_WEIGHT) + rest);
    sum.filter(|weight| *weight <= FULL_WEIGHT).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_say() {
        for (accept, expected) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html, */*;q=0.8", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            // Prometheus 2.42.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            // Prometheus 3.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.2",
                Format::OpenMetrics,
            ),
            ("application/openmetrics-text;version=0.0.1", Format::Text),
            ("application/openmetrics-text;q=0.5, text/plain", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=1", Format::OpenMetrics),
            ("application/openmetrics-text;q=nonsense", Format::Text),
            (";;;=,,q=9", Format::Text),
        ] {
            assert_eq!(preferred(accept), expected, "{accept}");
        }
    }
}
