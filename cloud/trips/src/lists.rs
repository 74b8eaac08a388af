//! Trips by state, vehicle and rider, read off their events.

use std::collections::BTreeSet;

use remuda_entities::projection::{Poisoned, Projected, Projection, View, fact, key, numbered};
use remuda_eventsourcing::{Aggregate, Event};
use remuda_model::OrganizationId;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::state::{Rating, Trip, TripPhase};
use crate::{TripEvent, Trips};

/// A trip in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TripLine {
    /// Which.
    pub trip: String,
    /// How far it is.
    pub phase: TripPhase,
    /// Who rides.
    pub rider: String,
    /// Which vehicle has it, or had it last; empty = none.
    pub vehicle: String,
    /// Who drives.
    pub driver: Option<String>,
    /// Fleet.
    pub fleet: Option<String>,
    /// Depot.
    pub depot: Option<String>,
    /// When it was asked for, ms since 1970 UTC.
    pub requested_ms: i64,
    /// When it last changed, ms since 1970 UTC.
    pub changed_ms: i64,
    /// What the rider said of it; their words sealed.
    pub rating: Option<Rating>,
    /// Driven with the rider, m, once it has ended.
    pub distance_m: Option<u64>,
    /// When time itself moves it, ms since 1970 UTC.
    pub due_ms: Option<i64>,
}

/// Where it stands in the list of what time moves.
fn due_place(organization: &str, trip: &str, due_ms: i64) -> Vec<u8> {
    let mut place = numbered(&["due", organization], u64::try_from(due_ms).unwrap_or_default());
    place.extend_from_slice(trip.as_bytes());
    place
}

/// The lists of rated trips, of all and of those with as many stars.
fn rated_lists(stars: u8) -> [&'static str; 2] {
    ["rated", rated_list(Some(stars))]
}

const fn rated_list(stars: Option<u8>) -> &'static str {
    match stars {
        None => "rated",
        Some(1) => "rated-1",
        Some(2) => "rated-2",
        Some(3) => "rated-3",
        Some(4) => "rated-4",
        Some(_) => "rated-5",
    }
}

/// Where it stands in a list of rated trips: what was said last first.
fn rated_place(list: &str, organization: &str, trip: &str, changed_ms: i64) -> Vec<u8> {
    let mut place = numbered(&[list, organization], u64::MAX - u64::try_from(changed_ms).unwrap_or_default());
    place.extend_from_slice(trip.as_bytes());
    place
}

impl TripLine {
    fn of(trip: &Trip, event: &TripEvent, before: Option<&Self>, changed_ms: i64) -> Self {
        let distance_m = match event {
            TripEvent::Completed(done) => Some(done.distance_m),
            _ => before.and_then(|line| line.distance_m),
        };
        let parties = trip.parties.clone();
        Self {
            trip: trip.id.clone(),
            phase: trip.phase,
            rider: parties.rider,
            vehicle: parties.vehicle,
            driver: parties.driver,
            fleet: parties.fleet,
            depot: parties.depot,
            requested_ms: trip.requested_ms,
            changed_ms,
            rating: trip.rating.clone(),
            distance_m,
            due_ms: trip.due_ms(),
        }
    }

    /// Whether time may move it: it is due, and where its vehicle is out of reach, it was so for long.
    pub fn is_ripe(&self, is_in_reach: bool, now_ms: i64) -> bool {
        let away_ms = if is_in_reach { 0 } else { self.phase.away_ms() };
        self.due_ms.is_some_and(|due_ms| due_ms.saturating_add(away_ms) <= now_ms)
    }

    /// Under which lists it stands.
    fn places(&self, organization: &str) -> BTreeSet<Vec<u8>> {
        let of = |list: &str, value: &str| key(&[list, organization, value, &self.trip]);
        let mut places = BTreeSet::from([of("state", self.phase.name())]);
        for (list, value) in [("vehicle", &self.vehicle), ("rider", &self.rider)] {
            if !value.is_empty() {
                places.insert(of(list, value));
            }
        }
        // A fleet may be large: only what runs, so that the list stays short.
        if let Some(fleet) = self.fleet.as_ref().filter(|_| !self.phase.is_final()) {
            places.insert(of("fleet", fleet));
        }
        places.extend(self.due_ms.map(|due_ms| due_place(organization, &self.trip, due_ms)));
        if let Some(rating) = &self.rating {
            let place = |list| rated_place(list, organization, &self.trip, rating.changed_ms);
            places.extend(rated_lists(rating.stars).map(place));
        }
        places.insert(key(&["trip", organization, &self.trip]));
        places
    }
}

/// The projection.
#[derive(Debug, Clone, Copy)]
pub struct TripLists;

impl Projection for TripLists {
    const NAME: &'static str = "trip-lists";
    const VERSION: u32 = 3;
    const READS: &'static [&'static str] = &["trip"];

    fn apply(&self, event: &Event, view: &mut View<'_>) -> Result<(), Poisoned> {
        let Some(fact) = fact::<Trips>(event)? else { return Ok(()) };
        let stream = &event.event.stream;
        let (organization, id) = (stream.organization.as_str(), &stream.aggregate_id);
        let state = key(&["whole", organization, id]);
        let before: Option<TripLine> = view.get(&key(&["trip", organization, id]))?;
        let mut trip: Trip = view.get(&state)?.unwrap_or_default();
        // The same rules as the aggregate's own, so that a list never says anything else.
        Trips::evolve(&mut trip, &fact);
        trip.id.clone_from(id);
        let line = TripLine::of(&trip, &fact, before.as_ref(), event.event.time_ms);
        let places = line.places(organization);
        for gone in
            before.iter().flat_map(|line| line.places(organization)).filter(|place| !places.contains(place))
        {
            view.remove(&gone);
        }
        places.iter().try_for_each(|place| view.put(place, &line))?;
        view.put(&state, &trip)
    }
}

