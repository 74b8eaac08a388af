//! The contract of every engine, as one suite, and makers of events for tests.

use std::sync::Arc;

use remuda_model::{Epoch, OrganizationId, ShardId};

use crate::journal::{
    Appended, Caused, Checkpoint, CommitOutcome, Journal, ManifestEntry, NewEvent, Note, Owner,
    ReplaceOutcome, Snapshot, StreamId,
};

/// A stream of the default organisation.
pub fn stream(id: &str) -> StreamId {
    StreamId {
        organization: OrganizationId::default(),
        aggregate_type: "thing".into(),
        aggregate_id: id.into(),
    }
}

/// An event of a stream.
pub fn event(id: &str, version: u64) -> NewEvent {
    NewEvent {
        event_id: [version as u8; 16],
        stream: stream(id),
        version,
        event_type: "thing.happened".into(),
        schema_version: 1,
        time_ms: 1_700_000_000_000,
        causation_id: "test".into(),
        correlation_id: "test".into(),
        actor: "test".into(),
        payload: format!("{id}/{version}").into_bytes(),
    }
}

/// A manifest entry of one shard.
pub fn entry(path: &str, shard: ShardId) -> ManifestEntry {
    ManifestEntry {
        path: path.into(),
        schema: 1,
        checksum: 7,
        bytes: 100,
        rows: vec![(shard, 3)],
        sample_time_ns: (0, 0),
        receive_time_ms: (1, 2),
    }
}

/// The shard with this number.
///
/// # Panics
/// When there is no such shard.
pub fn shard(number: u16) -> ShardId {
    ShardId::new(number).expect("a test names a shard below 1024")
}

/// Runs the whole suite, each part on a fresh journal.
///
/// # Panics
/// When the engine breaks the contract.
pub async fn contract<F: AsyncFn() -> Arc<dyn Journal>>(make: F) {
    appends(make().await).await;
    fencing(make().await).await;
    files(make().await).await;
    replacing(make().await).await;
    trails(make().await).await;
    state(make().await).await;
    concurrency(make().await).await;
    causes(make().await).await;
    takeover(make().await).await;
    gap_free(make().await).await;
}

async fn acquire(journal: &Arc<dyn Journal>, number: u16) -> Owner {
    journal.acquire(&[shard(number)]).await.expect("acquired")[0].0
}

