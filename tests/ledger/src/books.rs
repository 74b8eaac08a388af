//! Counting, over sets of (vehicle, incarnation, lane, seq); no I/O.

use std::collections::BTreeMap;
use std::fmt;

use remuda_model::{Incarnation, Lane, Seq, VehicleId};
use serde::Serialize;

/// One numbered stream of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream {
    /// Vehicle.
    pub vehicle: VehicleId,
    /// Start of its agent.
    pub incarnation: Incarnation,
    /// Lane.
    pub lane: Lane,
}

/// What the cloud's disks say of a stream, and what the vehicle's disk says.
#[derive(Debug, Default, Clone)]
struct Account {
    made: Ranges,
    in_outbox: Ranges,
    shed_by_vehicle: Ranges,
    died_with_outbox: Ranges,
    /// (seq, row) of every stored row; events have row 0.
    rows: Vec<(Seq, u32)>,
    gaps: Ranges,
    /// Gaps that excuse nobody: the cloud had acknowledged the frames.
    cloud_lost: Ranges,
    quarantined: Ranges,
    reprocessed: Ranges,
}

/// Inclusive ranges of seqs, in the order they were added.
#[derive(Debug, Default, Clone)]
struct Ranges(Vec<(Seq, Seq)>);

impl Ranges {
    fn add(&mut self, from: Seq, to: Seq) {
        if from <= to {
            self.0.push((from, to));
        }
    }

    /// Sorted, merged, and how many seqs were named more than once.
    fn merged(&self) -> (Self, u64) {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let mut merged: Vec<(Seq, Seq)> = Vec::new();
        let mut repeated = 0;
        for (from, to) in sorted {
            match merged.last_mut() {
                Some(last) if from <= last.1 => {
                    repeated += last.1.min(to) - from + 1;
                    last.1 = last.1.max(to);
                }
                Some(last) if from == last.1 + 1 => last.1 = to,
                _ => merged.push((from, to)),
            }
        }
        (Self(merged), repeated)
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|(from, to)| to - from + 1).sum()
    }

    /// Takes out the first so many; answers how many there were of them.
    fn take_first(&mut self, count: u64) -> u64 {
        let mut left = count;
        let mut kept = Self::default();
        for (from, to) in std::mem::take(&mut self.0) {
            let taken = left.min(to - from + 1);
            left -= taken;
            kept.add(from + taken, to);
        }
        *self = kept;
        count - left
    }

    /// What is in `self` and not in `other`; both merged.
    fn without(&self, other: &Self) -> Self {
        let mut left = Self::default();
        let mut others = other.0.iter().copied().peekable();
        for &(mut from, to) in &self.0 {
            while let Some(&(o_from, o_to)) = others.peek() {
                if o_to < from {
                    others.next();
                    continue;
                }
                if o_from > to {
                    break;
                }
                if o_from > from {
                    left.add(from, o_from - 1);
                }
                from = o_to + 1;
                if from > to {
                    break;
                }
                others.next();
            }
            left.add(from, to);
        }
        left
    }

    /// What is in both; both merged.
    fn common(&self, other: &Self) -> Self {
        self.without(&self.without(other))
    }
}

