//! Stored events in words, for people who look into a journal.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};

use remuda_eventsourcing::{Aggregate, Event, NewEvent};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::memory::{REFUSED, RefusedEvent};

type Describe = fn(&NewEvent) -> Result<String, String>;

/// The kinds of events that a program can read.
#[derive(Clone, Default)]
pub struct Decoders(BTreeMap<&'static str, Describe>);

fn describe<A: Aggregate>(event: &NewEvent) -> Result<String, String> {
    let fact =
        A::decode(&event.event_type, event.schema_version, &event.payload).map_err(|e| e.to_string())?;
    Ok(format!("{fact:?}"))
}

/// An event as it is shown: the envelope, and the payload in words where it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// Shard.
    pub shard: u16,
    /// Place in the shard's feed.
    pub position: u64,
    /// Hexadecimal.
    pub event_id: String,
    /// Whose.
    pub organization: String,
    /// Kind of aggregate.
    pub aggregate_type: String,
    /// Which.
    pub aggregate_id: String,
    /// Version in its stream.
    pub version: u64,
    /// Type.
    pub event_type: String,
    /// Version of the payload's form.
    pub schema_version: u16,
    /// ms since 1970 UTC.
    pub time_ms: i64,
    /// What caused it.
    pub causation_id: String,
    /// What it belongs to.
    pub correlation_id: String,
    /// Who did it.
    pub actor: String,
    /// The payload in words; none when this program does not know its type.
    pub fact: Option<String>,
    /// The payload, hexadecimal, when there are no words for it.
    pub payload: Option<String>,
}

impl Decoders {
    /// These, and those of this aggregate.
    #[must_use]
    pub fn with<A: Aggregate>(mut self) -> Self {
        self.0.insert(A::TYPE, describe::<A>);
        self
    }

    /// These, and those of an aggregate type whose every payload is a `T` in postcard.
    #[must_use]
    pub fn with_payload<T: DeserializeOwned + Debug>(mut self, aggregate_type: &'static str) -> Self {
        let words = |event: &NewEvent| {
            postcard::from_bytes::<T>(&event.payload)
                .map(|fact| format!("{fact:?}"))
                .map_err(|e| e.to_string())
        };
        self.0.insert(aggregate_type, words);
        self
    }

    /// The event as it is shown.
    pub fn describe(&self, Event { shard, position, event }: &Event) -> Described {
        let fact = self.fact(event);
        let stream = &event.stream;
        Described {
            shard: shard.number(),
            position: *position,
            event_id: hex(&event.event_id),
            organization: stream.organization.to_string(),
            aggregate_type: stream.aggregate_type.clone(),
            aggregate_id: stream.aggregate_id.clone(),
            version: event.version,
            event_type: event.event_type.clone(),
            schema_version: event.schema_version,
            time_ms: event.time_ms,
            causation_id: event.causation_id.clone(),
            correlation_id: event.correlation_id.clone(),
            actor: event.actor.clone(),
            payload: fact.is_none().then(|| hex(&event.payload)),
            fact,
        }
    }

    fn fact(&self, event: &NewEvent) -> Option<String> {
        if event.event_type == REFUSED {
            let RefusedEvent { code, text } = postcard::from_bytes(&event.payload).ok()?;
            return Some(format!("refused: {code} ({text})"));
        }
        let describe = self.0.get(event.stream.aggregate_type.as_str())?;
        Some(describe(event).unwrap_or_else(|error| format!("unreadable: {error}")))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use remuda_eventsourcing::testing::{Tally, event, shard};

    use super::*;

    #[test]
    fn what_is_known_is_told_in_words_and_the_rest_in_digits() {
        let known = NewEvent {
            event_type: "tally.added".into(),
            schema_version: 2,
            payload: vec![10],
            ..event("a", 1)
        };
        let known = NewEvent {
            stream: remuda_eventsourcing::StreamId { aggregate_type: "tally".into(), ..known.stream },
            ..known
        };
        let decoders = Decoders::default().with::<Tally>();
        let at = |event: NewEvent| decoders.describe(&Event { shard: shard(3), position: 9, event });
        assert_eq!(at(known.clone()).fact.as_deref(), Some("Added(5)"));
        let newer = at(NewEvent { schema_version: 9, ..known }).fact.expect("told");
        assert!(newer.starts_with("unreadable"), "{newer}");
        let foreign = at(event("b", 1));
        assert_eq!((foreign.fact, foreign.payload.as_deref()), (None, Some("622f31")));
    }
}
