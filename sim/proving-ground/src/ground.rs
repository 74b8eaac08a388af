//! What everybody in a world shares: dice, trace, truth, and the first rule that was broken.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use rand::prelude::*;

use crate::clock;
use crate::plan::Plan;
use crate::trace::Trace;
use crate::truth::Truth;

/// See the module.
pub(crate) struct Ground {
    pub plan: Plan,
    pub truth: Mutex<Truth>,
    dice: Mutex<StdRng>,
    trace: Mutex<Trace>,
    faulty: AtomicBool,
    broken: Mutex<Option<String>>,
    faults: Mutex<BTreeMap<&'static str, u64>>,
}

impl Ground {
    /// Before anything happened.
    pub fn new(plan: Plan, keep_trace: bool) -> Arc<Self> {
        Arc::new(Self {
            dice: Mutex::new(StdRng::seed_from_u64(plan.seed)),
            trace: Mutex::new(Trace::new(keep_trace)),
            truth: Mutex::default(),
            faulty: AtomicBool::new(true),
            broken: Mutex::new(None),
            faults: Mutex::default(),
            plan,
        })
    }

    /// A number in the range.
    pub fn roll(&self, range: Range<u64>) -> u64 {
        if range.is_empty() { range.start } else { self.dice.lock().random_range(range) }
    }

    /// Any u64 but 0.
    pub fn name(&self) -> u64 {
        self.dice.lock().random_range(1..=u64::MAX)
    }

    /// True so many times in a million.
    pub fn chance(&self, ppm: u32) -> bool {
        self.dice.lock().random_ratio(ppm.min(1_000_000), 1_000_000)
    }

    /// A fault happens so many times in a million, while faults happen at all; it is counted and traced.
    pub fn fault(&self, name: &'static str, ppm: u32) -> bool {
        let happens = ppm > 0 && self.is_faulty() && self.chance(ppm);
        if happens {
            self.count(name);
        }
        happens
    }

    /// Counts a fault.
    pub fn count(&self, name: &'static str) {
        *self.faults.lock().entry(name).or_default() += 1;
        self.note(format_args!("! {name}"));
    }

    /// Do faults still happen?
    pub fn is_faulty(&self) -> bool {
        self.faulty.load(Relaxed)
    }

    /// From now on nothing goes wrong any more.
    pub fn heal(&self) {
        self.faulty.store(false, Relaxed);
    }

    /// Takes a while of virtual time.
    pub async fn dawdle(&self, range: Range<u64>) {
        let ms = self.roll(range);
        if ms > 0 {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
    }

    /// Adds a line to the trace.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        self.trace.lock().note(clock::now_ms(), what);
    }

    /// A rule was broken; the first one counts.
    pub fn broken(&self, what: String) {
        self.note(format_args!("BROKEN {what}"));
        self.broken.lock().get_or_insert(what);
    }

    /// The first rule that was broken.
    pub fn first_broken(&self) -> Option<String> {
        self.broken.lock().clone()
    }

    /// Digest and number of the trace's lines, and the text if it was kept.
    pub fn take_trace(&self) -> (u64, u64, String) {
        let mut trace = self.trace.lock();
        (trace.digest(), trace.lines(), trace.take_text())
    }

    /// Faults so far, by name.
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.faults.lock().clone()
    }
}
