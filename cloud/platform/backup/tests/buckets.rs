//! Backups of a node whose lake lies in a bucket, against a real server that speaks S3.

mod common;
#[allow(dead_code, reason = "the lake's own tests use all of it")]
#[path = "../../lake/tests/s3_server/mod.rs"]
mod s3_server;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::*;
use remuda_backup::restore::Order;
use remuda_backup::verify::FaultKind;
use remuda_backup::{BackupError, MissingFile, Pace, Request};
use remuda_eventsourcing::Journal;
use remuda_lake::{Bucket, Lake, LakeSettings, LakeVerification, S3Settings};
use s3_server::Server;
use tokio::runtime::Runtime;

/// The server, and what it runs on.
fn start() -> Option<(Runtime, Server)> {
    let runtime = Runtime::new().expect("a runtime");
    let server = runtime.block_on(Server::start())?;
    Some((runtime, server))
}

fn settings(endpoint: String, prefix: &str) -> S3Settings {
    let key = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    S3Settings {
        bucket: "fleet".into(),
        prefix: prefix.into(),
        endpoint: Some(endpoint),
        region: "us-east-1".into(),
        timeout_ms: 10_000,
        credentials: vec![key("AWS_ACCESS_KEY_ID", "any"), key("AWS_SECRET_ACCESS_KEY", "hush")],
    }
}

