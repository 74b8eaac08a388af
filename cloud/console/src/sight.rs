//! What part of the organization a caller sees and acts on: that of their grants on fleets and depots. The one place where a
//! vehicle is held against it.
//!
//! The gate puts a [`Sight`] on every request. Names of vehicles in a request are held against it before its handler sees them
//! ([`names_within`]); what a handler lists, it filters by it. A method that does neither does not say `parts` in its proto, and
//! the gate lets nobody in whose role is not on the whole organization.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use prost_reflect::{DynamicMessage, Value};
use remuda_access::Reach;
use remuda_contracts::business::vehicles::{Home, HomePart};
use remuda_contracts::business::{BusinessDesk, BusinessError};
use remuda_contracts::fleet::VehicleSummary;
use remuda_contracts::geofences::GeofencePart;
use remuda_model::{OrganizationId, VehicleId};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::filter::{Filter, FilterError};
use crate::limits;
use crate::mirror::Mirror;
use crate::refusal::Refusal;

type Vehicles = Arc<HashSet<VehicleId>>;

/// The vehicles of a reach.
#[derive(Default)]
struct Known {
    /// As they were read last, and when that began.
    found: Mutex<Option<(Instant, Vehicles)>>,
    /// Held by whoever reads them.
    reading: Mutex<()>,
}

impl Known {
    /// As of so long ago at most.
    fn within(&self, age: Duration) -> Option<Vehicles> {
        let found = self.found.lock();
        found.as_ref().filter(|(read, _)| read.elapsed() < age).map(|(_, vehicles)| Arc::clone(vehicles))
    }

    /// As of some moments ago at most; reads them when they are older.
    fn lately(
        &self,
        read: impl FnOnce() -> Result<HashSet<VehicleId>, BusinessError>,
    ) -> Result<Vehicles, BusinessError> {
        if let Some(vehicles) = self.within(limits::HOME_FRESH) {
            return Ok(vehicles);
        }
        let _reading = match self.reading.try_lock() {
            Some(reading) => reading,
            // Somebody reads. Nobody waits for that whom what was read before is good enough for.
            None => match self.within(limits::HOME_STALE_MAX) {
                Some(vehicles) => return Ok(vehicles),
                None => aside(|| self.reading.lock()),
            },
        };
        // Who waited finds what the other has read.
        if let Some(vehicles) = self.within(limits::HOME_FRESH) {
            return Ok(vehicles);
        }
        let begun = Instant::now();
        let vehicles = Arc::new(aside(read)?);
        *self.found.lock() = Some((begun, Arc::clone(&vehicles)));
        Ok(vehicles)
    }
}

/// Does what waits for a disk, and lets another thread take over the tasks of this one meanwhile. A runtime with one thread has
/// none that could.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Where vehicles belong. Those of each reach are remembered for a moment: who watches asks again and again.
pub(crate) struct Homes {
    desk: Option<Arc<dyn BusinessDesk>>,
    organization: OrganizationId,
    known: Mutex<HashMap<Arc<Reach>, Arc<Known>>>,
}

impl Homes {
    /// As the business's records say; without a business no vehicle belongs anywhere.
    pub fn new(desk: Option<Arc<dyn BusinessDesk>>, organization: OrganizationId) -> Self {
        Self { desk, organization, known: Mutex::default() }
    }

    fn now(&self, vehicle: &VehicleId) -> Result<Home, BusinessError> {
        let Some(desk) = &self.desk else { return Ok(Home::default()) };
        Ok(desk.home(&self.organization, vehicle.as_str())?.unwrap_or_default())
    }

    /// The vehicles of a reach, as of some moments ago at most.
    fn lately(&self, reach: &Arc<Reach>) -> Result<Vehicles, BusinessError> {
        let known = {
            let mut known = self.known.lock();
            if known.len() >= limits::REACHES_KNOWN_MAX && !known.contains_key(reach) {
                known.clear();
            }
            Arc::clone(known.entry(Arc::clone(reach)).or_default())
        };
        known.lately(|| self.read(reach))
    }

    fn read(&self, reach: &Reach) -> Result<HashSet<VehicleId>, BusinessError> {
        let mut all = HashSet::new();
        let (Some(desk), Reach::Parts { fleets, depots }) = (&self.desk, reach) else { return Ok(all) };
        let fleets = fleets.iter().map(|fleet| HomePart::Fleet(fleet));
        for part in fleets.chain(depots.iter().map(|depot| HomePart::Depot(depot))) {
            let mut after: Option<String> = None;
            loop {
                let mut page =
                    desk.vehicles_of(&self.organization, part, after.as_deref(), limits::PAGE_MAX)?;
                all.extend(page.iter().filter_map(|vehicle| VehicleId::new(vehicle).ok()));
                if page.len() < limits::PAGE_MAX {
                    break;
                }
                after = page.pop();
            }
        }
        Ok(all)
    }
}

