//! Intake: readings are reduced by the policy and gathered into batches of rows.

use std::sync::Arc;

use remuda_model::SignalId;
use remuda_wire::{Column, SampleBlock, TimeUnit};

use crate::limits;
use remuda_policy::{Collection, Policy, Rule};

const NS_PER_MS: u64 = 1_000_000;

/// One value of one signal at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Which signal.
    pub signal: SignalId,
    /// Its raw scaled value.
    pub raw: i64,
    /// When it was taken, ns of the agent's monotonic clock.
    pub mono_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    signal: SignalId,
    // A change that came before its interval was over; told when it is.
    held_back: bool,
    changed_since_live: bool,
    told_raw: i64,
    told_ns: u64,
    raw: i64,
    ns: u64,
}

/// Reduces and batches.
#[derive(Debug)]
pub(crate) struct Intake {
    policy: Arc<Policy>,
    level: Collection,
    last: Vec<Last>,
    batch: Vec<Reading>,
    span: (u64, u64),
    opened_ns: u64,
    held_back: usize,
    pub(crate) dropped: u64,
}

impl Intake {
    pub(crate) fn new(policy: Arc<Policy>) -> Self {
        Self {
            policy,
            level: Collection::Full,
            last: Vec::new(),
            batch: Vec::new(),
            span: (0, 0),
            opened_ns: 0,
            held_back: 0,
            dropped: 0,
        }
    }

