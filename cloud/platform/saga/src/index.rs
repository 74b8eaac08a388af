//! Which sagas there are: a projection, so that a restart goes on with those under way without reading the rest.

use remuda_entities::projection::{Poisoned, Projection, View, fact, key, numbered};
use remuda_eventsourcing::Event;
use remuda_model::OrganizationId;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Phase, Saga, SagaEvent};

/// A saga that began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Its organisation.
    pub organization: String,
    /// Its id.
    pub id: String,
    /// Name of its definition; empty where its first event cannot be read.
    pub saga: String,
    /// Version of its definition.
    pub version: u32,
    /// When it began, ms since 1970 UTC.
    pub started_ms: i64,
}

/// A saga that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How it began.
    pub begun: Begun,
    /// [`Phase::Completed`] or [`Phase::Compensated`].
    pub phase: Phase,
    /// When, ms since 1970 UTC.
    pub ended_ms: i64,
}

/// The projection.
#[derive(Debug, Clone, Copy, Default)]
pub struct SagaIndex;

const UNENDED: &str = "unended";
const ENDED: &str = "ended";

/// Prefix of all [`Begun`] that have not ended.
pub(crate) fn unended() -> Vec<u8> {
    key(&[UNENDED])
}

/// Prefix of all [`Ended`] of an organisation, the newest first.
pub(crate) fn ended(organization: OrganizationId) -> Vec<u8> {
    key(&[ENDED, organization.as_str()])
}

impl SagaIndex {
    fn end(event: &Event, phase: Phase, ended_ms: i64, view: &mut View<'_>) -> Result<(), Poisoned> {
        let stream = &event.event.stream;
        let (organization, id) = (stream.organization.as_str(), stream.aggregate_id.as_str());
        let open = key(&[UNENDED, organization, id]);
        let begun = view.get::<Begun>(&open)?.unwrap_or_default();
        view.remove(&open);
        let newest_first = u64::MAX - u64::try_from(ended_ms).unwrap_or_default();
        let mut place = numbered(&[ENDED, organization], newest_first);
        place.extend_from_slice(id.as_bytes());
        view.put(&place, &Ended { begun, phase, ended_ms })
    }
}

impl Projection for SagaIndex {
    const NAME: &'static str = "saga-index";
    const VERSION: u32 = 1;
    const READS: &'static [&'static str] = &["saga"];

    fn apply(&self, event: &Event, view: &mut View<'_>) -> Result<(), Poisoned> {
        let stream = &event.event.stream;
        let (organization, id) = (stream.organization.as_str(), stream.aggregate_id.as_str());
        let open = key(&[UNENDED, organization, id]);
        let begun = |saga: &str, version, started_ms| Begun {
            organization: organization.to_owned(),
            id: id.to_owned(),
            saga: saga.to_owned(),
            version,
            started_ms,
        };
        // Most of a saga's events say nothing here and need not be read.
        let told = ["saga.started", "saga.completed", "saga.compensated"];
        if event.event.version > 1 && !told.contains(&event.event.event_type.as_str()) {
            return Ok(());
        }
        match fact::<Saga>(event) {
            Ok(Some(SagaEvent::Started(started))) => {
                let definition = &started.definition;
                view.put(&open, &begun(&definition.name, definition.version, started.at_ms))
            }
            Ok(Some(SagaEvent::Completed(e))) => Self::end(event, Phase::Completed, e.at_ms, view),
            Ok(Some(SagaEvent::Compensated(e))) => Self::end(event, Phase::Compensated, e.at_ms, view),
            Ok(_) => Ok(()),
            // A newer program wrote it. The saga stays in the list of those under way, whose runner shows it as stuck.
            Err(_) if event.event.version == 1 => view.put(&open, &begun("", 0, event.event.time_ms)),
            Err(_) => Ok(()),
        }
    }
}
