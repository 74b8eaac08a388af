//! A backlog: frames made while no cloud can be reached, then the time that the cloud takes to have them all.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

use crate::agents::{Agents, Collect};
use crate::error::FleetError;
use crate::figures::{Figures, round};
use crate::limits::PROGRESS_EVERY;
use crate::settings::{BacklogSettings, FleetSettings};
use crate::synthetic;

/// Nobody listens there: the vehicles are out of reach while they make their backlog.
const NOWHERE: &str = "127.0.0.1:9";
/// How often it is looked whether everything is acked; an answer is that much too long at most.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How a backlog was drained.
#[derive(Debug, Clone, Serialize)]
pub struct Drained {
    /// Vehicles that came back at once.
    pub vehicles: usize,
    /// Frames in all outboxes when they came back.
    pub frames: u64,
    /// Frames that were not acked when the time was over; 0 is a full drain.
    pub frames_left: u64,
    /// From the first connection attempt to the last ack, s.
    pub seconds: f64,
    /// Frames acked per second.
    pub frames_per_second: f64,
    /// Driving time, at one frame a second, that each vehicle got rid of per minute, h.
    pub hours_per_minute: f64,
    /// The same for all vehicles together, h.
    pub vehicle_hours_per_minute: f64,
}

/// Makes the backlog, lets the vehicles reach the door, waits for the acks or until `patience` is over.
///
/// # Errors
/// When the outboxes fail, or an agent ends by itself.
pub async fn backlog(
    settings: &BacklogSettings,
    mut stop: watch::Receiver<bool>,
    mut progress: impl FnMut(&Figures),
) -> Result<Drained, FleetError> {
    let ids = || (0..settings.vehicles).map(synthetic::vehicle_id).collect::<Vec<_>>();
    let fleet = |door: &str| FleetSettings {
        door: door.to_owned(),
        data: settings.data.clone(),
        rate_hz: 1.0,
        certificates: settings.certificates.clone(),
    };
    let away = Agents::start(&fleet(NOWHERE), ids(), Collect::Everything).await?;
    make(&away, settings, &mut stop, &mut progress).await;
    // The farewell closes each vehicle's last frame.
    away.stop(Duration::ZERO).await?;
    let begun = Instant::now();
    let back = Agents::start(&fleet(&settings.door), ids(), Collect::Everything).await?;
    let frames = back.figures().backlog;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let mut printed = begun;
    let mut left = frames;
    while left > 0 && begun.elapsed() < settings.patience && !back.has_failed() {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            _ = ticks.tick() => {}
        }
        let figures = back.figures();
        left = figures.backlog;
        if printed.elapsed() >= PROGRESS_EVERY {
            printed = Instant::now();
            progress(&figures.finish(begun.elapsed()));
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    back.stop(Duration::ZERO).await?;
    let acked = (frames - left) as f64;
    let hours = acked / 3_600.0 / (seconds / 60.0);
    Ok(Drained {
        vehicles: settings.vehicles,
        frames,
        frames_left: left,
        seconds: round(seconds),
        frames_per_second: round(acked / seconds),
        hours_per_minute: round(hours / settings.vehicles.max(1) as f64),
        vehicle_hours_per_minute: round(hours),
    })
}

/// Hands every vehicle its rows; each takes them as fast as its outbox does.
async fn make(
    agents: &Agents,
    settings: &BacklogSettings,
    stop: &mut watch::Receiver<bool>,
    progress: &mut impl FnMut(&Figures),
) {
    let begun = Instant::now();
    let mut printed = begun;
    let mut readings = Vec::new();
    for row in 1..=settings.frames {
        if *stop.borrow_and_update() || agents.has_failed() {
            return;
        }
        for vehicle in 0..settings.vehicles {
            readings.clear();
            readings.extend(synthetic::values(vehicle, row, settings.signals));
            agents.frame_in_turn(vehicle, row, &readings).await;
        }
        if printed.elapsed() >= PROGRESS_EVERY {
            printed = Instant::now();
            progress(&agents.figures().finish(begun.elapsed()));
        }
    }
}
