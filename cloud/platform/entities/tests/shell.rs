//! The shell on a journal in memory.

use std::sync::Arc;
use std::time::Duration;

use remuda_entities::{AskError, Entities, EntityMetrics, From, Outcome, Recorded, Settings, Shards};
use remuda_eventsourcing::testing::{Tally, TallyCommand, TallyEvent, context};
use remuda_eventsourcing::{Context, Journal, MemoryJournal};
use remuda_model::OrganizationId;

async fn tallies(journal: &Arc<dyn Journal>) -> Entities<Tally> {
    tallies_with(journal, Settings::default()).await
}

async fn tallies_with(journal: &Arc<dyn Journal>, settings: Settings) -> Entities<Tally> {
    let shards = Shards::take_all(Arc::clone(journal), EntityMetrics::default()).await.expect("taken");
    Entities::start(&shards, settings).await.expect("started")
}

fn journal() -> Arc<dyn Journal> {
    Arc::new(MemoryJournal::new())
}

fn id(command_id: &str) -> Context {
    Context { command_id: command_id.into(), ..context() }
}

async fn add(tallies: &Entities<Tally>, to: &str, n: i64, command: &str) -> Result<Outcome<Tally>, AskError> {
    tallies.ask(&OrganizationId::default(), to, TallyCommand::Add(n), id(command)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_obeyed_once_also_after_a_restart() {
    let journal = journal();
    for (round, repeated) in [false, true].into_iter().enumerate() {
        let tallies = tallies(&journal).await;
        let first = add(&tallies, "a", 5, "c1").await.expect("accepted");
        assert_eq!(first, Outcome { version: 1, events: vec![TallyEvent::Added(5)], repeated });
        let refused = add(&tallies, "a", -6, "c2").await.expect_err("refused");
        assert_eq!(refused.code(), "below-zero", "round {round}");
        // More than the entity remembers itself.
        for n in 0..40 {
            add(&tallies, "a", 1, &format!("more-{n}")).await.expect("accepted");
        }
        let again = add(&tallies, "a", 5, "c1").await.expect("the same answer");
        assert_eq!(again, Outcome { version: 1, events: vec![TallyEvent::Added(5)], repeated: true });
        let still = add(&tallies, "a", -6, "c2").await.expect_err("still refused, though it would do now");
        assert_eq!(still, refused);
        let seen = tallies.read(&OrganizationId::default(), "a").await.expect("read");
        assert_eq!((seen.state.sum, seen.state.additions), (45, 41));
        tallies.drain().await;
        assert_eq!(tallies.active(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_carries_who_and_why() {
    let journal = journal();
    let tallies = tallies(&journal).await;
    let mut feed = tallies.follow(From::Start);
    let who = Context {
        now_ms: 7,
        command_id: "saga/s1/2/do".into(),
        actor: "saga/s1".into(),
        correlation_id: "booking-1".into(),
    };
    tallies.ask(&OrganizationId::default(), "a", TallyCommand::AddOnes(2), who).await.expect("accepted");
    add(&tallies, "a", -9, "c").await.expect_err("refused");
    let mut events = Vec::new();
    while events.len() < 3 {
        events.extend(feed.next().await.expect("read"));
    }
    let facts: Vec<_> =
        events.iter().map(|e| Recorded::<Tally>::decode(e).expect("read").map(|r| r.fact)).collect();
    assert_eq!(facts, [Some(TallyEvent::Added(1)), Some(TallyEvent::Added(1)), None]);
    assert_eq!(events[2].event.event_type, "command.refused");
    let one = &events[1].event;
    assert_eq!((one.time_ms, one.version, one.schema_version), (7, 2, 2));
    assert_eq!(
        (&*one.causation_id, &*one.actor, &*one.correlation_id),
        ("saga/s1/2/do", "saga/s1", "booking-1")
    );
    assert_ne!(events[0].event.event_id, events[1].event.event_id);
    assert_eq!((events[0].position, events[1].position, events[2].position), (1, 2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_optimistic_and_bad_input_is_told() {
    let tallies = tallies(&journal()).await;
    let organization = OrganizationId::default();
    let ask_at = |expected, command| {
        tallies.ask_at(&organization, "a", Some(expected), TallyCommand::Add(1), id(command))
    };
    ask_at(0, "c1").await.expect("nobody was before");
    assert_eq!(ask_at(0, "c2").await, Err(AskError::VersionMismatch { expected: 0, current: 1 }));
    assert_eq!(ask_at(0, "c1").await.map(|o| o.repeated), Ok(true), "the same command, whatever came since");
    for (entity, command, says) in [
        ("", "c", "the id is empty"),
        ("a\0b", "c", "the id has a control character"),
        ("a", "", "the command id is empty"),
        (&"x".repeat(201), "c", "201 bytes"),
    ] {
        let error = add(&tallies, entity, 1, command).await.expect_err("invalid");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.code(), "invalid");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entity_that_breaks_rests_and_comes_back_and_others_go_on() {
    let journal = journal();
    let settings = Settings { backoff: Duration::from_millis(20), ..Settings::default() };
    let tallies = tallies_with(&journal, settings).await;
    add(&tallies, "a", 5, "c1").await.expect("accepted");
    let broke = tallies.ask(&OrganizationId::default(), "a", TallyCommand::Panic, id("c2")).await;
    assert!(broke.as_ref().is_err_and(AskError::is_transient), "{broke:?}");
    add(&tallies, "b", 1, "c1").await.expect("others go on");
    let answer = loop {
        match add(&tallies, "a", 1, "c3").await {
            Err(error) if error.is_transient() => tokio::time::sleep(Duration::from_millis(5)).await,
            other => break other.expect("accepted"),
        }
    };
    assert_eq!(answer.version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_idle_leave_and_come_back_by_snapshot() {
    let journal = journal();
    let settings = Settings { idle: Duration::from_secs(1), snapshot_every: 10, ..Settings::default() };
    let tallies = tallies_with(&journal, settings).await;
    for n in 0..25 {
        add(&tallies, "a", 1, &format!("c{n}")).await.expect("accepted");
    }
    while tallies.active() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stream = remuda_eventsourcing::StreamId {
        organization: OrganizationId::default(),
        aggregate_type: "tally".into(),
        aggregate_id: "a".into(),
    };
    let snapshot = journal.snapshot(&stream).await.expect("read").expect("written");
    assert_eq!(snapshot.version, 20);
    assert_eq!(add(&tallies, "a", 1, "c3").await.map(|o| (o.version, o.repeated)), Ok((4, true)));
    assert_eq!(add(&tallies, "a", 1, "more").await.map(|o| o.version), Ok(26));
    // A snapshot that cannot be used is passed over.
    let owner = remuda_eventsourcing::Owner {
        shard: remuda_eventsourcing::shard_of(&stream),
        epoch: tallies.shards().epoch(remuda_eventsourcing::shard_of(&stream)).expect("owned"),
    };
    let broken = remuda_eventsourcing::Snapshot { version: 20, state: vec![1, 255, 255] };
    assert!(journal.put_snapshots(owner, vec![(stream, broken)]).await.expect("written"));
    tallies.drain().await;
    let tallies = tallies_with(&journal, Settings::default()).await;
    let seen = tallies.read(&OrganizationId::default(), "a").await.expect("read");
    assert_eq!((seen.version, seen.state.sum), (26, 26));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_writer_changes_nothing_more() {
    let journal = journal();
    let old = tallies(&journal).await;
    add(&old, "a", 1, "c1").await.expect("accepted");
    let new = tallies(&journal).await;
    let fenced = add(&old, "a", 1, "c2").await.expect_err("fenced");
    assert!(fenced.is_transient(), "{fenced}");
    assert!(old.read(&OrganizationId::default(), "a").await.is_err(), "nor does it tell what may be old");
    assert_eq!(add(&new, "a", 1, "c2").await.map(|o| (o.version, o.repeated)), Ok((2, false)));
}
