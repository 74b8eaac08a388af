//! Brings trip marks to their trips: an effect of what a vehicle reported, made from what is durable, named by the mark itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use remuda_contracts::marks::{MarkReport, ReportOffsets, TripMarks};
use remuda_contracts::trips::{Mark, SamplesAt};
use remuda_entities::AskError;
use remuda_eventsourcing::Context;
use remuda_trips::{TripCommand, TripService};
use tokio::sync::watch;

use crate::limits;
use crate::start::pause;

/// How far marks were read. Kept so that a start need not read them all; what is read again changes nothing.
pub(crate) struct Cursor {
    file: PathBuf,
}

impl Cursor {
    pub fn new(folder: &Path) -> Self {
        Self { file: folder.join("trip-marks.cursor") }
    }

    /// From the beginning, when it is not there or cannot be read.
    fn read(&self) -> ReportOffsets {
        let bytes = std::fs::read(&self.file).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn write(&self, offsets: &ReportOffsets) -> std::io::Result<()> {
        let bytes = serde_json::to_vec(offsets)?;
        let beside = self.file.with_extension("new");
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&beside, bytes)?;
        std::fs::rename(&beside, &self.file)
    }
}

/// Reads marks and brings them.
pub(crate) struct Bringing {
    pub marks: Arc<dyn TripMarks>,
    pub trips: TripService,
    pub cursor: Cursor,
    /// Becomes true once all marks that there were at the start have been brought.
    pub caught_up: watch::Sender<bool>,
}

fn mark_of(report: &MarkReport) -> Mark {
    let said = &report.mark;
    Mark {
        // No vehicle notices anything after it was heard.
        time_ms: said.time_ms.map_or(report.received_ms, |time_ms| time_ms.min(report.received_ms)),
        latitude_e7: said.latitude_e7,
        longitude_e7: said.longitude_e7,
        odometer_m: said.odometer_m,
        energy_wh: said.energy_wh,
        // Before its first sample there is nothing to wait for.
        samples: (said.samples > 0)
            .then_some(SamplesAt { incarnation: said.incarnation.0, seq: said.samples }),
    }
}

impl Bringing {
    /// Until the node stops.
    pub async fn run(self, mut stops: watch::Receiver<bool>) {
        let mut changes = self.marks.changes();
        let mut offsets = self.cursor.read();
        loop {
            changes.mark_unchanged();
            let rest = tokio::select! {
                rest = self.catch_up(&mut offsets) => rest,
                // A sender that is gone has stopped as well.
                _ = stops.wait_for(|stops| *stops) => return,
            };
            tokio::select! {
                // The vehicles' part is gone: only time tells.
                Ok(()) = changes.changed() => {}
                goes_on = pause(&mut stops, rest) => if !goes_on { return },
            }
        }
    }

    /// Brings all there is. Answers how long to wait until it is looked again.
    async fn catch_up(&self, offsets: &mut ReportOffsets) -> Duration {
        loop {
            let page = match self.marks.marks(offsets).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(error, "trip marks cannot be read; it is tried again");
                    return limits::MARKS_AGAIN;
                }
            };
            for report in &page.marks {
                while !self.bring(report).await {
                    tokio::time::sleep(limits::MARKS_AGAIN).await;
                }
            }
            if page.offsets != *offsets {
                *offsets = page.offsets;
                if let Err(error) = self.cursor.write(offsets) {
                    tracing::warn!(%error, "how far trip marks were read is not kept");
                }
            }
            if !page.more {
                self.caught_up.send_if_modified(|caught_up| !std::mem::replace(caught_up, true));
                return limits::MARKS_LOOK;
            }
        }
    }

    /// Brings one mark to its trip. True: it need not be brought again.
    async fn bring(&self, report: &MarkReport) -> bool {
        let MarkReport { organization, vehicle, received_ms, mark } = report;
        let context = Context {
            now_ms: *received_ms,
            // The mark's own name, not the report's: after a restart a vehicle may tell it again.
            command_id: format!("mark/{vehicle}/{}/{}", mark.noticed_by, mark.number),
            actor: format!("vehicle/{vehicle}"),
            correlation_id: mark.trip.clone(),
        };
        let command = TripCommand::Report {
            vehicle: vehicle.to_string(),
            observation: mark.observation,
            stop: mark.stop,
            mark: mark_of(report),
        };
        match self.trips.entities().ask(organization, &mark.trip, command, context).await {
            Ok(_) => true,
            Err(AskError::Refused { code, .. }) => {
                let observation = mark.observation;
                tracing::debug!(trip_id = mark.trip, ?observation, code, "a trip passed a mark over");
                true
            }
            Err(error) if error.is_transient() => {
                tracing::warn!(trip_id = mark.trip, %error, "a mark is brought again soon");
                false
            }
            Err(error) => {
                tracing::error!(trip_id = mark.trip, vehicle_id = %vehicle, %error, "a mark was dropped");
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_one_that_is_torn_begins_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let cursor = Cursor::new(&folder.path().join("new"));
        assert!(cursor.read().is_empty());
        cursor.write(&vec![1, 0, 300]).expect("written");
        assert_eq!(Cursor::new(&folder.path().join("new")).read(), [1, 0, 300]);
        std::fs::write(&cursor.file, "[1, 0").expect("written");
        assert!(cursor.read().is_empty());
    }
}
