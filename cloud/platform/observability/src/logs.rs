//! Logs to stderr, for people or as JSON lines.

use std::str::FromStr;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("log format \"{other}\" is unknown; use \"text\" or \"json\"")),
        }
    }
}

/// Installs the process's log output. `filter` is in the syntax of `tracing`'s env filter, such as `info` or
/// `warn,remuda_lake=debug`. A second call in the same process changes nothing.
///
/// # Errors
/// A sentence when `filter` cannot be parsed.
pub fn init_logs(format: LogFormat, filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|e| format!("log filter \"{filter}\" cannot be read: {e}; use for example \"info\""))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber is refused by the library; in tests that share a process the first one stays.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_explained() {
        let sentence = init_logs(LogFormat::Text, "remuda=loudly").expect_err("not a level");
        assert!(sentence.contains("remuda=loudly") && sentence.contains("for example"), "{sentence}");
    }

    #[test]
    fn formats_have_names() {
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        assert!("xml".parse::<LogFormat>().is_err());
    }
}
