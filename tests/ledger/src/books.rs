//! Counting, over sets of (vehicle, incarnation, lane, seq); no I/O.

use std::collections::BTreeMap;
use std::fmt;

use remuda_model::{Incarnation, Lane, Seq, VehicleId};
use serde::Serialize;

use crate::ranges::Ranges;

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
    /// Frames of which retention took rows.
    expired: Ranges,
    /// Frames that a node had which was lost.
    had_by_lost_node: Ranges,
    /// Frames that the vehicle had let go of when the backup began from which that node was restored.
    in_backup: Ranges,
}

/// What is left to account for frames of the samples lane that are nowhere.
struct Excuses {
    /// Rows that erasures took, by vehicle; each frame has one or more.
    erased: BTreeMap<VehicleId, u64>,
    /// Whether retention's trail tells of as many rows as it took.
    expired_told: bool,
    /// Rows that it tells of whose files are deleted: they may be of any frame.
    expired_unseen: u64,
}

/// The verdict. `made = stored + quarantined + in_outbox + shed + erased + expired + lost + lost_with_node`.
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
    /// Made and nowhere, as retention's trail says: their rows are in files that it dropped, or, once those are deleted, at most
    /// as many frames as rows that it tells of.
    pub frames_expired: u64,
    /// Made and nowhere: must be 0.
    pub frames_lost: u64,
    /// Of those lost, how many the cloud itself recorded as lost by it: 0, unless it was restored from a backup.
    pub frames_lost_told: u64,
    /// Made and nowhere since a node was lost that had them: its backup was begun before their vehicles had let go of them.
    pub frames_lost_with_node: u64,
    /// Of these, how many the restored node recorded as lost by the cloud.
    pub frames_lost_with_node_told: u64,
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
    /// Rows that retention took whole, as its trail says.
    pub rows_expired: u64,
    /// Of these, how many are in no file any more, so that nobody can say which they were.
    pub rows_expired_unseen: u64,
    /// Values that retention took out of rows that stay.
    pub samples_expired: u64,
    /// Values that replaced files had, and that neither what replaced them has nor retention or an erasure took: must be 0.
    pub samples_lost: u64,
    /// Before this time retention took something, ms since 1970 UTC.
    pub expired_before_ms: Option<i64>,
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
            ("expired", self.frames_expired),
            ("lost", self.frames_lost),
            ("lost, as told", self.frames_lost_told),
            ("lost with a node", self.frames_lost_with_node),
            ("duplicated", self.frames_duplicated),
            ("gaps", self.gaps),
            ("decisions missing", self.decisions_missing),
            ("decisions doubled", self.decisions_doubled),
            ("rows stored", self.rows_stored),
            ("samples stored", self.samples_stored),
            ("samples expired", self.samples_expired),
            ("samples lost", self.samples_lost),
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
            && self.samples_lost == 0
            && self.frames_duplicated == 0
            && self.decisions_missing == 0
            && self.decisions_doubled == 0
            && self.frames_made
                == self.frames_stored
                    + self.frames_quarantined
                    + self.frames_in_outbox
                    + self.frames_shed
                    + self.frames_erased
                    + self.frames_expired
                    + self.frames_lost
                    + self.frames_lost_with_node
    }
}

/// Takes entries from every disk and strikes the balance.
#[derive(Debug, Default)]
pub struct Books {
    accounts: BTreeMap<Stream, Account>,
    /// Rows that erasures took, by vehicle.
    erased: BTreeMap<VehicleId, u64>,
    erasures: u64,
    expired: Expired,
    rows_stored: u64,
    samples_stored: u64,
}

