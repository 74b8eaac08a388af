//! What a reader with no other knowledge than the events' names finds wrong in the journal of a ride business.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::binary;

/// Every event of the business in a node's data folder, in the order of its shard.
///
/// # Panics
/// When `remuda journal tail` does not read it.
pub fn events(data: &Path) -> Vec<Value> {
    let output = Command::new(binary("remuda"))
        .args(["journal", "--data"])
        .arg(data)
        .args(["tail", "--journal", "business", "--json"])
        .output()
        .expect("remuda runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    lines(&text)
}

/// Lines of JSON, an event each.
///
/// # Panics
/// When they are none.
pub fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// A text of an event.
pub fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().unwrap_or_default()
}

/// The number after a name in a fact, each time it stands there.
fn numbers<'a>(fact: &'a str, name: &'a str) -> impl Iterator<Item = i64> + 'a {
    fact.split(name).skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    })
}

/// The text in quotes after a name in a fact.
fn quoted<'a>(fact: &'a str, name: &str) -> Option<&'a str> {
    fact.split_once(name)?.1.strip_prefix('"')?.split('"').next()
}

/// What was read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Read {
    /// Bookings that began.
    pub bookings: u64,
    /// Of them: booked.
    pub booked: u64,
    /// Of them: undone.
    pub undone: u64,
    /// Rides driven to their end.
    pub completed: u64,
    /// Rides that were called off, or for which nobody came.
    pub called_off: u64,
    /// Driven in completed rides, m.
    pub distance_m: i64,
    /// What is wrong, a sentence each.
    pub faults: Vec<String>,
}

/// Reads the events of a business that has come to rest.
pub fn read(events: &[Value]) -> Read {
    let mut read = Read::default();
    let mut wrong = Vec::new();
    let mut reserved: BTreeSet<&str> = BTreeSet::new();
    let mut sagas: BTreeMap<&str, &str> = BTreeMap::new();
    let mut holds: BTreeMap<&str, i64> = BTreeMap::new();
    let mut requested: BTreeSet<&str> = BTreeSet::new();
    let mut ended: BTreeMap<&str, u32> = BTreeMap::new();
    let mut completed: BTreeSet<&str> = BTreeSet::new();
    let mut charged: BTreeMap<&str, u32> = BTreeMap::new();
    let mut captured: BTreeMap<&str, u32> = BTreeMap::new();
    let mut counted: BTreeMap<&str, u32> = BTreeMap::new();
    let mut registered: BTreeSet<&str> = BTreeSet::new();
    let mut driven: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut money, mut liability, mut credits) = (0, 0, 0);
    for event in events {
        let (kind, id) = (text(event, "event_type"), text(event, "aggregate_id"));
        let fact = text(event, "fact");
        match kind {
            "saga.started" => read.bookings += 1,
            "saga.completed" => read.booked += 1,
            "saga.compensated" => read.undone += 1,
            "vehicle-reservation.reserved" if !reserved.insert(id) => {
                wrong.push(format!("{id} was reserved while somebody had it"));
            }
            "vehicle-reservation.released" | "vehicle-reservation.expired" => {
                reserved.remove(id);
            }
            "user.credits-topped-up" | "user.credits-refunded" => {
                credits += numbers(fact, "amount: ").next().unwrap_or_default();
            }
            "user.credits-held" => *holds.entry(id).or_default() += 1,
            // Released before it was made: a barrier, not a hold.
            "user.hold-released" if numbers(fact, "amount: ").next() == Some(0) => {}
            "user.hold-released" | "user.hold-expired" => *holds.entry(id).or_default() -= 1,
            "user.hold-captured" => {
                *holds.entry(id).or_default() -= 1;
                credits -= numbers(fact, "amount: ").next().unwrap_or_default();
                *captured.entry(quoted(fact, "key: ").unwrap_or_default()).or_default() += 1;
            }
            "trip.completed" => {
                read.completed += 1;
                read.distance_m += numbers(fact, " distance_m: ").next().unwrap_or_default();
                *ended.entry(id).or_default() += 1;
                completed.insert(id);
                driven.insert(id, quoted(fact, "vehicle: ").unwrap_or_default());
            }
            "trip.requested" => {
                requested.insert(id);
            }
            // Called off before it was made: a barrier, not a ride.
            "trip.cancelled" if !requested.contains(id) => {}
            "trip.cancelled" | "trip.no-show" => {
                read.called_off += 1;
                *ended.entry(id).or_default() += 1;
            }
            "payment.charged" => *charged.entry(id).or_default() += 1,
            "vehicle-registry.registered" => {
                registered.insert(id);
            }
            "vehicle-registry.trip-counted" => {
                *counted.entry(quoted(fact, "trip: ").unwrap_or_default()).or_default() += 1;
            }
            _ => {}
        }
        if text(event, "aggregate_type") == "saga" && !kind.starts_with("command.") {
            sagas.insert(id, kind);
        }
        if kind.starts_with("ledger.") {
            money += numbers(fact, "minor_units: ").sum::<i64>();
            for line in fact.split("account: ").skip(1).filter(|line| line.starts_with("CreditsLiability")) {
                liability += numbers(line, "minor_units: ").next().unwrap_or_default();
            }
        }
    }
    let open = sagas.iter().filter(|(_, last)| !["saga.completed", "saga.compensated"].contains(last));
    wrong.extend(open.map(|(id, last)| format!("saga {id} ended with {last}")));
    let held = holds.iter().filter(|(_, open)| **open != 0);
    wrong.extend(held.map(|(id, open)| format!("{open} holds of {id} are open")));
    wrong.extend(reserved.iter().map(|id| format!("{id} is still reserved")));
    for (of, what) in
        [(&ended, "ended"), (&charged, "was charged"), (&captured, "was paid"), (&counted, "was counted")]
    {
        let twice = of.iter().filter(|(_, times)| **times > 1);
        wrong.extend(twice.map(|(id, times)| format!("{id} {what} {times} times")));
    }
    let never = ended.keys().filter(|id| !charged.contains_key(**id));
    wrong.extend(never.map(|id| format!("{id} ended and was never charged")));
    let early = charged.keys().filter(|id| !ended.contains_key(**id));
    wrong.extend(early.map(|id| format!("{id} was charged and never ended")));
    let uncounted = completed.iter().filter(|id| {
        !counted.contains_key(**id) && driven.get(*id).is_some_and(|vehicle| registered.contains(vehicle))
    });
    wrong.extend(uncounted.map(|id| format!("{id} was driven and not counted in its vehicle's record")));
    wrong.extend((money != 0).then(|| format!("the ledgers' lines sum to {money}")));
    // What riders may still ride for is owed to them: the ledger and the users must say the same.
    wrong.extend((liability + credits != 0).then(|| {
        format!("riders have {credits} minor units of credits, the ledger owes them {}", -liability)
    }));
    read.faults = wrong;
    read
}
