//! The runner under virtual time: deadlines, pauses, timers, restarts, operators.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use remuda_model::OrganizationId;
use remuda_saga::memory::MemoryHost;
use remuda_saga::testing::World;
use remuda_saga::testing::fake::FakeWorld;
use remuda_saga::testing::faults::{Fault, Faults};
use remuda_saga::*;
use serde_json::{Value, json};
use tokio::time::Instant;

const NOW: i64 = 1_700_000_000_000;

/// A node under virtual time; killed and started again on the same host and services.
struct Node {
    definition: Definition,
    definitions: Definitions,
    world: FakeWorld,
    faults: Faults,
    host: Arc<MemoryHost>,
    began: Instant,
}

impl Node {
    fn new(definition: Definition) -> Self {
        let world = FakeWorld::of(&definition);
        let mut definitions = Definitions::default();
        definitions.add(definition.clone()).expect("it is valid");
        let (faults, host, began) = (Faults::none(), Arc::new(MemoryHost::new()), Instant::now());
        Self { definition, definitions, world, faults, host, began }
    }

    fn start_with(&self, services: Services, settings: Settings) -> (Sagas, SagaMetrics) {
        let (metrics, began) = (SagaMetrics::default(), self.began);
        let clock = Arc::new(move || NOW + began.elapsed().as_millis() as i64);
        let definitions = self.definitions.clone();
        let sagas = Sagas::new(self.host.clone(), services, definitions, settings, metrics.clone(), clock);
        (sagas.expect("all is there"), metrics)
    }

    fn start(&self) -> (Sagas, SagaMetrics) {
        self.start_with(self.faults.wrap(&self.world.services()), Settings::default())
    }

    async fn begin(&self, sagas: &Sagas, n: u32) -> Result<Summary, SagaError> {
        let by = by(&format!("start-{n}"));
        sagas.start(&id(n), &self.definition.name, self.world.input(n), &by).await
    }

    async fn lines(&self, sagas: &Sagas, n: u32) -> Vec<String> {
        let history = sagas.history(&id(n)).await.expect("it has one");
        timeline(&history).iter().map(Entry::to_string).collect()
    }
}

fn id(n: u32) -> SagaId {
    SagaId::new(OrganizationId::default(), format!("booking-{n}"))
}

fn by(request_id: &str) -> Requester {
    Requester { actor: "user/ada".into(), request_id: request_id.into() }
}

fn booking() -> Definition {
    let step = |action: &str, undo: &str| StepBuilder::call("desk", action).undone_by(undo);
    Definition::named("Booking")
        .step(step("hold", "release"))
        .step(step("reserve", "free"))
        .step(step("confirm", "withdraw"))
        .build()
        .expect("it is valid")
}

