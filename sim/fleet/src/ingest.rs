//! Load for the benches: many agents with durable outboxes, cheap values, no world.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::agents::{Agents, Collect};
use crate::error::FleetError;
use crate::figures::Figures;
use crate::limits::DRAIN_PATIENCE;
use crate::settings::{FleetSettings, LoadKind, LoadSettings};
use crate::synthetic;

/// How often frames that are due are handed out.
const TICK: Duration = Duration::from_millis(20);
/// Frames a vehicle may have made that are not acked yet when the rate is "as fast as possible".
const OPEN_FRAMES_MAX: u64 = 64;

/// Makes frames at a rate until the time is over or `stop` says so, then waits for the acks.
///
/// `progress` is called about once a second. The rate is counted over all vehicles; 0 is as fast as acks come.
pub async fn ingest(
    load: &LoadSettings,
    mut stop: watch::Receiver<bool>,
    mut progress: impl FnMut(&Figures),
) -> Result<Figures, FleetError> {
    let ids = (load.first..load.first + load.vehicles).map(synthetic::vehicle_id).collect();
    let settings = FleetSettings {
        door: load.door.clone(),
        data: load.data.clone(),
        rate_hz: 1.0,
        certificates: load.certificates.clone(),
    };
    let agents = Agents::start(&settings, ids, Collect::Everything).await?;
    agents.wait_connected(load.vehicles, Duration::from_secs(60), &mut stop).await;
    let started = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut handed_out = 0_u64;
    let mut printed = started;
    while started.elapsed() < load.duration {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            _ = ticks.tick() => {}
        }
        let due = if load.rate > 0.0 {
            ((started.elapsed().as_secs_f64() * load.rate) as u64).saturating_sub(handed_out)
        } else {
            (load.vehicles as u64 * OPEN_FRAMES_MAX).saturating_sub(agents.figures().backlog)
        };
        handed_out = hand_out(&agents, load, handed_out, due).await;
        if printed.elapsed() >= crate::limits::PROGRESS_EVERY {
            printed = Instant::now();
            progress(&agents.figures().finish(started.elapsed()));
        }
    }
    let elapsed = started.elapsed();
    let while_loading = agents.figures().finish(elapsed);
    let figures = agents.stop(DRAIN_PATIENCE).await?;
    // The rates are those of the loaded time: what was acked while draining does not count.
    Ok(Figures {
        acked_per_second: while_loading.acked_per_second,
        frames_per_second: while_loading.frames_per_second,
        ..figures.finish(elapsed)
    })
}

/// Hands out `due` more rows or events after the first `handed_out`; answers how many that makes.
pub(crate) async fn hand_out(agents: &Agents, load: &LoadSettings, handed_out: u64, due: u64) -> u64 {
    let vehicles = load.vehicles as u64;
    let mut readings = Vec::new();
    // Rows are spread evenly: every vehicle gets its next one before any gets a second.
    for number in handed_out..handed_out + due {
        let (vehicle, row) = ((number % vehicles) as usize, number / vehicles + 1);
        match load.kind {
            LoadKind::Samples => {
                readings.clear();
                readings.extend(synthetic::values(vehicle, row, load.signals));
                agents.frame(vehicle, row, &readings);
            }
            LoadKind::Events => agents.trip_mark(vehicle, row % 2 == 1, synthetic::position(vehicle, row)),
        }
        if number % 256 == 255 {
            tokio::task::yield_now().await;
        }
    }
    handed_out + due
}
