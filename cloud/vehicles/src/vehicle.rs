//! One vehicle as the cloud knows it: what its stream says, and what its samples left behind.

use std::sync::Arc;

use remuda_contracts::fleet::{GapView, QuarantineView};
use remuda_contracts::geofences::GeofenceKind;
use remuda_eventsourcing::ManifestPosition;
use remuda_lake::{Row, RowBody, Tombstones};
use remuda_model::{Incarnation, Lane, OrganizationId, Seq, SignalId, VehicleId};
use remuda_wire::{Body, Frame, Live};
use serde::{Deserialize, Serialize};

use crate::alerts::AlertBook;
use crate::command::Command;
use crate::error::Refusal;
use crate::event::{AlertFact, Cause, RuleId, Timeliness, VehicleEvent};
use crate::geofences::{Crossing, CrossingEvent, Inside, Step, Surroundings, Watch};
use crate::limits;
use crate::notes::Notes;
use crate::reception::Taken;
use crate::rules::{Finding, FindingKind, RuleSettings, Rules, Sample};
use crate::state::{Marks, VehicleState};
use crate::twin::{Greetings, Moment, Twin};

const SNAPSHOT_FORM: u8 = 1;
/// First byte of the alerts behind a snapshot.
const ALERTS_FORM: u8 = 1;
/// First byte of the geofences behind the alerts, and of the watch over them behind the notes.
const FENCES_FORM: u8 = 1;
const NS_PER_MS: i64 = 1_000_000;

/// What samples left behind; as of the rows of `marks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Newest values.
    pub twin: Twin,
    /// Order of the agent's starts.
    pub greetings: Greetings,
    /// State of the rules.
    pub rules: Rules,
    /// Highest frame of the samples lane that is in here, per incarnation.
    pub marks: Marks,
    /// Frames of samples taken.
    pub frames: u64,
    /// Frames of the samples lane that are gaps.
    pub gaps: u64,
    /// Frames of the samples lane in quarantine.
    pub quarantined: u64,
    /// When the cloud last heard of it, ms since 1970 UTC.
    pub last_seen_ms: i64,
    /// Messages and frames refused, by reason.
    pub refusals: Vec<(Refusal, u64)>,
    // The newest row the rules saw: an earlier one is history.
    newest: Moment,
    /// What else people want to know; encoded behind all of the above, so that older snapshots are read.
    #[serde(skip)]
    pub notes: Notes,
    /// Its way between geofences; encoded behind the notes.
    #[serde(skip)]
    pub watch: Watch,
}

/// A vehicle.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vehicle {
    /// Evolved from its stream.
    pub state: VehicleState,
    /// What its samples left behind.
    pub memory: Memory,
}

/// Who it is, and by which rules it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Whose.
    pub organization: OrganizationId,
    /// Which.
    pub vehicle: VehicleId,
    /// The rules' settings.
    pub rules: &'a RuleSettings,
    /// What erasures cover: its rows are kept until they are erased on their way, and leave nothing here.
    pub forgotten: &'a Tombstones,
    /// The geofences around it.
    pub around: Surroundings<'a>,
}

#[derive(Serialize, Deserialize)]
struct SnapshotForm1 {
    form: u8,
    covered_to: ManifestPosition,
    state: VehicleState,
    memory: Vec<u8>,
}

impl Memory {
    /// Counts a refusal.
    pub fn refuse(&mut self, refusal: Refusal, count: u64) {
        match self.refusals.iter_mut().find(|(r, _)| *r == refusal) {
            Some((_, n)) => *n += count,
            None => self.refusals.push((refusal, count)),
        }
    }

    /// Its bytes, for [`Vehicle::snapshot`].
    pub fn encode(&self) -> Vec<u8> {
        // Plain data always encodes.
        let bytes = self.notes.encode(postcard::to_allocvec(self).unwrap_or_default());
        postcard::to_extend(&(FENCES_FORM, &self.watch), bytes).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (memory, behind) = postcard::take_from_bytes::<Self>(bytes).ok()?;
        let (notes, behind) = Notes::decode(behind);
        let watch = match behind.split_first() {
            Some((&FENCES_FORM, watch)) => postcard::from_bytes(watch).unwrap_or_default(),
            // What it was in stands in the stream; only a dwell begins anew.
            _ => Watch::default(),
        };
        Some(Self { notes, watch, ..memory })
    }
}

