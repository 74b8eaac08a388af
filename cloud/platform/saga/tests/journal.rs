//! Sagas in a real journal on disk: stock tests' world, restarts, and what another program cannot read.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use remuda_entities::projection::Place;
use remuda_entities::{EntityMetrics, Shards};
use remuda_eventsourcing::{
    Journal, JournalError, JournalMetrics, NewEvent, SledJournal, StreamId, shard_of,
};
use remuda_model::OrganizationId;
use remuda_saga::testing::World;
use remuda_saga::testing::fake::FakeWorld;
use remuda_saga::testing::faults::{Fault, Faults};
use remuda_saga::*;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

/// Actors and tasks of the life before may hold it for a moment.
async fn open(folder: &Path) -> Arc<SledJournal> {
    loop {
        match SledJournal::open(folder, JournalMetrics::default()) {
            Err(JournalError::InUse(_)) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            other => return Arc::new(other.expect("opened")),
        }
    }
}

struct Node {
    sagas: Sagas,
    metrics: SagaMetrics,
    host: EntityHost,
    journal: Arc<SledJournal>,
}

impl Node {
    async fn start(folder: &Path, services: Services, definition: &Definition) -> Self {
        let journal = open(&folder.join("journal")).await;
        let shards = Shards::take_all(journal.clone(), EntityMetrics::default()).await.expect("taken");
        let place = Place::folder(folder.join("projections"));
        let host = EntityHost::start(&shards, &place).await.expect("started");
        let mut definitions = Definitions::default();
        definitions.add(definition.clone()).expect("it is valid");
        let metrics = SagaMetrics::default();
        let (settings, clock) = (Settings::default(), Arc::new(now_ms));
        let sagas =
            Sagas::new(Arc::new(host.clone()), services, definitions, settings, metrics.clone(), clock);
        Self { sagas: sagas.expect("all is there"), metrics, host, journal }
    }

    async fn stop(self) {
        self.sagas.kill();
        self.host.stop().await;
    }
}

fn id(n: u32) -> SagaId {
    SagaId::new(OrganizationId::default(), format!("booking-{n}"))
}

fn by(request_id: String) -> Requester {
    Requester { actor: "user/ada".into(), request_id }
}

fn definition() -> Definition {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../config/sagas");
    let all = Definitions::load_folder(&folder).expect("the shipped definitions load");
    Definition::clone(all.newest("TripBookingSaga").expect("it is there")).with_back_off(1, 5)
}

#[tokio::test(flavor = "multi_thread")]
async fn bookings_end_across_restarts_of_a_node_on_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let definition = definition();
    let world = FakeWorld::of(&definition);
    let faults = Faults::none();
    // Every third booking fails at its last step, and its undo of the first only works after the second restart.
    faults.choose(|key, _| {
        let n: u32 = key.split(['-', '/']).nth(1).and_then(|n| n.parse().ok()).unwrap_or_default();
        let last = key.ends_with("send-confirmation/do") && n.is_multiple_of(3);
        let undo = key.ends_with("reserve-credits/undo") && n.is_multiple_of(6);
        (last || undo).then_some(Fault::Refuse)
    });
    const BOOKINGS: u32 = 30;
    let services = || faults.wrap(&world.services());
    let node = Node::start(folder.path(), services(), &definition).await;
    for n in 1..=BOOKINGS {
        let input = world.input(n);
        node.sagas
            .start(&id(n), "TripBookingSaga", input, &by(format!("start-{n}")))
            .await
            .expect("it starts");
    }
    // Some are in the middle.
    node.stop().await;

    let node = Node::start(folder.path(), services(), &definition).await;
    node.sagas.resume().await.expect("it goes on");
    let mut statuses = Vec::new();
    for n in 1..=BOOKINGS {
        statuses.push(node.sagas.wait(&id(n)).await.expect("it ends").status);
    }
    for (n, status) in (1u32..).zip(&statuses) {
        let expected = match n {
            _ if n.is_multiple_of(6) => Status::Stuck,
            _ if n.is_multiple_of(3) => Status::Compensated,
            _ => Status::Completed,
        };
        assert_eq!(*status, expected, "booking {n}");
    }
    let lines: Vec<String> = timeline(&node.sagas.history(&id(3)).await.expect("it has one"))
        .iter()
        .map(Entry::to_string)
        .collect();
    assert!(
        lines.last().is_some_and(|last| last.ends_with("saga: compensated [saga/booking-3]")),
        "{lines:#?}"
    );
    node.stop().await;

    faults.lift();
    let node = Node::start(folder.path(), services(), &definition).await;
    // Only those that are stuck are taken up again.
    assert_eq!(node.sagas.resume().await, Ok(5));
    for n in (6..=BOOKINGS).step_by(6) {
        node.sagas.retry(&id(n), "mended", &by(format!("retry-{n}"))).await.expect("it is taken");
        while node.sagas.wait(&id(n)).await.expect("it ends").status != Status::Compensated {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(node.metrics.compensated(), 5);
    assert_eq!(world.held().await.split(' ').count(), 4 * 20);
    node.host.index().caught_up().await.expect("it reads on");
    let ended = node.host.ended(OrganizationId::default(), None, 100).expect("it can be read");
    assert_eq!(ended.len(), BOOKINGS as usize);
    assert!(ended.is_sorted_by(|(_, a), (_, b)| a.ended_ms >= b.ended_ms), "the newest first");
    let page = node.host.ended(OrganizationId::default(), Some(&ended[9].0), 5).expect("it can be read");
    assert_eq!(page, ended[10..15]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_of_a_newer_program_is_shown_and_stops_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let definition = definition();
    let world = FakeWorld::of(&definition);
    let node = Node::start(folder.path(), world.services(), &definition).await;
    let stream = StreamId {
        organization: OrganizationId::default(),
        aggregate_type: "saga".into(),
        aggregate_id: id(1).id,
    };
    let shard = shard_of(&stream);
    let event = NewEvent {
        event_id: [7; 16],
        stream,
        version: 1,
        event_type: "saga.started".into(),
        schema_version: 9,
        time_ms: 1,
        causation_id: "c".into(),
        correlation_id: String::new(),
        actor: "user/future".into(),
        payload: vec![1, 2, 3],
    };
    node.stop().await;
    let journal = open(&folder.path().join("journal")).await;
    let owned = journal.acquire(&[shard]).await.expect("taken");
    journal.append(owned[0].0, owned[0].1, vec![event]).await.expect("written");
    drop(journal);

    let node = Node::start(folder.path(), world.services(), &definition).await;
    assert_eq!(node.sagas.resume().await, Ok(1));
    let shown = node.sagas.wait(&id(1)).await.expect("it is shown");
    assert_eq!(shown.status, Status::Stuck);
    assert!(shown.reason.contains("run the program that wrote it"), "{}", shown.reason);
    assert_eq!(node.metrics.stuck(), 1);
    node.sagas
        .start(&id(2), "TripBookingSaga", world.input(2), &by("start-2".into()))
        .await
        .expect("it starts");
    assert_eq!(node.sagas.wait(&id(2)).await.expect("it ends").status, Status::Completed);
    assert!(!node.journal.epochs().await.expect("they can be read").is_empty());
    node.stop().await;
}
