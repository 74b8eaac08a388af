//! Random definitions, faults, crashes and cancellations under virtual time: whatever happens, I6 holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use remuda_model::OrganizationId;
use remuda_model::shard::fnv1a_64;
use remuda_saga::aggregate::StepUndone;
use remuda_saga::memory::MemoryHost;
use remuda_saga::testing::World;
use remuda_saga::testing::crash::{DyingHost, Moment};
use remuda_saga::testing::fake::{FakeWorld, Held};
use remuda_saga::testing::faults::{Fault, Faults, Seen};
use remuda_saga::*;
use tokio::time::Instant;

const NOW: i64 = 1_700_000_000_000;
const SAGAS: u32 = 3;

#[derive(Debug, Clone)]
struct Plan {
    /// Per stage: for each step whether it has an undo; none is a timer.
    stages: Vec<Option<Vec<bool>>>,
    tries: u16,
    seed: u64,
    /// Calls that fail, of a hundred.
    faults: u64,
    crashes: Vec<(u64, Moment)>,
    /// A saga and when its caller no longer wants it, ms.
    cancel: Option<(u32, u64)>,
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let stage = prop_oneof![
        1 => Just(None),
        8 => prop::collection::vec(prop::bool::weighted(0.8), 1..4).prop_map(Some),
    ];
    let moment = prop::sample::select(vec![Moment::Before, Moment::After]);
    let crash = (1u64..25, moment);
    (
        prop::collection::vec(stage, 1..6),
        1u16..4,
        any::<u64>(),
        prop::sample::select(vec![0u64, 5, 15, 40, 70]),
        prop::collection::vec(crash, 0..4),
        prop::option::of((1..=SAGAS, 0u64..30_000)),
    )
        .prop_map(|(stages, tries, seed, faults, crashes, cancel)| Plan {
            stages,
            tries,
            seed,
            faults,
            crashes,
            cancel,
        })
}

fn definition(plan: &Plan) -> Definition {
    let mut builder = Definition::named("Random");
    for (stage, steps) in plan.stages.iter().enumerate() {
        let Some(steps) = steps else {
            builder = builder.timer(&format!("wait-{stage}"), Duration::from_millis(700));
            continue;
        };
        builder = builder.parallel(steps.iter().enumerate().map(|(n, has_undo)| {
            let step = StepBuilder::call(&format!("service-{}", n % 2), &format!("do-{stage}-{n}"))
                .tries(plan.tries)
                .deadline(Duration::from_secs(2));
            if *has_undo { step.undone_by(&format!("undo-{stage}-{n}")) } else { step }
        }));
    }
    builder.build().expect("it is valid")
}

fn fault(plan: &Plan, key: &str, tries: u32) -> Option<Fault> {
    let dice = fnv1a_64(format!("{}/{key}/{tries}", plan.seed).as_bytes());
    if dice % 100 >= plan.faults {
        return None;
    }
    let all =
        [Fault::Transient, Fault::LostRequest, Fault::LostAnswer, Fault::Late, Fault::Hang, Fault::Refuse];
    Some(all[(dice / 100 % 6) as usize])
}

/// Steps that may be called after this.
fn opens(event: &SagaEvent) -> &[u16] {
    match event {
        SagaEvent::Started(e) => &e.opened,
        SagaEvent::StepSucceeded(e) => &e.opened,
        SagaEvent::StepsOpened(e) => &e.steps,
        _ => &[],
    }
}

fn id(n: u32) -> SagaId {
    SagaId::new(OrganizationId::default(), format!("saga-{n}"))
}

fn by(request_id: String) -> Requester {
    Requester { actor: "user/test".into(), request_id }
}

struct Bench {
    plan: Plan,
    definition: Definition,
    world: FakeWorld,
    faults: Faults,
    host: Arc<MemoryHost>,
    began: Instant,
}

impl Bench {
    fn node(&self, host: Arc<dyn SagaHost>) -> Sagas {
        let mut definitions = Definitions::default();
        definitions.add(self.definition.clone()).expect("it is valid");
        let (services, began) = (self.faults.wrap(&self.world.services()), self.began);
        let clock = Arc::new(move || NOW + began.elapsed().as_millis() as i64);
        Sagas::new(host, services, definitions, Settings::default(), SagaMetrics::default(), clock)
            .expect("all is there")
    }

    /// Starts what was not started, cancels when it is time, and waits for all.
    async fn drive(&self, sagas: &Sagas) -> Vec<Summary> {
        sagas.resume().await.expect("it goes on");
        for n in 1..=SAGAS {
            // Whether an earlier process had started it is not known: the same again is the same saga.
            let started = sagas.start(&id(n), "Random", self.world.input(n), &by(format!("start-{n}"))).await;
            started.expect("it starts");
        }
        let cancel = async {
            if let Some((n, after_ms)) = self.plan.cancel {
                tokio::time::sleep_until(self.began + Duration::from_millis(after_ms)).await;
                // Refused where it has completed.
                let _ = sagas.cancel(&id(n), "not wanted", &by(format!("cancel-{n}"))).await;
            }
        };
        let all = async {
            let mut ends = Vec::new();
            for n in 1..=SAGAS {
                ends.push(sagas.wait(&id(n)).await.expect("it ends or is stuck"));
            }
            ends
        };
        tokio::join!(all, cancel).0
    }

