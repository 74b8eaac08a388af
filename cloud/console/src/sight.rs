//! What part of the organization a caller sees and acts on: that of their grants on fleets and depots. The one place where a
//! vehicle is held against it.
//!
//! The gate puts a [`Sight`] on every request. Names of vehicles in a request are held against it before its handler sees them
//! ([`names_within`]); what a handler lists, it filters by it. A method that does neither does not say `parts` in its proto, and
//! the gate lets nobody in whose role is not on the whole organization.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use prost_reflect::{DynamicMessage, Value};
use remuda_access::Reach;
use remuda_contracts::business::BusinessDesk;
use remuda_contracts::business::vehicles::Home;
use remuda_contracts::fleet::VehicleSummary;
use remuda_model::{OrganizationId, VehicleId};

use crate::filter::{Filter, FilterError};
use crate::limits;
use crate::mirror::Mirror;
use crate::refusal::Refusal;

/// Where vehicles belong, remembered for a moment: a watch of a large fleet asks for each vehicle again and again.
pub(crate) struct Homes {
    desk: Option<Arc<dyn BusinessDesk>>,
    organization: OrganizationId,
    known: RwLock<HashMap<VehicleId, (Instant, Home)>>,
}

impl Homes {
    /// As the business's records say; without a business no vehicle belongs anywhere.
    pub fn new(desk: Option<Arc<dyn BusinessDesk>>, organization: OrganizationId) -> Self {
        Self { desk, organization, known: RwLock::default() }
    }

    fn now(&self, vehicle: &VehicleId) -> Home {
        let home = self.desk.as_ref().and_then(|desk| desk.home(&self.organization, vehicle.as_str()));
        home.unwrap_or_default()
    }

    /// As of some moments ago at most.
    fn lately(&self, vehicle: &VehicleId, within: Duration, sees: impl Fn(&Home) -> bool) -> bool {
        let at = Instant::now();
        if let Some((read, home)) = self.known.read().get(vehicle)
            && at.duration_since(*read) < within
        {
            return sees(home);
        }
        let home = self.now(vehicle);
        let seen = sees(&home);
        let mut known = self.known.write();
        if known.len() >= limits::HOMES_KNOWN_MAX {
            known.retain(|_, (read, _)| at.duration_since(*read) < within);
        }
        if known.len() < limits::HOMES_KNOWN_MAX {
            known.insert(*vehicle, (at, home));
        }
        seen
    }
}

/// What somebody sees.
#[derive(Clone)]
pub(crate) struct Sight {
    reach: Arc<Reach>,
    homes: Arc<Homes>,
}

impl fmt::Debug for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.reach, f)
    }
}

impl Sight {
    pub fn new(reach: Reach, homes: Arc<Homes>) -> Self {
        Self { reach: Arc::new(reach), homes }
    }

    /// Nothing is hidden.
    pub fn is_whole(&self) -> bool {
        *self.reach == Reach::Everywhere
    }

    /// Whether all of it lies within another reach; nothing does in none.
    pub fn is_within(&self, reach: &Reach) -> bool {
        !reach.is_nowhere() && reach.includes(&self.reach)
    }

    /// Whether a vehicle is theirs to see, as of some moments ago at most.
    pub fn sees(&self, vehicle: &VehicleId) -> bool {
        let covers = |home: &Home| self.reach.covers(home.fleet.as_deref(), home.depot.as_deref());
        self.is_whole() || self.homes.lately(vehicle, limits::HOME_FRESH, covers)
    }

    /// As [`Sight::sees`], for a name that may be none.
    pub fn sees_named(&self, vehicle: &str) -> bool {
        self.is_whole() || VehicleId::new(vehicle).is_ok_and(|vehicle| self.sees(&vehicle))
    }

    /// Refuses a vehicle that is not theirs now, in the words for one that is not there.
    pub fn check(&self, vehicle: &VehicleId) -> Result<(), Refusal> {
        if self.is_whole() {
            return Ok(());
        }
        let home = self.homes.now(vehicle);
        if self.reach.covers(home.fleet.as_deref(), home.depot.as_deref()) {
            return Ok(());
        }
        Err(Refusal::NoSuchVehicle(vehicle.to_string()))
    }
}

