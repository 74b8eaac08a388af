//! The geofences of the organisation: kept in the journal, shown to people, held against vehicles.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::RwLock;
use remuda_contracts::business::vehicles::Home;
use remuda_contracts::fleet::VehicleSummary;
use remuda_contracts::geofences::{
    Geofence, GeofenceBook, GeofenceId, GeofenceKind, GeofencePart, GeofenceRefusal, GeofenceRequest,
    GeofenceVisit, Place, Sees,
};
use remuda_eventsourcing::{Appended, JournalError, Snapshot};
use remuda_model::{OrganizationId, VehicleId};
use tokio::sync::{Mutex, Notify, oneshot};
use tokio::time::Instant;

use super::alerts::AlertAsk;
use super::fault::Fault;
use super::node::Node;
use super::orders::OrderAsk;
use super::warm::Warm;
use crate::event::VehicleEvent;
use crate::evolve::evolve;
use crate::geofences::event::{shard_of, stream_number, stream_of};
use crate::geofences::shape::Area;
use crate::geofences::{Decided, Fence, Fences, GeofenceEvent, Shelf, Surroundings, decide, let_go, limits};
use crate::metrics::{CrossingLabel, GeofenceLabel};
use crate::state::VehicleState;

// Events read at a time.
const PAGE: usize = 256;
// Tries of a change that met another writer of the stream.
const TRIES: usize = 2;
// How long where a vehicle belongs is believed, as in lists.
const HOME_FRESH: Duration = Duration::from_secs(2);
// How long a vehicle may take to let go of what is gone, and how long until those are asked again that did not.
const LET_GO: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(5);

/// Where a vehicle belongs; none when that cannot be told at the moment.
pub type HomeOf = Arc<dyn Fn(&VehicleId) -> Option<Home> + Send + Sync>;

/// What a vehicle's stream says of geofences, for whoever wakes no actor.
struct Held(VehicleState);

/// The geofences of a node.
pub(crate) struct Atlas {
    shelves: RwLock<Vec<Shelf>>,
    fences: RwLock<Arc<Fences>>,
    held: RwLock<HashMap<VehicleId, Held>>,
    writing: Mutex<()>,
    changed: Notify,
    homes: OnceLock<HomeOf>,
}

impl Default for Atlas {
    fn default() -> Self {
        Self {
            shelves: RwLock::new(vec![Shelf::default(); limits::STREAMS]),
            fences: RwLock::default(),
            held: RwLock::default(),
            writing: Mutex::default(),
            changed: Notify::new(),
            homes: OnceLock::new(),
        }
    }
}

impl Atlas {
    /// Those that something follows from.
    pub fn fences(&self) -> Arc<Fences> {
        Arc::clone(&self.fences.read())
    }

    /// Shows what a vehicle's stream says.
    pub fn hold(&self, vehicle: VehicleId, state: &VehicleState) {
        let alerts = state.alerts.iter().filter(|fact| fact.cause.rule.geofence().is_some());
        let alerts: Vec<_> = alerts.copied().collect();
        if alerts.is_empty() && state.inside.is_empty() {
            if self.held.read().contains_key(&vehicle) {
                self.held.write().remove(&vehicle);
            }
            return;
        }
        let held = VehicleState { alerts, inside: Arc::clone(&state.inside), ..VehicleState::default() };
        self.held.write().insert(vehicle, Held(held));
    }

    fn home(&self, vehicle: &VehicleId) -> Option<Home> {
        self.homes.get().and_then(|home| home(vehicle))
    }

    fn count(&self) -> usize {
        self.shelves.read().iter().map(|shelf| shelf.fences.len()).sum()
    }

    /// Vehicles that hold on to what is gone.
    fn behind(&self) -> Vec<VehicleId> {
        let fences = self.fences();
        let held: Vec<(VehicleId, VehicleState)> =
            self.held.read().iter().map(|(vehicle, held)| (*vehicle, held.0.clone())).collect();
        let is_behind = |(vehicle, state): &(VehicleId, VehicleState)| {
            let home = fences.has_parts().then(|| self.home(vehicle)).flatten();
            let around = Surroundings { fences: &fences, home: home.as_ref() };
            !let_go(state, around, 0).is_empty()
        };
        held.into_iter().filter(is_behind).map(|(vehicle, _)| vehicle).collect()
    }