impl Vehicle {
    /// A snapshot: `state` and encoded memory as of the same rows, all of them in files up to `covered_to`.
    pub fn snapshot(state: &VehicleState, memory: Vec<u8>, covered_to: ManifestPosition) -> Vec<u8> {
        let form = SnapshotForm1 { form: SNAPSHOT_FORM, covered_to, state: state.clone(), memory };
        // What came later stands behind it, where older code does not look.
        let bytes = postcard::to_allocvec(&form).unwrap_or_default();
        let bytes = postcard::to_extend(&state.reprocessed, bytes).unwrap_or_default();
        let bytes = postcard::to_extend(&(ALERTS_FORM, &*state.book), bytes).unwrap_or_default();
        postcard::to_extend(&(FENCES_FORM, &*state.inside), bytes).unwrap_or_default()
    }

    /// Reads a snapshot, and up to which manifest position it covers the vehicle's rows. `None` for a form this code
    /// does not know.
    pub fn restore(bytes: &[u8]) -> Option<(Self, ManifestPosition)> {
        if bytes.first() != Some(&SNAPSHOT_FORM) {
            return None;
        }
        let (form, behind) = postcard::take_from_bytes::<SnapshotForm1>(bytes).ok()?;
        let memory = Memory::decode(&form.memory)?;
        let (reprocessed, behind) = postcard::take_from_bytes(behind).unwrap_or_default();
        let (book, behind) = match behind.first() {
            // Written before there was one.
            None => (AlertBook::of_open(&form.state.alerts), behind),
            Some(&ALERTS_FORM) => postcard::take_from_bytes(&behind[1..]).ok()?,
            Some(_) => return None,
        };
        let inside: Vec<Inside> = match behind.first() {
            None => Vec::new(),
            Some(&FENCES_FORM) => postcard::from_bytes(&behind[1..]).ok()?,
            Some(_) => return None,
        };
        let (book, inside) = (Arc::new(book), Arc::new(inside));
        let state = VehicleState { reprocessed, book, inside, ..form.state };
        Some((Self { state, memory }, form.covered_to))
    }

    /// Watermark of a lane.
    pub fn durable(&self, lane: Lane, incarnation: Incarnation) -> Seq {
        match lane {
            Lane::Events => self.state.events.get(incarnation),
            Lane::Samples => self.memory.marks.get(incarnation),
        }
    }

    /// Takes what reception took from the samples lane: adds its rows and what the rules want decided.
    pub fn take(
        &mut self,
        context: &Context<'_>,
        incarnation: Incarnation,
        received_ms: i64,
        taken: Taken,
        rows: &mut Vec<Row>,
        wishes: &mut Vec<Command>,
    ) {
        let first = rows.len();
        rows_of(context, incarnation, received_ms, taken, rows);
        let mut found = Vec::new();
        let touched = context.forgotten.touches(&context.organization, &context.vehicle);
        for row in &rows[first..] {
            let hidden = touched.then(|| hidden(context.forgotten, row));
            let seen = hidden.as_ref().unwrap_or(row);
            self.apply(context.rules, seen, &mut found);
            for finding in found.drain(..) {
                wishes.push(self.wish(row, finding));
            }
            if let RowBody::Samples(values) = &seen.body {
                let rank = self.memory.greetings.rank(row.incarnation);
                let crossings = self.memory.watch.step(context.around, rank, &sample_of(seen, values));
                for crossing in crossings {
                    self.cross(row, crossing, wishes);
                }
            }
        }
    }

    /// Applies a row that is in the lake already; its decisions were committed with it. Rows that the snapshot
    /// covers, by `covered`, change nothing.
    pub fn replay(&mut self, rules: &RuleSettings, covered: &Marks, row: &Row) {
        if row.seq > covered.get(row.incarnation) {
            self.apply(rules, row, &mut Vec::new());
            if let RowBody::Samples(values) = &row.body {
                let rank = self.memory.greetings.rank(row.incarnation);
                self.memory.watch.pass(rank, &sample_of(row, values));
            }
        }
    }