/// Waits for something that other tasks bring about.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_step_takes_its_deadline_each_try_and_is_undone() {
    let node = Node::new(booking());
    node.faults.choose(|key, _| key.ends_with("reserve/do").then_some(Fault::Hang));
    let (sagas, metrics) = node.start();
    node.begin(&sagas, 1).await.expect("it starts");
    assert_eq!(metrics.running(), 1);
    let summary = sagas.wait(&id(1)).await.expect("it ends");
    assert_eq!(summary.status, Status::Compensated);
    // Five tries of 10 s, and pauses of 0.1 to 1.6 s between them.
    let took = node.began.elapsed().as_secs_f64();
    assert!((51.5..53.1).contains(&took), "{took} s");
    assert_eq!(node.world.held().await, "");
    assert_eq!((metrics.running(), metrics.completed(), metrics.compensated()), (0, 0, 1));
    let lines = node.lines(&sagas, 1).await;
    let says = |text: &str| lines.iter().any(|line| line.contains(text));
    assert!(says("reserve: try 1 failed: timed-out (no answer within 10000 ms)"), "{lines:#?}");
    assert!(says("reserve: failed at try 5: timed-out") && says("it may have been done"), "{lines:#?}");
    assert!(
        says("saga: unwinds, since reserve failed: timed-out") && says("never called confirm"),
        "{lines:#?}"
    );
    let order: Vec<usize> = ["reserve: undone", "hold: undone", "saga: compensated"]
        .iter()
        .map(|text| lines.iter().position(|line| line.contains(text)).expect(text))
        .collect();
    assert!(order.is_sorted(), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn steps_see_the_input_and_what_earlier_steps_answered() {
    struct Echo;
    #[async_trait]
    impl Service for Echo {
        fn name(&self) -> &'static str {
            "desk"
        }
        fn actions(&self) -> &'static [ActionSpec] {
            const ALL: [ActionSpec; 6] = [
                ActionSpec::undone_by("hold", "release"),
                ActionSpec::undone_by("reserve", "free"),
                ActionSpec::undone_by("confirm", "withdraw"),
                ActionSpec::plain("release"),
                ActionSpec::plain("free"),
                ActionSpec::plain("withdraw"),
            ];
            &ALL
        }
        async fn call(&self, action: &str, key: &str, context: &StepContext) -> Result<Value, StepError> {
            let data = context.data.as_object().expect("an object");
            let mut seen: Vec<&str> = data.keys().map(String::as_str).collect();
            seen.sort_unstable();
            let expected: &[&str] = match action {
                "hold" => &["rider"],
                "reserve" => &["hold", "rider"],
                "confirm" => &["hold", "reserve", "rider"],
                "free" => &["hold", "reserve", "rider"],
                _ => &["hold", "rider"],
            };
            let way = if matches!(action, "release" | "free" | "withdraw") { "undo" } else { "do" };
            let right = seen == expected && key == format!("booking-1/{}/{way}", context.step);
            match action {
                _ if !right => Err(StepError::refused("wrong-context", format!("{action} {key}: {seen:?}"))),
                "confirm" => Err(StepError::refused("no", "as planned")),
                _ => Ok(json!({ "by": action })),
            }
        }
    }
    let node = Node::new(booking());
    let (sagas, _) =
        node.start_with(Services::new([Arc::new(Echo) as Arc<dyn Service>]), Settings::default());
    node.begin(&sagas, 1).await.expect("it starts");
    let summary = sagas.wait(&id(1)).await.expect("it ends");
    assert_eq!((summary.status, summary.reason.as_str()), (Status::Compensated, "confirm failed: no"));
}