/// The verdict. `made = stored + quarantined + in_outbox + shed + erased + lost`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Frames that were durable in an outbox once.
    pub frames_made: u64,
    /// Frames whose rows are in committed files, or whose event is in the journal.
    pub frames_stored: u64,
    /// Frames kept as they came because they could not be used.
    pub frames_quarantined: u64,
    /// Frames still only on the vehicle's disk.
    pub frames_in_outbox: u64,
    /// Frames given up at the edge and recorded as such.
    pub frames_shed: u64,
    /// Made and nowhere, as the proofs of erasures say of their vehicle: at most as many frames as rows that they took.
    pub frames_erased: u64,
    /// Made and nowhere: must be 0.
    pub frames_lost: u64,
    /// Of those lost, how many the cloud itself recorded as lost by it: 0, unless it was restored from a backup.
    pub frames_lost_told: u64,
    /// Stored twice, stored and in a gap, or decided twice: must be 0.
    pub frames_duplicated: u64,
    /// Frames the cloud holds that no vehicle's records know: vehicles whose outbox is not here.
    pub frames_unclaimed: u64,
    /// Gaps the cloud recorded.
    pub gaps: u64,
    /// Decisions the rows demand and the journal lacks: must be 0.
    pub decisions_missing: u64,
    /// Decisions made twice, or without rows that demand them: must be 0.
    pub decisions_doubled: u64,
    /// Rows of the lake that carry samples.
    pub rows_stored: u64,
    /// Values in those rows.
    pub samples_stored: u64,
    /// Erasures of a vehicle that the lake knows of.
    pub erasures: u64,
    /// Vehicles seen.
    pub vehicles: u64,
    /// The first few faults, in words.
    pub faults: Vec<String>,
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.balances() { "balances" } else { "DOES NOT BALANCE" };
        writeln!(f, "ledger, counted from the disks: it {verdict}")?;
        for (what, count) in [
            ("frames made", self.frames_made),
            ("stored", self.frames_stored),
            ("quarantined", self.frames_quarantined),
            ("in outboxes", self.frames_in_outbox),
            ("shed", self.frames_shed),
            ("erased", self.frames_erased),
            ("lost", self.frames_lost),
            ("lost, as told", self.frames_lost_told),
            ("duplicated", self.frames_duplicated),
            ("gaps", self.gaps),
            ("decisions missing", self.decisions_missing),
            ("decisions doubled", self.decisions_doubled),
            ("rows stored", self.rows_stored),
            ("samples stored", self.samples_stored),
        ] {
            writeln!(f, "  {what:18} {count:>12}")?;
        }
        self.faults.iter().try_for_each(|fault| writeln!(f, "  ! {fault}"))
    }
}

impl Ledger {
    /// Tells a fault in words; beyond a bound they are only counted.
    pub(crate) fn fault(&mut self, sentence: String) {
        if self.faults.len() < FAULTS_TOLD_MAX {
            self.faults.push(sentence);
        }
    }

    /// Nothing lost, nothing double, no decision missing or doubled.
    pub fn balances(&self) -> bool {
        self.frames_lost == 0 && self.balances_but_for_told_loss()
    }

    /// The same of a cloud that was restored from a backup: whatever is lost, the cloud says itself that it lost it.
    pub fn balances_but_for_told_loss(&self) -> bool {
        self.frames_lost == self.frames_lost_told
            && self.frames_duplicated == 0
            && self.decisions_missing == 0
            && self.decisions_doubled == 0
            && self.frames_made
                == self.frames_stored
                    + self.frames_quarantined
                    + self.frames_in_outbox
                    + self.frames_shed
                    + self.frames_erased
                    + self.frames_lost
    }
}

/// Takes entries from every disk and strikes the balance.
#[derive(Debug, Default)]
pub struct Books {
    accounts: BTreeMap<Stream, Account>,
    /// Rows that erasures took, by vehicle.
    erased: BTreeMap<VehicleId, u64>,
    erasures: u64,
    rows_stored: u64,
    samples_stored: u64,
}

/// Faults told in words; more are only counted.
const FAULTS_TOLD_MAX: usize = 20;

impl Books {
    fn account(&mut self, stream: Stream) -> &mut Account {
        self.accounts.entry(stream).or_default()
    }

    /// Frames that were durable in the vehicle's outbox.
    pub fn made(&mut self, stream: Stream, from: Seq, to: Seq) {
        self.account(stream).made.add(from, to);
    }

    /// Frames the outbox still holds.
    pub fn in_outbox(&mut self, stream: Stream, from: Seq, to: Seq) {
        self.account(stream).in_outbox.add(from, to);
    }

    /// Frames the vehicle's own records say it shed.
    pub fn shed(&mut self, stream: Stream, from: Seq, to: Seq) {
        self.account(stream).shed_by_vehicle.add(from, to);
    }

    /// Frames of an outbox that a test destroyed.
    pub fn died_with_outbox(&mut self, stream: Stream, from: Seq, to: Seq) {
        self.account(stream).died_with_outbox.add(from, to);
    }

