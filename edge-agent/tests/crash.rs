//! kill -9 of a process in the middle of writing: every frame reported durable is there, in its place.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use rand::prelude::*;
use remuda_edge_agent::outbox::{StreamKey, offline};
use remuda_edge_agent::{Profile, Store};
use remuda_edge_agent_core::Record;
use remuda_model::{Incarnation, Lane, Seq, VehicleId};
use remuda_wire::frame::{self, FrameHeader};
use remuda_wire::{Body, ClockQuality, Event};

const DIR: &str = "REMUDA_TEST_CRASH_DIR";
const START: &str = "REMUDA_TEST_CRASH_START";
const VEHICLES: usize = 5;

fn profile() -> Profile {
    Profile { segment_bytes: 20_000, ..Profile::fleet() }
}

fn vehicle(n: usize) -> VehicleId {
    VehicleId::new(&format!("VAN{n}")).expect("an id")
}

fn frame(seq: Seq, size: usize) -> Bytes {
    let clock = ClockQuality::Unknown;
    let header = FrameHeader { seq, boot: 1, mono_ms: seq, wall_ms: None, clock, registry: 1, trace: None };
    Bytes::from(frame::encode(&header, &Body::Event(Event::Started { agent_version: "x".repeat(size) })))
}

/// The child: writes until it is killed, and says what is durable and what it trimmed. Without its environment it is
/// no test.
#[test]
fn writer() {
    let (Ok(dir), Ok(start)) = (std::env::var(DIR), std::env::var(START)) else { return };
    let incarnation = Incarnation(start.parse().expect("a number"));
    let mut random = StdRng::seed_from_u64(incarnation.0);
    let store = Store::open(Path::new(&dir), profile()).expect("opens");
    let outboxes: Vec<_> =
        (0..VEHICLES).map(|n| store.vehicle(vehicle(n), incarnation).expect("opens").outbox).collect();
    let mut next = [1; VEHICLES];
    let mut out = std::io::stdout().lock();
    loop {
        let mut said = String::new();
        let mut last = 0;
        for _ in 0..random.random_range(1..40) {
            let n = random.random_range(0..VEHICLES);
            let (seq, at_once) = (next[n], random.random_bool(0.3));
            let bytes = [frame(seq, random.random_range(1..200))];
            last = outboxes[n].append(Lane::Samples, seq, &bytes, at_once).expect("fits");
            said.push_str(&format!("durable {n} {seq}\n"));
            next[n] += 1;
        }
        let committed = outboxes[0].committed();
        while *committed.borrow() < last {
            outboxes[0].check().expect("the disk is well");
            std::thread::yield_now();
        }
        let n = random.random_range(0..VEHICLES);
        if next[n] > 10 && random.random_bool(0.5) {
            // Said before it is done: what is killed in between may be there or not.
            said.push_str(&format!("trimmed {n} {}\n", next[n] - 10));
        }
        out.write_all(said.as_bytes()).expect("the parent listens");
        out.flush().expect("the parent listens");
        if said.contains("trimmed") {
            outboxes[n].trim(Lane::Samples, incarnation, next[n] - 10);
        }
    }
}

#[derive(Default)]
struct Said {
    durable: BTreeMap<usize, Seq>,
    trimmed: BTreeMap<usize, Seq>,
}

fn run_and_kill(dir: &Path, start: u64, lines: usize) -> Said {
    let mut child = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "writer", "--nocapture"])
        .env(DIR, dir)
        .env(START, start.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut said = Said::default();
    let mut count = 0;
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let line = line.expect("text");
        let words: Vec<&str> = line.split(' ').collect();
        if let ["durable" | "trimmed", n, seq] = words[..] {
            let into = if words[0] == "durable" { &mut said.durable } else { &mut said.trimmed };
            into.insert(n.parse().expect("a number"), seq.parse().expect("a number"));
        }
        count += 1;
        if count == lines {
            // The rest of the pipe is read, too: it was said.
            child.kill().expect("is alive");
        }
    }
    child.wait().expect("ended");
    assert!(count >= lines, "the writer ended by itself");
    said
}

#[test]
fn what_was_reported_durable_survives_kill_9() {
    let seed = std::env::var("REMUDA_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(11);
    eprintln!("seed {seed} (set REMUDA_TEST_SEED to repeat another)");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().expect("a folder");
    let mut all: BTreeMap<u64, Said> = BTreeMap::new();
    for start in 1..=12 {
        all.insert(start, run_and_kill(dir.path(), start, random.random_range(1..1_500)));
        let books = offline::open(dir.path()).expect("readable");
        for (start, said) in &all {
            for (n, durable) in &said.durable {
                let key =
                    StreamKey { vehicle: vehicle(*n), lane: Lane::Samples, incarnation: Incarnation(*start) };
                let book = books.iter().find(|b| b.key == key).expect("known");
                let trimmed = said.trimmed.get(n).copied().unwrap_or(0);
                assert!(book.made >= *durable, "{key:?}: {durable} was durable, {} is made", book.made);
                assert!(
                    book.trimmed_to <= trimmed,
                    "{key:?}: {} trimmed, {trimmed} asked for",
                    book.trimmed_to
                );
                assert!(book.damaged.is_empty(), "{key:?}: {:?} damaged", book.damaged);
                assert_eq!(
                    book.held,
                    (book.made > book.trimmed_to).then_some((book.trimmed_to + 1, book.made))
                );
            }
        }
    }
    let store = Store::open(dir.path(), profile()).expect("opens");
    let opened = store.vehicle(vehicle(0), Incarnation(99)).expect("opens");
    assert!(!opened.held.is_empty());
    for held in opened.held {
        let (incarnation, made) = (held.incarnation, held.made);
        let read =
            opened.outbox.read(Lane::Samples, incarnation, held.floor, made, usize::MAX).expect("reads");
        assert_eq!(read.len() as u64, made - held.floor + 1);
        for (n, record) in read.iter().enumerate() {
            let Record::Frame(bytes) = record else { panic!("damaged") };
            assert_eq!(frame::decode(bytes).expect("sound").header.seq, held.floor + n as u64);
        }
    }
}