/// What somebody does to an object by hand.
fn by_hand(server: &Server, method: &str, key: &str, body: &[u8]) {
    let mut stream = TcpStream::connect(&server.address).expect("connected");
    let (address, length) = (&server.address, body.len());
    // The server takes any signature, and nobody without one.
    let head = format!(
        "{method} /fleet/{key} HTTP/1.1\r\nHost: {address}\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential=any/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    assert!(answer.lines().next().is_some_and(|line| line.contains(" 20")), "{answer}");
}

/// The restored node's own look at its lake.
fn verified(node: &Node, data: &Path, bucket: &S3Settings) -> LakeVerification {
    let journal: Arc<dyn Journal> = Arc::new(open_journal(&data.join("journal")));
    node.runtime.block_on(async {
        let lake = Lake::open_s3(LakeSettings::new("nowhere".into()), bucket, journal).await.expect("opened");
        lake.verify(false, &mut |_, _| ()).await.expect("read")
    })
}

fn lose(node: &mut Node) {
    node.journal = None;
    fs::remove_dir_all(node.data()).expect("removed");
}

#[test]
fn a_lost_node_comes_back_beside_its_bucket() {
    let Some((_runtime, server)) = start() else { return };
    let bucket = settings(server.endpoint(), "a/lake");
    let mut node = Node::in_bucket(&bucket);
    let taken = node.take();
    assert_eq!(
        (taken.lake_files, taken.lake_files_in_place, taken.lake_files_copied),
        (3, 3, 0),
        "{taken:?}"
    );
    assert!(!node.backups().join("objects/lake").exists(), "nothing of it is copied");
    let found = node.verify();
    assert_eq!(found.faults, []);
    let in_place = &found.in_place[0];
    assert_eq!((in_place.bucket.as_str(), in_place.files, in_place.gone), ("s3://fleet/a/lake", 3, 0));
    assert!(in_place.looked && found.opened);
    // What comes after it stays in the bucket.
    node.append(2);
    node.commit_file(100);
    lose(&mut node);

    let order = node.order("restored");
    let restored = node.restore(&order).expect("restored");
    assert_eq!((restored.events, restored.lake_files, restored.lake_files_in_place), (3, 3, 3));
    assert_eq!((restored.lake_files_missing, &restored.lake_missing[..]), (0, &[][..]));
    assert!(order.data.join("identity/command.key").exists() && !order.data.join("lake").exists());
    let lake = verified(&node, &order.data, &bucket);
    assert_eq!(lake.files, 3);
    let strays: Vec<&str> = lake.faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(strays, [node.lake_path(4)], "what the restored journal does not know, to be adopted");
}

#[test]
fn an_object_that_is_missing_or_another_is_named() {
    let Some((_runtime, server)) = start() else { return };
    let node = Node::in_bucket(&settings(server.endpoint(), "a/lake"));
    let taken = node.take();
    let (gone, short) = (node.lake_path(2), node.lake_path(3));
    by_hand(&server, "DELETE", &format!("a/lake/{gone}"), b"");
    by_hand(&server, "PUT", &format!("a/lake/{short}"), b"short");
    let found = node.verify();
    let faults: Vec<_> = found.faults.iter().map(|fault| (fault.kind, fault.object.clone())).collect();
    let at = |path: &str| format!("s3://fleet/a/lake/{path}");
    assert_eq!(faults, [(FaultKind::Missing, at(&gone)), (FaultKind::Truncated, at(&short))]);
    assert_eq!(found.faults[0].snapshots, std::slice::from_ref(&taken.snapshot));
    // The journal's own are whole: the rest is restored, and what is missing is named.
    let restored = node.restore(&node.order("restored")).expect("restored");
    let missing = |path: &str, detail: &str| MissingFile { path: path.into(), detail: detail.into() };
    let expected =
        [missing(&gone, "it is not there"), missing(&short, "it has 5 bytes, 40000 were committed")];
    assert_eq!((restored.lake_files_missing, &restored.lake_missing[..]), (2, &expected[..]));
    // No backup names what is not there.
    let refused = node.take_as(&node.request(), &mut Pace::silent()).expect_err("short").to_string();
    assert!(refused.contains(&short) && refused.contains("is cut short"), "{refused}");
    for links in [true, false] {
        by_hand(&server, "DELETE", &format!("a/lake/{short}"), b"");
        let request = Request { links, ..node.request() };
        let refused = node.take_as(&request, &mut Pace::silent()).expect_err("gone").to_string();
        assert!(refused.contains("is missing"), "{refused}");
    }
    // After the grace of replaced files a compaction may have taken it: no fault, and told.
    let path = node.backups().join("snapshots").join(&taken.snapshot).join("index");
    let mut index = node.repository().index(&taken.snapshot).expect("read");
    index.moment_ms -= 3_600_000;
    fs::write(path, index.encode().expect("encodes")).expect("written");
    let found = node.verify();
    assert_eq!(found.faults, []);
    assert_eq!((found.in_place[0].gone, &found.in_place[0].gone_paths), (2, &vec![gone, short]));
}

#[test]
fn files_that_stay_in_a_bucket_are_looked_for_nowhere_else() {
    let Some((_runtime, server)) = start() else { return };
    let mut node = Node::in_bucket(&settings(server.endpoint(), "a/lake"));
    node.take();
    let other = Bucket::open(&settings(server.endpoint(), "other")).expect("a client");
    for (bucket, configured) in [(None, "in the data folder"), (Some(other), "s3://fleet/other")] {
        node.bucket = bucket;
        let found = node.verify();
        assert!(found.faults.is_empty() && !found.in_place[0].looked);
        let order = node.order("restored");
        let refused = node.restore(&order).expect_err("elsewhere").to_string();
        assert!(refused.contains("s3://fleet/a/lake") && refused.contains(configured), "{refused}");
        assert!(!order.data.exists(), "nothing is begun");
    }
}

#[test]
fn copies_go_into_an_empty_bucket_or_a_folder() {
    let Some((_runtime, server)) = start() else { return };
    for sealed in [false, true] {
        let before = format!("before-{sealed}/lake");
        let mut node = Node::in_bucket(&settings(server.endpoint(), &before));
        by_hand(&server, "PUT", &format!("{before}/erasures/e1.json"), b"{}");
        let request = Request { seal_lake: sealed, links: sealed, ..node.request() };
        let taken = node.take_as(&request, &mut Pace::silent()).expect("taken");
        assert_eq!((taken.lake_files, taken.lake_files_copied, taken.lake_files_in_place), (3, 3, 0));
        let again = node.take_as(&request, &mut Pace::silent()).expect("taken");
        assert_eq!((again.lake_files_copied, again.bytes_new), (0, 0), "what is there is not read again");
        let found = node.verify();
        assert_eq!((&found.faults[..], &found.in_place[..], found.unreferenced), (&[][..], &[][..], 0));
        // Not into the lake of another.
        node.commit_file(100);
        let occupied = node.restore(&node.order("occupied")).expect_err("occupied");
        assert!(matches!(occupied, BackupError::BucketOccupied { .. }), "{occupied}");
        let lost_data = files(&node.data().join("identity"));
        lose(&mut node);

        let empty = settings(server.endpoint(), &format!("after-{sealed}/lake"));
        let bucket = Bucket::open(&empty).expect("a client");
        // Twice: the second finds what the first has put there, as if that had been stopped.
        for name in ["restored", "again"] {
            let bucket = Some(node.spoken_to(bucket.clone()));
            let order = Order { bucket, ..node.order(name) };
            let restored = node.restore(&order).expect("restored");
            assert_eq!((restored.lake_files, restored.lake_files_in_place), (3, 0));
            assert_eq!(files(&order.data.join("identity")), lost_data);
            assert!(!order.data.join("lake").exists());
            let lake = verified(&node, &order.data, &empty);
            assert_eq!((lake.files, &lake.faults[..]), (3, &[][..]));
        }
        let erasures = node.runtime.block_on(async {
            let mut listing = bucket.erasures();
            (listing.next_file().await.expect("listed"), listing.next_file().await.expect("listed"))
        });
        assert_eq!((erasures.0.map(|file| file.path), erasures.1), (Some("e1.json".into()), None));
        let order = Order { bucket: None, ..node.order("folder") };
        assert_eq!(node.restore(&order).expect("restored").lake_files, 3);
        let there: Vec<String> = files(&order.data.join("lake")).into_iter().map(|(path, _)| path).collect();
        assert_eq!(there.len(), 4, "{there:?}");
        assert!(there.contains(&node.lake_path(1)) && there.contains(&"erasures/e1.json".to_owned()));
    }
}

#[test]
fn a_bucket_that_does_not_answer_is_told_and_can_be_given_up() {
    let mut node = Node::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = format!("http://{}", silent.local_addr().expect("bound"));
    let bucket = Bucket::open(&S3Settings { timeout_ms: 60_000, ..settings(address.clone(), "a/lake") });
    node.bucket = Some(bucket.expect("a client"));
    let stop = Arc::new(AtomicBool::new(false));
    let (listening, flag) = (silent.try_clone().expect("a clone"), Arc::clone(&stop));
    let asked = std::thread::spawn(move || {
        let call = listening.accept().expect("it asks");
        // While it waits for an answer.
        flag.store(true, Ordering::Release);
        call
    });
    let begun = Instant::now();
    let stopped = node.take_as(&node.request(), &mut Pace::new(None, stop, Box::new(|_| {})));
    assert!(matches!(stopped, Err(BackupError::Stopped)), "{stopped:?}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    drop(asked.join().expect("it asked"));

    drop(silent);
    let bucket = Bucket::open(&S3Settings { timeout_ms: 500, ..settings(address, "a/lake") });
    node.bucket = Some(bucket.expect("a client"));
    let refused = node.take_as(&node.request(), &mut Pace::silent()).expect_err("nobody is there");
    assert!(matches!(refused, BackupError::Bucket { what: "listed", .. }), "{refused}");
    assert!(refused.to_string().contains("s3://fleet/a/lake"), "{refused}");
    assert_eq!(node.repository().snapshots().expect("listed").len(), 0);
}
