//! Records of vehicles by id, and those that must be serviced, read off their events.

use std::collections::BTreeSet;

use remuda_entities::projection::{Poisoned, Projected, Projection, View, fact, key};
use remuda_eventsourcing::{Aggregate, Event};
use remuda_model::OrganizationId;
use serde::{Deserialize, Serialize};

use super::Registry;
use super::state::{RegistryPhase, VehicleRecord};

/// A record in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordLine {
    /// Which vehicle.
    pub vehicle: String,
    /// All that is known of it.
    pub record: VehicleRecord,
}

/// Which records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordsOf {
    /// Ours, and those that were.
    All,
    /// Ours.
    Registered,
    /// Ours that must be serviced.
    ServiceDue,
}

impl RecordsOf {
    const fn list(self) -> &'static str {
        match self {
            Self::All => "record",
            Self::Registered => "registered",
            Self::ServiceDue => "due",
        }
    }
}

/// The projection.
#[derive(Debug, Clone, Copy)]
pub struct RecordLists;

impl RecordLine {
    fn places(&self, organization: &str) -> BTreeSet<Vec<u8>> {
        let of = |list: RecordsOf| key(&[list.list(), organization, &self.vehicle]);
        let ours = self.record.phase == RegistryPhase::Registered;
        let lists = [
            (RecordsOf::All, true),
            (RecordsOf::Registered, ours),
            (RecordsOf::ServiceDue, ours && self.record.service_due),
        ];
        lists.into_iter().filter(|(_, stands)| *stands).map(|(list, _)| of(list)).collect()
    }
}

impl Projection for RecordLists {
    const NAME: &'static str = "vehicle-records";
    const VERSION: u32 = 1;
    const READS: &'static [&'static str] = &[Registry::TYPE];

    fn apply(&self, event: &Event, view: &mut View<'_>) -> Result<(), Poisoned> {
        let Some(fact) = fact::<Registry>(event)? else { return Ok(()) };
        let stream = &event.event.stream;
        let (organization, vehicle) = (stream.organization.as_str(), &stream.aggregate_id);
        let before: Option<RecordLine> = view.get(&key(&[RecordsOf::All.list(), organization, vehicle]))?;
        let mut line = before.clone().unwrap_or_default();
        line.vehicle.clone_from(vehicle);
        // The same rules as the aggregate's own, so that a list never says anything else.
        Registry::evolve(&mut line.record, &fact);
        let places = line.places(organization);
        for gone in before.iter().flat_map(|before| before.places(organization)) {
            if !places.contains(&gone) {
                view.remove(&gone);
            }
        }
        places.iter().try_for_each(|place| view.put(place, &line))
    }
}

/// Reads the lists.
#[derive(Clone)]
pub struct RecordDirectory(pub Projected<RecordLists>);

impl RecordDirectory {
    /// One record.
    ///
    /// # Errors
    /// When nothing serves yet, or the store fails.
    pub fn record(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
    ) -> Result<Option<RecordLine>, Poisoned> {
        self.0.get(&key(&[RecordsOf::All.list(), organization.as_str(), vehicle]))
    }

    /// Records by vehicle, after one, at most `limit`.
    ///
    /// # Errors
    /// As [`RecordDirectory::record`].
    pub fn records(
        &self,
        organization: &OrganizationId,
        of: RecordsOf,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RecordLine>, Poisoned> {
        let list = [of.list(), organization.as_str()];
        let after = after.map(|after| key(&[list[0], list[1], after]));
        let lines = self.0.scan(&key(&list), after.as_deref(), limit)?;
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }
}
