//! The proving ground holds, and a seed is a run.
// A test may unwrap.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use remuda_proving_ground::{Plan, run};

#[test]
fn every_seed_balances_and_drains() {
    let full = std::env::var("REMUDA_TEST_TIER").is_ok_and(|tier| tier == "full");
    let seeds = if full { 10_000 } else { 500 };
    let (next, frames) = (AtomicU64::new(1), AtomicU64::new(0));
    let failed: Mutex<BTreeMap<u64, String>> = Mutex::default();
    let faults: Mutex<BTreeMap<&str, u64>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed > seeds {
                        return;
                    }
                    match run(Plan::new(seed), false).outcome {
                        Ok(report) => {
                            frames.fetch_add(report.frames_made, Relaxed);
                            let mut faults = faults.lock().unwrap();
                            report.faults.iter().for_each(|(name, n)| *faults.entry(name).or_default() += n);
                        }
                        Err(what) => {
                            let again =
                                format!("cargo run -p remuda-proving-ground -- --seed {seed} --trace");
                            failed.lock().unwrap().insert(seed, format!("{what}\n  repeat with: {again}"));
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {seeds} seeds failed: {failed:#?}", failed.len());
    let faults = faults.into_inner().unwrap();
    eprintln!("{seeds} seeds, {} frames, {faults:?}", frames.load(Relaxed));
    assert!(frames.load(Relaxed) > seeds * 30, "the worlds are too small to prove anything");
    let kinds = [
        "agent crashes",
        "agent crashes at an output",
        "clock jumps",
        "cloud crashes",
        "cloud stops",
        "commit late",
        "commit lost",
        "commit refused",
        "commit's answer lost",
        "connection cut",
        "disk cloned",
        "journal fails after",
        "journal fails before",
        "new owner",
        "no connection",
        "old disk restored",
        "process stands still",
        "record damaged",
        "store fails after",
        "store fails before",
    ];
    for kind in kinds {
        assert!(faults.get(kind).is_some_and(|count| *count >= 10), "{kind} hardly ever happens: {faults:?}");
    }
}

#[test]
fn a_seed_is_a_run_byte_for_byte() {
    let mut lines = 0;
    for seed in [3, 97, 237, 313] {
        let (one, other) = (run(Plan::new(seed), true), run(Plan::new(seed), true));
        let differs = one.trace.lines().zip(other.trace.lines()).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!((one.trace.len(), one.digest), (other.trace.len(), other.digest), "seed {seed}");
        lines += one.lines;
    }
    assert!(lines > 500, "{lines} lines say little");
}
