//! How long frames wait for their ack, seen from outside: the counters of some vehicles, looked at often.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use remuda_edge_agent_core::Figures;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::histogram::Histogram;

/// Vehicles that are looked at: enough for quantiles, few enough to look often.
const VEHICLES_MAX: usize = 200;
/// How often; an answer is that much too long or too short.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Few vehicles can be looked at this often.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(1);
/// How few.
const FEW: usize = 64;
/// Groups of frames that wait in one vehicle; further ones are not measured.
const WAITING_MAX: usize = 512;

struct Watched {
    told: watch::Receiver<Figures>,
    /// Frames made up to then.
    waiting: VecDeque<(u64, Instant)>,
    made: u64,
    acked: u64,
}

/// Looks until it is aborted.
pub(crate) async fn sample(all: Vec<watch::Receiver<Figures>>, histogram: Arc<Histogram>) {
    let every = all.len().div_ceil(VEHICLES_MAX).max(1);
    let watch = |told| Watched { told, waiting: VecDeque::new(), made: 0, acked: 0 };
    let mut watched: Vec<Watched> = all.into_iter().step_by(every).map(watch).collect();
    let few = watched.len() <= FEW;
    let mut ticks = tokio::time::interval(if few { LOOK_EVERY_MIN } else { LOOK_EVERY });
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        watched.iter_mut().for_each(|one| one.look(now, &histogram));
    }
}

impl Watched {
    fn look(&mut self, now: Instant, histogram: &Histogram) {
        let Figures { frames_made, frames_acked, .. } = *self.told.borrow();
        if frames_made > self.made && self.waiting.len() < WAITING_MAX {
            self.waiting.push_back((frames_made, now));
        }
        // Acks of frames from earlier starts come first; they count towards no frame of this one as long as more
        // was acked than made.
        self.made = frames_made;
        while let Some((made, at)) = self.waiting.front().copied().filter(|(made, _)| *made <= frames_acked) {
            histogram.record(now - at, made.saturating_sub(self.acked).max(1));
            self.acked = made;
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_waits_from_made_to_acked() {
        let (tell, told) = watch::channel(Figures::default());
        let mut watched = Watched { told, waiting: VecDeque::new(), made: 0, acked: 0 };
        let histogram = Histogram::default();
        let begun = Instant::now();
        let at = |ms: u64| begun + Duration::from_millis(ms);
        tell.send_modify(|f| f.frames_made = 3);
        watched.look(at(0), &histogram);
        tell.send_modify(|f| f.frames_made = 5);
        watched.look(at(400), &histogram);
        tell.send_modify(|f| f.frames_acked = 3);
        watched.look(at(1_000), &histogram);
        assert_eq!(histogram.count(), 3);
        tell.send_modify(|f| f.frames_acked = 5);
        watched.look(at(1_000), &histogram);
        assert_eq!(histogram.count(), 5);
        let (half, all) = (histogram.quantile(0.4).as_millis(), histogram.quantile(1.0).as_millis());
        assert!((600..700).contains(&half) && (1_000..1_150).contains(&all), "{half} {all}");
    }
}