    pub(crate) fn set_policy(&mut self, policy: Arc<Policy>) {
        self.policy = policy;
        // What is not collected any more is not told as a newest value either.
        self.last.retain(|last| self.policy.rule(last.signal).is_some());
        self.last.shrink_to_fit();
        self.held_back = self.last.iter().filter(|last| last.held_back).count();
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn level(&self) -> Collection {
        self.level
    }

    pub(crate) fn set_level(&mut self, level: Collection) {
        self.level = level;
    }

    /// The rule as it is in force at the present level.
    fn rule(&self, signal: SignalId) -> Option<Rule> {
        let rule = self.policy.rule(signal)?;
        Some(match self.level {
            Collection::Stretched => rule.stretched(self.policy.budget().stretch_factor),
            Collection::Full | Collection::EventsOnly => *rule,
        })
    }

    /// Takes one reading. Answers the batch that it does not fit into any more.
    pub(crate) fn take(&mut self, reading: Reading, now: u64) -> Option<Vec<Reading>> {
        if self.is_wanted(reading) { self.add(reading, now) } else { None }
    }

    fn is_wanted(&mut self, reading: Reading) -> bool {
        let Some(rule) = self.rule(reading.signal) else { return false };
        // A value that may not be told is held back: it is told when there is a budget again.
        let told = self.level != Collection::EventsOnly;
        let at = match self.last.binary_search_by_key(&reading.signal, |l| l.signal) {
            Ok(at) => at,
            Err(at) => {
                if self.last.len() >= limits::SIGNALS_MAX {
                    self.dropped += 1;
                    return false;
                }
                let Reading { signal, raw, mono_ns } = reading;
                let last = Last {
                    signal,
                    held_back: !told,
                    changed_since_live: true,
                    told_raw: raw,
                    told_ns: mono_ns,
                    raw,
                    ns: mono_ns,
                };
                self.last.insert(at, last);
                self.held_back += usize::from(!told);
                return told;
            }
        };
        let last = &mut self.last[at];
        last.changed_since_live |= last.raw != reading.raw;
        if reading.mono_ns >= last.ns {
            (last.raw, last.ns) = (reading.raw, reading.mono_ns);
        }
        let since_ms = reading.mono_ns.saturating_sub(last.told_ns) / NS_PER_MS;
        let due = since_ms >= u64::from(rule.min_interval_ms);
        let worth = !rule.on_change || rule.changed(last.told_raw, reading.raw);
        let beat = rule.heartbeat_ms.is_some_and(|beat| since_ms >= u64::from(beat));
        let tell = told && ((worth && due) || beat);
        let was_held_back = last.held_back;
        last.held_back = worth && !tell;
        if tell {
            (last.told_raw, last.told_ns) = (reading.raw, reading.mono_ns);
        }
        self.held_back = self.held_back + usize::from(last.held_back) - usize::from(was_held_back);
        tell
    }

    fn add(&mut self, reading: Reading, now: u64) -> Option<Vec<Reading>> {
        let at = reading.mono_ns;
        let mut closed = None;
        if self.batch.is_empty() {
            self.span = (at, at);
            self.opened_ns = now;
        } else {
            let span = (self.span.0.min(at), self.span.1.max(at));
            let too_long = span.1 - span.0 >= limits::BATCH_SPAN_MS * NS_PER_MS;
            // A row is not torn apart for the sake of a count: only a new time closes a full batch.
            let full = self.batch.len() >= limits::BATCH_READINGS_MAX && at != self.span.1;
            if too_long || full {
                closed = Some(std::mem::take(&mut self.batch));
                self.span = (at, at);
                self.opened_ns = now;
            } else {
                self.span = span;
            }
        }
        self.batch.push(reading);
        closed
    }

    /// Closes the batch when its time has come (or `now_or_never`); tells held back changes whose interval is over.
    pub(crate) fn close(&mut self, now: u64, force: bool) -> Vec<Vec<Reading>> {
        let mut closed = Vec::new();
        let may = self.held_back > 0 && self.level != Collection::EventsOnly;
        if may && (force || self.deadline().is_some_and(|at| now >= at)) {
            closed.extend(self.release(now, force));
        }
        let over = now.saturating_sub(self.opened_ns) >= limits::BATCH_SPAN_MS * NS_PER_MS;
        if !self.batch.is_empty() && (force || over) {
            closed.push(std::mem::take(&mut self.batch));
        }
        closed
    }

    fn release(&mut self, now: u64, force: bool) -> Vec<Vec<Reading>> {
        let mut due = Vec::new();
        for at in 0..self.last.len() {
            if !self.last[at].held_back {
                continue;
            }
            let interval = self.rule(self.last[at].signal).map_or(0, |rule| rule.min_interval_ms);
            let last = &mut self.last[at];
            if force || now.saturating_sub(last.told_ns) / NS_PER_MS >= u64::from(interval) {
                last.held_back = false;
                (last.told_raw, last.told_ns) = (last.raw, last.ns);
                due.push(Reading { signal: last.signal, raw: last.raw, mono_ns: last.ns });
            }
        }
        self.held_back -= due.len();
        due.into_iter().filter_map(|reading| self.add(reading, now)).collect()
    }

    /// When [`Intake::close`] must be called next.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let span = limits::BATCH_SPAN_MS * NS_PER_MS;
        if !self.batch.is_empty() {
            return Some(self.opened_ns + span);
        }
        if self.held_back == 0 || self.level == Collection::EventsOnly {
            return None;
        }
        let held = self.last.iter().filter(|l| l.held_back);
        held.map(|l| {
            let interval = self.rule(l.signal).map_or(0, |rule| rule.min_interval_ms);
            l.told_ns + u64::from(interval) * NS_PER_MS
        })
        .min()
    }

    /// Every current value is worth telling: the cloud lost its picture of this vehicle.
    pub(crate) fn resync(&mut self) {
        self.last.iter_mut().for_each(|last| last.changed_since_live = true);
    }

    /// Values that changed since they were last asked for, with their times in ms.
    pub(crate) fn live(&mut self) -> Vec<(SignalId, i64, u64)> {
        let changed = self.last.iter_mut().filter(|l| l.changed_since_live);
        changed
            .map(|l| {
                l.changed_since_live = false;
                (l.signal, l.raw, l.ns / NS_PER_MS)
            })
            .collect()
    }
}