    fn apply(&mut self, rules: &RuleSettings, row: &Row, found: &mut Vec<Finding>) {
        let memory = &mut self.memory;
        let last = match row.body {
            RowBody::Gap { to, .. } => to,
            _ => row.seq,
        };
        memory.marks.raise(row.incarnation, last);
        memory.last_seen_ms = memory.last_seen_ms.max(row.receive_time_ms);
        match &row.body {
            RowBody::Gap { to, reason } => {
                memory.gaps += (to + 1).saturating_sub(row.seq);
                memory.notes.values_lost = true;
                memory.notes.gap(GapView {
                    lane: Lane::Samples,
                    incarnation: row.incarnation,
                    from: row.seq,
                    to: *to,
                    reason: reason.clone(),
                    recorded_ms: row.receive_time_ms,
                });
            }
            RowBody::Quarantine { reason, raw } => {
                memory.quarantined += 1;
                memory.notes.quarantine(QuarantineView {
                    lane: Lane::Samples,
                    incarnation: row.incarnation,
                    seq: row.seq,
                    reason: reason.clone(),
                    bytes: raw.len() as u64,
                    recorded_ms: row.receive_time_ms,
                });
            }
            RowBody::Marker => memory.frames += 1,
            RowBody::Samples(values) => {
                memory.frames += u64::from(row.row_in_frame == 0);
                let rank = memory.greetings.rank(row.incarnation);
                let at = Moment { rank, boot: row.boot, mono_ns: row.mono_ns };
                memory.twin.apply(at, sampled_ms(row), values);
                memory.rules.evaluate(rules, &sample_of(row, values), found);
                memory.newest = memory.newest.max(at);
            }
        }
    }

    fn timeliness(&mut self, row: &Row) -> Timeliness {
        let rank = self.memory.greetings.rank(row.incarnation);
        let sampled = sampled_ms(row);
        if rank < self.memory.newest.rank {
            Timeliness::Historical
        } else if sampled != 0 && row.receive_time_ms - sampled > limits::LATE_MS {
            Timeliness::Late
        } else {
            Timeliness::Timely
        }
    }

    /// What a crossing is to become: a fact of its own, and a beginning or an end of the geofence's alert.
    fn cross(&mut self, row: &Row, crossing: Crossing, wishes: &mut Vec<Command>) {
        let (sampled_ms, timeliness) = (sampled_ms(row), self.timeliness(row));
        let Crossing { fence, kind, step, beyond_m, threshold_m } = crossing;
        let (incarnation, seq, row) = (row.incarnation, row.seq, row.row_in_frame);
        wishes.push(Command::Cross(CrossingEvent {
            fence,
            kind,
            step,
            incarnation,
            seq,
            row,
            sampled_ms,
            timeliness,
        }));
        let cause = Cause { rule: RuleId::of_geofence(kind, fence), incarnation, seq, row };
        let fact = AlertFact { cause, value: beyond_m, threshold: threshold_m, sampled_ms, timeliness };
        let raises = match step {
            Step::Entered => kind != GeofenceKind::KeepIn,
            Step::Left => kind == GeofenceKind::KeepIn,
            Step::Released => false,
        };
        if raises {
            wishes.push(Command::Raise(fact));
        } else if timeliness != Timeliness::Historical {
            // History is only recorded: it ends no alert, and its own may never have been raised.
            wishes.push(Command::Clear(fact));
        }
    }

    fn wish(&mut self, row: &Row, finding: Finding) -> Command {
        let (sampled, timeliness) = (sampled_ms(row), self.timeliness(row));
        let Finding { kind, cause, value, threshold } = finding;
        let fact = AlertFact { cause, value, threshold, sampled_ms: sampled, timeliness };
        match kind {
            FindingKind::Raise => Command::Raise(fact),
            FindingKind::Clear => Command::Clear(fact),
            FindingKind::Settle => Command::Settle(fact),
        }
    }