/// The vehicles that somebody sees, as of some moments ago at most: for who looks at many.
#[derive(Debug, Clone)]
pub(crate) enum Seen {
    /// All there are.
    All,
    /// These.
    These(Vehicles),
}

impl Seen {
    /// None at all.
    pub fn nothing() -> Self {
        Self::These(Vehicles::default())
    }

    /// Whether one is among them that was not before.
    pub fn has_more_than(&self, before: &Self) -> bool {
        match self {
            Self::All => false,
            Self::These(these) => these.iter().any(|vehicle| !before.has(vehicle)),
        }
    }

    /// Whether a vehicle is among them.
    pub fn has(&self, vehicle: &VehicleId) -> bool {
        match self {
            Self::All => true,
            Self::These(these) => these.contains(vehicle),
        }
    }

    /// As [`Seen::has`], for a name that may be none.
    pub fn has_named(&self, vehicle: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(these) => VehicleId::new(vehicle).is_ok_and(|vehicle| these.contains(&vehicle)),
        }
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

    /// Whether what is of a part of the organisation is theirs.
    pub fn sees_part(&self, part: &GeofencePart) -> bool {
        match part {
            GeofencePart::Organization => self.is_whole(),
            GeofencePart::Fleet(fleet) => self.reach.covers(Some(fleet), None),
            GeofencePart::Depot(depot) => self.reach.covers(None, Some(depot)),
        }
    }

    /// Whether all of it lies within another reach; nothing does in none.
    pub fn is_within(&self, reach: &Reach) -> bool {
        !reach.is_nowhere() && reach.includes(&self.reach)
    }

    /// The vehicles that are theirs to see.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn seen(&self) -> Result<Seen, Refusal> {
        if self.is_whole() {
            return Ok(Seen::All);
        }
        self.homes.lately(&self.reach).map(Seen::These).map_err(Refusal::business)
    }

    /// Whether a vehicle is theirs now: what is asked before anything is changed, and of what is named.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn sees_now(&self, vehicle: &VehicleId) -> Result<bool, BusinessError> {
        if self.is_whole() {
            return Ok(true);
        }
        let home = self.homes.now(vehicle)?;
        Ok(self.reach.covers(home.fleet.as_deref(), home.depot.as_deref()))
    }

    /// As [`Sight::sees_now`], for a name that may be none.
    pub fn sees_named_now(&self, vehicle: &str) -> Result<bool, BusinessError> {
        match VehicleId::new(vehicle) {
            _ if self.is_whole() => Ok(true),
            Ok(vehicle) => self.sees_now(&vehicle),
            Err(_) => Ok(false),
        }
    }

    /// Refuses a vehicle that is not theirs now, in the words for one that is not there.
    pub fn check(&self, vehicle: &VehicleId) -> Result<(), Refusal> {
        if self.sees_now(vehicle).map_err(Refusal::business)? {
            return Ok(());
        }
        Err(Refusal::NoSuchVehicle(vehicle.to_string()))
    }
}

/// The vehicles that somebody sees, as of the last look: for whoever looks at many, again and again.
#[derive(Debug)]
pub(crate) struct Shown {
    sight: Sight,
    seen: RwLock<Seen>,
}

impl Shown {
    /// As of now.
    ///
    /// # Errors
    /// When it cannot be told what they see.
    pub fn new(sight: Sight) -> Result<Self, Refusal> {
        let seen = RwLock::new(sight.seen()?);
        Ok(Self { sight, seen })
    }

    /// Whether that is all there are, whenever it is looked.
    pub fn is_all(&self) -> bool {
        self.sight.is_whole()
    }

    /// Looks again. Before vehicles are held against it: this reads a disk, and they may be locked.
    pub fn look(&self) {
        if self.is_all() {
            return;
        }
        let seen = self.sight.seen().unwrap_or_else(|error| {
            // What cannot be told is not shown.
            tracing::warn!(%error, "which vehicles belong to a part of the organization cannot be read");
            Seen::nothing()
        });
        *self.seen.write() = seen;
    }

    /// Whether a vehicle was seen at the last look.
    pub fn has(&self, vehicle: &VehicleId) -> bool {
        // Who sees everything asks for no lock, for each of many vehicles.
        self.is_all() || self.seen.read().has(vehicle)
    }
}