async fn appends(journal: Arc<dyn Journal>) {
    let owner = acquire(&journal, 5).await;
    assert_eq!(owner.epoch, Epoch(1));
    let three = vec![event("a", 1), event("b", 1), event("a", 2)];
    let appended = journal.append(owner, 0, three.clone()).await.expect("written");
    assert_eq!(appended, Appended::Committed { head: 3 });
    let feed = journal.read_feed(shard(5), 0, 10).await.expect("read");
    assert_eq!(feed.iter().map(|e| e.position).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(feed.into_iter().map(|e| e.event).collect::<Vec<_>>(), three);
    let page = journal.read_feed(shard(5), 1, 1).await.expect("read");
    assert_eq!((page.len(), page[0].position), (1, 2));
    let a = journal.read_stream(&stream("a"), 2, 10).await.expect("read");
    assert_eq!((a.len(), a[0].event.version, a[0].position), (1, 2, 3));
    // Another head, a version that repeats, one that leaves a hole: nothing is written.
    for (head, version) in [(2, 3), (3, 2), (3, 4)] {
        let refused =
            journal.append(owner, head, vec![event("b", 2), event("a", version)]).await.expect("answered");
        assert_eq!(refused, Appended::Conflict { head: 3 });
    }
    assert_eq!(journal.read_feed(shard(5), 0, 10).await.expect("read").len(), 3);
    let large = NewEvent { payload: vec![0; 200 * 1024], ..event("b", 2) };
    assert!(journal.append(owner, 3, vec![event("a", 3), large]).await.is_err(), "too large a value");
    let next = journal.append(owner, 3, vec![event("a", 3)]).await.expect("written");
    assert_eq!(next, Appended::Committed { head: 4 }, "a refused write leaves nothing behind");
}

async fn fencing(journal: Arc<dyn Journal>) {
    let old = acquire(&journal, 9).await;
    journal.append(old, 0, vec![event("a", 1)]).await.expect("written");
    let (new, head) = journal.acquire(&[shard(9)]).await.expect("acquired")[0];
    assert_eq!((new.epoch, head), (Epoch(2), 1));
    let fenced = journal.append(old, 1, vec![event("a", 2)]).await.expect("answered");
    assert_eq!(fenced, Appended::Fenced { current: Epoch(2) });
    let other = acquire(&journal, 10).await;
    let refused =
        journal.commit_file(&[other, old], &[entry("x", shard(9))], &[(shard(10), event("c", 1))]).await;
    assert_eq!(refused, CommitOutcome::Refused { fenced: vec![shard(9)] });
    assert!(journal.manifest(0, 10).await.expect("read").is_empty(), "refused means nothing of it");
    assert!(journal.read_feed(shard(10), 0, 10).await.expect("read").is_empty());
    let snapshot = Snapshot { version: 1, state: vec![1] };
    assert!(!journal.put_snapshots(old, vec![(stream("a"), snapshot.clone())]).await.expect("answered"));
    assert!(journal.put_snapshots(new, vec![(stream("a"), snapshot)]).await.expect("answered"));
    let checkpoint = Checkpoint { position: 1, state: vec![1], closed: vec![(b"k".to_vec(), b"v".to_vec())] };
    let stale = journal
        .put_checkpoints(vec![(old, checkpoint.clone()), (other, checkpoint)])
        .await
        .expect("answered");
    assert_eq!(stale, [shard(9)]);
    assert_eq!(journal.checkpoint(shard(9)).await.expect("read"), None);
    assert_eq!(journal.closed(shard(9), b"k").await.expect("read"), None);
    let mut epochs = journal.epochs().await.expect("read");
    epochs.sort();
    assert_eq!(epochs, [new, other]);
}

async fn files(journal: Arc<dyn Journal>) {
    let owner = acquire(&journal, 3).await;
    let decisions = [(shard(3), event("v", 1)), (shard(3), event("w", 1))];
    let two = [entry("f1", shard(3)), entry("f2", shard(3))];
    let committed = CommitOutcome::Committed { position: 2, heads: vec![(shard(3), 2)] };
    assert_eq!(journal.commit_file(&[owner], &two, &decisions).await, committed);
    // The answer was lost: the same call again is a success that writes nothing, also after the shard has moved on.
    assert_eq!(journal.commit_file(&[owner], &two, &decisions).await, committed);
    let newer = acquire(&journal, 3).await;
    assert_eq!(journal.commit_file(&[owner], &two, &decisions).await, committed);
    assert_eq!(journal.manifest(0, 10).await.expect("read").len(), 2);
    assert_eq!(journal.read_feed(shard(3), 0, 10).await.expect("read").len(), 2);
    // A decision whose version does not follow, or whose shard is not among the owners, refuses the whole.
    for (owners, decision) in [(vec![newer], event("v", 3)), (vec![], event("v", 2))] {
        let refused = journal.commit_file(&owners, &[entry("f3", shard(3))], &[(shard(3), decision)]).await;
        assert_eq!(refused, CommitOutcome::Refused { fenced: vec![] });
    }
    let third = journal.commit_file(&[newer], &[entry("f3", shard(3))], &[]).await;
    assert_eq!(third, CommitOutcome::Committed { position: 3, heads: vec![] });
    let after = journal.manifest(2, 10).await.expect("read");
    assert_eq!((after.len(), after[0].position, after[0].entry.path.as_str()), (1, 3, "f3"));
}

async fn paths(journal: &Arc<dyn Journal>) -> Vec<String> {
    let records = journal.manifest(0, 100).await.expect("read");
    records.into_iter().map(|record| record.entry.path).collect()
}

async fn replaced_paths(journal: &Arc<dyn Journal>) -> Vec<String> {
    let replaced = journal.replaced(None, 100).await.expect("read");
    replaced.into_iter().map(|file| file.path).collect()
}

async fn replacing(journal: Arc<dyn Journal>) {
    let owner = acquire(&journal, 3).await;
    let committed: Vec<ManifestEntry> = ["a", "b", "c"].map(|path| entry(path, shard(3))).into();
    assert!(matches!(
        journal.commit_file(&[owner], &committed, &[]).await,
        CommitOutcome::Committed { position: 3, .. }
    ));
    let names = |of: &[&str]| of.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    let stale = journal.acquire_replacing().await.expect("acquired");
    let epoch = journal.acquire_replacing().await.expect("acquired");
    assert_eq!((stale, epoch), (Epoch(1), Epoch(2)));
    let two = [entry("h1", shard(3)), entry("h2", shard(3))];
    let refused = |missing: &[&str]| ReplaceOutcome::Refused { missing: names(missing) };
    assert_eq!(journal.replace_files(stale, &names(&["a"]), &two, &[], 5).await, refused(&[]));
    // One input that was never there refuses the whole.
    assert_eq!(journal.replace_files(epoch, &names(&["a", "z"]), &two, &[], 5).await, refused(&["z"]));
    assert_eq!(paths(&journal).await, names(&["a", "b", "c"]), "refused means nothing of it");
    assert_eq!(journal.replacing().await.expect("read").count, 0);
    let done = ReplaceOutcome::Committed { position: 5 };
    assert_eq!(journal.replace_files(epoch, &names(&["a", "c"]), &two, &[], 5).await, done);
    assert_eq!(paths(&journal).await, names(&["b", "h1", "h2"]));
    assert_eq!(replaced_paths(&journal).await, names(&["a", "c"]));
    assert_eq!(journal.replaced(Some("a"), 9).await.expect("read")[0].path, "c");
    // The answer was lost: the same call is a success that writes nothing, also when another has the right by now.
    journal.acquire_replacing().await.expect("acquired");
    assert_eq!(journal.replace_files(epoch, &names(&["a", "c"]), &two, &[], 6).await, done);
    let epoch = journal.acquire_replacing().await.expect("acquired");
    let other = [entry("h3", shard(3))];
    assert_eq!(journal.replace_files(epoch, &names(&["a", "b"]), &other, &[], 6).await, refused(&["a"]));
    assert_eq!(journal.replacing().await.expect("read").count, 1);
    // The round that made a file asks again, late: it was committed, wherever its rows are now.
    let again = journal.commit_file(&[owner], &committed[..1], &[]).await;
    assert_eq!(again, CommitOutcome::Committed { position: 1, heads: vec![] });
    // Files that nothing replaces: retention. Positions are never given twice.
    let gone = ReplaceOutcome::Committed { position: 5 };
    assert_eq!(journal.replace_files(epoch, &names(&["h1", "h2"]), &[], &[], 7).await, gone);
    assert_eq!(journal.replace_files(epoch, &names(&["h1", "h2"]), &[], &[], 7).await, gone, "a repetition");
    let next = journal.replace_files(epoch, &names(&["b"]), &other, &[], 8).await;
    assert_eq!(next, ReplaceOutcome::Committed { position: 6 });
    journal.forget_replaced(&names(&["a", "h1", "z"])).await.expect("written");
    assert_eq!(replaced_paths(&journal).await, names(&["b", "c", "h2"]));
    assert_eq!(paths(&journal).await, names(&["h3"]));
    journal.forget_replaced(&names(&["h3"])).await.expect("written");
    let still = journal.replace_files(epoch, &names(&["h3"]), &[], &[], 9).await;
    assert_eq!(still, ReplaceOutcome::Committed { position: 6 }, "only replaced files are forgotten");
}

async fn trails(journal: Arc<dyn Journal>) {
    let names = |of: &[&str]| of.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    let owner = acquire(&journal, 3).await;
    let note = |trail: &str, text: &str| Note { trail: trail.into(), bytes: text.into() };
    let read = |trail: &'static str, after, limit| {
        let journal = Arc::clone(&journal);
        async move { journal.notes(trail, after, limit).await.expect("read") }
    };
    journal.note(&[note("a", "1"), note("ab", "x"), note("a", "2")]).await.expect("written");
    assert_eq!(read("a", 0, 9).await, [(1, b"1".to_vec()), (2, b"2".to_vec())]);
    assert_eq!((read("ab", 0, 9).await, read("b", 0, 9).await), (vec![(1, b"x".to_vec())], vec![]));
    let large = Note { trail: "a".into(), bytes: vec![0; 200_000] };
    assert!(journal.note(&[note("a", "3"), large]).await.is_err(), "all or nothing");
    // With a replacement, once, and not without it.
    journal.commit_file(&[owner], &[entry("f", shard(3))], &[]).await;
    let epoch = journal.acquire_replacing().await.expect("acquired");
    let refused = journal.replace_files(epoch, &names(&["z"]), &[], &[note("a", "3")], 5).await;
    assert!(matches!(refused, ReplaceOutcome::Refused { .. }), "{refused:?}");
    for _ in 0..2 {
        let done = journal.replace_files(epoch, &names(&["f"]), &[], &[note("a", "4")], 5).await;
        assert!(matches!(done, ReplaceOutcome::Committed { .. }), "{done:?}");
    }
    assert_eq!(read("a", 1, 9).await, [(2, b"2".to_vec()), (3, b"4".to_vec())]);
    assert_eq!(read("a", 0, 1).await, [(1, b"1".to_vec())]);
}