    /// Notes what an event of the stream says of the events lane.
    pub fn note(&mut self, event: &VehicleEvent, time_ms: i64) {
        let notes = &mut self.memory.notes;
        match event {
            VehicleEvent::Gapped { place, to, reason } => notes.gap(GapView {
                lane: Lane::Events,
                incarnation: place.incarnation,
                from: place.seq,
                to: *to,
                reason: reason.clone(),
                recorded_ms: time_ms,
            }),
            VehicleEvent::Quarantined { place, reason, raw } => notes.quarantine(QuarantineView {
                lane: Lane::Events,
                incarnation: place.incarnation,
                seq: place.seq,
                reason: reason.clone(),
                bytes: raw.len() as u64,
                recorded_ms: time_ms,
            }),
            _ => {}
        }
    }

    /// Takes newest values that have no place in the lake: they only move the twin forward.
    pub fn live(&mut self, live: &Live, received_ms: i64, is_forgotten: impl Fn(i64, SignalId) -> bool) {
        let memory = &mut self.memory;
        memory.last_seen_ms = memory.last_seen_ms.max(received_ms);
        let rank = memory.greetings.rank(live.incarnation);
        let newest_mono = live.values.iter().map(|(.., mono_ms)| *mono_ms).max().unwrap_or_default();
        for (signal, raw, mono_ms) in &live.values {
            let at = Moment { rank, boot: live.boot, mono_ns: mono_ms.saturating_mul(NS_PER_MS as u64) };
            // The wall clock is that of the message; older values are as much older as their monotonic time says.
            let age_ms = i64::try_from(newest_mono - mono_ms).unwrap_or_default();
            let sampled_ms =
                believable(live.wall_ms, received_ms).map_or(0, |wall| wall.saturating_sub(age_ms));
            let is_of_ms = if sampled_ms == 0 { received_ms } else { sampled_ms };
            if !is_forgotten(is_of_ms, *signal) {
                memory.twin.apply(at, sampled_ms, &[(*signal, *raw)]);
            }
        }
    }

    /// Drops newest values that erasures cover; whether there were any. A value whose time the vehicle did not know is of
    /// when it was last heard. Of its way between geofences only positions stay that the newest values still show. The vehicle
    /// is asked for all its values when it greets again.
    pub fn forget(
        &mut self,
        forgotten: &Tombstones,
        organization: &OrganizationId,
        vehicle: &VehicleId,
    ) -> bool {
        if !forgotten.touches(organization, vehicle) {
            return false;
        }
        let memory = &mut self.memory;
        let heard_ms = memory.last_seen_ms;
        let gone = memory.twin.forget(|signal, sampled_ms| {
            let is_of_ms = if sampled_ms == 0 { heard_ms } else { sampled_ms };
            forgotten.covers(organization, vehicle, is_of_ms.saturating_mul(NS_PER_MS), Some(signal))
        });
        let kept = memory.twin.values();
        let is_kept =
            |signal: SignalId, raw: i64| kept.iter().any(|value| value.signal == signal && value.raw == raw);
        let gone = memory.watch.forget(is_kept) || gone;
        memory.notes.values_lost |= gone;
        gone
    }
}

/// A row as the twin and the rules may see it: the frame was there.
fn hidden(forgotten: &Tombstones, row: &Row) -> Row {
    let mut shown = row.clone();
    forgotten.hide(&mut shown);
    shown
}

pub(crate) fn sample_of<'a>(row: &Row, values: &'a [(SignalId, i64)]) -> Sample<'a> {
    Sample {
        incarnation: row.incarnation,
        seq: row.seq,
        row: row.row_in_frame,
        boot: row.boot,
        mono_ns: row.mono_ns,
        values,
    }
}

fn sampled_ms(row: &Row) -> i64 {
    row.sample_time_ns.map_or(0, |ns| ns.div_euclid(NS_PER_MS))
}

/// The memory that what was taken will need until its round is answered, bytes.
pub fn cost(taken: &Taken) -> usize {
    match taken {
        Taken::Gap { .. } => limits::ROW_COST,
        Taken::Quarantined { raw, .. } => limits::ROW_COST + raw.len(),
        Taken::Frame { frame, raw } => match &frame.body {
            Body::Samples(block) => {
                limits::ROW_COST * block.rows().max(1) + limits::VALUE_COST * block.samples()
            }
            _ => limits::ROW_COST + raw.len(),
        },
    }
}

