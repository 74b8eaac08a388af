//! Alerts of all vehicles, in memory: all that are not over, and the last that ended. Reading never activates an actor.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use remuda_contracts::alerts::{
    AlertEntryKind, AlertMark, AlertPlace, AlertPoint, AlertRecord, AlertSeverity, AlertState,
};
use remuda_model::{OrganizationId, VehicleId};
use tokio::sync::watch;

use crate::alerts::{Acted, Alert, AlertBook, AlertPhase, EntryKind, limits};
use crate::event::Timeliness;
use crate::metrics::SeverityLabel;

// How long until a vehicle is looked at again whose snooze is over and was not ended, ms: its actor may have failed.
const LOOK_AGAIN_MS: i64 = 5_000;

/// Those raised last first; two of the same time by name.
type Key = (Reverse<i64>, VehicleId, String);

struct Line {
    change: u64,
    record: Arc<AlertRecord>,
}

#[derive(Default)]
struct Lines {
    by_key: BTreeMap<Key, Line>,
    of_vehicle: HashMap<VehicleId, Vec<Key>>,
    /// By the time of their end.
    ended: BTreeSet<(i64, Key)>,
    change: u64,
    dropped_to: u64,
    /// When to see whether a vehicle's snooze is over.
    due: BTreeSet<(i64, VehicleId)>,
}

/// The index.
pub(crate) struct AlertIndex {
    organization: OrganizationId,
    instance: u64,
    lines: RwLock<Lines>,
    changed: watch::Sender<u64>,
    open: Family<SeverityLabel, Gauge>,
}

impl AlertIndex {
    /// An empty index; `instance` tells its places from those of an earlier start.
    pub fn new(organization: OrganizationId, instance: u64, open: Family<SeverityLabel, Gauge>) -> Self {
        // Shown as 0, not as nothing.
        for severity in AlertSeverity::ALL {
            open.get_or_create(&SeverityLabel { severity: severity.as_str() }).set(0);
        }
        Self { organization, instance, lines: RwLock::default(), changed: watch::Sender::new(0), open }
    }

    /// Shows what a vehicle's stream says.
    pub fn update(&self, vehicle: VehicleId, book: &AlertBook) {
        let mut guard = self.lines.write();
        let lines = &mut *guard;
        let before = lines.change;
        let known = lines.of_vehicle.remove(&vehicle).unwrap_or_default();
        let mut keys = Vec::with_capacity(book.open.len() + book.ended.len());
        for alert in book.iter() {
            if let AlertPhase::Snoozed { until_ms, .. } = alert.phase {
                lines.due.insert((until_ms, vehicle));
            }
            let key = (Reverse(alert.fact.sampled_ms), vehicle, alert.id().to_string());
            let line = lines.by_key.get(&key);
            // One that ended so long ago that it left the list does not come back.
            if line.is_none() && is_too_old(lines, alert, &key) {
                continue;
            }
            if line.is_none_or(|line| line.record.revision != alert.revision) {
                self.put(lines, key.clone(), record_of(self.organization, vehicle, alert));
            }
            keys.push(key);
        }
        for key in known.into_iter().filter(|key| !keys.contains(key)) {
            self.drop_line(lines, &key);
        }
        if !keys.is_empty() {
            lines.of_vehicle.insert(vehicle, keys);
        }
        while lines.ended.len() > limits::ENDED_LISTED_MAX {
            let Some((_, key)) = lines.ended.pop_first() else { break };
            self.drop_line(lines, &key);
            if let Some(keys) = lines.of_vehicle.get_mut(&key.1) {
                keys.retain(|kept| *kept != key);
            }
        }
        let after = lines.change;
        drop(guard);
        if after != before {
            self.changed.send_replace(after);
        }
    }

    fn put(&self, lines: &mut Lines, key: Key, record: AlertRecord) {
        lines.change += 1;
        let change = lines.change;
        if let Some(before) = lines.by_key.remove(&key) {
            self.forget(lines, &key, &before);
        }
        if record.state == AlertState::Cleared {
            lines.ended.insert((record.mark.time_ms, key.clone()));
        } else {
            self.gauge(record.severity).inc();
        }
        lines.by_key.insert(key, Line { change, record: Arc::new(record) });
    }

    fn drop_line(&self, lines: &mut Lines, key: &Key) {
        if let Some(line) = lines.by_key.remove(key) {
            self.forget(lines, key, &line);
            lines.dropped_to = lines.dropped_to.max(line.change);
        }
    }

    fn forget(&self, lines: &mut Lines, key: &Key, line: &Line) {
        if line.record.state == AlertState::Cleared {
            lines.ended.remove(&(line.record.mark.time_ms, key.clone()));
        } else {
            self.gauge(line.record.severity).dec();
        }
    }

    fn gauge(&self, severity: AlertSeverity) -> Gauge {
        self.open.get_or_create(&SeverityLabel { severity: severity.as_str() }).clone()
    }

