//! What the door refuses of vehicles that it knows: counted, and told to their shards, so that it is seen on the vehicle.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use parking_lot::Mutex;
use remuda_contracts::uplink::{Arrival, DoorRefusal, Intake};
use remuda_model::{ShardId, VehicleId};
use tokio::sync::Notify;

use crate::metrics::DoorMetrics;

/// Pairs of vehicle and reason that may wait to be told; further ones are only counted.
const WAITING_MAX: usize = 4_096;
/// Between two tellings: what happens in between is told as one.
const TELL_INTERVAL: Duration = Duration::from_secs(1);
/// How long a shard may take to hear one; who does not is told with the next.
const TELL_WITHIN: Duration = Duration::from_millis(100);

/// Refusals that wait to be told.
#[derive(Debug)]
pub(crate) struct Refusals {
    waiting: Mutex<HashMap<(VehicleId, DoorRefusal), u64>>,
    some: Notify,
    metrics: DoorMetrics,
}

impl Refusals {
    pub fn new(metrics: DoorMetrics) -> Self {
        Self { waiting: Mutex::default(), some: Notify::new(), metrics }
    }

    /// Counts refusals. Never waits.
    pub fn note(&self, vehicle: VehicleId, reason: DoorRefusal, count: u64) {
        self.metrics.refused_many(reason.code(), count);
        self.keep(vehicle, reason, count);
        self.some.notify_one();
    }

    /// The same for one whose figures somebody else counts.
    pub fn tell_later(&self, vehicle: VehicleId, reason: DoorRefusal) {
        self.keep(vehicle, reason, 1);
        self.some.notify_one();
    }

    fn keep(&self, vehicle: VehicleId, reason: DoorRefusal, count: u64) {
        let mut waiting = self.waiting.lock();
        if let Some(there) = waiting.get_mut(&(vehicle, reason)) {
            *there += count;
        } else if waiting.len() < WAITING_MAX {
            waiting.insert((vehicle, reason), count);
        } else {
            self.metrics.refused_many("not_shown", count);
        }
    }

    /// Tells shards for ever; cancelled when the door is gone.
    pub async fn tell_on(&self, intake: &dyn Intake) {
        loop {
            self.some.notified().await;
            tokio::time::sleep(TELL_INTERVAL).await;
            self.tell(intake).await;
        }
    }

    /// Tells every shard what there is to tell it.
    pub async fn tell(&self, intake: &dyn Intake) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        let mut full = HashSet::new();
        for ((vehicle, reason), count) in waiting {
            let shard = ShardId::of(&vehicle);
            if !full.contains(&shard) {
                let told = intake.offer(shard, Arrival::Refused { vehicle, reason, count });
                match tokio::time::timeout(TELL_WITHIN, told).await {
                    // A node that stops shows no vehicles.
                    Ok(Ok(()) | Err(_)) => continue,
                    Err(_) => full.insert(shard),
                };
            }
            self.keep(vehicle, reason, count);
            self.some.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use remuda_contracts::uplink::IntakeClosed;

    use super::*;

    /// Takes while it is open, waits for ever while it is not.
    #[derive(Default)]
    struct Shards {
        told: Mutex<Vec<(VehicleId, DoorRefusal, u64)>>,
        full: Mutex<bool>,
    }

    #[async_trait]
    impl Intake for Shards {
        async fn offer(&self, _: ShardId, arrival: Arrival) -> Result<(), IntakeClosed> {
            if *self.full.lock() {
                std::future::pending::<()>().await;
            }
            if let Arrival::Refused { vehicle, reason, count } = arrival {
                self.told.lock().push((vehicle, reason, count));
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn many_refusals_are_told_as_one_and_none_is_lost_to_a_full_shard() {
        let (refusals, shards) = (Refusals::new(DoorMetrics::default()), Shards::default());
        let van = VehicleId::new("VAN1").expect("an id");
        *shards.full.lock() = true;
        for _ in 0..1_000 {
            refusals.note(van, DoorRefusal::MessageRate, 1);
        }
        refusals.tell(&shards).await;
        assert!(shards.told.lock().is_empty());
        *shards.full.lock() = false;
        refusals.note(van, DoorRefusal::MessageRate, 1);
        refusals.tell(&shards).await;
        refusals.tell(&shards).await;
        assert_eq!(*shards.told.lock(), [(van, DoorRefusal::MessageRate, 1_001)]);
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_what_is_over_is_counted() {
        let metrics = DoorMetrics::default();
        let refusals = Refusals::new(metrics.clone());
        for number in 0..WAITING_MAX + 10 {
            let vehicle = VehicleId::new(&format!("VAN{number}")).expect("an id");
            refusals.note(vehicle, DoorRefusal::Denied, 1);
        }
        assert_eq!(refusals.waiting.lock().len(), WAITING_MAX);
        assert_eq!(
            (metrics.refusals("denied"), metrics.refusals("not_shown")),
            (WAITING_MAX as u64 + 10, 10)
        );
    }
}