pub(crate) fn rows_of(
    context: &Context<'_>,
    incarnation: Incarnation,
    received_ms: i64,
    taken: Taken,
    rows: &mut Vec<Row>,
) {
    let blank = |seq: Seq, body: RowBody| Row {
        organization: context.organization,
        vehicle: context.vehicle,
        incarnation,
        seq,
        row_in_frame: 0,
        boot: 0,
        mono_ns: 0,
        sample_time_ns: None,
        receive_time_ms: received_ms,
        commit: 0,
        body,
    };
    match taken {
        Taken::Gap { from, to, reason } => {
            rows.push(blank(from, RowBody::Gap { to, reason: reason.to_owned() }));
        }
        Taken::Quarantined { seq, reason, raw } => {
            rows.push(blank(seq, RowBody::Quarantine { reason: reason.to_owned(), raw: raw.to_vec() }));
        }
        Taken::Frame { frame, .. } => frame_rows(&frame, &blank(frame.header.seq, RowBody::Marker), rows),
    }
}

/// The vehicle's wall clock, unless it is ahead of the receipt.
fn believable(wall_ms: Option<i64>, received_ms: i64) -> Option<i64> {
    wall_ms.filter(|wall| *wall <= received_ms.saturating_add(limits::FUTURE_MS))
}

