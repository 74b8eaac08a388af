//! A desk of alerts that keeps what it is told.

use std::cmp::Reverse;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_contracts::alerts::{
    AlertAct, AlertDesk, AlertEntryKind, AlertError, AlertLine, AlertMark, AlertPlace, AlertPoint,
    AlertRecord, AlertRequest, AlertSeverity, AlertState, SnoozeEnd,
};
use remuda_contracts::geofences::GeofenceId;
use remuda_model::{OrganizationId, VehicleId};
use tokio::sync::watch;

struct Line {
    change: u64,
    number: u32,
    record: Arc<AlertRecord>,
}

/// See the module.
pub struct FakeAlerts {
    lines: Mutex<Vec<Line>>,
    dropped_to: Mutex<u64>,
    instance: u64,
    changed: watch::Sender<u64>,
}

impl Default for FakeAlerts {
    fn default() -> Self {
        Self::started(7)
    }
}

impl FakeAlerts {
    /// One of this start of the node.
    pub fn started(instance: u64) -> Self {
        let (lines, dropped_to) = (Mutex::default(), Mutex::default());
        Self { lines, dropped_to, instance, changed: watch::Sender::new(0) }
    }

    /// Raises an alert, `age_ms` ago.
    pub fn raise(&self, vehicle: &str, id: &str, severity: AlertSeverity, age_ms: i64) {
        let raised_ms = super::now_ms() - age_ms;
        let raised = AlertMark { time_ms: raised_ms, ..AlertMark::default() };
        self.put(AlertRecord {
            organization: OrganizationId::default(),
            vehicle: VehicleId::new(vehicle).expect("a test's vehicle id"),
            id: id.to_owned(),
            rule: id.split_once('-').map_or(id, |(rule, _)| rule).to_owned(),
            geofence: None,
            severity,
            state: AlertState::Open,
            raised_ms,
            late: false,
            value: 14.0,
            threshold: 15.0,
            occurrences: 1,
            clears_by_hand: severity == AlertSeverity::Info,
            mark: AlertMark::default(),
            snoozed_until_ms: 0,
            revision: 1,
            history: vec![(AlertEntryKind::Raised, raised)],
            history_left_out: 0,
        });
    }

    /// Makes an alert one of a geofence.
    pub fn of_geofence(&self, id: &str, geofence: &str) {
        let known = {
            let lines = self.lines.lock();
            let line = lines.iter().find(|line| line.record.id == id).expect("it is there");
            Arc::clone(&line.record)
        };
        let geofence = Some(GeofenceId::new(geofence).expect("a test's geofence id"));
        self.put(AlertRecord { geofence, ..AlertRecord::clone(&known) });
    }

    fn put(&self, record: AlertRecord) {
        let mut lines = self.lines.lock();
        let change = *self.changed.borrow() + 1;
        let is_it = |line: &Line| (line.record.vehicle, &line.record.id) == (record.vehicle, &record.id);
        let next = lines.iter().map(|line| line.number + 1).max().unwrap_or_default();
        let number = lines.iter().find(|line| is_it(line)).map_or(next, |line| line.number);
        lines.retain(|line| !is_it(line));
        lines.push(Line { change, number, record: Arc::new(record) });
        lines.sort_by_key(|Line { record, .. }| {
            (Reverse(record.raised_ms), record.vehicle, record.id.clone())
        });
        drop(lines);
        self.changed.send_replace(change);
    }

    /// An ended alert leaves the list by its age.
    pub fn drop_line(&self, id: &str) {
        let mut lines = self.lines.lock();
        let at = lines.iter().position(|line| line.record.id == id).expect("it is there");
        *self.dropped_to.lock() = lines.remove(at).change;
    }
}

#[async_trait]
impl AlertDesk for FakeAlerts {
    fn get(&self, _: &OrganizationId, vehicle: &VehicleId, id: &str) -> Option<Arc<AlertRecord>> {
        let lines = self.lines.lock();
        let mut records = lines.iter().map(|line| &line.record);
        records.find(|known| known.vehicle == *vehicle && known.id == id).cloned()
    }

    fn list(
        &self,
        _: &OrganizationId,
        after: Option<&AlertPlace>,
        limit: usize,
        matches: &(dyn Fn(&AlertRecord) -> bool + Sync),
    ) -> Vec<Arc<AlertRecord>> {
        let key = |place: &AlertPlace| (Reverse(place.raised_ms), place.vehicle, place.id.clone());
        let lines = self.lines.lock();
        let records = lines.iter().map(|line| &line.record);
        let rest = records.filter(|r| after.is_none_or(|after| key(&r.place()) > key(after)));
        rest.filter(|record| matches(record)).take(limit).cloned().collect()
    }

    fn visit(&self, _: &OrganizationId, each: &mut (dyn FnMut(AlertLine<'_>) + Send)) -> AlertPoint {
        let lines = self.lines.lock();
        for Line { change, number, record } in lines.iter() {
            each(AlertLine { change: *change, number: *number, record });
        }
        let (change, dropped_to) = (*self.changed.borrow(), *self.dropped_to.lock());
        AlertPoint { instance: self.instance, change, dropped_to }
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    async fn act(
        &self,
        organization: &OrganizationId,
        vehicle: &VehicleId,
        id: &str,
        request: AlertRequest,
    ) -> Result<Arc<AlertRecord>, AlertError> {
        let known = self.get(organization, vehicle, id).ok_or(AlertError::NoSuchAlert)?;
        let refused = |code| Err(AlertError::Refused { code, sentence: "no".into() });
        if request.expected.is_some_and(|expected| expected != known.revision) {
            return refused("etag-mismatch");
        }
        let mut record = AlertRecord::clone(&known);
        let mark = |note: String| AlertMark { by: request.by.clone(), time_ms: super::now_ms(), note };
        match request.act {
            AlertAct::Acknowledge { .. } if known.state == AlertState::Cleared => {
                return refused("alert-cleared");
            }
            AlertAct::Acknowledge { note } => {
                (record.state, record.mark) = (AlertState::Acknowledged, mark(note));
            }
            AlertAct::Snooze { end, note } => {
                (record.state, record.mark) = (AlertState::Snoozed, mark(note));
                record.snoozed_until_ms = match end {
                    SnoozeEnd::At(until_ms) => until_ms,
                    SnoozeEnd::After(ms) => record.mark.time_ms + ms,
                };
            }
            AlertAct::Unsnooze if known.state != AlertState::Snoozed => return refused("alert-not-snoozed"),
            AlertAct::Unsnooze => (record.state, record.mark) = (AlertState::Open, AlertMark::default()),
            AlertAct::Clear { reason } if reason.is_empty() => return refused("bad-text"),
            AlertAct::Clear { .. } if !known.clears_by_hand => return refused("rule-clears-itself"),
            AlertAct::Clear { reason } => (record.state, record.mark) = (AlertState::Cleared, mark(reason)),
        }
        record.revision += 1;
        record.history.push((AlertEntryKind::Acknowledged, record.mark.clone()));
        if !request.validate_only {
            self.put(record.clone());
        }
        Ok(Arc::new(record))
    }
}
