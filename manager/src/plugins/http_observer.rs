//! The plugin http_observer: a URL is asked for every `loop_rate` seconds; how long that takes goes to a statsd server, and when it
//! fails, a watcher is restarted (spec j).

use super::http::{self, Url};
use super::observer::Remedy;
use super::statsd::{Reading, Statsd};
use super::{Host, PluginError, SettingError, Settings, ticks};
use std::time::Duration;

/// What the plugin is given without a setting `check_url`.
const CHECK_URL: &str = "http://localhost/";

/// What is asked for, and how.
struct Check {
    url: Url,
    limit: Duration,
    period: Duration,
}

/// Runs it.
pub async fn run(host: Host) -> PluginError {
    let Host { caller, settings, .. } = host;
    let mut statsd = match Statsd::new(&settings, "http_observer") {
        Ok(statsd) => statsd,
        Err(error) => return error,
    };
    let Check { url, limit, period } = match check(&settings) {
        Ok(check) => check,
        Err(error) => return error.into(),
    };
    let remedy = Remedy::new(caller, settings.text("restart_on_error"));
    let mut ticks = ticks(period);
    loop {
        ticks.tick().await;
        match http::check(&url, limit).await {
            Ok(took) => statsd.send("http_stats.request_time", &Reading::Took(took)).await,
            Err(error) => {
                tracing::warn!("{url}: {error}");
                statsd.count("http_stats.error").await;
                statsd.count(&format!("http_stats.error.{}", error.code())).await;
                remedy.restart(&mut statsd, "http_stats.restart_on_error").await;
            }
        }
    }
}

fn check(settings: &Settings) -> Result<Check, SettingError> {
    let expected = "http://HOST[:PORT][/PATH], without a user; https is not supported";
    let url = settings.read("check_url", expected, Url::parse)?;
    let value = || SettingError::Value { key: "check_url".to_owned(), value: CHECK_URL.to_owned(), expected };
    Ok(Check {
        url: url.or_else(|| Url::parse(CHECK_URL)).ok_or_else(value)?,
        limit: settings.period("timeout", 10.0)?,
        period: settings.period("loop_rate", 60.0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_settings_the_local_server_is_asked() {
        let check = check(&Settings::default()).unwrap();
        assert_eq!(check.url.to_string(), "http://localhost/");
        assert_eq!((check.limit, check.period), (Duration::from_secs(10), Duration::from_secs(60)));
    }

    #[test]
    fn https_is_refused_with_its_reason() {
        let error = check(&Settings::parse("check_url:https://localhost/")).err().unwrap().to_string();
        assert_eq!(
            error,
            "check_url = https://localhost/: expected http://HOST[:PORT][/PATH], without a user; https is not supported"
        );
    }
}
