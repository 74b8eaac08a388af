//! What a vehicle asks a person, and what it says of the question afterwards (docs/assistance.md).
//!
//! Both travel as events. The answer travels the other way, as a signed command ([`crate::CommandKind::Answer`]).

use serde::{Deserialize, Serialize};

use crate::frame::CommandOutcome;
use crate::{counted, limits};

/// Where something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionE7 {
    /// 1e-7 degrees.
    pub latitude_e7: i32,
    /// 1e-7 degrees.
    pub longitude_e7: i32,
}

impl PositionE7 {
    fn is_on_earth(self) -> bool {
        self.latitude_e7.unsigned_abs() <= 900_000_000 && self.longitude_e7.unsigned_abs() <= 1_800_000_000
    }
}

/// A question with options and a deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its id, chosen by the vehicle; never used twice by it.
    pub id: [u8; 16],
    /// What it wants to know, in words for a person.
    pub text: String,
    /// What it can do, in words for a person; 2 to [`limits::OPTIONS_MAX`].
    #[serde(deserialize_with = "counted::options")]
    pub options: Vec<String>,
    /// Number of the option, from 0, that it takes when nobody answers in time.
    pub safe_default: u8,
    /// How long it waits for an answer, ms, by its own monotonic clock.
    pub timeout_ms: u32,
    /// How long it had waited when it said so, ms: more than 0 when the question is said again.
    pub waited_ms: u32,
    /// Where it asks, when it knows.
    pub position: Option<PositionE7>,
}

impl Question {
    /// What is wrong with it, as a sentence; none when it can be asked.
    pub fn fault(&self) -> Option<&'static str> {
        let options = self.options.len();
        if self.text.is_empty() || self.options.iter().any(String::is_empty) {
            return Some("a question and each of its options have at least one character");
        }
        if self.text_bytes() > limits::QUESTION_BYTES_MAX {
            return Some("a question and its options have at most 1024 bytes together");
        }
        if !(2..=limits::OPTIONS_MAX).contains(&options) {
            return Some("a question has 2 to 8 options");
        }
        if usize::from(self.safe_default) >= options {
            return Some("the safe default is the number of one of the options, from 0");
        }
        if !limits::QUESTION_TIMEOUT_MS.contains(&self.timeout_ms) {
            return Some("a question waits from 1 second to 1 hour");
        }
        if self.position.is_some_and(|at| !at.is_on_earth()) {
            return Some("a position has at most 90 degrees north or south, and 180 east or west");
        }
        None
    }

    fn text_bytes(&self) -> usize {
        self.text.len() + self.options.iter().map(String::len).sum::<usize>()
    }
}

/// What the vehicle has decided on, and why. The first decision stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decided {
    /// Somebody answered in time.
    Answered,
    /// Nobody did.
    TimedOut,
    /// Its agent started anew and cannot tell how long it was away.
    Restarted,
}

/// What became of a question. Variants are only ever added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum QuestionStep {
    /// The vehicle is about to take this option. Said before it acts.
    Decided {
        /// Number of the option, from 0.
        option: u8,
        /// Why this one.
        why: Decided,
    },
    /// It has acted, or tried to.
    Acted(CommandOutcome),
}

impl QuestionStep {
    /// Bytes of the text it carries.
    pub(crate) fn text_bytes(&self) -> usize {
        match self {
            Self::Acted(CommandOutcome::Failed(text) | CommandOutcome::Refused(text)) => text.len(),
            Self::Acted(_) | Self::Decided { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question {
            id: [1; 16],
            text: "a cone stands in my lane".into(),
            options: vec!["wait".into(), "pass on the left".into()],
            safe_default: 0,
            timeout_ms: 60_000,
            waited_ms: 0,
            position: None,
        }
    }

    #[test]
    fn what_cannot_be_asked_is_said() {
        assert_eq!(question().fault(), None);
        let at = |latitude_e7, longitude_e7| Some(PositionE7 { latitude_e7, longitude_e7 });
        for (north, east) in [(900_000_000, 1_800_000_000), (-900_000_000, -1_800_000_000)] {
            assert_eq!(Question { position: at(north, east), ..question() }.fault(), None);
        }
        let wrong: [&dyn Fn(&mut Question); 13] = [
            &|q| q.text.clear(),
            &|q| q.options[1].clear(),
            &|q| q.options.truncate(1),
            &|q| q.options.resize(9, "x".into()),
            &|q| q.safe_default = 2,
            &|q| q.timeout_ms = 999,
            &|q| q.timeout_ms = 3_600_001,
            &|q| q.text = "x".repeat(1024),
            &|q| q.options[0] = "x".repeat(1024),
            &|q| q.position = at(900_000_001, 0),
            &|q| q.position = at(i32::MIN, 0),
            &|q| q.position = at(0, 1_800_000_001),
            &|q| q.position = at(0, i32::MIN),
        ];
        for (number, change) in wrong.iter().enumerate() {
            let mut changed = question();
            change(&mut changed);
            assert!(changed.fault().is_some(), "{number}");
        }
    }
}