/// What retention took, over all vehicles.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    /// Rows that its trail says it took whole.
    pub rows_told: u64,
    /// Rows that are gone and over age, and in files that can still be read.
    pub rows_seen: u64,
    /// Values that it took out of rows that stay.
    pub samples: u64,
    /// Values that are gone and that it may not have taken.
    pub samples_lost: u64,
    /// Before this time something is gone, ms since 1970 UTC.
    pub before_ms: Option<i64>,
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

    /// A row of the samples lane, also one in quarantine, that retention took whole.
    pub fn expired_row(&mut self, stream: Stream, seq: Seq) {
        self.account(stream).expired.add(seq, seq);
    }

    /// What retention took over all.
    pub fn expired(&mut self, expired: Expired) {
        self.expired = expired;
    }

    /// Frames that a node had, in whatever way, when it was lost.
    pub fn had_by_lost_node(&mut self, stream: Stream, from: Seq, to: Seq) {
        self.account(stream).had_by_lost_node.add(from, to);
    }

    /// Frames that the vehicle had let go of when the backup began from which that node was restored.
    pub fn in_backup(&mut self, stream: Stream, from: Seq, to: Seq) {
        self.account(stream).in_backup.add(from, to);
    }

    /// Strikes the balance. Each made frame is counted once, in the first class that holds it: stored, quarantined,
    /// in the outbox, shed, expired, erased, lost with a node, lost.
    pub fn balance(&self) -> Ledger {
        let Expired { rows_told, rows_seen, samples, samples_lost, before_ms } = self.expired;
        let mut excuses = Excuses {
            erased: self.erased.clone(),
            expired_told: rows_seen <= rows_told,
            expired_unseen: rows_told.saturating_sub(rows_seen),
        };
        let mut ledger = Ledger {
            rows_stored: self.rows_stored,
            samples_stored: self.samples_stored,
            rows_expired: rows_told,
            rows_expired_unseen: excuses.expired_unseen,
            samples_expired: samples,
            samples_lost,
            expired_before_ms: before_ms,
            erasures: self.erasures,
            ..Ledger::default()
        };
        if !excuses.expired_told {
            ledger.fault(format!("retention's trail tells of {rows_told} rows, and {rows_seen} are gone"));
        }
        if samples_lost > 0 {
            ledger.fault(format!("{samples_lost} values are gone that no rule takes"));
        }
        let mut vehicles: Vec<VehicleId> = self.accounts.keys().map(|s| s.vehicle).collect();
        vehicles.dedup();
        ledger.vehicles = vehicles.len() as u64;
        for (stream, account) in &self.accounts {
            account.add_to(stream, &mut excuses, &mut ledger);
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

    /// Takes out of the frames that are nowhere those that a rule took; answers how many retention and erasures took.
    fn excused(&self, stream: &Stream, excuses: &mut Excuses, lost: &mut Ranges) -> (u64, u64) {
        if stream.lane != Lane::Samples {
            return (0, 0);
        }
        let mut expired = 0;
        if excuses.expired_told {
            let by_rule = lost.common(&self.expired.merged().0);
            expired = by_rule.count();
            *lost = lost.without(&by_rule);
        }
        let rows = excuses.erased.entry(stream.vehicle).or_default();
        let erased = lost.take_first(*rows);
        *rows -= erased;
        let unseen = lost.take_first(excuses.expired_unseen);
        excuses.expired_unseen -= unseen;
        (expired + unseen, erased)
    }

    fn add_to(&self, stream: &Stream, excuses: &mut Excuses, ledger: &mut Ledger) {
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
        let after_shed = after_outbox.without(&given_up);
        let mut lost = after_shed.clone();
        let (expired, erased) = self.excused(stream, excuses, &mut lost);
        let with_node = self.had_by_lost_node.merged().0.without(&self.in_backup.merged().0);
        let with_node = lost.common(&with_node);
        let lost = lost.without(&with_node);
        ledger.frames_expired += expired;
        ledger.frames_erased += erased;
        ledger.frames_lost_with_node += with_node.count();
        ledger.frames_lost_with_node_told += with_node.common(&cloud_lost).count();
        ledger.frames_made += made.count();
        ledger.frames_stored += made.count() - left.count();
        ledger.frames_quarantined += left.count() - after_quarantine.count();
        ledger.frames_in_outbox += after_quarantine.count() - after_outbox.count();
        ledger.frames_shed += after_outbox.count() - after_shed.count();
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
    fn what_retention_took_is_accounted_for_as_far_as_its_trail_tells() {
        let s = stream(Lane::Samples);
        let mut books = Books::default();
        books.made(s, 1, 10);
        (5..=9).for_each(|seq| books.row(s, seq, 0, 1));
        (1..=3).for_each(|seq| books.expired_row(s, seq));
        let told = |rows_told| Expired { rows_told, rows_seen: 3, ..Expired::default() };
        books.expired(told(3));
        let ledger = books.balance();
        assert_eq!((ledger.frames_stored, ledger.frames_expired, ledger.frames_lost), (5, 3, 2));
        // Rows whose files are deleted may be of any frame.
        books.expired(told(4));
        let ledger = books.balance();
        assert_eq!((ledger.frames_expired, ledger.frames_lost, ledger.rows_expired_unseen), (4, 1, 1));
        // More went than is told: nothing is.
        books.expired(told(2));
        let ledger = books.balance();
        assert_eq!((ledger.frames_expired, ledger.frames_lost), (0, 5));
        assert!(ledger.faults[0].contains("tells of 2 rows, and 3 are gone"), "{:?}", ledger.faults);
        // It excuses no report.
        books.expired(told(99));
        books.made(stream(Lane::Events), 1, 1);
        assert_eq!(books.balance().frames_lost, 1);
        let gone = Expired { samples_lost: 1, ..Expired::default() };
        let mut books = Books::default();
        books.expired(gone);
        assert!(!books.balance().balances());
    }

    #[test]
    fn what_went_with_a_node_is_what_it_had_and_its_backup_had_not() {
        let s = stream(Lane::Samples);
        let mut books = Books::default();
        books.made(s, 1, 12);
        books.in_outbox(s, 9, 12);
        (1..=4).for_each(|seq| books.row(s, seq, 0, 1));
        books.had_by_lost_node(s, 1, 9);
        books.in_backup(s, 1, 4);
        books.cloud_lost(s, 5, 8);
        let ledger = books.balance();
        assert_eq!((ledger.frames_stored, ledger.frames_in_outbox, ledger.frames_lost), (4, 4, 0));
        assert_eq!((ledger.frames_lost_with_node, ledger.frames_lost_with_node_told), (4, 4));
        assert!(ledger.balances());
        // What the backup must have is no loss that a backup explains.
        books.in_backup(s, 5, 5);
        let ledger = books.balance();
        assert_eq!((ledger.frames_lost, ledger.frames_lost_with_node), (1, 3));
        assert!(!ledger.balances());
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
}