    /// One alert.
    pub fn get(
        &self,
        organization: &OrganizationId,
        vehicle: &VehicleId,
        id: &str,
    ) -> Option<Arc<AlertRecord>> {
        let lines = self.lines.read();
        let key = lines.of_vehicle.get(vehicle)?.iter().find(|(.., known)| known == id)?;
        let line = lines.by_key.get(key).filter(|_| *organization == self.organization)?;
        Some(Arc::clone(&line.record))
    }

    /// Alerts after a place.
    pub fn list(
        &self,
        organization: &OrganizationId,
        after: Option<&AlertPlace>,
        limit: usize,
        matches: &(dyn Fn(&AlertRecord) -> bool + Sync),
    ) -> Vec<Arc<AlertRecord>> {
        if *organization != self.organization {
            return Vec::new();
        }
        let from = after.map_or(Bound::Unbounded, |place| {
            Bound::Excluded((Reverse(place.raised_ms), place.vehicle, place.id.clone()))
        });
        let lines = self.lines.read();
        let rest = lines.by_key.range((from, Bound::Unbounded)).map(|(_, line)| &line.record);
        rest.filter(|record| matches(record)).take(limit).cloned().collect()
    }

    /// Visits every alert with the change that brought it; answers where the index was.
    pub fn visit(
        &self,
        organization: &OrganizationId,
        each: &mut (dyn FnMut(u64, &Arc<AlertRecord>) + Send),
    ) -> AlertPoint {
        let lines = self.lines.read();
        if *organization == self.organization {
            lines.by_key.values().for_each(|line| each(line.change, &line.record));
        }
        AlertPoint { instance: self.instance, change: lines.change, dropped_to: lines.dropped_to }
    }

    /// Tells of changes.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Vehicles with a snooze that is over. They are answered again and again until it is ended.
    pub fn take_due(&self, now_ms: i64) -> Vec<VehicleId> {
        let mut guard = self.lines.write();
        let lines = &mut *guard;
        let mut vehicles = BTreeSet::new();
        while lines.due.first().is_some_and(|(at, _)| *at <= now_ms) {
            vehicles.extend(lines.due.pop_first().map(|(_, vehicle)| vehicle));
        }
        vehicles.retain(|vehicle| {
            let keys = lines.of_vehicle.get(vehicle).into_iter().flatten();
            keys.filter_map(|key| lines.by_key.get(key)).any(|line| {
                line.record.state == AlertState::Snoozed && line.record.snoozed_until_ms <= now_ms
            })
        });
        lines.due.extend(vehicles.iter().map(|vehicle| (now_ms.saturating_add(LOOK_AGAIN_MS), *vehicle)));
        vehicles.into_iter().collect()
    }
}

fn is_too_old(lines: &Lines, alert: &Alert, key: &Key) -> bool {
    let AlertPhase::Cleared(end) = &alert.phase else { return false };
    let is_full = lines.ended.len() >= limits::ENDED_LISTED_MAX;
    is_full && lines.ended.first().is_some_and(|(ms, first)| (end.time_ms, key) < (*ms, first))
}

/// An alert as others see it.
pub(crate) fn record_of(organization: OrganizationId, vehicle: VehicleId, alert: &Alert) -> AlertRecord {
    let (state, mark, snoozed_until_ms) = match &alert.phase {
        AlertPhase::Open => (AlertState::Open, AlertMark::default(), 0),
        AlertPhase::Acknowledged(acted) => (AlertState::Acknowledged, mark_of(acted), 0),
        AlertPhase::Snoozed { until_ms, acted } => (AlertState::Snoozed, mark_of(acted), *until_ms),
        AlertPhase::Cleared(acted) => (AlertState::Cleared, mark_of(acted), 0),
    };
    let rule = alert.rule();
    AlertRecord {
        organization,
        vehicle,
        id: alert.id().to_string(),
        rule: rule.as_str().to_owned(),
        severity: rule.severity(),
        state,
        raised_ms: alert.fact.sampled_ms,
        late: alert.fact.timeliness != Timeliness::Timely,
        value: alert.fact.value,
        threshold: alert.fact.threshold,
        occurrences: alert.occurrences,
        clears_by_hand: rule.clears_by_hand(),
        mark,
        snoozed_until_ms,
        revision: alert.revision,
        history: alert.history.iter().map(|entry| (kind_of(entry.kind), mark_of(&entry.acted))).collect(),
        history_left_out: alert.left_out,
    }
}

fn mark_of(acted: &Acted) -> AlertMark {
    AlertMark { by: acted.by.clone(), time_ms: acted.time_ms, note: acted.note.clone() }
}

const fn kind_of(kind: EntryKind) -> AlertEntryKind {
    match kind {
        EntryKind::Raised => AlertEntryKind::Raised,
        EntryKind::RaisedAgain => AlertEntryKind::RaisedAgain,
        EntryKind::Acknowledged => AlertEntryKind::Acknowledged,
        EntryKind::Snoozed(until_ms) => AlertEntryKind::Snoozed(until_ms),
        EntryKind::Unsnoozed => AlertEntryKind::Unsnoozed,
        EntryKind::SnoozeEnded => AlertEntryKind::SnoozeEnded,
        EntryKind::Cleared => AlertEntryKind::Cleared,
        EntryKind::ClearedByHand => AlertEntryKind::ClearedByHand,
    }
}
