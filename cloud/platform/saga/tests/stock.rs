//! The stock tests on the booking of a trip, and on a saga with groups and timers; and that they find what is wrong.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use remuda_saga::testing::fake::FakeWorld;
use remuda_saga::testing::{World, stock};
use remuda_saga::{
    ActionSpec, Definition, Definitions, Service, Services, StepBuilder, StepContext, StepError,
};
use serde_json::Value;

fn trip_booking() -> Definition {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../config/sagas");
    let all = Definitions::load_folder(&folder).expect("the shipped definitions load");
    Definition::clone(all.newest("TripBookingSaga").expect("it is there"))
}

#[tokio::test]
async fn the_booking_of_a_trip_passes() {
    let definition = trip_booking();
    let make = || FakeWorld::of(&definition).scarce("reserve-vehicle");
    let report = stock::all(&definition, &make).await.expect("all stock tests hold");
    assert!(report.crashes > 20 && report.sagas > 80, "{report:?}");
}

#[tokio::test]
async fn a_saga_with_groups_a_timer_and_a_step_without_undo_passes() {
    let definition = Definition::named("Mixed")
        .step(StepBuilder::call("a", "look-up"))
        .parallel([
            StepBuilder::call("a", "take").undone_by("give-back"),
            StepBuilder::call("b", "hold").undone_by("let-go"),
            StepBuilder::call("b", "count"),
        ])
        .timer("grace", Duration::from_millis(2))
        .step(StepBuilder::call("c", "confirm").undone_by("withdraw"))
        .build()
        .expect("it is valid");
    let make = || FakeWorld::of(&definition).scarce("hold");
    let report = stock::all(&definition, &make).await.expect("all stock tests hold");
    assert!(report.crashes > 20, "{report:?}");
}

/// A world with one service that breaks the contract in one way.
struct Broken {
    world: FakeWorld,
    how: How,
}

#[derive(Clone, Copy)]
enum How {
    /// Each call is a new one.
    ForgetsKeys,
    /// An undo does nothing.
    UndoesNothing,
    /// A do after its undo is done.
    LateDoCounts,
}

struct BrokenService {
    service: Arc<dyn Service>,
    how: How,
    calls: std::sync::atomic::AtomicU32,
}

#[async_trait]
impl Service for BrokenService {
    fn name(&self) -> &'static str {
        self.service.name()
    }
    fn actions(&self) -> &'static [ActionSpec] {
        self.service.actions()
    }
    async fn call(&self, action: &str, key: &str, context: &StepContext) -> Result<Value, StepError> {
        let n = self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let undo = key.ends_with("/undo");
        match self.how {
            How::ForgetsKeys if !undo => self.service.call(action, &format!("{n}-{key}"), context).await,
            How::UndoesNothing if undo => Ok(Value::Null),
            How::LateDoCounts if undo => {
                let done = self.service.call(action, key, context).await;
                drop(done);
                Ok(Value::Null)
            }
            How::LateDoCounts => match self.service.call(action, key, context).await {
                Err(StepError::Refused { code, .. }) if code == "undone-already" => {
                    self.service.call(action, &format!("again-{key}"), context).await
                }
                other => other,
            },
            _ => self.service.call(action, key, context).await,
        }
    }
}

#[async_trait]
impl World for Broken {
    fn services(&self) -> Services {
        Services::new(self.world.services().iter().map(|service| {
            let (service, calls) = (Arc::clone(service), std::sync::atomic::AtomicU32::new(0));
            Arc::new(BrokenService { service, how: self.how, calls }) as Arc<dyn Service>
        }))
    }
    fn input(&self, n: u32) -> Value {
        self.world.input(n)
    }
    async fn held(&self) -> String {
        self.world.held().await
    }
}

#[tokio::test]
async fn services_that_break_the_contract_are_found() {
    let definition = trip_booking();
    for (how, says) in [
        (How::ForgetsKeys, "reserve-credits, called twice"),
        (How::UndoesNothing, "after all undos"),
        (How::LateDoCounts, "reserve-credits, coming after its undo"),
    ] {
        let make = || Broken { world: FakeWorld::of(&definition), how };
        let found = stock::all(&definition, &make).await.expect_err("it is found");
        assert!(found.contains(says), "{found}");
    }
}
