//! Load for the benches: many agents with durable outboxes, cheap values, no world.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::agents::{Agents, Collect};
use crate::error::FleetError;
use crate::figures::Figures;
use crate::limits::DRAIN_PATIENCE;
use crate::settings::{FleetSettings, LoadSettings};
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
    let ids = (0..load.vehicles).map(synthetic::vehicle_id).collect();
    let settings = FleetSettings { door: load.door.clone(), data: load.data.clone(), rate_hz: 1.0 };
    let agents = Agents::start(&settings, ids, Collect::Everything).await?;
    agents.wait_connected(load.vehicles, Duration::from_secs(60), &mut stop).await;
    let started = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut handed_out = 0_u64;
    let mut printed = started;
    let mut readings = Vec::new();
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
        // Rows are spread evenly: every vehicle gets its next one before any gets a second.
        for _ in 0..due {
            let vehicle = (handed_out % load.vehicles as u64) as usize;
            let row = handed_out / load.vehicles as u64 + 1;
            readings.clear();
            readings.extend(synthetic::values(vehicle, row, load.signals));
            agents.frame(vehicle, row, &readings);
            handed_out += 1;
            if handed_out.is_multiple_of(256) {
                tokio::task::yield_now().await;
            }
        }
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