/// Builds a block. Answers it with its `mono_ms`. Readings of one time share a row, unless a signal comes twice.
pub(crate) fn block(mut batch: Vec<Reading>) -> (u64, SampleBlock) {
    batch.sort_by_key(|r| r.mono_ns);
    let base_ms = batch.first().map_or(0, |r| r.mono_ns) / NS_PER_MS;
    let unit = if batch.iter().all(|r| r.mono_ns.is_multiple_of(NS_PER_MS)) {
        TimeUnit::Millisecond
    } else if batch.iter().all(|r| r.mono_ns.is_multiple_of(1_000)) {
        TimeUnit::Microsecond
    } else {
        TimeUnit::Nanosecond
    };
    let mut signals: Vec<SignalId> = batch.iter().map(|r| r.signal).collect();
    signals.sort_unstable();
    signals.dedup();
    let mut columns: Vec<Column> =
        signals.iter().map(|signal| Column { signal: *signal, values: Vec::new() }).collect();
    let mut offsets: Vec<u64> = Vec::new();
    for reading in batch {
        let offset = (reading.mono_ns - base_ms * NS_PER_MS) / unit.nanoseconds();
        // Every reading's signal is in the list made from them.
        let Ok(at) = signals.binary_search(&reading.signal) else { continue };
        let row_has_it = |column: &Column, rows: usize| column.values.len() == rows;
        if offsets.last() != Some(&offset) || row_has_it(&columns[at], offsets.len()) {
            offsets.push(offset);
        }
        columns[at].values.resize(offsets.len() - 1, None);
        columns[at].values.push(Some(reading.raw));
    }
    for column in &mut columns {
        column.values.resize(offsets.len(), None);
    }
    (base_ms, SampleBlock { unit, offsets, columns })
}

#[cfg(test)]
mod tests {
    use remuda_model::signal::{CHARGE, SPEED};

    use super::*;

    fn at(ms: u64, signal: SignalId, raw: i64) -> Reading {
        Reading { signal, raw, mono_ns: ms * NS_PER_MS }
    }

    #[test]
    fn rows_share_a_time_and_a_repeated_signal_opens_a_new_row() {
        let batch =
            vec![at(7, SPEED, 1), at(7, CHARGE, 2), at(7, SPEED, 3), at(7, CHARGE, 4), at(9, CHARGE, 5)];
        let (base, block) = block(batch);
        assert_eq!((base, block.unit), (7, TimeUnit::Millisecond));
        assert_eq!(block.offsets, [0, 0, 2]);
        assert_eq!(block.columns[0].values, [Some(1), Some(3), None]);
        assert_eq!(block.columns[1].values, [Some(2), Some(4), Some(5)]);
    }

    #[test]
    fn times_keep_their_nanoseconds() {
        let batch = vec![Reading { signal: SPEED, raw: 1, mono_ns: 5_000_001 }, at(6, SPEED, 2)];
        let (base, block) = block(batch);
        assert_eq!((base, block.unit, block.offsets), (5, TimeUnit::Nanosecond, vec![1, 1_000_000]));
    }

    #[test]
    fn a_change_within_the_interval_is_told_at_its_end() {
        let policy = r#"{"signals":{"Vehicle.Speed":{"min_interval_ms":500,"dead_band":{"raw":2}}}}"#;
        let mut intake = Intake::new(Arc::new(Policy::parse(policy).expect("valid")));
        for (ms, raw) in [(0, 10), (100, 12), (200, 20), (250, 30)] {
            assert_eq!(intake.take(at(ms, SPEED, raw), ms * NS_PER_MS), None);
        }
        assert_eq!(intake.deadline(), Some(1_000 * NS_PER_MS));
        let closed = intake.close(1_000 * NS_PER_MS, false);
        assert_eq!(closed, [vec![at(0, SPEED, 10), at(250, SPEED, 30)]]);
        assert_eq!(intake.deadline(), None);
    }

    #[test]
    fn unchanged_values_are_told_at_the_heartbeat_only() {
        let policy = r#"{"others":{"heartbeat_ms":300}}"#;
        let mut intake = Intake::new(Arc::new(Policy::parse(policy).expect("valid")));
        for ms in (0..=900).step_by(100) {
            intake.take(at(ms, SPEED, 5), ms * NS_PER_MS);
        }
        let told: Vec<_> = intake.close(0, true).concat().iter().map(|r| r.mono_ns / NS_PER_MS).collect();
        assert_eq!(told, [0, 300, 600, 900]);
    }
}
