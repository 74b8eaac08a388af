//! Every engine passes the one suite.

use std::sync::Arc;

use remuda_eventsourcing::{
    Journal, JournalError, JournalMetrics, MemoryJournal, SledJournal, maintenance, testing,
};

#[tokio::test(flavor = "multi_thread")]
async fn memory() {
    testing::contract(async || Arc::new(MemoryJournal::new()) as Arc<dyn Journal>).await;
}

#[tokio::test]
async fn memory_without_a_thread() {
    testing::contract(async || Arc::new(MemoryJournal::in_place()) as Arc<dyn Journal>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sled() {
    let folder = tempfile::tempdir().expect("a folder");
    let count = std::cell::Cell::new(0);
    testing::contract(async || {
        count.set(count.get() + 1);
        let place = folder.path().join(count.get().to_string());
        Arc::new(SledJournal::open(&place, JournalMetrics::default()).expect("opened")) as Arc<dyn Journal>
    })
    .await;
    for n in 1..=count.get() {
        let place = folder.path().join(n.to_string());
        let report = maintenance::verify(&place).expect("read");
        assert!(report.faults.is_empty(), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_there_after_reopening_and_after_export_and_import() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("journal");
    let journal = SledJournal::open(&place, JournalMetrics::default()).expect("opened");
    let shard = testing::shard(4);
    let owner = journal.acquire(&[shard]).await.expect("acquired")[0].0;
    journal.append(owner, 0, vec![testing::event("a", 1), testing::event("a", 2)]).await.expect("written");
    let in_use = SledJournal::open(&place, JournalMetrics::default()).err().expect("sled locks its files");
    assert!(matches!(in_use, JournalError::InUse(_)), "{in_use}");
    drop(journal);
    let mut exported = Vec::new();
    let count = maintenance::export(&place, &mut exported, &mut |_| ()).expect("exported");
    let copy = folder.path().join("copy");
    let imported = maintenance::import(&mut exported.as_slice(), &copy, &mut |_| ()).expect("imported");
    assert_eq!(count, imported);
    assert!(
        maintenance::import(&mut exported.as_slice(), &copy, &mut |_| ()).is_err(),
        "never over a journal"
    );
    for place in [place, copy] {
        let journal = SledJournal::open(&place, JournalMetrics::default()).expect("opened");
        let feed = journal.read_feed(shard, 0, 10).await.expect("read");
        assert_eq!(feed.len(), 2);
        assert_eq!(journal.acquire(&[shard]).await.expect("acquired")[0].0.epoch.0, 2);
    }
}