    /// A row of a committed file that is part of frame `seq` (a marker is row 0 of a frame without samples).
    pub fn row(&mut self, stream: Stream, seq: Seq, row_in_frame: u32, samples: u64) {
        self.account(stream).rows.push((seq, row_in_frame));
        self.rows_stored += u64::from(samples > 0);
        self.samples_stored += samples;
    }

    /// An event of the journal that holds frame `seq` of the events lane.
    pub fn reported(&mut self, stream: Stream, seq: Seq) {
        self.account(stream).rows.push((seq, 0));
    }

    /// A gap the cloud recorded.
    pub fn gap(&mut self, stream: Stream, from: Seq, to: Seq) {
        self.account(stream).gaps.add(from, to);
    }

    /// A gap of frames that the cloud had acknowledged and has no more: they count as lost.
    pub fn cloud_lost(&mut self, stream: Stream, from: Seq, to: Seq) {
        self.account(stream).cloud_lost.add(from, to);
    }

    /// A quarantined frame.
    pub fn quarantined(&mut self, stream: Stream, seq: Seq) {
        self.account(stream).quarantined.add(seq, seq);
    }

    /// A frame that was in quarantine and could be read since: it must be stored now.
    pub fn reprocessed(&mut self, stream: Stream, seq: Seq) {
        self.account(stream).reprocessed.add(seq, seq);
    }

    /// Rows of the samples lane that an erasure's proof says it took of a vehicle.
    pub fn erased(&mut self, vehicle: VehicleId, rows: u64) {
        *self.erased.entry(vehicle).or_default() += rows;
        self.erasures += 1;
    }

    /// Strikes the balance. Each made frame is counted once, in the first class that holds it: stored, quarantined,
    /// in the outbox, shed, erased, lost.
    pub fn balance(&self) -> Ledger {
        let mut ledger = Ledger {
            rows_stored: self.rows_stored,
            samples_stored: self.samples_stored,
            erasures: self.erasures,
            ..Ledger::default()
        };
        let mut vehicles: Vec<VehicleId> = self.accounts.keys().map(|s| s.vehicle).collect();
        vehicles.dedup();
        ledger.vehicles = vehicles.len() as u64;
        let mut erased = self.erased.clone();
        for (stream, account) in &self.accounts {
            let mut none = 0;
            let erased = match stream.lane {
                Lane::Samples => erased.get_mut(&stream.vehicle).unwrap_or(&mut none),
                Lane::Events => &mut none,
            };
            account.add_to(stream, erased, &mut ledger);
        }
        ledger
    }
}

impl Account {
    fn stored(&self) -> (Ranges, u64) {
        let mut rows = self.rows.clone();
        rows.sort_unstable();
        let before = rows.len();
        rows.dedup();
        let repeated = (before - rows.len()) as u64;
        let mut frames = Ranges::default();
        for (seq, _) in rows {
            match frames.0.last_mut() {
                Some(last) if last.1 == seq => {}
                Some(last) if last.1 + 1 == seq => last.1 = seq,
                _ => frames.add(seq, seq),
            }
        }
        (frames, repeated)
    }

