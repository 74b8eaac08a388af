//! What a fact does to a vehicle's troubles. Cannot fail.

use super::event::DiagnosticsEvent;
use super::limits;
use super::state::{Acknowledgement, Dtc, DtcKey, Troubles};

/// Takes a fact in.
pub fn evolve(state: &mut Troubles, event: &DiagnosticsEvent) {
    use DiagnosticsEvent as E;
    match event {
        E::Raised(e) => {
            let known = state.dtcs.get(&e.key);
            let dtc = Dtc {
                severity: e.severity,
                active: true,
                first_seen_ms: known.map_or(e.at_ms, |known| known.first_seen_ms),
                last_seen_ms: e.at_ms,
                occurrences: known.map_or(0, |known| known.occurrences).saturating_add(1),
                freeze_frame: e.freeze_frame.clone(),
                acknowledged: None,
            };
            if known.is_none() && state.dtcs.len() >= limits::DTCS_MAX {
                forget_one(state);
            }
            state.dtcs.insert(e.key.clone(), dtc);
        }
        E::Repeated(e) => {
            let Some(dtc) = state.dtcs.get_mut(&e.key) else { return };
            if e.at_ms < dtc.first_seen_ms {
                dtc.first_seen_ms = e.at_ms;
                return;
            }
            if e.at_ms >= dtc.last_seen_ms.saturating_add(limits::SAME_OCCURRENCE_MS) {
                dtc.occurrences = dtc.occurrences.saturating_add(1);
            }
            if e.severity > dtc.severity {
                dtc.severity = e.severity;
                // What somebody has looked at was better than this.
                dtc.acknowledged = None;
            }
            dtc.last_seen_ms = e.at_ms;
            dtc.freeze_frame = e.freeze_frame.clone();
        }
        E::Cleared(e) => {
            if let Some(dtc) = state.dtcs.get_mut(&e.key) {
                dtc.active = false;
                dtc.last_seen_ms = e.at_ms;
            }
        }
        E::Acknowledged(e) => {
            if let Some(dtc) = state.dtcs.get_mut(&e.key) {
                let (by, note) = (e.by.clone(), e.note.clone());
                dtc.acknowledged = Some(Acknowledgement { by, note, time_ms: e.time_ms });
            }
        }
    }
}

/// The one that is gone for longest; `decide` sees to it that not all are active.
fn forget_one(state: &mut Troubles) {
    let gone = state.dtcs.iter().filter(|(_, dtc)| !dtc.active).min_by_key(|(_, dtc)| dtc.last_seen_ms);
    let oldest: Option<DtcKey> = gone.map(|(key, _)| key.clone());
    oldest.map(|key| state.dtcs.remove(&key));
}