/// Which vehicles somebody asks for, of those that they see.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    filter: Filter,
    sight: Sight,
}

impl Wanted {
    /// Reads a filter (the request's field `filter`).
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(filter: &str, sight: Sight) -> Result<Self, Refusal> {
        let wrong = |e: FilterError| Refusal::Field {
            field: "filter",
            problem: format!("at byte {}: {}", e.at, e.problem),
        };
        Ok(Self { filter: Filter::parse(filter).map_err(wrong)?, sight })
    }

    /// Whether every vehicle matches.
    pub fn is_all(&self) -> bool {
        self.filter.is_all() && self.sight.is_whole()
    }

    /// Whether the answer changes without a change of the vehicle: by time, or because it moved to another fleet.
    pub fn depends_on_time(&self) -> bool {
        self.filter.depends_on_time() || !self.sight.is_whole()
    }

    /// Whether a vehicle matches at a time, ms since 1970 UTC.
    pub fn matches(&self, vehicle: &VehicleSummary, now_ms: i64) -> bool {
        self.filter.matches(vehicle, now_ms) && self.sight.sees(&vehicle.vehicle)
    }

    /// How many vehicles there are for them, whatever they ask for; `all` are those of the organization.
    pub fn total(&self, mirror: &Mirror, all: usize) -> i32 {
        let mut total = 0;
        if self.sight.is_whole() {
            total = all;
        } else {
            mirror.visit(|line| total += usize::from(self.sight.sees(&line.vehicle.vehicle)));
        }
        i32::try_from(total).unwrap_or(i32::MAX)
    }
}

/// Holds every vehicle that a request names, in whatever field, against what its caller sees.
///
/// # Errors
/// For the first that they do not.
pub(crate) fn names_within(sight: &Sight, message: &DynamicMessage) -> Result<(), Refusal> {
    message.fields().try_for_each(|(_, value)| value_within(sight, value))
}

fn value_within(sight: &Sight, value: &Value) -> Result<(), Refusal> {
    match value {
        Value::String(text) => match vehicle_in(text) {
            Some(vehicle) => sight.check(&vehicle),
            None => Ok(()),
        },
        Value::Message(below) => names_within(sight, below),
        Value::List(list) => list.iter().try_for_each(|value| value_within(sight, value)),
        Value::Map(map) => map.values().try_for_each(|value| value_within(sight, value)),
        _ => Ok(()),
    }
}

/// The vehicle in `organizations/{organization}/vehicles/{vehicle}` or a name below it. What is none is the handler's to refuse.
pub(crate) fn vehicle_in(text: &str) -> Option<VehicleId> {
    let mut parts = text.split('/');
    let (Some("organizations"), Some(_), Some("vehicles"), Some(vehicle)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    VehicleId::new(vehicle).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_vehicles_are_found_in_texts() {
        let id = |text| VehicleId::new(text).ok();
        assert_eq!(vehicle_in("organizations/default/vehicles/V1"), id("V1"));
        assert_eq!(vehicle_in("organizations/x/vehicles/V1/commands/c"), id("V1"));
        for text in
            ["", "V1", "organizations/default", "organizations/default/trips/V1", "organizations/a/vehicles/"]
        {
            assert_eq!(vehicle_in(text), None, "{text}");
        }
    }

    #[test]
    fn without_records_a_part_sees_nothing_and_the_whole_everything() {
        let homes = Arc::new(Homes::new(None, OrganizationId::default()));
        let vehicle = VehicleId::new("V1").expect("an id");
        let part = Sight::new(Reach::of(&[remuda_access::Part::Fleet("north".into())]), Arc::clone(&homes));
        assert!(!part.sees(&vehicle) && part.check(&vehicle).is_err() && !part.is_whole());
        let whole = Sight::new(Reach::Everywhere, Arc::clone(&homes));
        assert!(whole.sees(&vehicle) && whole.check(&vehicle).is_ok());
        assert!(whole.sees_named("no vehicle/at all") && !part.sees_named("no vehicle/at all"));
        assert!(!Sight::new(Reach::NOWHERE, homes).sees(&vehicle));
    }
}