    /// After a change: the index, the figures, and whoever must let go.
    fn publish(&self, node: &Node) {
        let shelves = self.shelves.read();
        let all = || shelves.iter().flat_map(|shelf| shelf.fences.values());
        let fences = self.fences().with(all());
        for kind in GeofenceKind::ALL {
            let count = all().filter(|geofence| geofence.spec.kind == kind).count();
            let label = GeofenceLabel { kind: kind.as_str() };
            node.metrics.geofences.get_or_create(&label).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        drop(shelves);
        *self.fences.write() = Arc::new(fences);
        self.changed.notify_one();
    }
}

/// Reads the streams.
pub(crate) async fn load(node: &Node) -> Result<(), JournalError> {
    let mut shelves = Vec::with_capacity(limits::STREAMS);
    for number in 0..limits::STREAMS {
        shelves.push(read(node, number).await?);
    }
    *node.atlas.shelves.write() = shelves;
    node.atlas.publish(node);
    Ok(())
}

async fn read(node: &Node, number: usize) -> Result<Shelf, JournalError> {
    let stream = stream_of(node.settings.organization, number);
    let snapshot = node.journal.snapshot(&stream).await?;
    // One of a form that is not known: the stream is read from its beginning.
    let mut shelf = snapshot.and_then(|snapshot| Shelf::restore(&snapshot.state)).unwrap_or_default();
    loop {
        let events = node.journal.read_stream(&stream, shelf.version + 1, PAGE).await?;
        for event in &events {
            let event = &event.event;
            match GeofenceEvent::open(event) {
                Some(fact) => shelf.evolve(&fact, event.time_ms, &event.actor),
                None => {
                    tracing::error!(kind = event.event_type, "an event of an unknown kind was passed over");
                    shelf.version = event.version;
                }
            }
        }
        if events.len() < PAGE {
            return Ok(shelf);
        }
    }
}

/// Waits until vehicles may have to let go: the geofences changed, or it is time to look where vehicles belong.
async fn disturbed(node: &Node) {
    let changed = node.atlas.changed.notified();
    if node.atlas.fences().has_parts() {
        // Either will do.
        let _ = tokio::time::timeout(node.settings.homes_interval, changed).await;
    } else {
        changed.await;
    }
}

/// Vehicles that hold on to what is gone; where they belong may have to be read from a disk.
async fn stragglers(node: &Arc<Node>) -> Vec<VehicleId> {
    if !node.atlas.fences().has_parts() {
        return node.atlas.behind();
    }
    let looking = Arc::clone(node);
    // One that fails is tried again with the next.
    tokio::task::spawn_blocking(move || looking.atlas.behind()).await.unwrap_or_default()
}

/// Has vehicles let go of geofences that are gone, some at a time, until it is aborted.
pub(crate) async fn sweep(node: Arc<Node>) {
    loop {
        disturbed(&node).await;
        let mut behind = stragglers(&node).await;
        while !behind.is_empty() {
            for group in behind.chunks(limits::LET_GO_AT_ONCE) {
                let mut answers = Vec::with_capacity(group.len());
                for vehicle in group {
                    let (done, answer) = oneshot::channel();
                    if node.ask(*vehicle, OrderAsk::Alert(AlertAsk::LetGo(done))).is_ok() {
                        answers.push(answer);
                    }
                }
                for answer in answers {
                    // One that does not answer is asked again.
                    let _ = tokio::time::timeout(LET_GO, answer).await;
                }
            }
            behind = stragglers(&node).await;
            if !behind.is_empty() {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

impl Warm {
    /// Where it belongs, as of a moment ago.
    pub(super) fn home_lately(&mut self) -> Option<Home> {
        let fresh = self.home.as_ref().filter(|(read, _)| read.elapsed() < HOME_FRESH);
        if let Some((_, home)) = fresh {
            return home.clone();
        }
        let home = self.node.atlas.home(&self.id);
        self.home = Some((Instant::now(), home.clone()));
        home
    }

    /// Lets go of geofences that are gone. No decisions are in flight.
    pub(super) async fn let_go(&mut self) -> Result<(), Fault> {
        let fences = self.node.atlas.fences();
        let home = self.home_lately();
        let around = Surroundings { fences: &fences, home: home.as_ref() };
        let now_ms = self.node.now_ms();
        let events = let_go(&self.vehicle.state, around, now_ms);
        if !events.is_empty() {
            self.append(&events, now_ms).await?;
            for event in &events {
                evolve(&mut self.vehicle.state, event);
                self.count_decision(event);
            }
            self.vehicle.memory.watch.agree(&self.vehicle.state.inside);
            self.changed = true;
            self.publish();
        }
        self.show_alerts();
        Ok(())
    }

    /// Counts a crossing, after it is durable.
    pub(super) fn count_crossing(&self, event: &VehicleEvent) {
        let VehicleEvent::Crossed(event) = event else { return };
        let label = CrossingLabel { kind: event.kind.as_str(), step: event.step.as_str() };
        self.node.metrics.geofence_crossings.get_or_create(&label).inc();
    }
}

/// Tells the vehicle domain where vehicles belong.
#[derive(Clone)]
pub struct Homing(pub(crate) Arc<Node>);

impl Homing {
    /// From now on, and for good.
    pub fn know(&self, home: HomeOf) {
        match self.0.atlas.homes.set(home) {
            // Some may have changed where they belong while nobody looked.
            Ok(()) => self.0.atlas.changed.notify_one(),
            Err(_) => tracing::error!("where vehicles belong was told twice; the first holds"),
        }
    }
}

/// The book that people open.
pub(crate) struct Map(pub Arc<Node>);

impl Map {
    fn is_theirs(&self, organization: &OrganizationId) -> bool {
        *organization == self.0.settings.organization
    }

    async fn append(
        &self,
        event: &GeofenceEvent,
        number: usize,
        version: u64,
        now_ms: i64,
        by: &str,
    ) -> Option<bool> {
        let node = &self.0;
        let stream = stream_of(node.settings.organization, number);
        let shard = shard_of(&stream);
        let envelope = event.envelope(stream, version, now_ms, by);
        match node.slot(shard).append(node.journal.as_ref(), vec![envelope]).await {
            Ok(Appended::Committed { .. }) => Some(true),
            Ok(Appended::Fenced { .. }) => {
                node.shard_lost(shard);
                None
            }
            Ok(Appended::Conflict { .. }) => Some(false),
            Err(error) => {
                tracing::error!(%error, "a change of the geofences has no answer");
                None
            }
        }
    }

    /// Writes a stream's snapshot when it is due; what does not succeed is done with the next ones.
    async fn snapshot(&self, number: usize) {
        let node = &self.0;
        let (version, state) = {
            let shelves = node.atlas.shelves.read();
            let shelf = &shelves[number];
            if !shelf.version.is_multiple_of(limits::SNAPSHOT_EVENTS) {
                return;
            }
            (shelf.version, shelf.snapshot())
        };
        let Some(state) = state else {
            tracing::warn!(
                number,
                "a stream of geofences is too large for a snapshot; starts of the node read all of it"
            );
            return;
        };
        let stream = stream_of(node.settings.organization, number);
        let owner = node.slot(shard_of(&stream)).owner();
        let written = node.journal.put_snapshots(owner, vec![(stream, Snapshot { version, state })]).await;
        if let Err(error) = written {
            tracing::warn!(%error, "a snapshot of the geofences was not written");
        }
    }
}

#[async_trait]
impl GeofenceBook for Map {
    fn get(&self, organization: &OrganizationId, id: &GeofenceId) -> Option<Arc<Geofence>> {
        let shelves = self.0.atlas.shelves.read();
        shelves[stream_number(id)].fences.get(id).filter(|_| self.is_theirs(organization)).cloned()
    }

    fn list(
        &self,
        organization: &OrganizationId,
        after: Option<&GeofenceId>,
        limit: usize,
        matches: &(dyn Fn(&Geofence) -> bool + Sync),
    ) -> Vec<Arc<Geofence>> {
        if !self.is_theirs(organization) {
            return Vec::new();
        }
        let shelves = self.0.atlas.shelves.read();
        let all = shelves.iter().flat_map(|shelf| shelf.fences.values());
        let mut found: Vec<_> = all
            .filter(|geofence| after.is_none_or(|after| geofence.id > *after) && matches(geofence))
            .cloned()
            .collect();
        found.sort_unstable_by_key(|geofence| geofence.id);
        found.truncate(limit);
        found
    }

    async fn change(
        &self,
        organization: &OrganizationId,
        request: GeofenceRequest,
        sees: Sees<'_>,
    ) -> Result<Arc<Geofence>, GeofenceRefusal> {
        let node = &self.0;
        if !self.is_theirs(organization) {
            return Err(GeofenceRefusal::Unavailable);
        }
        let (id, by) = (request.id, request.by.as_str());
        let number = stream_number(&id);
        let _one_at_a_time = node.atlas.writing.lock().await;
        for _ in 0..TRIES {
            let mut shelf = node.atlas.shelves.read()[number].clone();
            let event = match decide(&shelf, node.atlas.count(), &request, sees)? {
                Decided::IsSo(geofence) => return Ok(geofence),
                Decided::Follows(event) => event,
            };
            let (now_ms, before) = (node.now_ms(), shelf.fences.get(&id).cloned());
            shelf.evolve(&event, now_ms, by);
            // One that is deleted is answered as it was.
            let after = shelf.fences.get(&id).cloned().or(before).ok_or(GeofenceRefusal::Unavailable)?;
            if request.validate_only {
                return Ok(after);
            }
            match self.append(&event, number, shelf.version, now_ms, by).await {
                Some(true) => {
                    tracing::info!(geofence = %id, kind = event.event_type(), by, "the geofences changed");
                    node.atlas.shelves.write()[number] = shelf;
                    node.atlas.publish(node);
                    self.snapshot(number).await;
                    return Ok(after);
                }
                // What the journal holds is what counts, also when an answer was lost.
                other => {
                    let read = read(node, number).await.map_err(|_| GeofenceRefusal::Unavailable)?;
                    node.atlas.shelves.write()[number] = read;
                    node.atlas.publish(node);
                    if other.is_none() {
                        return Err(GeofenceRefusal::Unavailable);
                    }
                }
            }
        }
        Err(GeofenceRefusal::Unavailable)
    }

    fn vehicles(
        &self,
        organization: &OrganizationId,
        id: &GeofenceId,
        after: Option<&VehicleId>,
        limit: usize,
        matches: &(dyn Fn(&VehicleId) -> bool + Sync),
    ) -> Option<Vec<GeofenceVisit>> {
        let geofence = self.get(organization, id)?;
        let area = Area::of(&geofence.spec.shape).ok()?;
        let fence = Fence { geofence, area };
        let atlas = &self.0.atlas;
        let is_in = |line: &VehicleSummary| {
            let Some(position) = &line.position else { return false };
            let place = Place { latitude_e7: position.latitude_e7, longitude_e7: position.longitude_e7 };
            fence.area.has_near(place) && fence.area.beyond_m(place) <= 0.0 && matches(&line.vehicle)
        };
        let is_for_all = fence.geofence.spec.part == GeofencePart::Organization;
        let is_for =
            |vehicle: &VehicleId| is_for_all || fence.is_for(atlas.home(vehicle).as_ref()) == Some(true);
        let (mut lines, mut last) = (Vec::new(), after.copied());
        loop {
            let found = self.0.index.list(organization, last.as_ref(), limit, &is_in);
            let is_more = found.len() >= limit;
            last = found.last().map(|line| line.vehicle);
            // Where vehicles belong may have to be read from a disk: not under the index's locks.
            lines.extend(found.into_iter().filter(|line| is_for(&line.vehicle)));
            if !is_more || lines.len() >= limit {
                break;
            }
        }
        lines.truncate(limit);
        let held = atlas.held.read();
        let since = |vehicle: &VehicleId| {
            let inside = held.get(vehicle)?.0.inside.iter().find(|inside| inside.fence == *id);
            inside.map(|inside| inside.since_ms)
        };
        let visit =
            |line: VehicleSummary| GeofenceVisit { vehicle: line.vehicle, since_ms: since(&line.vehicle) };
        Some(lines.into_iter().map(visit).collect())
    }
}
