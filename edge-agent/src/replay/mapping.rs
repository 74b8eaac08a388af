//! Mappings from DBC signals to VSS paths: TOML, checked in under `config/mappings/`.

use std::path::Path;

use serde::Deserialize;

use super::{ReplayError, read};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mapping {
    signal: Vec<MappedSignal>,
}

/// One line of a mapping.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MappedSignal {
    /// Bus number as the recorder has it.
    pub bus: i64,
    /// Message's name in the DBC file.
    pub message: String,
    /// Signal's name in the message.
    pub signal: String,
    /// A second signal of the message that is added.
    pub plus: Option<String>,
    /// VSS path.
    pub path: String,
    /// VSS value = DBC value * factor + offset.
    #[serde(default = "one")]
    pub factor: f64,
    /// See `factor`.
    #[serde(default)]
    pub offset: f64,
}

fn one() -> f64 {
    1.0
}

/// Reads a mapping.
pub(crate) fn read_mapping(file: &Path) -> Result<Vec<MappedSignal>, ReplayError> {
    let text = String::from_utf8_lossy(&read(file)?).into_owned();
    let wrong = |what: String| ReplayError::Format { file: file.to_path_buf(), what };
    let mapping: Mapping =
        toml::from_str(&text).map_err(|e| wrong(format!("no mapping: {}", e.message())))?;
    if mapping.signal.is_empty() {
        return Err(wrong("a mapping without signals".into()));
    }
    Ok(mapping.signal)
}