#[tokio::test(start_paused = true)]
async fn a_timer_survives_restarts_and_is_over_at_its_time() {
    let definition = Definition::named("Patient")
        .step(StepBuilder::call("desk", "hold").undone_by("release"))
        .timer("grace", Duration::from_secs(86_400))
        .step(StepBuilder::call("desk", "confirm").undone_by("withdraw"))
        .build()
        .expect("it is valid");
    let node = Node::new(definition);
    let (first, _) = node.start();
    node.begin(&first, 1).await.expect("it starts");
    tokio::time::sleep(Duration::from_secs(10_000)).await;
    first.kill();
    tokio::time::sleep(Duration::from_secs(10_000)).await;
    let (second, metrics) = node.start();
    assert_eq!(second.resume().await, Ok(1));
    assert_eq!(second.resume().await, Ok(0));
    tokio::time::sleep(Duration::from_secs(60_000)).await;
    let summary = second.get(&id(1)).await.expect("it is there");
    assert_eq!((summary.status, summary.steps[1].due_ms), (Status::Running, Some(NOW + 86_400_000)));
    assert_eq!(second.wait(&id(1)).await.expect("it ends").status, Status::Completed);
    let took = node.began.elapsed().as_millis();
    assert!((86_400_000..86_400_100).contains(&took), "{took} ms");
    assert_eq!((metrics.running(), metrics.completed()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_caller_cancels_while_a_step_is_under_way() {
    let node = Node::new(booking());
    node.faults.choose(|key, _| key.ends_with("reserve/do").then_some(Fault::Hang));
    let (sagas, _) = node.start();
    node.begin(&sagas, 1).await.expect("it starts");
    until("reserve is called", || node.faults.seen().len() == 2).await;
    let summary = sagas.cancel(&id(1), "changed my mind", &by("cancel-1")).await.expect("it is taken");
    assert_eq!(
        (summary.status, summary.reason.as_str()),
        (Status::Unwinding, "cancelled by user/ada: changed my mind")
    );
    assert_eq!(sagas.wait(&id(1)).await.expect("it ends").status, Status::Compensated);
    // The call under way was waited for, and not tried again.
    let keys: Vec<String> = node.faults.seen().into_iter().map(|seen| seen.key).collect();
    assert_eq!(
        keys,
        ["booking-1/hold/do", "booking-1/reserve/do", "booking-1/reserve/undo", "booking-1/hold/undo"]
    );
    assert_eq!(
        sagas.cancel(&id(1), "again", &by("cancel-2")).await.expect("it is so").status,
        Status::Compensated
    );
    let none = sagas.cancel(&id(9), "who?", &by("cancel-3")).await.expect_err("there is none");
    assert_eq!(none.code(), "not-started");
}

#[tokio::test(start_paused = true)]
async fn an_operator_resolves_what_is_stuck() {
    let node = Node::new(booking());
    node.faults.choose(|key, _| {
        (key.ends_with("confirm/do") || key.ends_with("reserve/undo")).then_some(Fault::Refuse)
    });
    let (sagas, metrics) = node.start();
    for n in 1..=2 {
        node.begin(&sagas, n).await.expect("it starts");
        let summary = sagas.wait(&id(n)).await.expect("it is stuck");
        assert_eq!((summary.status, summary.stuck_on.as_deref()), (Status::Stuck, Some("reserve")));
        assert!(summary.reason.contains("undo of reserve: told-to-refuse"), "{}", summary.reason);
    }
    assert_eq!((metrics.running(), metrics.stuck()), (0, 2));
    // A restart does not change that.
    sagas.drain().await;
    let (sagas, metrics) = node.start();
    assert_eq!(sagas.resume().await, Ok(2));
    until("both are stuck again", || metrics.stuck() == 2).await;
    let filter = Filter { statuses: vec![Status::Stuck], limit: 10, ..Filter::default() };
    assert_eq!(sagas.list(OrganizationId::default(), &filter).len(), 2);
    let other = OrganizationId::new("other").expect("an id");
    assert_eq!(sagas.list(other, &filter), []);

    let error = sagas.skip(&id(1), "resreve", "typo", &by("skip-0")).await.expect_err("no such step");
    assert_eq!(error.to_string(), "the saga has no step \"resreve\"; it has: hold, reserve, confirm");
    let error =
        sagas.skip(&id(1), "hold", "the wrong one", &by("skip-1")).await.expect_err("it is not stuck");
    assert_eq!(error.code(), "not-skippable");
    sagas.skip(&id(1), "reserve", "freed by hand", &by("skip-2")).await.expect("it is taken");
    assert_eq!(sagas.wait(&id(1)).await.expect("it ends").status, Status::Compensated);
    let lines = node.lines(&sagas, 1).await;
    assert!(lines.iter().any(|l| l.contains("reserve: skipped: freed by hand [user/ada]")), "{lines:#?}");

    sagas.retry(&id(2), "let us see", &by("retry-1")).await.expect("it is taken");
    until("it is stuck again", || metrics.stuck() == 1 && metrics.running() == 0).await;
    node.faults.lift();
    sagas.retry(&id(2), "mended", &by("retry-2")).await.expect("it is taken");
    until("it ends", || metrics.compensated() == 2).await;
    assert_eq!((metrics.stuck(), sagas.under_way()), (0, 0));
    assert_eq!(node.world.held().await, "booking-1/reserve");
}

#[tokio::test(start_paused = true)]
async fn a_saga_ends_on_the_version_it_began_with() {
    let waits = |version: u32, last: &str| {
        Definition::named("Versioned")
            .version(version)
            .timer("grace", Duration::from_secs(100))
            .step(StepBuilder::call("desk", last).undone_by("withdraw"))
            .build()
            .expect("it is valid")
    };
    let mut node = Node::new(waits(1, "confirm"));
    let (first, _) = node.start();
    node.begin(&first, 1).await.expect("it starts");
    first.kill();
    // The next program has only the second version; the saga carries the first.
    node.definitions = Definitions::default();
    node.definitions.add(waits(2, "approve")).expect("it is valid");
    let second_world = FakeWorld::of(&waits(2, "approve"));
    let only_new = node.faults.wrap(&second_world.services());
    let (second, metrics) = node.start_with(only_new, Settings::default());
    second.resume().await.expect("it goes on");
    // Its action is gone: visible, not a crash.
    let stuck = second.wait(&id(1)).await.expect("it is stuck");
    assert_eq!((stuck.status, stuck.version, stuck.stuck_on.as_deref()), (Status::Stuck, 1, Some("confirm")));
    assert!(stuck.reason.contains("no service \"desk\" with an action \"confirm\""), "{}", stuck.reason);
    assert_eq!(metrics.stuck(), 1);
    second.kill();
    // A program that has the action again goes on by itself.
    node.definitions = Definitions::default();
    node.definitions.add(waits(1, "confirm")).expect("it is valid");
    let (third, _) = node.start_with(node.world.services(), Settings::default());
    third.resume().await.expect("it goes on");
    until("it completes", || third.under_way() == 0).await;
    let summary = third.get(&id(1)).await.expect("it is there");
    assert_eq!((summary.status, summary.version), (Status::Completed, 1));
    assert_eq!(node.world.held().await, "booking-1/confirm");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_started_is_refused_with_a_reason() {
    let node = Node::new(booking());
    let (sagas, _) =
        node.start_with(node.world.services(), Settings { sagas_at_once: 1, ..Settings::default() });
    let start = |saga: &'static str, id: &str, input: Value| {
        let (sagas, id) = (sagas.clone(), SagaId::new(OrganizationId::default(), id));
        async move { sagas.start(&id, saga, input, &by("x")).await.expect_err("refused") }
    };
    for (saga, id, input, code, says) in [
        ("Boking", "b", json!({}), "unknown-definition", "there are: Booking"),
        ("Booking", "a/b", json!({}), "invalid", "no id of a saga"),
        ("Booking", "", json!({}), "invalid", "no id of a saga"),
        ("Booking", "b", json!([]), "invalid", "must be a JSON object"),
        ("Booking", "b", json!({ "hold": 1 }), "invalid", "a field \"hold\", which is a step's name"),
        ("Booking", "b", json!({ "x": "y".repeat(20_000) }), "input-too-large", "pass ids, not documents"),
    ] {
        let error = start(saga, id, input).await;
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    // One that is under way fills the one place.
    let blocked = Node::new(booking());
    blocked.faults.choose(|_, _| Some(Fault::Hang));
    let services = blocked.faults.wrap(&blocked.world.services());
    let (sagas, _) = blocked.start_with(services, Settings { sagas_at_once: 1, calls_at_once: 1 });
    blocked.begin(&sagas, 1).await.expect("it starts");
    assert_eq!(blocked.begin(&sagas, 2).await.expect_err("there is no room").code(), "busy");
    // Asked again, the first answers how it stands; with another input the id is another's.
    let again = sagas.start(&id(1), "Booking", json!({ "rider": "other" }), &by("start-1b")).await;
    assert_eq!(again.expect_err("no").code(), "busy");
    blocked.faults.lift();
    sagas.wait(&id(1)).await.expect("it ends");
    assert_eq!(blocked.begin(&sagas, 1).await.expect("it is the same").status, Status::Completed);
    let other = sagas.start(&id(1), "Booking", json!({ "rider": "other" }), &by("start-1c")).await;
    assert_eq!(other.expect_err("no").code(), "id-taken");
    sagas.drain().await;
    assert_eq!(blocked.begin(&sagas, 3).await.expect_err("no more").code(), "stopping");
}

#[tokio::test(start_paused = true)]
async fn draining_hears_the_calls_under_way_and_leaves_the_rest_to_the_next() {
    let node = Node::new(booking());
    let (first, _) = node.start();
    for n in 1..=50 {
        node.begin(&first, n).await.expect("it starts");
    }
    first.drain().await;
    assert_eq!(first.under_way(), 0);
    let calls = node.faults.seen();
    let keys: std::collections::BTreeSet<&String> = calls.iter().map(|seen| &seen.key).collect();
    let (second, metrics) = node.start();
    let resumed = second.resume().await.expect("it goes on");
    until("all end", || second.under_way() == 0).await;
    assert_eq!(metrics.completed(), resumed as u64);
    // No step was called twice: its answer had been written before the first left.
    assert_eq!(keys.len(), calls.len());
    assert_eq!(node.faults.seen().len(), 150);
    assert_eq!(node.world.held().await.split(' ').count(), 150);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_panics_is_an_unknown_outcome() {
    struct Panics(Services);
    #[async_trait]
    impl Service for Panics {
        fn name(&self) -> &'static str {
            "desk"
        }
        fn actions(&self) -> &'static [ActionSpec] {
            self.0.get("desk").expect("it is there").actions()
        }
        async fn call(&self, action: &str, key: &str, context: &StepContext) -> Result<Value, StepError> {
            assert!(action != "reserve", "as planned");
            self.0.get("desk").expect("it is there").call(action, key, context).await
        }
    }
    let node = Node::new(booking().with_back_off(1, 1));
    let panics = Services::new([Arc::new(Panics(node.world.services())) as Arc<dyn Service>]);
    let (sagas, _) = node.start_with(panics, Settings::default());
    node.begin(&sagas, 1).await.expect("it starts");
    let summary = sagas.wait(&id(1)).await.expect("it ends");
    assert_eq!((summary.status, summary.reason.as_str()), (Status::Compensated, "reserve failed: unknown"));
    assert_eq!(node.world.held().await, "");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_does_not_keep_others_waiting() {
    let definition = |name: &str, service: &str| {
        Definition::named(name)
            .step(StepBuilder::call(service, "hold").tries(1).undone_by("release"))
            .build()
            .expect("valid")
    };
    let (slow, quick) = (definition("Slow", "slow"), definition("Quick", "quick"));
    let mut node = Node::new(slow.clone());
    node.definitions.add(quick.clone()).expect("it is valid");
    node.faults.choose(|key, _| (key.starts_with("slow") && key.ends_with("/do")).then_some(Fault::Hang));
    let both = FakeWorld::of(&slow)
        .services()
        .iter()
        .chain(FakeWorld::of(&quick).services().iter())
        .cloned()
        .collect::<Vec<_>>();
    let settings = Settings { calls_at_once: 2, ..Settings::default() };
    let (sagas, _) = node.start_with(node.faults.wrap(&Services::new(both)), settings);
    for n in 0..10 {
        let id = SagaId::new(OrganizationId::default(), format!("slow-{n}"));
        sagas.start(&id, "Slow", json!({}), &by(&format!("slow-{n}"))).await.expect("it starts");
    }
    sagas.start(&id(1), "Quick", json!({}), &by("quick")).await.expect("it starts");
    assert_eq!(sagas.wait(&id(1)).await.expect("it ends").status, Status::Completed);
    assert!(node.began.elapsed() < Duration::from_secs(1));
    // Two at a time, 10 s each, counted from when it is a call's turn; their undos follow at once.
    until("all are undone", || sagas.under_way() == 0).await;
    let took = node.began.elapsed().as_secs();
    assert!((50..=51).contains(&took), "{took} s");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_answer_for_a_while_loses_nothing() {
    use std::sync::atomic::{AtomicU32, Ordering};

    use remuda_eventsourcing::Context;
    use remuda_saga::host::Executed;

    /// Every third call fails; of those, every second after it was written; one in fifty breaks whoever calls.
    struct Flaky(Arc<MemoryHost>, AtomicU32);
    impl Flaky {
        fn turn(&self) -> u32 {
            let turn = self.1.fetch_add(1, Ordering::Relaxed);
            assert!(turn % 50 != 49, "as planned");
            turn
        }
    }
    #[async_trait]
    impl SagaHost for Flaky {
        async fn execute(
            &self,
            id: &SagaId,
            command: Command,
            context: Context,
        ) -> Result<Executed, HostError> {
            let turn = self.turn();
            if turn % 3 == 2 && turn.is_multiple_of(2) {
                return Err(HostError::Failed("not now".into()));
            }
            let executed = self.0.execute(id, command, context).await;
            if turn % 3 == 2 { Err(HostError::Failed("lost".into())) } else { executed }
        }
        async fn state(&self, id: &SagaId) -> Result<State, HostError> {
            if self.turn() % 3 == 2 {
                Err(HostError::Failed("not now".into()))
            } else {
                self.0.state(id).await
            }
        }
        async fn history(&self, id: &SagaId) -> Result<Vec<Recorded>, HostError> {
            self.0.history(id).await
        }
        async fn unended(&self) -> Result<Vec<SagaId>, HostError> {
            self.0.unended().await
        }
    }
    let node = Node::new(booking());
    let flaky = Arc::new(Flaky(node.host.clone(), AtomicU32::new(0)));
    let began = node.began;
    let sagas = Sagas::new(
        flaky,
        node.faults.wrap(&node.world.services()),
        node.definitions.clone(),
        Settings::default(),
        SagaMetrics::default(),
        Arc::new(move || NOW + began.elapsed().as_millis() as i64),
    )
    .expect("all is there");
    for n in 1..=40 {
        while node.begin(&sagas, n).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    until("all end", || sagas.under_way() == 0 && node.host.ids().len() == 40).await;
    for n in 1..=40 {
        let state = node.host.state(&id(n)).await.expect("it is there");
        assert_eq!(state.phase, Phase::Completed, "{n}");
    }
    assert_eq!(node.world.held().await.split(' ').count(), 120);
}
