//! A lake in a bucket, through a network that is slow, refuses, cuts uploads, and loses answers: as good as a folder.

mod common;
mod s3_server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{BEGIN_MS, HOUR_MS, row, vehicle};
use remuda_eventsourcing::{Journal, ManifestPosition, MemoryJournal};
use remuda_lake::{
    Answer, CompactionSettings, Contribution, ErasureRequest, Lake, LakeSettings, RoundListener, Row,
    S3Settings,
};
use remuda_model::{OrganizationId, ShardId};
use s3_server::{Fault, Proxy, Server};

#[derive(Default)]
struct Floor(AtomicU64);

impl RoundListener for Floor {
    fn answered(&self, _: ShardId, _: ManifestPosition, _: Vec<Answer>) {}
    fn replay_floor(&self, _: ShardId) -> ManifestPosition {
        self.0.load(Ordering::SeqCst)
    }
    fn shard_lost(&self, _: ShardId) {}
}

fn settings(endpoint: &str) -> S3Settings {
    let key = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    S3Settings {
        bucket: "fleet".into(),
        prefix: "a/lake".into(),
        endpoint: Some(endpoint.to_owned()),
        region: "us-east-1".into(),
        timeout_ms: 1_000,
        credentials: vec![key("AWS_ACCESS_KEY_ID", "any"), key("AWS_SECRET_ACCESS_KEY", "hush")],
    }
}

async fn open(endpoint: &str, journal: &Arc<dyn Journal>) -> Lake {
    let lake = LakeSettings { round_interval_ms: 3_600_000, ..LakeSettings::new("nowhere".into()) };
    Lake::open_s3(lake, &settings(endpoint), Arc::clone(journal)).await.expect("opened")
}

/// One process' life: takes over, writes frames, ends with a checkpoint that covers all of it. Answers the rows.
async fn live(lake: &Lake, journal: &Arc<dyn Journal>, seq: u64) -> Vec<Row> {
    let mut shards: Vec<ShardId> = (0..3).map(|n| ShardId::of(&vehicle(n))).collect();
    shards.sort_unstable();
    shards.dedup();
    let owners: Vec<_> =
        journal.acquire(&shards).await.expect("acquired").into_iter().map(|(o, _)| o).collect();
    let recovery = lake.recover(&owners).await.expect("recovered");
    for n in 0..3 {
        let durable = recovery.watermarks.get(&vehicle(n)).map_or(0, |marks| marks[0].1);
        assert_eq!(durable + 1, seq, "vehicle {n}");
    }
    let floor = Arc::new(Floor::default());
    let rounds = lake.start_rounds(&owners, &recovery, floor.clone());
    let handle = rounds.handle();
    let mut written = Vec::new();
    for n in 0..3_u8 {
        let at_ns = (BEGIN_MS + seq as i64 % 2 * HOUR_MS) * 1_000_000;
        let rows: Vec<Row> =
            (0..4).map(|i| row(n, seq, i, Some(at_ns + i64::from(i)), BEGIN_MS + HOUR_MS)).collect();
        written.extend(rows.iter().cloned());
        let (shard, vehicle) = (ShardId::of(&vehicle(n)), vehicle(n));
        let contribution =
            Contribution { shard, vehicle, ticket: seq, rows, decisions: Vec::new(), bytes: 100 };
        handle.contribute(contribution).await.expect("open");
        handle.flush().await.expect("open");
    }
    floor.0.store(handle.position(), Ordering::SeqCst);
    rounds.stop().await.expect("stopped");
    written
}

/// Does it until it is done: each failure left nothing that the next run does not mend.
async fn compact(lake: &Lake, now_ms: i64) -> u64 {
    let settings =
        CompactionSettings { grace_ms: 0, small_files_max: 1, erase_within_ms: 0, ..Default::default() };
    let mut failures = 0;
    loop {
        match lake.compact(&settings, now_ms, &|_| std::ops::ControlFlow::Continue(())).await {
            Ok(_) => return failures,
            Err(error) => {
                failures += 1;
                assert!(failures < 100, "{error:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_whatever_the_network_does() {
    let Some(server) = Server::start().await else { return };
    let proxy = Proxy::start(&server.address).await;
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::in_place());
    open(&server.endpoint(), &journal).await;
    let mut written = Vec::new();
    let mut now_ms = BEGIN_MS + 2 * HOUR_MS;
    for (seq, fault) in
        (1..).zip([None, Some(Fault::Slow), Some(Fault::Refuse), Some(Fault::Cut), Some(Fault::Lose)])
    {
        proxy.plan(fault);
        let lake = open(&proxy.endpoint(), &journal).await;
        written.extend(live(&lake, &journal, seq).await);
        compact(&lake, now_ms).await;
        now_ms += 1_000;
        proxy.plan(None);
        let mut rows = Vec::new();
        lake.for_each_row(|row| rows.push(row.clone())).await.expect("read");
        rows.sort_by_key(common::key);
        written.sort_by_key(common::key);
        assert_eq!(rows.len(), written.len(), "{fault:?}");
        assert!(rows == written, "the same rows with {fault:?}");
        assert!(fault.is_none() || proxy.struck(fault) > 3, "{fault:?} struck {} times", proxy.struck(fault));
    }
    // What answers were lost for, and what never came, goes; whatever is committed stays.
    let lake = open(&proxy.endpoint(), &journal).await;
    lake.sweep().await.expect("swept");
    let request = ErasureRequest {
        organization: OrganizationId::default(),
        vehicle: Some(vehicle(1)),
        from_ns: None,
        until_ns: None,
        classes: [].into(),
        requested_by: "ada".into(),
        reason: "asked".into(),
    };
    lake.erase(request, now_ms).await.expect("asked");
    proxy.plan(Some(Fault::Lose));
    for _ in 0..3 {
        now_ms += 1_000;
        compact(&lake, now_ms).await;
    }
    proxy.plan(None);
    written.retain(|row| row.vehicle != vehicle(1));
    let mut rows = Vec::new();
    lake.for_each_row(|row| rows.push(row.clone())).await.expect("read");
    rows.sort_by_key(common::key);
    assert!(rows == written, "the same rows, without those that were erased");
    assert_eq!(lake.verify(true, &mut |_, _| ()).await.expect("read").faults, []);
    assert!(lake.erasures().await.expect("read")[0].finished_at_ms.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_cannot_be_used_is_told_at_once_and_without_its_key() {
    let Some(server) = Server::start().await else { return };
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::in_place());
    let wrong = S3Settings { bucket: "nobody".into(), ..settings(&server.endpoint()) };
    let opened = Lake::open_s3(LakeSettings::new("nowhere".into()), &wrong, journal).await;
    let error = opened.err().expect("there is no such bucket").to_string();
    assert!(error.contains("s3://nobody/a/lake") && error.contains("NoSuchBucket"), "{error}");
    assert!(!error.contains("hush"), "{error}");
}
