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

/// A part of an organisation that vehicles belong to, ours and those that were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartOf<'a> {
    /// A fleet.
    Fleet(&'a str),
    /// A depot.
    Depot(&'a str),
}

impl<'a> PartOf<'a> {
    /// What the keys of its vehicles begin with.
    const fn list(self, organization: &'a str) -> [&'a str; 3] {
        match self {
            Self::Fleet(fleet) => ["fleet", organization, fleet],
            Self::Depot(depot) => ["depot", organization, depot],
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

    /// Its places among the vehicles of its fleet and of its depot.
    fn homes(&self, organization: &str) -> BTreeSet<Vec<u8>> {
        let details = self.record.details.iter();
        let parts = details.flat_map(|details| {
            let (fleet, depot) = (details.fleet.as_deref(), details.depot.as_deref());
            [fleet.map(PartOf::Fleet), depot.map(PartOf::Depot)]
        });
        let of = |part: PartOf<'_>| {
            let [list, organization, part] = part.list(organization);
            key(&[list, organization, part, &self.vehicle])
        };
        // A name with a NUL would stand among those of another; nobody has a role on it.
        let plain = |part: &PartOf<'_>| match part {
            PartOf::Fleet(name) | PartOf::Depot(name) => !name.contains('\0'),
        };
        parts.flatten().filter(plain).map(of).collect()
    }
}

impl Projection for RecordLists {
    const NAME: &'static str = "vehicle-records";
    const VERSION: u32 = 2;
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
        let (places, homes) = (line.places(organization), line.homes(organization));
        if let Some(before) = &before {
            let gone = before.places(organization).into_iter().chain(before.homes(organization));
            gone.filter(|gone| !places.contains(gone) && !homes.contains(gone))
                .for_each(|gone| view.remove(&gone));
        }
        homes.iter().try_for_each(|home| view.put(home, &line.vehicle))?;
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

    /// Vehicles that belong to a part of the organisation, by id, after one, at most `limit`.
    ///
    /// # Errors
    /// As [`RecordDirectory::record`].
    pub fn vehicles_of(
        &self,
        organization: &OrganizationId,
        part: PartOf<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Poisoned> {
        let [list, organization, part] = part.list(organization.as_str());
        let after = after.map(|after| key(&[list, organization, part, after]));
        let vehicles = self.0.scan(&key(&[list, organization, part]), after.as_deref(), limit)?;
        Ok(vehicles.into_iter().map(|(_, vehicle)| vehicle).collect())
    }
}
