//! A reconnect storm: a connected fleet, a cloud that goes away, and the time until everybody is welcome again.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::watch;

use crate::agents::{Agents, Collect};
use crate::error::FleetError;
use crate::figures::{Figures, round};
use crate::ingest::hand_out;
use crate::limits::{DRAIN_PATIENCE, PROGRESS_EVERY};
use crate::settings::{FleetSettings, LoadSettings};
use crate::synthetic;

/// How often the connections are counted; an answer is that much too long at most.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Everybody has been connected for this long: nobody is left who has yet to notice the outage.
const STEADY: Duration = Duration::from_secs(1);

/// What happened.
#[derive(Debug, Clone, Serialize)]
pub struct Storm {
    /// Vehicles.
    pub vehicles: usize,
    /// From the first attempt until all were welcome for the first time, s.
    pub first_connect_seconds: f64,
    /// When the last vehicle was welcome again after the outage, ms since 1970 UTC; 0 when that did not happen.
    pub all_back_unix_ms: u64,
    /// From the first connection lost until all were welcome again, s.
    pub outage_seconds: f64,
    /// Frames made.
    pub frames_made: u64,
    /// Frames not acked at the end; 0 when nothing is missing.
    pub frames_left: u64,
}

/// Connects everybody, says `all connected` on standard error, makes frames all the time, and waits for an outage and
/// its end, `load.duration` at most.
///
/// # Errors
/// When the outboxes fail, or an agent ends by itself.
pub async fn reconnect(
    load: &LoadSettings,
    mut stop: watch::Receiver<bool>,
    mut progress: impl FnMut(&Figures),
) -> Result<Storm, FleetError> {
    let ids = (load.first..load.first + load.vehicles).map(synthetic::vehicle_id).collect();
    let begun = Instant::now();
    let fleet = FleetSettings {
        door: load.door.clone(),
        data: load.data.clone(),
        rate_hz: 1.0,
        certificates: load.certificates.clone(),
    };
    let agents = Agents::start(&fleet, ids, Collect::Everything).await?;
    agents.wait_connected(load.vehicles, load.duration, &mut stop).await;
    let first_connect_seconds = begun.elapsed().as_secs_f64();
    eprintln!("all connected");
    let (mut gone_at, mut whole_since, mut back) = (None, None, None);
    let mut handed_out = 0;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let mut printed = begun;
    while back.is_none() && begun.elapsed() < load.duration && !agents.has_failed() {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            _ = ticks.tick() => {}
        }
        let due = ((begun.elapsed().as_secs_f64() * load.rate) as u64).saturating_sub(handed_out);
        handed_out = hand_out(&agents, load, handed_out, due).await;
        let figures = agents.figures();
        // Some are back before the last have noticed: there may be no moment at which all are away.
        if figures.connected < load.vehicles {
            gone_at.get_or_insert_with(Instant::now);
            whole_since = None;
        } else if let Some(gone) = gone_at {
            let (since, at_ms): (Instant, u64) =
                *whole_since.get_or_insert_with(|| (Instant::now(), unix_ms()));
            back = (since.elapsed() >= STEADY).then_some((at_ms, since - gone));
        }
        if printed.elapsed() >= PROGRESS_EVERY {
            printed = Instant::now();
            progress(&figures.finish(begun.elapsed()));
        }
    }
    let (all_back_unix_ms, outage_seconds) = match back {
        Some((at_ms, outage)) => (at_ms, outage.as_secs_f64()),
        None => (0, 0.0),
    };
    let figures = agents.stop(DRAIN_PATIENCE * 3).await?;
    Ok(Storm {
        vehicles: load.vehicles,
        first_connect_seconds: round(first_connect_seconds),
        all_back_unix_ms,
        outage_seconds: round(outage_seconds),
        frames_made: figures.frames_made,
        frames_left: figures.backlog,
    })
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
