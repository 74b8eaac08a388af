//! What a feed tells.

use std::collections::HashSet;

use remuda_eventsourcing::NewEvent;
use remuda_lake::{Row, RowBody};
use remuda_model::{SignalId, VehicleId, signal};
use serde::{Deserialize, Serialize};

use crate::error::FeedError;
use crate::limits;

/// What a feed tells. An empty list leaves nothing out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Whether events are told.
    pub events: bool,
    /// Whether telemetry is told.
    pub telemetry: bool,
    /// Only these vehicles: ids, or beginnings of ids with a `*` behind.
    pub vehicles: Vec<String>,
    /// Only events whose type begins so, such as `vehicle.` or `trip.completed`.
    pub event_types: Vec<String>,
    /// Only these signals: VSS paths, or beginnings with a `*` behind.
    pub signals: Vec<String>,
}

impl Filter {
    /// Everything.
    pub fn everything() -> Self {
        Self { events: true, telemetry: true, ..Self::default() }
    }

    /// Checks it.
    ///
    /// # Errors
    /// What makes no sense, and what to write instead.
    pub fn check(&self) -> Result<(), FeedError> {
        let wrong = |problem: String| Err(FeedError::setting("filter", problem));
        if !self.events && !self.telemetry {
            return wrong("it lets nothing through; choose events, telemetry or both".into());
        }
        for (name, list) in
            [("vehicles", &self.vehicles), ("event_types", &self.event_types), ("signals", &self.signals)]
        {
            if list.len() > limits::FILTER_LIST_MAX {
                return wrong(format!(
                    "{name} has {} entries; {} is the most",
                    list.len(),
                    limits::FILTER_LIST_MAX
                ));
            }
            if list.iter().any(|text| text.is_empty() || text.len() > limits::TEXT_MAX) {
                return wrong(format!("{name} has an entry that is empty or too long"));
            }
        }
        if let Some(id) = self.vehicles.iter().find(|id| !id.ends_with('*') && VehicleId::new(id).is_err()) {
            return wrong(format!("{id:?} is no vehicle's id; for a beginning of ids put a * behind"));
        }
        for path in &self.signals {
            if signals_of(path).is_empty() {
                return wrong(format!(
                    "no signal is called {path:?}; write VSS paths such as Vehicle.Speed or Vehicle.Cabin.*"
                ));
            }
        }
        Ok(())
    }
}

fn signals_of(path: &str) -> Vec<SignalId> {
    match path.strip_suffix('*') {
        Some(begin) => (0..=u16::MAX)
            .filter_map(|id| signal::by_id(SignalId(id)))
            .filter(|def| def.path.starts_with(begin))
            .map(|def| def.id)
            .collect(),
        None => signal::by_path(path).map(|def| def.id).into_iter().collect(),
    }
}

/// A filter ready to be asked for each row.
#[derive(Debug, Clone)]
pub(crate) struct Sieve {
    pub events: bool,
    pub telemetry: bool,
    vehicles: HashSet<String>,
    prefixes: Vec<String>,
    event_types: Vec<String>,
    signals: Option<HashSet<SignalId>>,
}

impl Sieve {
    pub fn of(filter: &Filter) -> Self {
        let (prefixes, vehicles): (Vec<String>, Vec<String>) =
            filter.vehicles.iter().cloned().partition(|id| id.ends_with('*'));
        let signals = filter.signals.iter().flat_map(|path| signals_of(path)).collect();
        Self {
            events: filter.events,
            telemetry: filter.telemetry,
            vehicles: vehicles.into_iter().collect(),
            prefixes: prefixes.into_iter().map(|p| p.trim_end_matches('*').to_owned()).collect(),
            event_types: filter.event_types.clone(),
            signals: (!filter.signals.is_empty()).then_some(signals),
        }
    }

    fn takes_vehicle(&self, id: &str) -> bool {
        (self.vehicles.is_empty() && self.prefixes.is_empty())
            || self.vehicles.contains(id)
            || self.prefixes.iter().any(|prefix| id.starts_with(prefix.as_str()))
    }

    pub fn takes_event(&self, event: &NewEvent) -> bool {
        let all_vehicles = self.vehicles.is_empty() && self.prefixes.is_empty();
        let of_vehicle =
            event.stream.aggregate_type == "vehicle" && self.takes_vehicle(&event.stream.aggregate_id);
        (all_vehicles || of_vehicle)
            && (self.event_types.is_empty()
                || self.event_types.iter().any(|begin| event.event_type.starts_with(begin.as_str())))
    }

    /// What of a row is told, if anything.
    pub fn takes_row(&self, row: &mut Row) -> bool {
        if !self.takes_vehicle(row.vehicle.as_str()) {
            return false;
        }
        match (&mut row.body, &self.signals) {
            // A frame without samples says nothing to anybody outside.
            (RowBody::Marker, _) => false,
            (RowBody::Samples(values), Some(wanted)) => {
                values.retain(|(signal, _)| wanted.contains(signal));
                !values.is_empty()
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_told() {
        let told = |filter: Filter| filter.check().map_err(|e| e.to_string()).err().unwrap_or_default();
        assert_eq!(told(Filter::everything()), "");
        assert!(told(Filter::default()).contains("lets nothing through"));
        let signals = |path: &str| Filter { signals: vec![path.into()], ..Filter::everything() };
        assert!(told(signals("Vehicle.Sped")).contains("no signal is called"));
        assert_eq!(told(signals("Vehicle.Sp*")), "");
        let vehicles = Filter { vehicles: vec!["no such id".into()], ..Filter::everything() };
        assert!(told(vehicles).contains("put a * behind"));
    }

    #[test]
    fn prefixes_and_ids_of_vehicles() {
        let sieve =
            Sieve::of(&Filter { vehicles: vec!["VAN*".into(), "CAR1".into()], ..Filter::everything() });
        for (id, taken) in [("VAN7", true), ("CAR1", true), ("CAR10", false), ("AVAN", false)] {
            assert_eq!(sieve.takes_vehicle(id), taken, "{id}");
        }
    }
}
