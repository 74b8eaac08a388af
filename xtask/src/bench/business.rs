//! Figures of the business: its journal, its entities.

use std::process::Command;

use super::figures::number;
use super::scene::Scene;
use super::{Figure, Figures};
use crate::run::Outcome;

/// The journal's rates beside a bare file and bare sled at the same batch, and what entities cost.
pub fn journal(scene: &Scene, figures: &mut Figures) -> Outcome {
    let program = super::example("journal_figures");
    let report = scene.json("journal", Command::new(program).arg(scene.folder.join("journal")))?;
    let rates = &report["journal_events_per_second"];
    for (name, writers) in [
        ("journal_events_per_second_1", "1"),
        ("journal_events_per_second_64", "64"),
        ("journal_events_per_second_256", "256"),
    ] {
        let rate = &rates[writers];
        let beside = format!(
            "bare sled, one key an event, flush and fsync at the same batch; one write and fdatasync: {:.0}",
            number(rate, "file")?
        );
        let baseline = Some((number(rate, "sled")?, beside));
        figures.insert(name, Figure { value: number(rate, "journal")?, unit: "events/s", baseline });
    }
    let one = |value: &str, unit, beside: Option<(f64, &str)>| -> Result<Figure, String> {
        let baseline = beside.map(|(value, name)| (value, name.to_owned()));
        Ok(Figure { value: number(&report, value)?, unit, baseline })
    };
    let other = |name: &str| -> Result<f64, String> { number(&report, name) };
    let rate = Some((other("asks_per_second")?, "commands/s of 200 askers, each its own entity"));
    figures.insert("commands_p99_ms", one("asks_p99_ms", "ms", rate)?);
    let median = Some((other("activation_p50_ms")?, "p50"));
    figures.insert("activation_p99_ms", one("activation_p99_ms", "ms", median)?);
    let alone = Some((7.0, "an actor of ractor alone, notes/actors.md"));
    figures.insert("memory_per_idle_entity_kb", one("memory_per_idle_entity_kb", "KiB", alone)?);
    let all = Some((other("recovery_all_active_seconds")?, "s more until 10,000 entities were read again"));
    figures.insert("recovery_seconds", one("recovery_seconds", "s", all)?);
    Ok(())
}

/// The names of [`journal`]'s figures.
pub const JOURNAL: &[&str] = &[
    "journal_events_per_second_1",
    "journal_events_per_second_64",
    "journal_events_per_second_256",
    "commands_p99_ms",
    "activation_p99_ms",
    "memory_per_idle_entity_kb",
    "recovery_seconds",
];
