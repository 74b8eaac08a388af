//! Alerts of all vehicles, in memory: all that are not over, and the last that ended. Reading never activates an actor.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use remuda_contracts::alerts::{
    AlertEntryKind, AlertLine, AlertMark, AlertPlace, AlertPoint, AlertRecord, AlertSeverity, AlertState,
};
use remuda_model::{OrganizationId, VehicleId};
use tokio::sync::watch;

use crate::alerts::{Acted, Alert, AlertBook, AlertPhase, EntryKind};
use crate::metrics::SeverityLabel;

// How long until a vehicle is looked at again whose snooze is over and was not ended, ms: its actor may have failed.
const LOOK_AGAIN_MS: i64 = 5_000;

/// Those raised last first; two of the same time by name.
type Key = (Reverse<i64>, VehicleId, String);

struct Line {
    change: u64,
    /// Given when it is first seen.
    number: u32,
    record: Arc<AlertRecord>,
}

#[derive(Default)]
struct Lines {
    by_key: BTreeMap<Key, Line>,
    of_vehicle: HashMap<VehicleId, Vec<Key>>,
    /// By the time of their end.
    ended: BTreeSet<(i64, Key)>,
    change: u64,
    next_number: u32,
    dropped_to: u64,
    /// When to see whether a vehicle's snooze is over: one entry for each that has one, the same in both.
    due: BTreeSet<(i64, VehicleId)>,
    due_of: HashMap<VehicleId, i64>,
}

impl Lines {
    fn look_at(&mut self, vehicle: VehicleId, due_ms: Option<i64>) {
        if let Some(before_ms) = self.due_of.remove(&vehicle) {
            self.due.remove(&(before_ms, vehicle));
        }
        if let Some(due_ms) = due_ms {
            self.due_of.insert(vehicle, due_ms);
            self.due.insert((due_ms, vehicle));
        }
    }

    /// One that ended so long ago that it left the list does not come back.
    fn is_too_old(&self, ended_max: usize, alert: &Alert, key: &Key) -> bool {
        let AlertPhase::Cleared(end) = &alert.phase else { return false };
        let is_full = self.ended.len() >= ended_max;
        is_full && self.ended.first().is_some_and(|(ms, first)| (end.time_ms, key) < (*ms, first))
    }

    /// Whether all of it is as a vehicle's stream says.
    fn shows(&self, ended_max: usize, vehicle: &VehicleId, alerts: &[(Key, &Alert)]) -> bool {
        let is_shown = |(key, alert): &(Key, &Alert)| match self.by_key.get(key) {
            Some(line) => line.record.revision == alert.revision,
            None => self.is_too_old(ended_max, alert, key),
        };
        let mut known = self.of_vehicle.get(vehicle).into_iter().flatten();
        alerts.iter().all(is_shown) && known.all(|known| alerts.iter().any(|(key, _)| key == known))
    }
}

/// The index.
pub(crate) struct AlertIndex {
    organization: OrganizationId,
    instance: u64,
    ended_max: usize,
    lines: RwLock<Lines>,
    changed: watch::Sender<u64>,
    open: Family<SeverityLabel, Gauge>,
}

impl AlertIndex {
    /// An empty index; `instance` tells its places from those of an earlier start. It keeps at most so many that ended.
    pub fn new(
        organization: OrganizationId,
        instance: u64,
        ended_max: usize,
        open: Family<SeverityLabel, Gauge>,
    ) -> Self {
        // Shown as 0, not as nothing.
        for severity in AlertSeverity::ALL {
            open.get_or_create(&SeverityLabel { severity: severity.as_str() }).set(0);
        }
        let (lines, changed) = (RwLock::default(), watch::Sender::new(0));
        Self { organization, instance, ended_max, lines, changed, open }
    }

