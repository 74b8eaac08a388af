//! The chaos run of the whole business: lives that die at random writes, then an independent look at the journal.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::business::{Read, lines, read};
use crate::example;

/// How it goes.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Rides asked for.
    pub bookings: u64,
    /// Draws rides and what goes wrong; what the disk and the scheduler do is not drawn.
    pub seed: u64,
    /// Lives that may die at a write, at most.
    pub lives: u32,
    /// Chance of dying at a write, in a hundred thousand.
    pub death: u64,
}

/// One life; whether it came to its end.
fn life(folder: &Path, plan: Plan, number: u32, ahead_hours: u32, death: u64) -> bool {
    let log = std::fs::File::create(folder.join(format!("life-{number}.log"))).expect("a log");
    let mut life = Command::new(example("life"));
    life.arg(folder).arg(plan.bookings.to_string()).arg(plan.seed.to_string());
    life.arg(number.to_string()).arg(ahead_hours.to_string()).arg(death.to_string());
    let status = life.stdout(Stdio::null()).stderr(log).status().expect("it runs");
    status.success()
}

/// Runs it in an empty folder, and answers what was found.
///
/// # Panics
/// When something cannot be run or read at all.
pub fn run(folder: &Path, plan: Plan, progress: impl Fn(&str)) -> (Read, Value) {
    let mut deaths = 0;
    while deaths < plan.lives && !life(folder, plan, deaths, 0, plan.death) {
        deaths += 1;
        progress(&format!("life {deaths} ended at a write"));
    }
    // Vehicles that vanished never come: time ends what waits for them, before the day is over after which holds go back by
    // themselves. Each life's clock is further ahead.
    for (number, ahead_hours) in (deaths + 1..).zip([0, 2, 15]) {
        let whole = life(folder, plan, number, ahead_hours, 0);
        let log = std::fs::read_to_string(folder.join(format!("life-{number}.log"))).unwrap_or_default();
        assert!(whole, "a life without a death must end:\n{log}");
        progress(&format!("a life {ahead_hours} hours later came to its end"));
    }
    let export = Command::new(example("life")).arg("export").arg(folder).output().expect("it runs");
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    let mut found = read(&lines(&String::from_utf8(export.stdout).expect("text")));
    let told = std::fs::read_to_string(folder.join("figures.json")).expect("the last life's figures");
    let figures: Value = serde_json::from_str(&told).expect("JSON");
    for (name, counted) in
        [("trips", found.completed as i64), ("distance_m", found.distance_m), ("unpriced_trips", 0)]
    {
        if figures[name] != counted {
            found.faults.push(format!("analytics say {name} {}, the events {counted}", figures[name]));
        }
    }
    for name in ["sagas_running", "sagas_stuck", "reactors_stopped", "ledger_sum_minor_units"] {
        if figures[name] != 0 {
            found.faults.push(format!("{name} is {}", figures[name]));
        }
    }
    let report = json!({
        "bookings_asked": plan.bookings,
        "seed": plan.seed,
        "deaths": deaths,
        "bookings": found.bookings,
        "booked": found.booked,
        "undone": found.undone,
        "completed": found.completed,
        "called_off": found.called_off,
        "faults_of_provider_and_messages": figures["faults"],
        "wrong": found.faults,
    });
    (found, report)
}
