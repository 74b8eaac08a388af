//! Bookings as sagas of four durable steps, beside a bare loop of append and fsync.

use std::process::Command;

use super::figures::number;
use super::scene::Scene;
use super::{Figure, Figures};
use crate::run::Outcome;

/// The names of [`bookings`]'s figures.
pub const BOOKINGS: &[&str] =
    &["bookings_per_second", "bookings_p50_ms", "bookings_p99_ms", "booking_alone_p50_fsyncs"];

/// 200 at once for as long as loads run, after some one by one.
pub fn bookings(scene: &Scene, figures: &mut Figures) -> Outcome {
    let mut program = Command::new(super::example("bookings"));
    program.arg(scene.folder.join("bookings")).arg(scene.seconds.to_string());
    let report = scene.json("bookings", &mut program)?;
    let value = |name: &str| number(&report, name);
    let fsync_ms = value("bare_append_fsync_p50_ms")?;
    let bare = (
        value("bare_append_fsyncs_per_second")?,
        "bare appends of 512 bytes, each with an fsync, a second".to_owned(),
    );
    let one = (fsync_ms, "ms: one bare append with its fsync, p50".to_owned());
    let alone_ms = value("booking_alone_p50_ms")?;
    let alone =
        (8.0, format!("the goal; {alone_ms:.2} ms, and {fsync_ms:.3} ms a bare append with its fsync"));
    for (name, unit, baseline) in [
        ("bookings_per_second", "bookings/s", bare),
        ("bookings_p50_ms", "ms", one.clone()),
        ("bookings_p99_ms", "ms", one),
        ("booking_alone_p50_fsyncs", "fsyncs", alone),
    ] {
        figures.insert(name, Figure { value: value(name)?, unit, baseline: Some(baseline) });
    }
    Ok(())
}