/// Which vehicles somebody asks for, of those that they see.
#[derive(Debug)]
pub(crate) struct Wanted {
    filter: Filter,
    shown: Shown,
}

impl Wanted {
    /// Reads a filter (the request's field `filter`).
    ///
    /// # Errors
    /// When it is none, or it cannot be told what they see.
    pub fn parse(filter: &str, sight: Sight) -> Result<Self, Refusal> {
        let wrong = |e: FilterError| Refusal::Field {
            field: "filter",
            problem: format!("at byte {}: {}", e.at, e.problem),
        };
        let filter = Filter::parse(filter).map_err(wrong)?;
        Ok(Self { filter, shown: Shown::new(sight)? })
    }

    /// Looks again at what they see, see [`Shown::look`].
    pub fn look(&self) {
        self.shown.look();
    }

    /// Whether every vehicle matches.
    pub fn is_all(&self) -> bool {
        self.filter.is_all() && self.shown.is_all()
    }

    /// Whether the answer changes without a change of the vehicle: by time, or because it moved to another fleet.
    pub fn depends_on_time(&self) -> bool {
        self.filter.depends_on_time() || !self.shown.is_all()
    }

    /// Whether a vehicle matches at a time, ms since 1970 UTC, and was seen at the last look.
    pub fn matches(&self, vehicle: &VehicleSummary, now_ms: i64) -> bool {
        self.filter.matches(vehicle, now_ms) && self.shown.has(&vehicle.vehicle)
    }

    /// How many vehicles there are for them, whatever they ask for; `all` are those of the organization.
    pub fn total(&self, mirror: &Mirror, all: usize) -> i32 {
        let total = match &*self.shown.seen.read() {
            Seen::All => all,
            Seen::These(these) => mirror.count_of(these),
        };
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
    fn nobody_waits_for_a_set_that_is_being_read_when_the_last_will_do() {
        let id = |text| VehicleId::new(text).expect("an id");
        let only = |text| move || Ok(HashSet::from([id(text)]));
        let known = Known::default();
        let first = known.lately(only("V1")).expect("a set");
        assert!(Arc::ptr_eq(&first, &known.lately(only("V2")).expect("a set")), "it is fresh");
        let age = |age: Duration| {
            let read = Instant::now().checked_sub(age).expect("a time");
            *known.found.lock() = Some((read, Arc::clone(&first)));
        };
        age(limits::HOME_FRESH);
        let reading = known.reading.lock();
        assert!(Arc::ptr_eq(&first, &known.lately(only("V2")).expect("a set")), "somebody reads");
        age(limits::HOME_STALE_MAX);
        let next = std::thread::scope(|scope| {
            let waits = scope.spawn(|| known.lately(only("V2")).expect("a set"));
            drop(reading);
            waits.join().expect("it waits and reads")
        });
        assert_eq!(*next, HashSet::from([id("V2")]));
        assert!(known.lately(|| Err(BusinessError::Unavailable(String::new()))).is_ok(), "it is fresh again");
    }

    #[test]
    fn what_came_is_told_from_what_left() {
        let these = |ids: &[&str]| {
            let ids = ids.iter().filter_map(|id| VehicleId::new(id).ok());
            Seen::These(Arc::new(ids.collect()))
        };
        let before = these(&["V1", "V2"]);
        assert!(these(&["V2", "V3"]).has_more_than(&before) && before.has_more_than(&Seen::nothing()));
        assert!(!these(&["V2"]).has_more_than(&before) && !Seen::nothing().has_more_than(&before));
        assert!(!Seen::All.has_more_than(&Seen::All));
    }

    #[test]
    fn without_records_a_part_sees_nothing_and_the_whole_everything() {
        let homes = Arc::new(Homes::new(None, OrganizationId::default()));
        let vehicle = VehicleId::new("V1").expect("an id");
        let part = Sight::new(Reach::of(&[remuda_access::Part::Fleet("north".into())]), Arc::clone(&homes));
        let seen = part.seen().expect("an answer");
        assert!(!seen.has(&vehicle) && part.check(&vehicle).is_err() && !part.is_whole());
        let whole = Sight::new(Reach::Everywhere, Arc::clone(&homes));
        let all = whole.seen().expect("an answer");
        assert!(all.has(&vehicle) && whole.check(&vehicle).is_ok());
        assert!(all.has_named("no vehicle/at all") && !seen.has_named("no vehicle/at all"));
        assert!(!Sight::new(Reach::NOWHERE, homes).seen().expect("an answer").has(&vehicle));
    }
}
