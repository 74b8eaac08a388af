//! Projections and reactors.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use remuda_entities::limits::REACTIONS_MAX;
use remuda_entities::projection::{Phase, Place, Poisoned, Projection, View, fact, key, project};
use remuda_entities::reactor::{ReactError, Reactor, react, reaction};
use remuda_entities::{AskError, Entities, EntityMetrics, Settings, Shards};
use remuda_eventsourcing::testing::{Tally, TallyCommand, TallyEvent, context};
use remuda_eventsourcing::{
    Context, Event, Journal, JournalError, JournalMetrics, MemoryJournal, SledJournal, StreamId,
};
use remuda_model::OrganizationId;

async fn tallies(journal: Arc<dyn Journal>) -> Entities<Tally> {
    let shards = Shards::take_all(journal, EntityMetrics::default()).await.expect("taken");
    Entities::start(&shards, Settings::default()).await.expect("started")
}

/// Actors and tasks of the life before may hold it for a moment.
async fn open(folder: &Path) -> SledJournal {
    loop {
        match SledJournal::open(folder, JournalMetrics::default()) {
            Err(JournalError::InUse(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
            other => return other.expect("opened"),
        }
    }
}

async fn add(tallies: &Entities<Tally>, to: &str, n: i64, command: &str) {
    let context = Context { command_id: command.into(), ..context() };
    tallies.ask(&OrganizationId::default(), to, TallyCommand::Add(n), context).await.expect("accepted");
}

/// Sum of all tallies. Its version 2 counts double.
struct Sums<const VERSION: u32> {
    healed: Arc<AtomicBool>,
}

fn sums<const VERSION: u32>() -> Sums<VERSION> {
    Sums { healed: Arc::default() }
}

impl<const V: u32> Projection for Sums<V> {
    const NAME: &'static str = "sums";
    const VERSION: u32 = V;
    const READS: &'static [&'static str] = &["tally"];

    fn apply(&self, event: &Event, view: &mut View<'_>) -> Result<(), Poisoned> {
        let Some(TallyEvent::Added(n)) = fact::<Tally>(event)? else { return Ok(()) };
        let whole: i64 = view.get(b"sum")?.unwrap_or_default();
        view.put(b"sum", &(whole + n * i64::from(V)))?;
        let own = key(&["of", &event.event.stream.aggregate_id]);
        let before: i64 = view.get(&own)?.unwrap_or_default();
        view.put(&own, &(before + n))?;
        match n {
            666 if !self.healed.load(Ordering::Relaxed) => Err(Poisoned("an evil number".into())),
            667 if !self.healed.load(Ordering::Relaxed) => panic!("a worse number"),
            _ => Ok(()),
        }
    }

    fn reads_version(version: u32) -> bool {
        version <= V
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_counts_once_across_restarts_and_rebuilds() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place::folder(folder.path().join("projections"));
    let mut sum = 0;
    for round in 0..3 {
        let journal = open(&folder.path().join("journal")).await;
        let tallies = tallies(Arc::new(journal)).await;
        let projected = project(tallies.shards(), &place, sums::<1>()).await.expect("started");
        for n in 0..30 {
            add(&tallies, &format!("t{}", n % 7), n, &format!("{round}-{n}")).await;
            sum += n;
        }
        projected.caught_up().await.expect("reads on");
        assert_eq!(projected.get::<i64>(b"sum"), Ok(Some(sum)));
        let all = projected.scan::<i64>(&key(&["of"]), None, 100).expect("read");
        assert_eq!((all.len(), all.iter().map(|(_, n)| n).sum::<i64>()), (7, sum));
        let rest = projected.scan::<i64>(&key(&["of"]), Some(&all[4].0), 100).expect("read");
        assert_eq!(rest, all[5..]);
        projected.rebuild().expect("begun");
        while projected.status().rebuild.is_some() {
            assert_eq!(projected.get::<i64>(b"sum"), Ok(Some(sum)), "the old one serves meanwhile");
            tokio::task::yield_now().await;
        }
        assert_eq!(projected.get::<i64>(b"sum"), Ok(Some(sum)));
        let status = projected.status();
        assert_eq!((status.lag_events, status.phase, status.serving_version), (0, Phase::Live, Some(1)));
        projected.stop().await;
        tallies.drain().await;
    }
    // A newer version is built beside; the old data serves until then, frozen.
    let journal = open(&folder.path().join("journal")).await;
    let tallies = tallies(Arc::new(journal)).await;
    let projected = project(tallies.shards(), &place, sums::<2>()).await.expect("started");
    let seen = projected.get::<i64>(b"sum").expect("serves").expect("a sum");
    assert!(seen == sum || seen == 2 * sum, "{seen}");
    while projected.status().serving_version != Some(2) {
        tokio::task::yield_now().await;
    }
    assert_eq!(projected.get::<i64>(b"sum"), Ok(Some(2 * sum)));
    projected.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_of_a_journal_that_was_restored_to_an_earlier_time_is_built_anew() {
    let place = Place::memory();
    for (events, sum) in [(5, 10), (2, 1)] {
        let tallies = tallies(Arc::new(MemoryJournal::new())).await;
        for n in 0..events {
            add(&tallies, "t", n, &format!("c{n}")).await;
        }
        // Zero is no change, so that there is one event less.
        let projected = project(tallies.shards(), &place, sums::<1>()).await.expect("started");
        projected.caught_up().await.expect("reads on");
        assert_eq!(projected.get::<i64>(b"sum"), Ok(Some(sum)));
        projected.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_event_stops_one_projection_and_nothing_else() {
    let tallies = tallies(Arc::new(MemoryJournal::new())).await;
    let healed = Arc::new(AtomicBool::new(false));
    let place = Place::memory();
    let projected =
        project(tallies.shards(), &place, Sums::<1> { healed: Arc::clone(&healed) }).await.expect("started");
    for (n, command) in [(1, "a"), (666, "b"), (2, "c")] {
        add(&tallies, "t", n, command).await;
    }
    let stopped = projected.caught_up().await.expect_err("stopped");
    assert!(stopped.to_string().contains("an evil number"), "{stopped}");
    let Phase::Stopped(at) = projected.status().phase else { panic!("{:?}", projected.status()) };
    assert_eq!((at.position, at.event_type.as_str()), (2, "tally.added"));
    assert_eq!(
        projected.get::<i64>(b"sum"),
        Ok(Some(1)),
        "what it did of the event is undone, what was before is kept"
    );
    add(&tallies, "other", 5, "d").await;
    // Still evil.
    assert!(projected.retry());
    while projected.status().phase != (Phase::Stopped(at.clone())) {
        tokio::task::yield_now().await;
    }
    assert_eq!(projected.skip("known to be evil"), Ok(true));
    projected.caught_up().await.expect("goes on");
    assert_eq!(projected.get::<i64>(b"sum"), Ok(Some(8)));
    assert_eq!(projected.skip("twice"), Ok(false));
    add(&tallies, "t", 667, "e").await;
    projected.caught_up().await.expect_err("a panic stops it as well");
    healed.store(true, Ordering::Relaxed);
    assert!(projected.retry());
    while projected.status().lag_events > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(projected.get::<i64>(b"sum"), Ok(Some(675)));
}

/// Adds whatever is added to a tally to the tally "all"; fails the first time before asking, and the second time after.
struct Adds {
    tallies: Entities<Tally>,
    calls: Mutex<HashMap<[u8; 16], u32>>,
}

#[async_trait]
impl Reactor for Adds {
    const NAME: &'static str = "adds";
    const READS: &'static [&'static str] = &["tally"];

    async fn react(&self, event: &Event) -> Result<(), ReactError> {
        let Some(TallyEvent::Added(n)) = fact::<Tally>(event)? else { return Ok(()) };
        if event.event.stream.aggregate_id == "all" {
            return Ok(());
        }
        let call = {
            let mut calls = self.calls.lock().expect("no test panics with it");
            let call = calls.entry(event.event.event_id).or_default();
            *call += 1;
            *call
        };
        let lost = || Err(ReactError::Retry("a test lost it".into()));
        if call == 1 {
            return lost();
        }
        let context = reaction::<Self>(event, "add", 1);
        let organization = OrganizationId::default();
        match self.tallies.ask(&organization, "all", TallyCommand::Add(n), context).await {
            Ok(_) if call == 2 => lost(),
            Ok(_) => Ok(()),
            Err(AskError::Refused { code, .. }) => Err(ReactError::Poisoned(code)),
            Err(error) => Err(error.into()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_is_done_once_however_often_it_is_tried() {
    let (journal, place) = (Arc::new(MemoryJournal::new()), Place::memory());
    for round in 1..=2 {
        let tallies = tallies(Arc::clone(&journal) as Arc<dyn Journal>).await;
        let reactor = Adds { tallies: tallies.clone(), calls: Mutex::default() };
        let adds = react(tallies.shards(), &place, reactor).await.expect("started");
        for n in 0..20 {
            add(&tallies, &format!("t{n}"), n, &format!("{round}-{n}")).await;
        }
        adds.caught_up().await.expect("nothing stops it");
        let all = tallies.read(&OrganizationId::default(), "all").await.expect("read");
        assert_eq!(all.state.sum, round * 190);
        if round == 2 {
            // It would go below zero: no retry helps.
            let close = Context { command_id: "close".into(), ..context() };
            tallies.ask(&OrganizationId::default(), "all", TallyCommand::Close, close).await.expect("closed");
            add(&tallies, "t1", 1, "late").await;
            let at = adds.caught_up().await.expect_err("stopped");
            assert_eq!(at.reason, "closed");
            assert_eq!(adds.status().stopped, std::slice::from_ref(&at));
            let wrong = adds.skip(at.shard, at.position + 1, "a slip of the pen").expect("nothing to write");
            assert!(!wrong, "it stopped elsewhere");
            assert_eq!(adds.retry(Some(at.shard)), 1);
            assert_eq!(adds.caught_up().await.expect_err("still closed"), at);
            assert!(adds.skip(at.shard, at.position, "closed for good").expect("written"));
            let skipped = adds.skipped(10).expect("read");
            let reasons: Vec<_> = skipped.iter().map(|s| (s.shard, s.position, s.reason.as_str())).collect();
            assert_eq!(reasons, [(at.shard, at.position, "closed for good")]);
            adds.caught_up().await.expect("goes on");
        }
        adds.stop().await;
        tallies.drain().await;
    }
}

fn shard_of(id: &str) -> u16 {
    let organization = OrganizationId::default();
    let (aggregate_type, aggregate_id) = ("tally".to_owned(), id.to_owned());
    remuda_eventsourcing::shard_of(&StreamId { organization, aggregate_type, aggregate_id }).number()
}

/// Reacts to one tally for ever in vain, to the others at once.
struct Picky {
    done: Arc<AtomicUsize>,
}

#[async_trait]
impl Reactor for Picky {
    const NAME: &'static str = "picky";
    const READS: &'static [&'static str] = &["tally"];

    async fn react(&self, event: &Event) -> Result<(), ReactError> {
        let id = &event.event.stream.aggregate_id;
        if id.starts_with("bad") {
            return Err(ReactError::Retry("not today".into()));
        }
        self.done.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_are_tried_again_leave_room_for_the_others() {
    let tallies = tallies(Arc::new(MemoryJournal::new())).await;
    // Far more shards than workers fail for ever.
    let mut bad = HashSet::new();
    for n in 0.. {
        let id = format!("bad{n}");
        if bad.insert(shard_of(&id)) {
            add(&tallies, &id, 1, &id).await;
        }
        if bad.len() == 4 * REACTIONS_MAX {
            break;
        }
    }
    let done = Arc::new(AtomicUsize::new(0));
    let picky =
        react(tallies.shards(), &Place::memory(), Picky { done: Arc::clone(&done) }).await.expect("started");
    while picky.status().retrying < bad.len() {
        tokio::task::yield_now().await;
    }
    let mut good = 0;
    for n in 0..200 {
        let id = format!("good{n}");
        if !bad.contains(&shard_of(&id)) {
            add(&tallies, &id, 1, &id).await;
            good += 1;
        }
    }
    // What is done counts as lag until its shard has written that down.
    while done.load(Ordering::SeqCst) < good || picky.status().lag_events > bad.len() as u64 {
        tokio::task::yield_now().await;
    }
    let status = picky.status();
    assert_eq!((status.lag_events, status.retrying), (bad.len() as u64, bad.len()));
    assert_eq!(status.retrying_for.as_deref(), Some("not today"));
    picky.stop().await;
}
