//! The ride business, killed while riders book: read back from its journal event by event, not by the code's own views.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use remuda_e2e::binary;
use serde_json::Value;

fn demo(data: &Path, seconds: &str) -> Command {
    let mut demo = Command::new(binary("remuda"));
    demo.args(["demo", "--vehicles", "60", "--json", "--console", "127.0.0.1:0", "--for", seconds, "--data"]);
    demo.arg(data);
    demo
}

/// Every event of the business, in the order of its shard.
fn events(data: &Path) -> Vec<Value> {
    let output = Command::new(binary("remuda"))
        .args(["journal", "--data"])
        .arg(data.join("cloud"))
        .args(["tail", "--journal", "business", "--json"])
        .output()
        .expect("remuda runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().unwrap_or_default()
}

/// All `minor_units: N` of an event's fact.
fn amounts(fact: &str) -> impl Iterator<Item = i64> + '_ {
    fact.split("minor_units: ").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    })
}

/// What a reader with no other knowledge than the events' names finds wrong.
fn faults(events: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut reserved: BTreeSet<&str> = BTreeSet::new();
    let mut sagas: BTreeMap<&str, &str> = BTreeMap::new();
    let mut holds: BTreeMap<&str, i64> = BTreeMap::new();
    let mut ended: BTreeMap<&str, u32> = BTreeMap::new();
    let mut charged: BTreeMap<&str, u32> = BTreeMap::new();
    let mut money = 0;
    for event in events {
        let (kind, id) = (text(event, "event_type"), text(event, "aggregate_id"));
        match kind {
            "vehicle-reservation.reserved" if !reserved.insert(id) => {
                wrong.push(format!("{id} was reserved while somebody had it"));
            }
            "vehicle-reservation.released" | "vehicle-reservation.expired" => {
                reserved.remove(id);
            }
            "user.credits-held" => *holds.entry(id).or_default() += 1,
            "user.hold-released" | "user.hold-captured" | "user.hold-expired" => {
                *holds.entry(id).or_default() -= 1
            }
            "trip.completed" | "trip.cancelled" | "trip.no-show" => *ended.entry(id).or_default() += 1,
            "payment.charged" => *charged.entry(id).or_default() += 1,
            _ => {}
        }
        if text(event, "aggregate_type") == "saga" {
            sagas.insert(id, kind);
        }
        if kind.starts_with("ledger.") {
            money += amounts(text(event, "fact")).sum::<i64>();
        }
    }
    let open = sagas.iter().filter(|(_, last)| !["saga.completed", "saga.compensated"].contains(last));
    wrong.extend(open.map(|(id, last)| format!("saga {id} ended with {last}")));
    wrong.extend(
        holds
            .iter()
            .filter(|(_, open)| **open != 0)
            .map(|(id, open)| format!("{open} holds of {id} are open")),
    );
    wrong.extend(reserved.iter().map(|id| format!("{id} is still reserved")));
    let twice = |of: &BTreeMap<&str, u32>, what: &str| {
        of.iter()
            .filter(|(_, times)| **times > 1)
            .map(|(id, times)| format!("{id} {what} {times} times"))
            .collect::<Vec<_>>()
    };
    wrong.extend(twice(&ended, "ended"));
    wrong.extend(twice(&charged, "was charged"));
    wrong.extend(
        ended
            .keys()
            .filter(|id| !charged.contains_key(**id))
            .map(|id| format!("{id} ended and was never charged")),
    );
    wrong.extend((money != 0).then(|| format!("the ledgers' lines sum to {money}")));
    wrong
}

#[test]
fn whatever_moment_it_dies_every_booking_is_whole_or_undone() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("fleet");
    for ms in [3_700, 5_300, 4_400] {
        let mut running =
            demo(&data, "60s").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the demo runs");
        // The moment is the fault: any is as good as another.
        std::thread::sleep(Duration::from_millis(ms));
        running.kill().expect("killed");
        running.wait().expect("gone");
    }
    let last = demo(&data, "8s").output().expect("the demo runs");
    let told = String::from_utf8_lossy(&last.stderr);
    assert!(last.status.success(), "{told}");
    let report: Value = serde_json::from_slice(&last.stdout).expect("one JSON object");
    assert_eq!(report["sagas_running"], 0, "{report}");
    let events = events(&data);
    let bookings = events.iter().filter(|event| text(event, "event_type") == "saga.started").count();
    assert!(bookings >= 10, "only {bookings} rides were booked");
    let wrong = faults(&events);
    assert!(wrong.is_empty(), "of {bookings} bookings:\n{}", wrong.join("\n"));
    eprintln!("{bookings} bookings in {} events, through three kills", events.len());
}

#[test]
fn the_reader_sees_what_would_be_wrong() {
    let event = |aggregate: &str, id: &str, kind: &str, fact: &str| serde_json::json!({ "aggregate_type": aggregate, "aggregate_id": id, "event_type": kind, "fact": fact });
    let reserved = || event("vehicle-reservation", "CAR", "vehicle-reservation.reserved", "");
    for (events, says) in [
        (vec![reserved(), reserved()], "while somebody had it"),
        (vec![reserved()], "still reserved"),
        (vec![event("saga", "s", "saga.step-failed", "")], "ended with"),
        (vec![event("user", "u", "user.credits-held", "")], "holds of u"),
        (vec![event("trip", "t", "trip.completed", "")], "never charged"),
        (
            vec![event(
                "ledger",
                "u",
                "ledger.recorded",
                "Money { minor_units: 500 } Money { minor_units: -499 }",
            )],
            "sum to 1",
        ),
    ] {
        let wrong = faults(&events);
        assert!(wrong.iter().any(|sentence| sentence.contains(says)), "{wrong:?} does not say {says}");
    }
}
