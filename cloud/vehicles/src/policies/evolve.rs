//! What a fact does to the state. Cannot fail.

use std::sync::Arc;

use remuda_wire::Policy;

use super::event::{For, PolicyEvent};
use super::state::{Entry, PoliciesState};

/// Applies the next event of the stream.
pub fn evolve(state: &mut PoliciesState, event: &PolicyEvent, time_ms: i64, who: &str) {
    state.version += 1;
    match event {
        PolicyEvent::Set { name, document } => {
            // Changes are made by people: 2^32 of them are out of reach.
            let revision = u32::try_from(state.version).unwrap_or(u32::MAX);
            let sent = Arc::new(Policy { revision, document: document.clone() });
            let fingerprint = sent.fingerprint();
            let entry = Entry { sent, fingerprint, changed_ms: time_ms, changed_by: who.to_owned() };
            state.policies.insert(name.clone(), entry);
        }
        PolicyEvent::Assigned { name, target } => match target {
            For::All => state.all = Some(name.clone()),
            For::Prefix(prefix) => _ = state.prefixes.insert(prefix.clone(), name.clone()),
            For::Vehicles(vehicles) => {
                state.vehicles.extend(vehicles.iter().map(|vehicle| (*vehicle, name.clone())));
            }
        },
        PolicyEvent::Unassigned { target } => match target {
            For::All => state.all = None,
            For::Prefix(prefix) => _ = state.prefixes.remove(prefix),
            For::Vehicles(vehicles) => {
                for vehicle in vehicles {
                    state.vehicles.remove(vehicle);
                }
            }
        },
        PolicyEvent::Deleted { name } => _ = state.policies.remove(name),
    }
}
