//! Readings from standard input.

use std::io::BufRead;

use remuda_edge_agent_core::Reading;
use remuda_model::{SignalDef, SignalKind, signal};
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::runner::{Clock, Input};

/// A line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    path: String,
    value: serde_json::Value,
}

/// One line as a reading, or what is wrong with it.
pub fn parse_line(text: &str, now_ns: u64) -> Result<Reading, String> {
    let line: Line = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let def = signal::by_path(&line.path).ok_or_else(|| format!("{} is not in the registry", line.path))?;
    let raw =
        raw_value(def, &line.value).ok_or_else(|| format!("{} is no value of {}", line.value, line.path))?;
    Ok(Reading { signal: def.id, raw, mono_ns: now_ns })
}

fn raw_value(def: &SignalDef, value: &serde_json::Value) -> Option<i64> {
    match def.kind {
        SignalKind::Number => value.as_f64().filter(|v| v.is_finite()).map(|v| def.to_raw(v)),
        SignalKind::Boolean => value.as_bool().map(i64::from),
        SignalKind::Enumeration(names) => {
            let name = value.as_str()?;
            names.iter().position(|n| *n == name).and_then(|n| i64::try_from(n).ok())
        }
    }
}

/// Reads lines in a thread of its own until the input ends or nobody listens. Bad lines are told and passed over.
pub fn stdin(clock: Clock, inputs: mpsc::Sender<Input>) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if line.trim().is_empty() {
                continue;
            }
            match parse_line(&line, clock.now()) {
                Ok(reading) => {
                    if inputs.blocking_send(Input::Readings(vec![reading])).is_err() {
                        break;
                    }
                }
                Err(error) => tracing::warn!(%error, "a line on standard input is passed over"),
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_readings() {
        let speed = parse_line(r#"{"path":"Vehicle.Speed","value":12.3}"#, 5).expect("valid");
        assert_eq!(speed, Reading { signal: signal::SPEED, raw: 1_230, mono_ns: 5 });
        let ignition =
            parse_line(r#"{"path":"Vehicle.LowVoltageSystemState","value":"ON"}"#, 5).expect("valid");
        assert_eq!(ignition.raw, 4);
        for bad in [
            r#"{"path":"Vehicle.Sped","value":1}"#,
            r#"{"path":"Vehicle.Speed","value":"fast"}"#,
            r#"{"path":"Vehicle.IsMoving","value":1}"#,
            "12",
        ] {
            assert!(parse_line(bad, 0).is_err(), "{bad}");
        }
    }
}