/// One row a sample time, transposed from the columns; a marker when there is none.
fn frame_rows(frame: &Frame, blank: &Row, rows: &mut Vec<Row>) {
    let header = &frame.header;
    let base = Row {
        boot: header.boot,
        mono_ns: header.mono_ms.saturating_mul(NS_PER_MS as u64),
        // A time that has not come yet is none: order is by the monotonic clock in any case.
        sample_time_ns: believable(header.wall_ms, blank.receive_time_ms)
            .map(|ms| ms.saturating_mul(NS_PER_MS)),
        ..blank.clone()
    };
    let block = match &frame.body {
        Body::Samples(block) if block.rows() > 0 => block,
        _ => {
            rows.push(base);
            return;
        }
    };
    for (place, steps) in block.offsets.iter().enumerate() {
        let offset_ns = steps.saturating_mul(block.unit.nanoseconds());
        let values: Vec<(SignalId, i64)> = block
            .columns
            .iter()
            .filter_map(|column| Some((column.signal, (*column.values.get(place)?)?)))
            .collect();
        rows.push(Row {
            row_in_frame: place as u32,
            mono_ns: base.mono_ns.saturating_add(offset_ns),
            sample_time_ns: base.sample_time_ns.map(|ns| ns.saturating_add_unsigned(offset_ns)),
            body: RowBody::Samples(values),
            ..base.clone()
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use remuda_contracts::geofences::{
        Geofence, GeofenceId, GeofencePart, GeofenceShape, GeofenceSpec, Place,
    };
    use remuda_lake::{ErasureId, Tombstone};
    use remuda_model::SignalClass;
    use remuda_wire::{ClockQuality, Column, FrameHeader, SampleBlock, TimeUnit};

    use super::*;
    use crate::geofences::Fences;
    use crate::ledger::{Decision, demanded};
    use crate::signals;

    fn taken(seq: Seq, rows: &[(i64, i64)]) -> Taken {
        let braking = rows.iter().map(|r| r.0).collect();
        let charge = rows.iter().map(|r| r.1).collect();
        taken_of(seq, vec![(signals::ACCELERATION_LONGITUDINAL, braking), (signals::CHARGE[0], charge)])
    }

    /// Columns of equal length, ascending by signal.
    fn taken_of(seq: Seq, columns: Vec<(SignalId, Vec<i64>)>) -> Taken {
        let header = FrameHeader {
            seq,
            boot: 1,
            mono_ms: seq * 1_000,
            wall_ms: Some(1_000_000 + seq as i64 * 1_000),
            clock: ClockQuality::Gnss,
            registry: 1,
            trace: None,
        };
        let rows = columns.first().map_or(0, |(_, values)| values.len() as u64);
        let column = |(signal, values): (SignalId, Vec<i64>)| Column {
            signal,
            values: values.into_iter().map(Some).collect(),
        };
        let block = SampleBlock {
            unit: TimeUnit::Millisecond,
            offsets: (0..rows).map(|row| row * 100).collect(),
            columns: columns.into_iter().map(column).collect(),
        };
        Taken::Frame { frame: Frame { header, body: Body::Samples(block) }, raw: bytes::Bytes::new() }
    }

    fn context(rules: &RuleSettings) -> Context<'_> {
        let vehicle = VehicleId::new("V1").unwrap();
        static NONE: std::sync::LazyLock<Tombstones> = std::sync::LazyLock::new(Tombstones::default);
        static NOWHERE: std::sync::LazyLock<Fences> = std::sync::LazyLock::new(Fences::default);
        let around = Surroundings { fences: &NOWHERE, home: None };
        Context { organization: OrganizationId::default(), vehicle, rules, forgotten: &NONE, around }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Evaluated live, replayed from any snapshot, or judged from the lake by anybody: the same.
        #[test]
        fn live_replay_and_ledger_agree(
            frames in proptest::collection::vec((1..4u64, proptest::collection::vec((-800..200i64, 100..260i64), 0..6)), 1..40),
            cut in 0..40usize,
        ) {
            let rules = RuleSettings::default();
            let context = context(&rules);
            let mut vehicle = Vehicle::default();
            let (mut rows, mut wishes) = (Vec::new(), Vec::new());
            let mut snapshot = Vehicle::snapshot(&vehicle.state, vehicle.memory.encode(), 0);
            let mut next = std::collections::BTreeMap::new();
            for (place, (incarnation, frame)) in frames.iter().enumerate() {
                let seq = next.entry(*incarnation).or_insert(0);
                *seq += 1;
                let taken = taken(*seq, frame);
                vehicle.take(&context, Incarnation(*incarnation), 2_000_000, taken, &mut rows, &mut wishes);
                if place == cut {
                    snapshot = Vehicle::snapshot(&vehicle.state, vehicle.memory.encode(), 7);
                }
            }
            let (mut restored, _) = Vehicle::restore(&snapshot).unwrap();
            let covered = restored.memory.marks.clone();
            for row in &rows {
                restored.replay(&rules, &covered, row);
            }
            prop_assert_eq!(&restored, &vehicle);
            let mut decided: Vec<Decision> = wishes.iter().filter_map(|wish| match wish {
                Command::Raise(fact) => Some(Decision { cause: fact.cause, raised: true }),
                Command::Clear(fact) => Some(Decision { cause: fact.cause, raised: false }),
                _ => None,
            }).collect();
            decided.sort_unstable();
            let mut required = demanded(&rules, &rows).required;
            required.sort_unstable();
            prop_assert_eq!(required, decided);
        }
    }

    #[test]
    fn what_comes_after_newer_samples_is_history() {
        let rules = RuleSettings::default();
        let context = context(&rules);
        let mut vehicle = Vehicle::default();
        let (mut rows, mut wishes) = (Vec::new(), Vec::new());
        let (older, newer) = (Incarnation(9), Incarnation(1));
        vehicle.memory.greetings.rank(older);
        vehicle.memory.greetings.rank(newer);
        let mut take = |incarnation, received_ms, taken| {
            vehicle.take(&context, incarnation, received_ms, taken, &mut rows, &mut wishes);
        };
        take(newer, 1_001_000, taken(1, &[(0, 500)]));
        take(newer, 1_002_000, taken(2, &[(0, 140)]));
        take(older, 1_003_000, taken(1, &[(0, 120)]));
        take(newer, 9_000_000, taken(3, &[(0, 500)]));
        let timeliness: Vec<Timeliness> = wishes
            .iter()
            .filter_map(|wish| match wish {
                Command::Raise(fact) | Command::Clear(fact) => Some(fact.timeliness),
                _ => None,
            })
            .collect();
        assert_eq!(timeliness, [Timeliness::Timely, Timeliness::Historical, Timeliness::Late]);
        assert_eq!(vehicle.memory.twin.charge_percent(), Some(50.0));
    }

    #[test]
    fn a_crossing_that_is_history_ends_no_alert() {
        let centre = Place { latitude_e7: 0, longitude_e7: 0 };
        let zone = Arc::new(Geofence {
            id: GeofenceId::new("zone").unwrap(),
            spec: GeofenceSpec {
                display_name: "Zone".into(),
                part: GeofencePart::Organization,
                kind: GeofenceKind::KeepOut,
                shape: GeofenceShape::Circle { centre, radius_m: 1_000 },
                dwell_s: 0,
                hysteresis_m: 0,
                enabled: true,
            },
            revision: 1,
            created_ms: 1,
            changed_ms: 1,
            changed_by: String::new(),
            request_id: String::new(),
        });
        let (rules, fences) = (RuleSettings::default(), Fences::new([&zone]));
        let around = Surroundings { fences: &fences, home: None };
        let context = Context { around, ..context(&rules) };
        let at = |seq, degrees| {
            let raw = |signal, degrees| (signal, vec![signals::raw(signal, degrees)]);
            let mut columns = vec![raw(signals::LATITUDE, degrees), raw(signals::LONGITUDE, 0.0)];
            columns.sort_unstable();
            taken_of(seq, columns)
        };
        let mut vehicle = Vehicle::default();
        let (mut rows, mut wishes) = (Vec::new(), Vec::new());
        let (older, newer) = (Incarnation(9), Incarnation(1));
        vehicle.memory.greetings.rank(older);
        vehicle.memory.greetings.rank(newer);
        for (incarnation, taken) in [(newer, at(1, 1.0)), (older, at(1, 0.0)), (older, at(2, 1.0))] {
            vehicle.take(&context, incarnation, 1_003_000, taken, &mut rows, &mut wishes);
        }
        let words = wishes.iter().map(|wish| match wish {
            Command::Cross(event) => event.step.as_str(),
            Command::Raise(_) => "raised",
            Command::Clear(_) => "cleared",
            _ => "other",
        });
        assert_eq!(words.collect::<Vec<_>>(), ["entered", "raised", "left"]);
    }

    #[test]
    fn an_erasure_leaves_no_position_in_the_memory() {
        let (organization, id) = (OrganizationId::default(), VehicleId::new("V1").unwrap());
        let raws = [601_234_567_i64, 249_234_567];
        let mut values = vec![(signals::LATITUDE, raws[0]), (signals::LONGITUDE, raws[1])];
        values.sort_unstable();
        let row = |start| Row {
            organization,
            vehicle: id,
            incarnation: Incarnation(start),
            seq: 1,
            row_in_frame: 0,
            boot: 1,
            mono_ns: 1,
            sample_time_ns: None,
            receive_time_ms: 2_000_000,
            commit: 0,
            body: RowBody::Samples(values.clone()),
        };
        let mut vehicle = Vehicle::default();
        // The second start puts the first one's track aside.
        for start in [1, 2] {
            vehicle.memory.greetings.rank(Incarnation(start));
            vehicle.replay(&RuleSettings::default(), &Marks::default(), &row(start));
        }
        let tells = |vehicle: &Vehicle| {
            let bytes = vehicle.memory.encode();
            raws.iter().any(|raw| {
                let needle = postcard::to_allocvec(raw).unwrap();
                bytes.windows(needle.len()).any(|window| window == needle)
            })
        };
        assert!(tells(&vehicle));
        let tombstone = |class| Tombstone {
            id: ErasureId(1),
            organization,
            vehicle: Some(id),
            from_ns: None,
            until_ns: None,
            classes: [class].into(),
            requested_at_ms: 3_000_000,
            requested_by: "ada".into(),
            reason: "asked".into(),
        };
        vehicle.forget(&Tombstones::of([&tombstone(SignalClass::DriverBehaviour)]), &organization, &id);
        assert!(tells(&vehicle), "nobody asked for its positions");
        let erased = Tombstones::of([&tombstone(SignalClass::Position)]);
        assert!(vehicle.forget(&erased, &organization, &id));
        assert!(!tells(&vehicle));
        assert!(!vehicle.forget(&erased, &organization, &id), "once");
    }

    #[test]
    fn a_snapshot_of_an_unknown_form_is_not_guessed_at() {
        let vehicle = Vehicle::default();
        let mut bytes = Vehicle::snapshot(&vehicle.state, vehicle.memory.encode(), 3);
        assert_eq!(Vehicle::restore(&bytes), Some((vehicle, 3)));
        bytes[0] = 9;
        assert_eq!(Vehicle::restore(&bytes), None);
    }
}