/// Reads the lists.
#[derive(Clone)]
pub struct TripDirectory(Projected<TripLists>);

impl TripDirectory {
    /// Over a running projection.
    pub const fn new(lists: Projected<TripLists>) -> Self {
        Self(lists)
    }

    /// The projection beneath.
    pub const fn projected(&self) -> &Projected<TripLists> {
        &self.0
    }

    /// One trip.
    ///
    /// # Errors
    /// When nothing serves yet, or the store fails.
    pub fn trip(&self, organization: &OrganizationId, trip: &str) -> Result<Option<TripLine>, Poisoned> {
        self.0.get(&key(&["trip", organization.as_str(), trip]))
    }

    /// All trips of an organisation by id, after `after`, at most `limit`.
    ///
    /// # Errors
    /// As [`TripDirectory::trip`].
    pub fn all(
        &self,
        organization: &OrganizationId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TripLine>, Poisoned> {
        self.page(&["trip", organization.as_str()], after, limit)
    }

    /// Trips in a state.
    ///
    /// # Errors
    /// As [`TripDirectory::trip`].
    pub fn in_state(
        &self,
        organization: &OrganizationId,
        phase: TripPhase,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TripLine>, Poisoned> {
        self.page(&["state", organization.as_str(), phase.name()], after, limit)
    }

    /// All trips in a state, read some at a time: for the states of trips that run, of which there are as many as vehicles.
    ///
    /// # Errors
    /// As [`TripDirectory::trip`].
    pub fn all_in_state(
        &self,
        organization: &OrganizationId,
        phase: TripPhase,
    ) -> Result<Vec<TripLine>, Poisoned> {
        let mut all: Vec<TripLine> = Vec::new();
        loop {
            let after = all.last().map(|line| line.trip.clone());
            let page = self.in_state(organization, phase, after.as_deref(), limits::PAGE)?;
            let is_last = page.len() < limits::PAGE;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Trips of a vehicle.
    ///
    /// # Errors
    /// As [`TripDirectory::trip`].
    pub fn of_vehicle(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TripLine>, Poisoned> {
        self.page(&["vehicle", organization.as_str(), vehicle], after, limit)
    }

    /// Trips of a rider.
    ///
    /// # Errors
    /// As [`TripDirectory::trip`].
    pub fn of_rider(
        &self,
        organization: &OrganizationId,
        rider: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TripLine>, Poisoned> {
        self.page(&["rider", organization.as_str(), rider], after, limit)
    }

    /// Trips of a fleet that have not ended.
    ///
    /// # Errors
    /// As [`TripDirectory::trip`].
    pub fn of_fleet(
        &self,
        organization: &OrganizationId,
        fleet: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TripLine>, Poisoned> {
        self.page(&["fleet", organization.as_str(), fleet], after, limit)
    }

    /// Trips of a rider that run: what stands in the way of an erasure. Looks at all that have not ended.
    ///
    /// # Errors
    /// As [`TripDirectory::trip`].
    pub fn running_of_rider(
        &self,
        organization: &OrganizationId,
        rider: &str,
        limit: usize,
    ) -> Result<Vec<String>, Poisoned> {
        let mut running = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.of_rider(organization, rider, after.as_deref(), 256)?;
            let full = page.len() == 256;
            after = page.last().map(|line| line.trip.clone());
            running.extend(page.into_iter().filter(|line| !line.phase.is_final()).map(|line| line.trip));
            if !full || running.len() >= limit {
                running.truncate(limit);
                return Ok(running);
            }
        }
    }

    /// Rated trips with their places, what was said last first, at most `limit` that come after `after`: the place of the last
    /// of the page before. Only those with so many stars, when they are named.
    ///
    /// # Errors
    /// As [`TripDirectory::trip`].
    pub fn rated(
        &self,
        organization: &OrganizationId,
        stars: Option<u8>,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, TripLine)>, Poisoned> {
        self.0.scan(&key(&[rated_list(stars), organization.as_str()]), after, limit)
    }

    /// Trips that time has moved by `now_ms`, those due first first, at most `limit` that come after `after`: the place of the
    /// last of the page before.
    ///
    /// # Errors
    /// As [`TripDirectory::trip`].
    pub fn due(
        &self,
        organization: &OrganizationId,
        now_ms: i64,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, TripLine)>, Poisoned> {
        let mut lines = self.0.scan(&key(&["due", organization.as_str()]), after, limit)?;
        lines.retain(|(_, line): &(_, TripLine)| line.due_ms.is_some_and(|due_ms| due_ms <= now_ms));
        Ok(lines)
    }

    fn page(&self, list: &[&str], after: Option<&str>, limit: usize) -> Result<Vec<TripLine>, Poisoned> {
        let after = after.map(|after| key(&[list, &[after]].concat()));
        let lines = self.0.scan(&key(list), after.as_deref(), limit)?;
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }
}
