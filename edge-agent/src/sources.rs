//! Readings, the kind of link there is, and questions to people, from standard input.

use std::io::BufRead;

use remuda_edge_agent_core::Reading;
use remuda_model::{SignalDef, SignalKind, signal};
use remuda_wire::{LinkKind, PositionE7, Question};
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

/// A line that says what link there is: `{"link":"wifi"}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkLine {
    link: Link,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Link {
    Unknown,
    Metered,
    Wifi,
}

/// A line that asks a person: `{"question":{"text":"...","options":["wait","pass"],"default":0,"timeout_s":60}}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuestionLine {
    question: AskedQuestion,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedQuestion {
    /// 32 hexadecimal digits; without it the agent makes one.
    id: Option<String>,
    text: String,
    options: Vec<String>,
    default: u8,
    timeout_s: u32,
    /// Degrees north and east.
    position: Option<(f64, f64)>,
}

impl AskedQuestion {
    fn question(self) -> Result<Question, String> {
        let id = match self.id {
            Some(id) => u128::from_str_radix(&id, 16)
                .ok()
                .filter(|_| id.len() == 32)
                .ok_or("a question's id has 32 hexadecimal digits")?,
            None => rand::random(),
        };
        let e7 = |degrees: f64| (degrees * 1e7).round() as i32;
        // What is wrong with it is the core's to say, which has its safe default taken.
        Ok(Question {
            id: id.to_be_bytes(),
            text: self.text,
            options: self.options,
            safe_default: self.default,
            timeout_ms: self.timeout_s.saturating_mul(1_000),
            waited_ms: 0,
            position: self
                .position
                .map(|(north, east)| PositionE7 { latitude_e7: e7(north), longitude_e7: e7(east) }),
        })
    }
}

/// One line as an input, or what is wrong with it.
pub fn parse_line(text: &str, now_ns: u64) -> Result<Input, String> {
    let told: serde_json::Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if told.get("link").is_some() {
        let LinkLine { link } = serde_json::from_value(told).map_err(|e| e.to_string())?;
        return Ok(Input::Link(match link {
            Link::Unknown => LinkKind::Unknown,
            Link::Metered => LinkKind::Metered,
            Link::Wifi => LinkKind::Wifi,
        }));
    }
    if told.get("question").is_some() {
        let QuestionLine { question } = serde_json::from_value(told).map_err(|e| e.to_string())?;
        return question.question().map(Input::Question);
    }
    let line: Line = serde_json::from_value(told).map_err(|e| e.to_string())?;
    let def = signal::by_path(&line.path).ok_or_else(|| format!("{} is not in the registry", line.path))?;
    let raw =
        raw_value(def, &line.value).ok_or_else(|| format!("{} is no value of {}", line.value, line.path))?;
    Ok(Input::Readings(vec![Reading { signal: def.id, raw, mono_ns: now_ns }]))
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
                Ok(input) => {
                    if inputs.blocking_send(input).is_err() {
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
        let reading = |text| match parse_line(text, 5) {
            Ok(Input::Readings(readings)) => readings[0],
            other => panic!("{other:?}"),
        };
        let speed = reading(r#"{"path":"Vehicle.Speed","value":12.3}"#);
        assert_eq!(speed, Reading { signal: signal::SPEED, raw: 1_230, mono_ns: 5 });
        assert_eq!(reading(r#"{"path":"Vehicle.LowVoltageSystemState","value":"ON"}"#).raw, 4);
        assert!(matches!(parse_line(r#"{"link":"wifi"}"#, 5), Ok(Input::Link(LinkKind::Wifi))));
        let asked = r#"{"question":{"text":"pass?","options":["wait","pass"],"default":0,"timeout_s":60}}"#;
        let Ok(Input::Question(question)) = parse_line(asked, 5) else { panic!("a question") };
        assert_eq!((question.options.len(), question.timeout_ms, question.position), (2, 60_000, None));
        for bad in [
            r#"{"question":{"id":"12","text":"?","options":["a","b"],"default":0,"timeout_s":60}}"#,
            r#"{"question":{"text":"pass?","options":["wait","pass"],"timeout_s":60}}"#,
            r#"{"link":"fax"}"#,
            r#"{"link":"wifi","value":1}"#,
            r#"{"path":"Vehicle.Sped","value":1}"#,
            r#"{"path":"Vehicle.Speed","value":"fast"}"#,
            r#"{"path":"Vehicle.IsMoving","value":1}"#,
            "12",
        ] {
            assert!(parse_line(bad, 0).is_err(), "{bad}");
        }
    }
}
