//! A process that is killed between any two writes loses no command that it answered, and does none twice.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use remuda_entities::projection::{Place, Poisoned, Projection, View, fact, project};
use remuda_entities::reactor::{ReactError, Reactor, react, reaction};
use remuda_entities::{Entities, EntityMetrics, Settings, Shards};
use remuda_eventsourcing::testing::{Tally, TallyCommand, TallyEvent, context};
use remuda_eventsourcing::{Context, Event, JournalError, JournalMetrics, SledJournal, maintenance};
use remuda_model::OrganizationId;

const WORKERS: i64 = 8;
const COMMANDS: i64 = 24;
const FOLDER: &str = "REMUDA_CRASH_TEST_FOLDER";

struct Sum;

impl Projection for Sum {
    const NAME: &'static str = "sum";
    const VERSION: u32 = 1;
    const READS: &'static [&'static str] = &["tally"];

    fn apply(&self, event: &Event, view: &mut View<'_>) -> Result<(), Poisoned> {
        let Some(TallyEvent::Added(n)) = fact::<Tally>(event)? else { return Ok(()) };
        let sum: i64 = view.get(b"sum")?.unwrap_or_default();
        view.put(b"sum", &(sum + n))
    }
}

/// Whatever is added anywhere is added to "all" as well.
struct Adds(Entities<Tally>);

#[async_trait]
impl Reactor for Adds {
    const NAME: &'static str = "adds";
    const READS: &'static [&'static str] = &["tally"];

    async fn react(&self, event: &Event) -> Result<(), ReactError> {
        let Some(TallyEvent::Added(n)) = fact::<Tally>(event)? else { return Ok(()) };
        if event.event.stream.aggregate_id != "all" {
            let context = reaction::<Self>(event, "add", 1);
            self.0.ask(&OrganizationId::default(), "all", TallyCommand::Add(n), context).await?;
        }
        Ok(())
    }
}

/// Answers so far: command id to version.
fn answers(folder: &Path) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(folder.join("answers")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(id, version)| (id.to_owned(), version.parse().expect("a version"))).collect()
}

/// One life: all commands from the first on, those answered before must be answered the same.
async fn life(folder: &Path) {
    let journal = SledJournal::open(&folder.join("business"), JournalMetrics::default()).expect("opened");
    let shards = Shards::take_all(Arc::new(journal), EntityMetrics::default()).await.expect("taken");
    let settings = Settings { snapshot_every: 7, ..Settings::default() };
    let tallies = Entities::<Tally>::start(&shards, settings).await.expect("started");
    let place = Place::folder(folder.join("projections"));
    let sum = project(&shards, &place, Sum).await.expect("started");
    let adds = react(&shards, &place, Adds(tallies.clone())).await.expect("started");
    let before = Arc::new(answers(folder));
    let file = fs::OpenOptions::new().create(true).append(true).open(folder.join("answers")).expect("opened");
    let file = Arc::new(Mutex::new(file));
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..WORKERS {
        let (tallies, before, file) = (tallies.clone(), Arc::clone(&before), Arc::clone(&file));
        workers.spawn(async move {
            for n in 0..COMMANDS {
                let id = format!("{worker}-{n}");
                let context = Context { command_id: id.clone(), ..context() };
                let to = format!("t{}", (worker + n) % 3);
                let outcome = tallies
                    .ask(&OrganizationId::default(), &to, TallyCommand::Add(1), context)
                    .await
                    .expect("accepted");
                assert_eq!(outcome.events, [TallyEvent::Added(1)]);
                if let Some(version) = before.get(&id) {
                    assert_eq!(
                        (outcome.version, outcome.repeated),
                        (*version, true),
                        "{id} was answered before"
                    );
                } else {
                    let line = format!("{id} {}\n", outcome.version);
                    file.lock().expect("whole").write_all(line.as_bytes()).expect("written");
                }
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done.expect("a worker's claims hold");
    }
    adds.caught_up().await.expect("nothing stops it");
    sum.caught_up().await.expect("nothing stops it");
    let all = WORKERS * COMMANDS;
    assert_eq!(sum.get::<i64>(b"sum"), Ok(Some(2 * all)), "each event counts once");
    let mut own = 0;
    for to in ["t0", "t1", "t2"] {
        own += tallies.read(&OrganizationId::default(), to).await.expect("read").state.sum;
    }
    let seen = tallies.read(&OrganizationId::default(), "all").await.expect("read");
    assert_eq!((own, seen.state.sum), (all, all), "each command was done once");
    adds.stop().await;
    sum.stop().await;
    tallies.drain().await;
}

/// The child: lives until its failpoint kills it. A test only in name; alone it does nothing.
#[test]
fn child_of_the_crash_test() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let _scenario = fail::FailScenario::setup();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("made");
    runtime.block_on(life(&folder));
}

#[test]
fn nothing_answered_is_lost_or_done_twice_whenever_it_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut killed = 0;
    // The first lives end in their first writes, later ones further on, so that every stretch is cut somewhere.
    for (round, writes) in [0, 1, 2, 3, 5, 8, 13, 9, 4, 21, 7].into_iter().enumerate() {
        let point = if round % 2 == 0 { "append-after-sync" } else { "append-before-sync" };
        let child = Command::new(std::env::current_exe().expect("known"))
            .args(["child_of_the_crash_test", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .env("FAILPOINTS", format!("{point}={writes}*off->return"))
            .stdin(Stdio::null())
            .output()
            .expect("run");
        if child.status.signal() == Some(6) {
            killed += 1;
            continue;
        }
        let said =
            String::from_utf8_lossy(&child.stderr).into_owned() + &String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{point} after {writes}: {}\n{said}", child.status);
    }
    assert!(killed >= 8, "the test has teeth: {killed} lives were cut short");
    let answered = answers(folder.path());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("made");
    runtime.block_on(life(folder.path()));
    drop(runtime);
    let after = answers(folder.path());
    assert_eq!(after.len() as i64, WORKERS * COMMANDS);
    assert!(answered.iter().all(|(id, version)| after.get(id) == Some(version)));
    let report = loop {
        match maintenance::verify(&folder.path().join("business")) {
            // sled gives its lock back a moment after it was dropped.
            Err(JournalError::InUse(_)) => std::thread::sleep(Duration::from_millis(5)),
            other => break other.expect("read"),
        }
    };
    assert!(report.faults.is_empty(), "{report:?}");
}
