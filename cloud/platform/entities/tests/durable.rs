//! On the durable engine: a journal of the first form opens for ever, and askers share syncs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use remuda_entities::{Entities, EntityMetrics, Settings, Shards};
use remuda_eventsourcing::testing::{Tally, TallyCommand, TallyEvent, context};
use remuda_eventsourcing::{
    Context, JournalError, JournalMetrics, SledJournal, StreamId, maintenance, shard_of,
};
use remuda_model::OrganizationId;

const NAMES: [(&str, &str); 3] = [("default", "busy"), ("default", "quiet"), ("acme", "busy")];

fn organization(name: &str) -> OrganizationId {
    OrganizationId::new(name).expect("an id")
}

fn stream((of, id): (&str, &str)) -> StreamId {
    StreamId { organization: organization(of), aggregate_type: "tally".into(), aggregate_id: id.into() }
}

async fn open(folder: &Path) -> Entities<Tally> {
    let journal = loop {
        match SledJournal::open(folder, JournalMetrics::default()) {
            // sled gives its lock back a moment after it was dropped.
            Err(JournalError::InUse(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
            other => break other.expect("opened"),
        }
    };
    let shards = NAMES.map(|name| shard_of(&stream(name)));
    let shards = Shards::take(Arc::new(journal), &shards, EntityMetrics::default()).await.expect("taken");
    let settings = Settings { snapshot_every: 10, ..Settings::default() };
    Entities::start(&shards, settings).await.expect("started")
}

fn id(command_id: &str) -> Context {
    Context { command_id: command_id.into(), ..context() }
}

/// What the fixture's writer did. Asked again of the fixture, each must be answered as it was then.
async fn commands(tallies: &Entities<Tally>, repeated: bool) {
    let (default, acme) = (organization("default"), organization("acme"));
    for n in 0..14 {
        let asked = tallies.ask(&default, "busy", TallyCommand::Add(n + 1), id(&format!("busy-{n}"))).await;
        let outcome = asked.expect("accepted");
        assert_eq!((outcome.version, outcome.repeated), (n as u64 + 1, repeated));
        assert_eq!(outcome.events, [TallyEvent::Added(n + 1)]);
    }
    let refused = tallies.ask(&default, "busy", TallyCommand::Add(-500), id("refused")).await;
    assert_eq!(refused.expect_err("refused").code(), "below-zero");
    for (command, name) in [(TallyCommand::AddOnes(3), "ones"), (TallyCommand::Close, "close")] {
        let outcome = tallies.ask(&acme, "busy", command, id(name)).await.expect("accepted");
        assert_eq!(outcome.repeated, repeated);
    }
    let outcome = tallies.ask(&default, "quiet", TallyCommand::Add(7), id("only")).await.expect("accepted");
    assert_eq!((outcome.version, outcome.repeated), (1, repeated));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_of_the_first_form_opens_for_ever() {
    let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/business-journal-1.jsonl");
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("business");
    // For who makes the fixture of a later form: name the file to be written. This one stays as it is.
    if let Some(file) = std::env::var_os("REMUDA_WRITE_FIXTURE") {
        let tallies = open(&place).await;
        commands(&tallies, false).await;
        tallies.drain().await;
        drop(tallies);
        let mut out = fs::File::create(file).expect("made");
        while maintenance::export(&place, &mut out, &mut |_| ()).is_err() {
            tokio::task::yield_now().await;
        }
        return;
    }
    let exported = fs::read(fixture).expect("the fixture is in the repository");
    maintenance::import(&mut exported.as_slice(), &place, &mut |_| ()).expect("imported");
    let report = maintenance::verify(&place).expect("read");
    assert_eq!((report.events, report.streams, report.faults), (20, 3, vec![]));
    let tallies = open(&place).await;
    let snapshot =
        tallies.shards().journal().snapshot(&stream(NAMES[0])).await.expect("read").expect("there");
    assert!(snapshot.version >= 10);
    for (name, version, sum, closed) in
        [(NAMES[0], 15, 105, false), (NAMES[1], 1, 7, false), (NAMES[2], 4, 3, true)]
    {
        let seen = tallies.read(&organization(name.0), name.1).await.expect("read");
        assert_eq!((seen.version, seen.state.sum, seen.state.closed), (version, sum, closed), "{name:?}");
    }
    commands(&tallies, true).await;
    let outcome = tallies.ask(&organization("default"), "busy", TallyCommand::Add(1), id("new")).await;
    assert_eq!(outcome.expect("accepted").version, 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn askers_share_syncs() {
    const ASKERS: u64 = 200;
    const EACH: u64 = 5;
    let folder = tempfile::tempdir().expect("a folder");
    let (metrics, mut registry) = (JournalMetrics::default(), Registry::default());
    metrics.register(&mut registry);
    let journal = SledJournal::open(&folder.path().join("business"), metrics).expect("opened");
    let shards = Shards::take_all(Arc::new(journal), EntityMetrics::default()).await.expect("taken");
    let tallies = Entities::<Tally>::start(&shards, Settings::default()).await.expect("started");
    let mut askers = tokio::task::JoinSet::new();
    for asker in 0..ASKERS {
        let tallies = tallies.clone();
        askers.spawn(async move {
            let default = organization("default");
            for n in 0..EACH {
                let to = format!("t{asker}");
                let asked = tallies.ask(&default, &to, TallyCommand::Add(1), id(&n.to_string()));
                asked.await.expect("accepted");
            }
        });
    }
    while let Some(done) = askers.join_next().await {
        done.expect("accepted");
    }
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("encoded");
    let count = text.lines().find_map(|line| line.strip_prefix("remuda_journal_group_writes_count "));
    let syncs: u64 = count.expect("counted").parse().expect("a number");
    assert!(syncs * 4 <= ASKERS * EACH, "{} commands took {syncs} syncs", ASKERS * EACH);
}
