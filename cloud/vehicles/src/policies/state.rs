//! What an organisation's stream of policies says, and which policy a vehicle should follow.

use std::collections::BTreeMap;
use std::sync::Arc;

use remuda_model::VehicleId;
use remuda_wire::Policy;

use super::PolicyView;

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What vehicles are sent.
    pub sent: Arc<Policy>,
    /// Its fingerprint.
    pub fingerprint: u32,
    /// When it was set, ms since 1970 UTC.
    pub changed_ms: i64,
    /// Who set it.
    pub changed_by: String,
}

/// State evolved from the stream alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoliciesState {
    /// Version of the last event.
    pub version: u64,
    /// Policies by name.
    pub policies: BTreeMap<String, Entry>,
    /// The policy of the whole fleet.
    pub all: Option<String>,
    /// Policies of prefixes.
    pub prefixes: BTreeMap<String, String>,
    /// Policies of single vehicles.
    pub vehicles: BTreeMap<VehicleId, String>,
}

/// What a vehicle should follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The policy's name; none for the vehicle's built-in one.
    pub name: Option<String>,
    /// What it is sent.
    pub sent: Arc<Policy>,
    /// Its fingerprint.
    pub fingerprint: u32,
}

impl Desired {
    /// The vehicle's built-in policy.
    pub fn built_in() -> Self {
        Self { name: None, sent: Arc::new(Policy { revision: 0, document: String::new() }), fingerprint: 0 }
    }
}

impl PoliciesState {
    /// The name of the policy that a vehicle should follow.
    pub fn name_for(&self, vehicle: &VehicleId) -> Option<&str> {
        if let Some(name) = self.vehicles.get(vehicle) {
            return Some(name);
        }
        let id = vehicle.as_str();
        // Prefixes are few; of those that fit the longest is the last.
        let fitting = self.prefixes.iter().filter(|(prefix, _)| id.starts_with(prefix.as_str()));
        let longest = fitting.max_by_key(|(prefix, _)| prefix.len()).map(|(_, name)| name);
        longest.or(self.all.as_ref()).map(String::as_str)
    }

    /// The policy that a vehicle should follow.
    pub fn desired(&self, vehicle: &VehicleId) -> Desired {
        let named = self.name_for(vehicle).and_then(|name| Some((name, self.policies.get(name)?)));
        named.map_or_else(Desired::built_in, |(name, entry)| Desired {
            name: Some(name.to_owned()),
            sent: Arc::clone(&entry.sent),
            fingerprint: entry.fingerprint,
        })
    }

    /// Whether anything is assigned to it.
    pub fn is_assigned(&self, name: &str) -> bool {
        self.all.as_deref() == Some(name)
            || self.prefixes.values().any(|n| n == name)
            || self.vehicles.values().any(|n| n == name)
    }

    /// Every policy, as people see it.
    pub fn views(&self) -> Vec<PolicyView> {
        let of = |(name, entry): (&String, &Entry)| PolicyView {
            name: name.clone(),
            document: entry.sent.document.clone(),
            revision: entry.sent.revision,
            changed_ms: entry.changed_ms,
            changed_by: entry.changed_by.clone(),
            all: self.all.as_ref() == Some(name),
            prefixes: self.prefixes.iter().filter(|(_, n)| *n == name).map(|(p, _)| p.clone()).collect(),
            vehicles: self.vehicles.iter().filter(|(_, n)| *n == name).map(|(v, _)| *v).collect(),
        };
        self.policies.iter().map(of).collect()
    }
}
