//! The whole business under faults, killed at random writes, and read back event by event by a reader of its own. The long run
//! is `cargo xtask business-chaos`.

use remuda_e2e::chaos::{Plan, run};

#[test]
fn whatever_fails_every_booking_is_whole_or_undone_and_counted_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = Plan { bookings: 120, seed: 7, lives: 3, death: 40 };
    let (found, report) = run(folder.path(), plan, |line| eprintln!("{line}"));
    assert!(found.faults.is_empty(), "{report:#}");
    assert!(found.bookings >= 60 && found.completed >= 20 && found.undone >= 1, "too little: {report:#}");
    eprintln!("{report:#}");
}