async fn state(journal: Arc<dyn Journal>) {
    let owner = acquire(&journal, 1).await;
    let snapshots: Vec<_> =
        ["a", "b", "c"].map(|id| (stream(id), Snapshot { version: 1, state: id.as_bytes().to_vec() })).into();
    assert!(journal.put_snapshots(owner, snapshots.clone()).await.expect("written"));
    assert_eq!(journal.snapshot(&stream("b")).await.expect("read"), Some(snapshots[1].1.clone()));
    assert_eq!(journal.snapshot(&stream("z")).await.expect("read"), None);
    let page = journal.snapshots("thing", None, 2).await.expect("read");
    assert_eq!(page, snapshots[..2]);
    let rest = journal.snapshots("thing", Some(&stream("b")), 10).await.expect("read");
    assert_eq!(rest, snapshots[2..]);
    assert!(journal.snapshots("thin", None, 10).await.expect("read").is_empty());
    // Checkpoints larger than a value may be, and then a smaller one.
    for bytes in [300_000, 70_000, 0] {
        let state: Vec<u8> = (0..bytes).map(|i| (i % 251) as u8).collect();
        let closed = vec![(bytes.to_string().into_bytes(), b"gone".to_vec())];
        let stale = journal
            .put_checkpoints(vec![(owner, Checkpoint { position: 7, state: state.clone(), closed })])
            .await;
        assert!(stale.expect("written").is_empty());
        let read = journal.checkpoint(shard(1)).await.expect("read").expect("there");
        assert_eq!((read.position, read.state.len()), (7, bytes));
        assert_eq!(read.state, state);
    }
    for bytes in [300_000, 70_000, 0] {
        let fact = journal.closed(shard(1), bytes.to_string().as_bytes()).await.expect("read");
        assert_eq!(fact.as_deref(), Some(b"gone".as_slice()), "closed facts stay");
    }
}

