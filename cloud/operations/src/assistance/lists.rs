//! Requests for assistance, read off their events: the list, what is open, what changed last.

use remuda_contracts::assistance::SeesVehicle;
use remuda_entities::projection::{Poisoned, Projected, Projection, View, fact, key};
use remuda_eventsourcing::Event;
use remuda_model::{OrganizationId, VehicleId};
use serde::{Deserialize, Serialize};

use super::{Assistance, Requests, evolve};
use crate::groups::lists::newest_first;
use crate::limits;

/// A line of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssistanceLine {
    /// Whose.
    pub organization: String,
    /// Its id.
    pub id: String,
    /// All of it.
    pub request: Assistance,
    /// Its version.
    pub version: u64,
}

impl AssistanceLine {
    fn vehicle(&self) -> &str {
        self.request.asked.as_ref().map_or("", |asked| asked.vehicle.as_str())
    }

    fn asked_ms(&self) -> i64 {
        self.request.asked.as_ref().map_or(0, |asked| asked.asked_ms)
    }
}

/// The projection.
#[derive(Debug, Clone, Copy)]
pub struct AssistanceLists;

fn changed_key(line: &AssistanceLine) -> Vec<u8> {
    newest_first("changed", &line.organization, line.request.changed_ms, &line.id)
}

fn open_key(line: &AssistanceLine) -> Vec<u8> {
    key(&["open", &line.organization, line.vehicle(), &line.id])
}

impl Projection for AssistanceLists {
    const NAME: &'static str = "assistance";
    const VERSION: u32 = 2;
    const READS: &'static [&'static str] = &["assistance"];

    fn apply(&self, event: &Event, view: &mut View<'_>) -> Result<(), Poisoned> {
        let Some(fact) = fact::<Requests>(event)? else { return Ok(()) };
        let stream = &event.event.stream;
        let (organization, id) = (stream.organization.as_str(), &stream.aggregate_id);
        let place = key(&["request", organization, id]);
        let mut line: AssistanceLine = view.get(&place)?.unwrap_or_else(|| AssistanceLine {
            organization: organization.to_owned(),
            id: id.clone(),
            ..AssistanceLine::default()
        });
        view.remove(&changed_key(&line));
        evolve(&mut line.request, &fact);
        line.version = event.event.version;
        let open = open_key(&line);
        if line.request.is_open() {
            view.put(&open, &line.id)?;
        } else {
            view.remove(&open);
        }
        let waits = newest_first("waits", organization, line.asked_ms(), id);
        if line.request.waits() {
            view.put(&waits, &line.id)?;
        } else {
            view.remove(&waits);
        }
        view.put(&changed_key(&line), &line.id)?;
        view.put(&newest_first("list", organization, line.asked_ms(), id), &line.id)?;
        view.put(&place, &line)
    }
}

/// Reads the list.
#[derive(Clone)]
pub struct AssistanceDirectory(Projected<AssistanceLists>);

impl AssistanceDirectory {
    /// Over a running projection.
    pub const fn new(lists: Projected<AssistanceLists>) -> Self {
        Self(lists)
    }

    /// The projection beneath.
    pub const fn projected(&self) -> &Projected<AssistanceLists> {
        &self.0
    }

    fn request(&self, organization: &str, id: &str) -> Result<Option<AssistanceLine>, Poisoned> {
        self.0.get(&key(&["request", organization, id]))
    }

    /// The newest first, after the one with this id; only those whose vehicle waits for an answer, when `waiting`.
    ///
    /// # Errors
    /// When nothing serves yet, or the store fails.
    pub fn requests(
        &self,
        organization: &OrganizationId,
        waiting: bool,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AssistanceLine>, Poisoned> {
        let what = if waiting { "waits" } else { "list" };
        let after = match after {
            Some(id) => match self.request(organization.as_str(), id)? {
                Some(line) => Some(newest_first(what, organization.as_str(), line.asked_ms(), id)),
                None => return Ok(Vec::new()),
            },
            None => None,
        };
        let found = self.0.scan(&key(&[what, organization.as_str()]), after.as_deref(), limit)?;
        self.lines(organization.as_str(), found)
    }

    /// Those of vehicles that `sees` accepts that changed at or after this time, ms since 1970 UTC, the last changed first.
    ///
    /// # Errors
    /// As [`AssistanceDirectory::requests`].
    pub fn changed(
        &self,
        organization: &OrganizationId,
        since_ms: i64,
        limit: usize,
        sees: SeesVehicle<'_>,
    ) -> Result<Vec<AssistanceLine>, Poisoned> {
        let is_seen =
            |line: &AssistanceLine| line.request.asked.as_ref().is_some_and(|asked| sees(&asked.vehicle));
        let prefix = key(&["changed", organization.as_str()]);
        let (mut lines, mut after) = (Vec::new(), None);
        loop {
            let found: Vec<(Vec<u8>, String)> = self.0.scan(&prefix, after.as_deref(), limits::PAGE_MAX)?;
            let whole = found.len() == limits::PAGE_MAX;
            after = found.last().map(|(key, _)| key.clone());
            for line in self.lines(organization.as_str(), found)? {
                if line.request.changed_ms < since_ms || lines.len() >= limit {
                    return Ok(lines);
                }
                if is_seen(&line) {
                    lines.push(line);
                }
            }
            if !whole {
                return Ok(lines);
            }
        }
    }

    fn lines(
        &self,
        organization: &str,
        found: Vec<(Vec<u8>, String)>,
    ) -> Result<Vec<AssistanceLine>, Poisoned> {
        let lines = found.into_iter().map(|(_, id)| self.request(organization, &id));
        lines.filter_map(Result::transpose).collect()
    }

    /// How many of a vehicle's have not ended, at most `limit`.
    ///
    /// # Errors
    /// As [`AssistanceDirectory::requests`].
    pub fn open_of(
        &self,
        organization: &OrganizationId,
        vehicle: &VehicleId,
        limit: usize,
    ) -> Result<usize, Poisoned> {
        let prefix = key(&["open", organization.as_str(), vehicle.as_str()]);
        let found: Vec<(Vec<u8>, String)> = self.0.scan(&prefix, None, limit)?;
        Ok(found.len())
    }

    /// How many vehicles' questions wait for an answer, at most `limit`.
    ///
    /// # Errors
    /// As [`AssistanceDirectory::requests`].
    pub fn waiting(&self, organization: &OrganizationId, limit: usize) -> Result<usize, Poisoned> {
        let found: Vec<(Vec<u8>, String)> =
            self.0.scan(&key(&["waits", organization.as_str()]), None, limit)?;
        Ok(found.len())
    }

    /// Those that have not ended, vehicle by vehicle, after this one.
    ///
    /// # Errors
    /// As [`AssistanceDirectory::requests`].
    pub fn open(
        &self,
        organization: &OrganizationId,
        after: Option<&AssistanceLine>,
        limit: usize,
    ) -> Result<Vec<AssistanceLine>, Poisoned> {
        let after = after.map(open_key);
        let found = self.0.scan(&key(&["open", organization.as_str()]), after.as_deref(), limit)?;
        self.lines(organization.as_str(), found)
    }
}
