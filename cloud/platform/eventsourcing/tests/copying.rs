//! A copy of a journal under load is the journal of one moment; restored, nobody of before can write to it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use remuda_eventsourcing::copying::Contents;
use remuda_eventsourcing::restoring::Restoring;
use remuda_eventsourcing::{
    Appended, CopySink, CopySource, Journal, JournalError, JournalMetrics, SledJournal, maintenance, testing,
};
use remuda_model::Epoch;

#[derive(Default)]
struct Taken {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    contents: Contents,
    slow: bool,
}

impl CopySink for Taken {
    fn entry(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if self.slow && self.entries.len().is_multiple_of(200) {
            // Lets the writer come in between.
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        self.contents.see(key, Some(value)).map_err(io::Error::other)?;
        self.entries.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn change(&mut self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        self.contents.see(key, value).map_err(io::Error::other)?;
        self.changes.push((key.to_vec(), value.map(<[u8]>::to_vec)));
        Ok(())
    }
}

impl Taken {
    fn restore(&self, folder: &std::path::Path, epoch: u64) -> maintenance::Report {
        let mut restoring = Restoring::begin(folder).expect("a new journal");
        for (key, value) in &self.entries {
            restoring.put(key.clone(), Some(value.clone())).expect("written");
        }
        for (key, value) in &self.changes {
            restoring.put(key.clone(), value.clone()).expect("written");
        }
        restoring.raise_epochs(Epoch(epoch)).expect("raised");
        let report = restoring.finish().expect("durable");
        assert!(Restoring::begin(folder).is_err(), "never over a journal");
        report
    }
}

/// sled gives its lock back a moment after it was dropped.
fn open_when_free(folder: &std::path::Path) -> SledJournal {
    for _ in 0..500 {
        match SledJournal::open(folder, JournalMetrics::default()) {
            Err(JournalError::InUse(_)) => std::thread::sleep(std::time::Duration::from_millis(10)),
            opened => return opened.expect("opened"),
        }
    }
    panic!("{} stays locked", folder.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_under_load_is_of_one_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = Arc::new(
        SledJournal::open(&folder.path().join("journal"), JournalMetrics::default()).expect("opened"),
    );
    let owner = journal.acquire(&[testing::shard(4)]).await.expect("acquired")[0].0;
    let (stop, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let writing = {
        let (journal, stop, begun) = (Arc::clone(&journal), Arc::clone(&stop), Arc::clone(&begun));
        tokio::spawn(async move {
            let (mut head, mut version) = (0, 0);
            while !stop.load(Ordering::Acquire) || version < 2_000 {
                // Two streams that must never be seen apart.
                version += 1;
                let events = vec![testing::event("a", version), testing::event("b", version)];
                match journal.append(owner, head, events).await.expect("written") {
                    Appended::Committed { head: now } => head = now,
                    other => panic!("{other:?}"),
                }
                begun.store(version > 300, Ordering::Release);
            }
            head
        })
    };
    while !begun.load(Ordering::Acquire) {
        tokio::task::yield_now().await;
    }
    let spool = folder.path().join("spool");
    let source = Arc::clone(&journal);
    let taken = tokio::task::spawn_blocking(move || {
        let mut taken = Taken { slow: true, ..Taken::default() };
        let copied = source.copy(&spool, &mut taken).expect("copied");
        assert!(!spool.exists(), "the spool is removed");
        (taken, copied)
    });
    let (taken, copied) = taken.await.expect("copied");
    stop.store(true, Ordering::Release);
    let head = writing.await.expect("written");
    assert_eq!((copied.entries, copied.changes), (taken.entries.len() as u64, taken.changes.len() as u64));
    assert!(copied.changes > 0, "something was written meanwhile, or the test proves nothing");
    assert_eq!(taken.contents.highest_epoch(), 1);
    assert_eq!(taken.contents.last_event_ms().expect("read"), Some(testing::event("a", 1).time_ms));

    let place = folder.path().join("restored");
    let report = taken.restore(&place, 1 << 20);
    assert!(report.faults.is_empty(), "{report:?}");
    assert!(report.events.is_multiple_of(2) && report.events < head, "{report:?} of {head}");
    let restored = open_when_free(&place);
    let events = vec![testing::event("a", report.events / 2 + 1)];
    let late = restored.append(owner, report.events, events).await.expect("answered");
    assert_eq!(late, Appended::Fenced { current: Epoch(1 << 20) }, "an owner of before is fenced");
    for shard in [testing::shard(4), testing::shard(9)] {
        let again = restored.acquire(&[shard]).await.expect("acquired");
        assert_eq!(again[0].0.epoch, Epoch((1 << 20) + 1), "also where nobody was before");
    }
    assert_eq!(restored.acquire_replacing().await.expect("acquired"), Epoch((1 << 20) + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_fails_lets_the_next_begin() {
    struct Full;
    impl CopySink for Full {
        fn entry(&mut self, _: &[u8], _: &[u8]) -> io::Result<()> {
            Err(io::Error::other("the disk is full"))
        }
        fn change(&mut self, _: &[u8], _: Option<&[u8]>) -> io::Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let journal =
        SledJournal::open(&folder.path().join("journal"), JournalMetrics::default()).expect("opened");
    journal.acquire(&[testing::shard(1)]).await.expect("acquired");
    let spool = folder.path().join("spool");
    let error = journal.copy(&spool, &mut Full).expect_err("full").to_string();
    assert!(error.contains("the disk is full"), "{error}");
    assert!(!spool.exists());
    let copied = journal.copy(&spool, &mut Taken::default()).expect("copied");
    assert_eq!((copied.entries, copied.changes), (1, 0));
}