    /// Shows what a vehicle's stream says.
    pub fn update(&self, vehicle: VehicleId, book: &AlertBook) {
        let key_of = |alert: &Alert| (Reverse(alert.fact.sampled_ms), vehicle, alert.id().to_string());
        let alerts: Vec<(Key, &Alert)> = book.iter().map(|alert| (key_of(alert), alert)).collect();
        // Each vehicle's actor comes by when it starts, and few have anything new.
        if self.lines.read().shows(self.ended_max, &vehicle, &alerts) {
            return;
        }
        let snoozes = book.open.iter().filter_map(|alert| match alert.phase {
            AlertPhase::Snoozed { until_ms, .. } => Some(until_ms),
            _ => None,
        });
        let due_ms = snoozes.min();
        let mut guard = self.lines.write();
        let lines = &mut *guard;
        let before = lines.change;
        lines.look_at(vehicle, due_ms);
        let known = lines.of_vehicle.remove(&vehicle).unwrap_or_default();
        let mut keys = Vec::with_capacity(alerts.len());
        for (key, alert) in alerts {
            let line = lines.by_key.get(&key);
            if line.is_none() && lines.is_too_old(self.ended_max, alert, &key) {
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
        while lines.ended.len() > self.ended_max {
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
        let number = match lines.by_key.remove(&key) {
            Some(before) => {
                self.forget(lines, &key, &before);
                before.number
            }
            None => {
                let number = lines.next_number;
                lines.next_number = number.wrapping_add(1);
                number
            }
        };
        if record.state == AlertState::Cleared {
            lines.ended.insert((record.mark.time_ms, key.clone()));
        } else {
            self.gauge(record.severity).inc();
        }
        lines.by_key.insert(key, Line { change, number, record: Arc::new(record) });
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

    /// Visits every alert; answers where the index was.
    pub fn visit(
        &self,
        organization: &OrganizationId,
        each: &mut (dyn FnMut(AlertLine<'_>) + Send),
    ) -> AlertPoint {
        let lines = self.lines.read();
        if *organization == self.organization {
            for Line { change, number, record } in lines.by_key.values() {
                each(AlertLine { change: *change, number: *number, record });
            }
        }
        AlertPoint { instance: self.instance, change: lines.change, dropped_to: lines.dropped_to }
    }

    /// Tells of changes.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// At most so many vehicles with a snooze that is over, those first that are over longest. They are answered again
    /// and again until it is ended.
    pub fn take_due(&self, now_ms: i64, limit: usize) -> Vec<VehicleId> {
        let mut lines = self.lines.write();
        let due = lines.due.iter().take_while(|(due_ms, _)| *due_ms <= now_ms).take(limit);
        let vehicles: Vec<VehicleId> = due.map(|(_, vehicle)| *vehicle).collect();
        for vehicle in &vehicles {
            lines.look_at(*vehicle, Some(now_ms.saturating_add(LOOK_AGAIN_MS)));
        }
        vehicles
    }
}

/// An alert as others see it.
pub(crate) fn record_of(organization: OrganizationId, vehicle: VehicleId, alert: &Alert) -> AlertRecord {
    let (mark, snoozed_until_ms) = match &alert.phase {
        AlertPhase::Open => (AlertMark::default(), 0),
        AlertPhase::Acknowledged(acted) | AlertPhase::Cleared(acted) => (mark_of(acted), 0),
        AlertPhase::Snoozed { until_ms, acted } => (mark_of(acted), *until_ms),
    };
    let rule = alert.rule();
    AlertRecord {
        organization,
        vehicle,
        id: alert.id().to_string(),
        rule: rule.as_str().to_owned(),
        geofence: rule.geofence(),
        severity: rule.severity(),
        state: alert.phase.state(),
        raised_ms: alert.fact.sampled_ms,
        late: alert.is_late(),
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

#[cfg(test)]
mod tests {
    use remuda_model::Incarnation;

    use super::*;
    use crate::alerts::{AlertEvent, AlertId, AlertStep, evolve};
    use crate::event::{AlertFact, Cause, RuleId, Timeliness};

    const MINUTE: i64 = 60_000;

    fn index(ended_max: usize) -> AlertIndex {
        AlertIndex::new(OrganizationId::default(), 7, ended_max, Family::default())
    }

    fn fact(at_ms: i64) -> AlertFact {
        let (incarnation, seq) = (Incarnation(1), at_ms.unsigned_abs());
        let cause = Cause { rule: RuleId::HarshBraking, incarnation, seq, row: 0 };
        AlertFact { cause, value: 9.0, threshold: 4.0, sampled_ms: at_ms, timeliness: Timeliness::Timely }
    }

    fn raised(at_ms: i64) -> AlertBook {
        let mut book = AlertBook::default();
        evolve::raised(&mut book, &fact(at_ms));
        book
    }

    fn snooze(book: &mut AlertBook, until_ms: i64) {
        let alert = book.open[0].id();
        let step = AlertStep::Snoozed { until_ms, note: String::new() };
        let (by, request_id) = ("ada".to_owned(), String::new());
        evolve::stepped(book, &AlertEvent { alert, revision: 2, step, by, request_id, time_ms: 1 });
    }

    fn vehicle(n: usize) -> VehicleId {
        VehicleId::new(&format!("V{n}")).unwrap()
    }

    /// When each that is listed was raised.
    fn listed(index: &AlertIndex) -> Vec<i64> {
        let all = index.list(&OrganizationId::default(), None, 100, &|_| true);
        all.iter().map(|record| record.raised_ms).collect()
    }

    #[test]
    fn those_that_ended_first_leave_the_list_and_do_not_come_back() {
        let index = index(3);
        let point = || index.visit(&OrganizationId::default(), &mut |_| {});
        let mut books: Vec<AlertBook> = (1..=5).map(raised).collect();
        for (n, book) in books.iter_mut().enumerate() {
            index.update(vehicle(n), book);
            evolve::cleared(book, &fact(100 + n as i64));
        }
        assert_eq!((listed(&index), point().dropped_to), (vec![5, 4, 3, 2, 1], 0), "all that are not over");
        for (n, book) in books.iter().enumerate().take(3) {
            index.update(vehicle(n), book);
        }
        assert_eq!((listed(&index).len(), point().dropped_to), (5, 0));
        let ended_at = point().change;
        index.update(vehicle(3), &books[3]);
        assert_eq!(listed(&index), [5, 4, 3, 2], "the one that ended first has left");
        assert_eq!(point().dropped_to, ended_at - 2, "who stopped before its end was not told of it");
        index.update(vehicle(4), &books[4]);
        assert_eq!((listed(&index), point().dropped_to), (vec![5, 4, 3], ended_at - 1));
        let alert = AlertId(fact(1).cause).to_string();
        assert!(index.get(&OrganizationId::default(), &vehicle(0), &alert).is_none());
        // Its actor starts again: its stream still has it.
        let before = point();
        index.update(vehicle(0), &books[0]);
        assert_eq!((listed(&index), point()), (vec![5, 4, 3], before));
    }

    #[test]
    fn what_is_known_already_takes_no_lock_that_keeps_others_waiting() {
        let index = index(3);
        let mut book = raised(1);
        index.update(vehicle(1), &book);
        let reading = index.lines.read();
        let done = std::thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let (index, book) = (&index, &book);
            scope.spawn(move || {
                index.update(vehicle(1), book);
                index.update(vehicle(2), &AlertBook::default());
                let _ = tell.send(());
            });
            let done = told.recv_timeout(std::time::Duration::from_secs(10));
            drop(reading);
            done
        });
        assert!(done.is_ok(), "it waited for who reads");
        evolve::cleared(&mut book, &fact(2));
        index.update(vehicle(1), &book);
        assert_eq!(index.lines.read().change, 2);
        index.update(vehicle(1), &AlertBook::default());
        assert!(listed(&index).is_empty(), "what left the vehicle's book is gone");
    }

    #[test]
    fn a_vehicle_is_looked_at_when_its_snooze_is_over_and_at_no_other_time() {
        let index = index(3);
        let kept = || {
            let lines = index.lines.read();
            (lines.due.len(), lines.due_of.len())
        };
        let mut book = raised(1);
        for n in 1..50 {
            snooze(&mut book, n * MINUTE);
            index.update(vehicle(1), &book);
            assert_eq!(kept(), (1, 1), "an earlier snooze leaves nothing");
        }
        assert!(index.take_due(48 * MINUTE, 64).is_empty());
        assert_eq!(index.take_due(49 * MINUTE, 64), [vehicle(1)]);
        assert!(index.take_due(49 * MINUTE, 64).is_empty(), "its actor has some time");
        assert_eq!(index.take_due(49 * MINUTE + LOOK_AGAIN_MS, 64), [vehicle(1)], "it has not ended it");
        evolve::cleared(&mut book, &fact(2));
        index.update(vehicle(1), &book);
        assert_eq!(kept(), (0, 0));
        // Many at once are taken one after the other, those first that wait longest.
        for n in 0..10 {
            let mut book = raised(1);
            snooze(&mut book, MINUTE + n as i64);
            index.update(vehicle(n), &book);
        }
        let taken: Vec<Vec<VehicleId>> = (0..4).map(|_| index.take_due(2 * MINUTE, 4)).collect();
        let in_turn: Vec<VehicleId> = (0..10).map(vehicle).collect();
        assert_eq!(taken.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2, 0]);
        assert_eq!(taken.concat(), in_turn);
    }
}
