//! The fleet index: a line per vehicle, in memory. Reading it never activates an actor.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use remuda_contracts::fleet::{FleetChange, Position, Presence, VehicleSummary};
use remuda_model::{OrganizationId, ShardId, VehicleId};
use tokio::sync::broadcast;

// Locks; a shard's vehicles are all behind one.
const STRIPES: usize = 64;
// Changes a slow watcher may be behind before it must list again.
const CHANGES_MAX: usize = 64;
// Vehicles in one change.
const CHANGE_VEHICLES_MAX: usize = 1_000;

struct Line {
    summary: VehicleSummary,
    policy: PolicyLine,
    dirty: bool,
}

/// Which policy a vehicle says it follows, and which it refused.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct PolicyLine {
    /// None when it never said.
    pub revision: Option<u32>,
    pub fingerprint: Option<u32>,
    pub refused: Option<Box<(u32, String)>>,
}

impl PolicyLine {
    /// Is it this one? The revision alone tells, until the vehicle says more.
    pub fn follows(&self, revision: u32, fingerprint: u32) -> bool {
        self.revision == Some(revision) && self.fingerprint.is_none_or(|said| said == fingerprint)
    }
}

#[derive(Default)]
struct Stripe {
    lines: BTreeMap<VehicleId, Line>,
    dirty: Vec<VehicleId>,
}

/// What an actor knows of its vehicle's line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LineUpdate {
    pub presence: Presence,
    pub last_seen_ms: i64,
    pub position: Option<Position>,
    pub charge_percent: Option<f32>,
    pub open_alerts: u16,
    pub policy: PolicyLine,
}

/// The index.
pub(crate) struct Index {
    stripes: Vec<Mutex<Stripe>>,
    changes: broadcast::Sender<FleetChange>,
    revision: AtomicU64,
    online: prometheus_client::metrics::gauge::Gauge,
}

