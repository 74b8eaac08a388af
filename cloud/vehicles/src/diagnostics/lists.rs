//! Trouble codes of a fleet, read off their events: what is there now over all vehicles, and all that a vehicle ever had.

use remuda_entities::projection::{Poisoned, Projected, Projection, View, fact, key};
use remuda_eventsourcing::{Aggregate, Event};
use remuda_model::OrganizationId;
use serde::{Deserialize, Serialize};

use super::Diagnostics;
use super::event::DiagnosticsEvent;
use super::state::{Dtc, DtcKey, Troubles};

/// A trouble code in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TroubleLine {
    /// Which vehicle.
    pub vehicle: String,
    /// Which code.
    pub key: DtcKey,
    /// What is known of it.
    pub dtc: Dtc,
}

/// The projection.
#[derive(Debug, Clone, Copy)]
pub struct TroubleLists;

const fn key_of(fact: &DiagnosticsEvent) -> &DtcKey {
    match fact {
        DiagnosticsEvent::Raised(e) | DiagnosticsEvent::Repeated(e) => &e.key,
        DiagnosticsEvent::Cleared(e) => &e.key,
        DiagnosticsEvent::Acknowledged(e) => &e.key,
    }
}

impl Projection for TroubleLists {
    const NAME: &'static str = "vehicle-troubles";
    const VERSION: u32 = 1;
    const READS: &'static [&'static str] = &[Diagnostics::TYPE];

    fn apply(&self, event: &Event, view: &mut View<'_>) -> Result<(), Poisoned> {
        let Some(fact) = fact::<Diagnostics>(event)? else { return Ok(()) };
        let stream = &event.event.stream;
        let (organization, vehicle) = (stream.organization.as_str(), &stream.aggregate_id);
        let whole = key(&["whole", organization, vehicle]);
        let before: Troubles = view.get(&whole)?.unwrap_or_default();
        let mut troubles = before.clone();
        // The same rules as the aggregate's own, so that a list never says anything else.
        Diagnostics::evolve(&mut troubles, &fact);
        let place = |list: &str, code: &DtcKey| key(&[list, organization, vehicle, &code.ecu, &code.code]);
        for gone in before.dtcs.keys().filter(|code| !troubles.dtcs.contains_key(code)) {
            view.remove(&place("all", gone));
            view.remove(&place("open", gone));
        }
        let code = key_of(&fact);
        if let Some(dtc) = troubles.dtcs.get(code) {
            let line = TroubleLine { vehicle: vehicle.clone(), key: code.clone(), dtc: dtc.clone() };
            view.put(&place("all", code), &line)?;
            if dtc.active {
                view.put(&place("open", code), &line)?;
            } else {
                view.remove(&place("open", code));
            }
        }
        view.put(&whole, &troubles)
    }
}

/// Reads the lists.
#[derive(Clone)]
pub struct TroubleDirectory(pub Projected<TroubleLists>);

impl TroubleDirectory {
    /// Trouble codes by vehicle, ECU and code, after the place of the last of the page before: those that are there now, or
    /// with `gone` all that were; of one vehicle, when one is named.
    ///
    /// # Errors
    /// When nothing serves yet, or the store fails.
    pub fn troubles(
        &self,
        organization: &OrganizationId,
        vehicle: Option<&str>,
        gone: bool,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, TroubleLine)>, Poisoned> {
        let list = [if gone { "all" } else { "open" }, organization.as_str()];
        let base = key(&list);
        let prefix = match vehicle {
            Some(vehicle) => key(&[list[0], list[1], vehicle]),
            None => base.clone(),
        };
        let after = after.map(|after| [&base[..], after].concat());
        let lines = self.0.scan(&prefix, after.as_deref(), limit)?;
        Ok(lines.into_iter().map(|(place, line)| (place[base.len()..].to_vec(), line)).collect())
    }
}