    async fn run(&self) -> Result<(), TestCaseError> {
        let plan = self.plan.clone();
        self.faults.choose(move |key, tries| fault(&plan, key, tries));
        for (at, moment) in &self.plan.crashes {
            let dying = Arc::new(DyingHost::new(self.host.clone(), *at, *moment));
            let sagas = self.node(dying.clone());
            tokio::select! {
                _ = self.drive(&sagas) => {}
                () = dying.died() => {}
            }
            sagas.kill();
            if at % 2 == 0 {
                self.faults.deliver_late().await;
            }
        }
        let sagas = self.node(self.host.clone());
        let mut ends = self.drive(&sagas).await;
        self.faults.lift();
        for summary in &mut ends {
            if summary.status == Status::Stuck {
                prop_assert!(!summary.reason.is_empty() && summary.stuck_on.is_some(), "{:?}", summary);
                // It was cancelled, or another undo was given up, after it was seen.
                for round in 0.. {
                    prop_assert!(round < 10, "it stays stuck: {:?}", summary);
                    let _ = sagas.retry(&summary.id, "mended", &by(format!("retry-{round}"))).await;
                    *summary = sagas.wait(&summary.id).await.expect("it ends");
                    if summary.status.is_ended() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
        self.faults.deliver_late().await;
        // A cancelled one may have been caught after it was looked at.
        for n in 1..=SAGAS {
            let summary = sagas.wait(&id(n)).await.expect("it has ended");
            self.check(n, &summary)?;
        }
        Ok(())
    }

    fn check(&self, n: u32, summary: &Summary) -> Result<(), TestCaseError> {
        let (book, events) = (self.world.book(), self.host.events(&id(n)));
        let seen = self.faults.seen();
        let calls: Vec<(usize, &Seen)> = seen.iter().enumerate().collect();
        let mut first_undo: BTreeMap<u16, usize> = BTreeMap::new();
        let mut undone: BTreeMap<u16, usize> = BTreeMap::new();
        for (index, step) in (0u16..).zip(&self.definition.steps) {
            let name = format!("saga-{n}/{}", step.name);
            let taken = matches!(book.get(&name), Some(Held::Taken(_)));
            if step.call().is_some() && summary.status == Status::Completed {
                prop_assert!(taken, "{} completed without {}", n, name);
            }
            if step.has_undo() && summary.status == Status::Compensated {
                prop_assert!(!taken, "{} was compensated and holds {}", n, name);
            }
            let (do_key, undo_key) = (format!("{name}/do"), format!("{name}/undo"));
            let dos = || calls.iter().filter(|(_, s)| s.key == do_key);
            let undos = || calls.iter().filter(|(_, s)| s.key == undo_key);
            if let Some((first, _)) = undos().next() {
                prop_assert!(dos().all(|(at, _)| at < first), "{} was called after its undo", name);
                let opened = events.iter().any(|e| opens(e).contains(&index));
                let called = dos().next().is_some();
                prop_assert!(
                    called || (opened && !self.plan.crashes.is_empty()),
                    "{} was undone for nothing",
                    name
                );
                first_undo.entry(step.stage).and_modify(|at| *at = (*at).min(*first)).or_insert(*first);
                let done = undos().find(|(_, s)| s.done).map_or(usize::MAX, |(at, _)| *at);
                undone.entry(step.stage).and_modify(|at| *at = (*at).max(done)).or_insert(done);
                prop_assert!(
                    summary.status != Status::Completed,
                    "{} was undone in a saga that completed",
                    name
                );
            }
        }
        for (stage, first) in &first_undo {
            for (later, done) in undone.range(stage + 1..) {
                prop_assert!(done < first, "stage {} was undone before stage {}", stage, later);
            }
        }
        let order = events.iter().filter_map(|event| match event {
            SagaEvent::StepUndone(StepUndone { step }) => {
                Some(self.definition.steps[usize::from(*step)].stage)
            }
            _ => None,
        });
        prop_assert!(order.collect::<Vec<_>>().is_sorted_by(|a, b| a >= b), "{:?}", events);
        prop_assert!(summary.status.is_ended());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn every_saga_ends_whole_or_undone_or_visibly_stuck(plan in any_plan()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let definition = definition(&plan);
            let world = FakeWorld::of(&definition);
            let (faults, host, began) = (Faults::none(), Arc::new(MemoryHost::new()), Instant::now());
            Bench { plan, definition, world, faults, host, began }.run().await
        })?;
    }
}