impl Index {
    /// An empty index. Revisions begin above those of any earlier start that ended before `now_ms`.
    pub fn new(now_ms: i64, online: prometheus_client::metrics::gauge::Gauge) -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            changes: broadcast::Sender::new(CHANGES_MAX),
            revision: AtomicU64::new((now_ms.max(0) as u64) << 20),
            online,
        }
    }

    fn stripe(&self, vehicle: &VehicleId) -> &Mutex<Stripe> {
        &self.stripes[usize::from(ShardId::of(vehicle).number()) % STRIPES]
    }

    /// Replaces a line.
    pub fn update(&self, organization: OrganizationId, vehicle: VehicleId, update: LineUpdate) {
        self.change(organization, vehicle, |summary, policy| {
            *policy = update.policy;
            summary.presence = update.presence;
            summary.last_seen_ms = update.last_seen_ms;
            summary.position = update.position;
            summary.charge_percent = update.charge_percent;
            summary.open_alerts = update.open_alerts;
        });
    }

    /// Changes only whether the vehicle is there.
    pub fn presence(&self, organization: OrganizationId, vehicle: VehicleId, presence: Presence) {
        self.change(organization, vehicle, |summary, _| summary.presence = presence);
    }

    fn change(
        &self,
        organization: OrganizationId,
        vehicle: VehicleId,
        apply: impl FnOnce(&mut VehicleSummary, &mut PolicyLine),
    ) {
        let mut guard = self.stripe(&vehicle).lock();
        let stripe = &mut *guard;
        let line = stripe.lines.entry(vehicle).or_insert_with(|| Line {
            summary: VehicleSummary {
                organization,
                vehicle,
                presence: Presence::Unknown,
                last_seen_ms: 0,
                position: None,
                charge_percent: None,
                open_alerts: 0,
                revision: 0,
            },
            policy: PolicyLine::default(),
            dirty: false,
        });
        let was_online = line.summary.presence == Presence::Online;
        apply(&mut line.summary, &mut line.policy);
        line.summary.revision = self.revision.fetch_add(1, Relaxed) + 1;
        match (was_online, line.summary.presence == Presence::Online) {
            (false, true) => _ = self.online.inc(),
            (true, false) => _ = self.online.dec(),
            _ => {}
        }
        if !line.dirty {
            line.dirty = true;
            stripe.dirty.push(vehicle);
        }
    }

    /// One vehicle's line.
    pub fn get(&self, organization: &OrganizationId, vehicle: &VehicleId) -> Option<VehicleSummary> {
        let stripe = self.stripe(vehicle).lock();
        let line = stripe.lines.get(vehicle)?;
        (line.summary.organization == *organization).then(|| line.summary.clone())
    }

    /// Lines after `after`, in order.
    pub fn list(
        &self,
        organization: &OrganizationId,
        after: Option<&VehicleId>,
        limit: usize,
        matches: &(dyn Fn(&VehicleSummary) -> bool + Sync),
    ) -> Vec<VehicleSummary> {
        let from = after.map_or(Bound::Unbounded, |vehicle| Bound::Excluded(*vehicle));
        let mut found = Vec::new();
        for stripe in &self.stripes {
            let stripe = stripe.lock();
            let lines = stripe.lines.range((from, Bound::Unbounded)).map(|(_, line)| &line.summary);
            let wanted = lines.filter(|s| s.organization == *organization && matches(s));
            found.extend(wanted.take(limit).cloned());
        }
        found.sort_unstable_by_key(|summary| summary.vehicle);
        found.truncate(limit);
        found
    }

    /// Looks at every line of an organisation, in no order.
    pub fn each(
        &self,
        organization: &OrganizationId,
        mut look: impl FnMut(&VehicleId, Presence, &PolicyLine),
    ) {
        for stripe in &self.stripes {
            let stripe = stripe.lock();
            let lines = stripe.lines.iter().filter(|(_, line)| line.summary.organization == *organization);
            lines.for_each(|(vehicle, line)| look(vehicle, line.summary.presence, &line.policy));
        }
    }

    /// Lines of an organisation.
    pub fn count(&self, organization: &OrganizationId) -> usize {
        let of = |stripe: &Mutex<Stripe>| {
            stripe.lock().lines.values().filter(|l| l.summary.organization == *organization).count()
        };
        self.stripes.iter().map(of).sum()
    }

    /// Changes from now on.
    pub fn changes(&self) -> broadcast::Receiver<FleetChange> {
        self.changes.subscribe()
    }

    /// Vehicles now online.
    pub fn online(&self) -> u64 {
        self.online.get().max(0) as u64
    }

    /// Tells watchers what changed since the last call.
    pub fn broadcast(&self) {
        let watched = self.changes.receiver_count() > 0;
        let mut vehicles = Vec::new();
        for stripe in &self.stripes {
            let mut guard = stripe.lock();
            let stripe = &mut *guard;
            for vehicle in stripe.dirty.drain(..) {
                if let Some(line) = stripe.lines.get_mut(&vehicle) {
                    line.dirty = false;
                    if watched {
                        vehicles.push(line.summary.clone());
                    }
                }
            }
        }
        for chunk in vehicles.chunks(CHANGE_VEHICLES_MAX) {
            // Nobody listening any more is no fault.
            let _ = self.changes.send(FleetChange { vehicles: Arc::from(chunk) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(presence: Presence) -> LineUpdate {
        LineUpdate {
            presence,
            last_seen_ms: 1,
            position: None,
            charge_percent: Some(50.0),
            open_alerts: 0,
            policy: PolicyLine::default(),
        }
    }

    #[test]
    fn pages_are_in_order_and_changes_are_coalesced() {
        let index = Index::new(0, prometheus_client::metrics::gauge::Gauge::default());
        let organization = OrganizationId::default();
        let vehicles: Vec<VehicleId> =
            (0..30).map(|n| VehicleId::new(&format!("V{n:03}")).unwrap()).collect();
        let mut changes = index.changes();
        for vehicle in vehicles.iter().rev() {
            index.update(organization, *vehicle, line(Presence::Online));
            index.update(organization, *vehicle, line(Presence::Offline));
            index.update(organization, *vehicle, line(Presence::Online));
        }
        assert_eq!((index.count(&organization), index.online()), (30, 30));
        let first = index.list(&organization, None, 20, &|_| true);
        let rest = index.list(&organization, Some(&first[19].vehicle), 20, &|_| true);
        let listed: Vec<VehicleId> = first.iter().chain(&rest).map(|s| s.vehicle).collect();
        assert_eq!(listed, vehicles);
        index.broadcast();
        assert_eq!(changes.try_recv().unwrap().vehicles.len(), 30);
        index.broadcast();
        assert!(changes.try_recv().is_err());
        let other = OrganizationId::new("other").unwrap();
        assert!(index.get(&other, &vehicles[0]).is_none());
        assert!(index.list(&other, None, 20, &|_| true).is_empty());
    }
}
