//! The one JSON object.

use remuda_fleet::Figures;
use remuda_ledger::Ledger;
use serde::Serialize;

use crate::riders::{RideCounts, RideFigures};

/// What `--json` prints: frames and samples from the disks, times and rates from the run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    vehicles: usize,
    seconds: f64,
    frames_made: u64,
    frames_acked: u64,
    frames_stored: u64,
    frames_quarantined: u64,
    frames_in_outbox: u64,
    frames_shed: u64,
    frames_lost: u64,
    frames_duplicated: u64,
    decisions_missing: u64,
    decisions_doubled: u64,
    samples_stored: u64,
    ack_p50_ms: f64,
    ack_p95_ms: f64,
    frames_per_second: f64,
    rss_mb: f64,
    bytes_per_sample_wire: f64,
    trips_requested: u64,
    trips_completed: u64,
    trips_cancelled: u64,
    trips_compensated: u64,
    trips_unserved: u64,
    sagas_running: u64,
    sagas_stuck: u64,
    reactors_stopped: u64,
    ledger_sum_minor_units: u64,
}

impl Report {
    pub fn new(vehicles: usize, figures: &Figures, ledger: &Ledger, rss_mb: f64) -> Self {
        Self {
            vehicles,
            seconds: figures.seconds,
            frames_made: ledger.frames_made,
            frames_acked: figures.frames_acked,
            frames_stored: ledger.frames_stored,
            frames_quarantined: ledger.frames_quarantined,
            frames_in_outbox: ledger.frames_in_outbox,
            frames_shed: ledger.frames_shed,
            frames_lost: ledger.frames_lost,
            frames_duplicated: ledger.frames_duplicated,
            decisions_missing: ledger.decisions_missing,
            decisions_doubled: ledger.decisions_doubled,
            samples_stored: ledger.samples_stored,
            ack_p50_ms: figures.ack_p50_ms,
            ack_p95_ms: figures.ack_p95_ms,
            frames_per_second: figures.acked_per_second,
            rss_mb,
            bytes_per_sample_wire: figures.bytes_per_sample_wire,
            trips_requested: 0,
            trips_completed: 0,
            trips_cancelled: 0,
            trips_compensated: 0,
            trips_unserved: 0,
            sagas_running: 0,
            sagas_stuck: 0,
            reactors_stopped: 0,
            ledger_sum_minor_units: 0,
        }
    }

    /// With what became of the riders' wishes.
    pub fn with_rides(self, counts: RideCounts, business: RideFigures) -> Self {
        Self {
            trips_requested: counts.requested,
            trips_completed: counts.completed,
            trips_cancelled: counts.cancelled,
            trips_compensated: counts.compensated,
            trips_unserved: counts.unserved,
            sagas_running: business.sagas_running,
            sagas_stuck: business.sagas_stuck,
            reactors_stopped: business.reactors_stopped,
            ledger_sum_minor_units: business.ledger_sum_minor_units,
            ..self
        }
    }
}
