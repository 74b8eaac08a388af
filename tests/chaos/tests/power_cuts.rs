//! The journal's store alone, started again and again on a disk that loses power: whatever it called durable is there, and
//! nothing of a batch without the rest of it.

mod scene;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use rand::prelude::*;
use remuda_chaos::disk::{SURVIVALS, Survival};
use remuda_eventsourcing::sled_engine::SledStore;
use remuda_eventsourcing::store::Store;
use scene::{FOLDER, ROLE, Scene, scene, start};

/// Few enough that most values are written again before long: only then does the log give segments back.
const KEYS: u32 = 500;
const COUNTER: &[u8] = b"counter";
/// Starts of one journal.
const LIVES: u64 = 12;
const SEED: u64 = 20_340_700;

type Batch = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The batch with a number: a function of it alone, so that any state can be made again from how many there were.
fn batch(number: u64) -> Batch {
    let mut rng = StdRng::seed_from_u64(number);
    let mut batch = Batch::new();
    for _ in 0..rng.random_range(1..8) {
        let key = rng.random_range(0..KEYS).to_be_bytes().to_vec();
        let mut value = vec![rng.random(); rng.random_range(10..4_000)];
        value[..8].copy_from_slice(&number.to_be_bytes());
        batch.insert(key, (!rng.random_ratio(1, 10)).then_some(value));
    }
    batch.insert(COUNTER.to_vec(), Some(number.to_be_bytes().to_vec()));
    batch
}

/// What there must be after so many batches.
fn after(count: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut all = BTreeMap::new();
    for (key, value) in (1..=count).flat_map(batch) {
        match value {
            Some(value) => all.insert(key, value),
            None => all.remove(&key),
        };
    }
    all
}

/// The child: checks what it finds, says how much that is, and writes on until it is killed. Without its environment it is
/// no test.
#[test]
fn child() {
    let (Ok(folder), Ok(_)) = (std::env::var(FOLDER), std::env::var(ROLE)) else { return };
    let store = match SledStore::open(&PathBuf::from(folder).join("journal")) {
        Ok(store) => store,
        Err(error) => return println!("\nfault it does not open: {error}"),
    };
    let counter = store.get(COUNTER).expect("read");
    let count = counter.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().expect("eight bytes")));
    let found: BTreeMap<_, _> = store.scan(b"", b"", KEYS as usize + 1).expect("read").into_iter().collect();
    let wanted = after(count);
    if found != wanted {
        let differ = wanted.iter().filter(|(key, value)| found.get(*key) != Some(value)).count();
        return println!("\nfault {differ} of {} values are not those of batch {count}", wanted.len());
    }
    println!("\nfound {count}");
    for number in count + 1.. {
        store.commit(&batch(number)).expect("committed");
        println!("durable {number}");
    }
}

/// Lets the journal run until it has called so many more batches durable, and kills it; how many it found and called durable.
fn live(scene: &Scene, batches: u64) -> Result<(u64, u64), String> {
    let mut child = start(scene, "write");
    let (mut found, mut durable) = (None, 0);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let mut fault = None;
    for line in lines.by_ref() {
        let number = |text: &str| text.parse::<u64>().expect("a number");
        match line.split_once(' ') {
            Some(("found", n)) => (found, durable) = (Some(number(n)), number(n)),
            Some(("durable", n)) => durable = number(n),
            Some(("fault", what)) => fault = Some(what.to_owned()),
            _ => {}
        }
        if fault.is_some() || found.is_some_and(|found| durable >= found + batches) {
            break;
        }
    }
    child.kill().expect("killed");
    // What it had called durable before the kill reached it counts as well.
    for line in lines {
        if let Some(n) = line.strip_prefix("durable ").and_then(|n| n.parse().ok()) {
            durable = n;
        }
    }
    child.wait().expect("ended");
    match (fault, found) {
        (Some(fault), _) => Err(fault),
        (None, Some(found)) => Ok((found, durable)),
        (None, None) => Err("it ended before it had read what it has".into()),
    }
}

fn survives(scene: &mut Scene, survival: Survival, seed: u64) -> Result<(), String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut promised = 0;
    for life in 0..LIVES {
        // Some lives end soon after the start, where the store tidies up; others write a few megabytes.
        let batches = if rng.random_bool(0.5) { rng.random_range(0..20) } else { rng.random_range(200..900) };
        let (found, durable) = live(scene, batches).map_err(|what| format!("life {life}: {what}"))?;
        if found < promised {
            return Err(format!("life {life}: {found} batches are left of {promised} that were durable"));
        }
        promised = durable;
        // Every other life ends with a kill alone: what the store tidied up at several starts then stands or falls together.
        let ended = match rng.random_bool(0.5) {
            true => scene.disk.settle(),
            false => scene.disk.cut_power(survival, rng.random()),
        };
        ended.map_err(|e| e.to_string())?;
    }
    Ok(())
}

#[test]
fn what_the_journal_called_durable_is_there_after_each_of_many_power_cuts() {
    for (n, survival) in SURVIVALS.into_iter().enumerate() {
        let seed = SEED + n as u64;
        if let Err(what) = survives(&mut scene(), survival, seed) {
            panic!("{survival:?}, seed {seed}: {what}");
        }
    }
}

#[test]
fn a_journal_whose_syncs_are_lies_is_found_out() {
    let mut scene = scene();
    scene.disk.lie_about("journal");
    survives(&mut scene, Survival::Nothing, SEED).expect_err("nothing of it was durable");
}