    /// `erased`: rows of its vehicle that erasures took and that account for no frame yet; each frame has one or more.
    fn add_to(&self, stream: &Stream, erased: &mut u64, ledger: &mut Ledger) {
        let mut tell = |count: u64, what: &str, ranges: &Ranges| {
            if count > 0 && ledger.faults.len() < FAULTS_TOLD_MAX {
                let Stream { vehicle, incarnation, lane } = stream;
                let at = ranges.0.first().map(|r| format!(", first {}..={}", r.0, r.1)).unwrap_or_default();
                ledger.faults.push(format!("{vehicle}/{incarnation}/{}: {count} {what}{at}", lane.as_str()));
            }
            count
        };
        let (made, _) = self.made.merged();
        let (stored, rows_repeated) = self.stored();
        let (quarantined, quarantined_twice) = self.quarantined.merged();
        let (reprocessed, reprocessed_twice) = self.reprocessed.merged();
        let never_there = reprocessed.without(&quarantined);
        let quarantined = quarantined.without(&reprocessed);
        let (gaps, gaps_twice) = self.gaps.merged();
        let (in_outbox, _) = self.in_outbox.merged();
        let mut given_up = gaps.clone();
        given_up.0.extend(&self.shed_by_vehicle.0);
        given_up.0.extend(&self.died_with_outbox.0);
        let (given_up, _) = given_up.merged();

        let (cloud_lost, _) = self.cloud_lost.merged();
        let mut all_gaps = gaps.clone();
        all_gaps.0.extend(&cloud_lost.0);
        let stored_and_gap = stored.common(&all_gaps.merged().0);
        let stored_and_quarantined = stored.common(&quarantined);
        ledger.frames_duplicated += tell(rows_repeated, "rows stored twice", &Ranges::default());
        ledger.frames_duplicated += tell(quarantined_twice, "frames quarantined twice", &quarantined);
        ledger.frames_duplicated += tell(reprocessed_twice, "frames reprocessed twice", &reprocessed);
        ledger.frames_duplicated +=
            tell(never_there.count(), "frames reprocessed that were not in quarantine", &never_there);
        ledger.frames_duplicated += tell(gaps_twice, "frames in two gaps", &gaps);
        ledger.frames_duplicated +=
            tell(stored_and_gap.count(), "frames stored and in a gap", &stored_and_gap);
        let both = stored_and_quarantined.count();
        ledger.frames_duplicated += tell(both, "frames stored and quarantined", &stored_and_quarantined);

        let left = made.without(&stored);
        let after_quarantine = left.without(&quarantined);
        let after_outbox = after_quarantine.without(&in_outbox);
        let mut lost = after_outbox.without(&given_up);
        let excused = lost.take_first(*erased);
        *erased -= excused;
        ledger.frames_erased += excused;
        ledger.frames_made += made.count();
        ledger.frames_stored += made.count() - left.count();
        ledger.frames_quarantined += left.count() - after_quarantine.count();
        ledger.frames_in_outbox += after_quarantine.count() - after_outbox.count();
        ledger.frames_shed += after_outbox.count() - lost.count() - excused;
        ledger.frames_lost_told += lost.common(&cloud_lost).count();
        ledger.frames_lost += tell(lost.count(), "frames lost", &lost);
        ledger.frames_unclaimed += stored.without(&made).count();
        ledger.gaps += (self.gaps.0.len() + self.cloud_lost.0.len()) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(lane: Lane) -> Stream {
        Stream { vehicle: VehicleId::new("VAN1").expect("an id"), incarnation: Incarnation(7), lane }
    }

    #[test]
    fn what_was_erased_accounts_for_as_many_frames_as_rows_and_no_more() {
        let s = stream(Lane::Samples);
        let mut books = Books::default();
        books.made(s, 1, 10);
        (6..=9).for_each(|seq| books.row(s, seq, 0, 1));
        books.erased(s.vehicle, 5);
        let ledger = books.balance();
        assert_eq!((ledger.frames_stored, ledger.frames_erased, ledger.frames_lost), (4, 5, 1));
        assert!(!ledger.balances());
        books.erased(s.vehicle, 9);
        let ledger = books.balance();
        assert_eq!((ledger.frames_erased, ledger.frames_lost), (6, 0));
        assert!(ledger.balances());
        // It excuses no report, and nobody else.
        books.made(stream(Lane::Events), 1, 1);
        assert_eq!(books.balance().frames_lost, 1);
    }

    #[test]
    fn each_frame_is_counted_once_in_the_first_class_that_holds_it() {
        let s = stream(Lane::Samples);
        let mut books = Books::default();
        books.made(s, 1, 10);
        for seq in 1..=4 {
            books.row(s, seq, 0, 3);
            books.row(s, seq, 1, 3);
        }
        books.quarantined(s, 5);
        books.in_outbox(s, 4, 7); // 4 was stored and not yet trimmed
        books.gap(s, 8, 8);
        books.shed(s, 8, 9);
        books.cloud_lost(s, 10, 10); // excuses nobody
        let ledger = books.balance();
        assert_eq!(ledger.frames_made, 10);
        assert_eq!(ledger.frames_stored, 4);
        assert_eq!(ledger.frames_quarantined, 1);
        assert_eq!(ledger.frames_in_outbox, 2);
        assert_eq!(ledger.frames_shed, 2);
        assert_eq!((ledger.frames_lost, ledger.frames_lost_told), (1, 1));
        assert_eq!(ledger.frames_duplicated, 0);
        assert_eq!(ledger.gaps, 2);
        assert_eq!((ledger.rows_stored, ledger.samples_stored), (8, 24));
        assert!(!ledger.balances() && ledger.balances_but_for_told_loss());
        assert!(ledger.faults[0].contains("1 frames lost, first 10..=10"), "{:?}", ledger.faults);
    }

    #[test]
    fn a_row_twice_and_a_frame_stored_and_in_a_gap_are_double() {
        let s = stream(Lane::Samples);
        let mut books = Books::default();
        books.made(s, 1, 3);
        books.row(s, 1, 0, 1);
        books.row(s, 1, 0, 1);
        books.row(s, 2, 0, 1);
        books.gap(s, 2, 3);
        let ledger = books.balance();
        assert_eq!(ledger.frames_duplicated, 2);
        assert_eq!(ledger.frames_lost, 0);
        assert!(!ledger.balances());
    }

    #[test]
    fn what_died_with_an_outbox_is_given_up_unless_the_cloud_has_it() {
        let s = stream(Lane::Samples);
        let mut books = Books::default();
        // The outbox that was put back knows less than the one it replaced.
        books.made(s, 1, 6);
        books.in_outbox(s, 3, 6);
        books.made(s, 1, 10);
        books.died_with_outbox(s, 5, 9);
        (1..=7).for_each(|seq| books.row(s, seq, 0, 1));
        let ledger = books.balance();
        assert_eq!((ledger.frames_made, ledger.frames_stored, ledger.frames_shed), (10, 7, 2));
        assert_eq!((ledger.frames_lost, ledger.frames_unclaimed), (1, 0), "10 was acknowledged: {ledger:?}");
    }

    #[test]
    fn a_reprocessed_frame_is_stored_once_and_in_quarantine_no_more() {
        let s = stream(Lane::Samples);
        let mut books = Books::default();
        books.made(s, 1, 3);
        for seq in 1..=3 {
            books.quarantined(s, seq);
        }
        books.row(s, 2, 0, 4);
        books.reprocessed(s, 2);
        let ledger = books.balance();
        assert_eq!((ledger.frames_stored, ledger.frames_quarantined, ledger.frames_duplicated), (1, 2, 0));
        assert!(ledger.balances());
        // Said, but its rows are nowhere: lost. Said twice, or of a frame that was never there: double.
        books.reprocessed(s, 3);
        books.reprocessed(s, 2);
        books.reprocessed(s, 9);
        let ledger = books.balance();
        assert_eq!((ledger.frames_lost, ledger.frames_duplicated), (1, 2));
    }

    #[test]
    fn streams_are_apart() {
        let mut books = Books::default();
        books.made(stream(Lane::Samples), 1, 1);
        books.made(stream(Lane::Events), 1, 1);
        books.row(stream(Lane::Samples), 1, 0, 1);
        books.reported(stream(Lane::Events), 1);
        let other = Stream { incarnation: Incarnation(8), ..stream(Lane::Samples) };
        books.row(other, 1, 0, 1);
        let ledger = books.balance();
        assert_eq!((ledger.frames_made, ledger.frames_stored, ledger.frames_unclaimed), (2, 2, 1));
        assert!(ledger.balances());
    }

    #[test]
    fn ranges_subtract() {
        let (a, _) = Ranges(vec![(1, 10), (20, 30)]).merged();
        let (b, twice) = Ranges(vec![(3, 4), (4, 5), (10, 22), (30, 40)]).merged();
        assert_eq!(twice, 1);
        assert_eq!(a.without(&b).0, vec![(1, 2), (6, 9), (23, 29)]);
        assert_eq!(a.common(&b).0, vec![(3, 5), (10, 10), (20, 22), (30, 30)]);
    }
}
