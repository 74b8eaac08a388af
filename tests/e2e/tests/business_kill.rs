//! The ride business, killed while riders book: read back from its journal event by event, not by the code's own views.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use remuda_e2e::binary;
use remuda_e2e::business::{Read, events, read};
use serde_json::Value;

fn demo(data: &Path, seconds: &str) -> Command {
    let mut demo = Command::new(binary("remuda"));
    demo.args(["demo", "--vehicles", "60", "--json", "--console", "127.0.0.1:0", "--for", seconds, "--data"]);
    demo.arg(data);
    demo
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
    let events = events(&data.join("cloud"));
    let Read { bookings, faults, .. } = read(&events);
    assert!(bookings >= 10, "only {bookings} rides were booked");
    assert!(faults.is_empty(), "of {bookings} bookings:\n{}", faults.join("\n"));
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
            vec![
                event("vehicle-registry", "CAR", "vehicle-registry.registered", ""),
                event("trip", "t", "trip.completed", "parties: { vehicle: \"CAR\" }"),
            ],
            "not counted",
        ),
        (vec![event("user", "u", "user.credits-topped-up", "amount: 5,")], "the ledger owes them 0"),
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
        let wrong = read(&events).faults;
        assert!(wrong.iter().any(|sentence| sentence.contains(says)), "{wrong:?} does not say {says}");
    }
}