async fn concurrency(journal: Arc<dyn Journal>) {
    let shards: Vec<ShardId> = (0..8).map(shard).collect();
    let owners = journal.acquire(&shards).await.expect("acquired");
    let mut writers = tokio::task::JoinSet::new();
    for (owner, _) in owners {
        let journal = Arc::clone(&journal);
        writers.spawn(async move {
            for version in 1..=50 {
                let id = format!("s{}", owner.shard);
                let answer =
                    journal.append(owner, version - 1, vec![event(&id, version)]).await.expect("written");
                assert_eq!(answer, Appended::Committed { head: version });
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.expect("a writer panicked");
    }
    for shard in shards {
        let feed = journal.read_feed(shard, 0, 100).await.expect("read");
        let positions: Vec<u64> = feed.iter().map(|e| e.position).collect();
        assert_eq!(positions, (1..=50).collect::<Vec<u64>>());
    }
}

async fn causes(journal: Arc<dyn Journal>) {
    let owner = acquire(&journal, 2).await;
    let by = |id: &str, version, cause: &str| NewEvent { causation_id: cause.into(), ..event(id, version) };
    let first = vec![by("a", 1, "c1"), by("a", 2, "c1"), by("b", 1, "c1"), by("a", 3, "c2")];
    journal.append(owner, 0, first).await.expect("written");
    let refused = journal.append(owner, 0, vec![by("a", 4, "c3")]).await.expect("answered");
    assert_eq!(refused, Appended::Conflict { head: 4 });
    // The same cause once more: what it did first is what it did.
    journal.append(owner, 4, vec![by("a", 4, "c4"), by("a", 5, "c1")]).await.expect("written");
    let asked = ["c1", "c2", "c3", "c4", "c"].map(String::from).to_vec();
    let found = journal.caused_by(&stream("a"), asked.clone()).await.expect("read");
    let at = |first, last| Some(Caused { first, last });
    assert_eq!(found, [at(1, 2), at(3, 3), None, at(4, 4), None]);
    let found = journal.caused_by(&stream("b"), asked).await.expect("read");
    assert_eq!(found, [at(1, 1), None, None, None, None]);
    let long = "x".repeat(300);
    journal.append(owner, 6, vec![by("c", 1, &long)]).await.expect("a long cause is no fault");
}

/// A writer that was fenced while its writes were under way: whatever its answer, the new owner sees all that was written.
async fn takeover(journal: Arc<dyn Journal>) {
    let old = acquire(&journal, 6).await;
    let writer = {
        let journal = Arc::clone(&journal);
        tokio::spawn(async move {
            let mut head = 0;
            loop {
                match journal.append(old, head, vec![event("a", head + 1)]).await.expect("answered") {
                    Appended::Committed { head: new } => head = new,
                    Appended::Fenced { current } => return (head, current),
                    conflict @ Appended::Conflict { .. } => panic!("{conflict:?}"),
                }
                tokio::task::yield_now().await;
            }
        })
    };
    while journal.read_feed(shard(6), 0, 10).await.expect("read").len() < 3 {
        tokio::task::yield_now().await;
    }
    let (new, head) = journal.acquire(&[shard(6)]).await.expect("acquired")[0];
    let (written, current) = writer.await.expect("the old writer ends");
    assert_eq!(
        (written, current),
        (head, new.epoch),
        "no write of the old owner came after the new one's epoch"
    );
    let next = journal.append(new, head, vec![event("a", head + 1)]).await.expect("written");
    assert_eq!(next, Appended::Committed { head: head + 1 });
}

/// A reader that follows a feed while it is written never sees a gap, and sees every event once.
async fn gap_free(journal: Arc<dyn Journal>) {
    const EVENTS: u64 = 120;
    let owner = acquire(&journal, 7).await;
    let writer = {
        let journal = Arc::clone(&journal);
        tokio::spawn(async move {
            let mut head = 0;
            while head < EVENTS {
                let some = (head + 1..=(head + 1 + head % 3).min(EVENTS))
                    .map(|version| event("a", version))
                    .collect();
                match journal.append(owner, head, some).await.expect("written") {
                    Appended::Committed { head: new } => head = new,
                    other => panic!("{other:?}"),
                }
                tokio::task::yield_now().await;
            }
        })
    };
    let mut seen = 0;
    while seen < EVENTS {
        for event in journal.read_feed(shard(7), seen, 16).await.expect("read") {
            assert_eq!((event.position, event.event.version), (seen + 1, seen + 1));
            seen += 1;
        }
        tokio::task::yield_now().await;
    }
    writer.await.expect("the writer ends");
}
