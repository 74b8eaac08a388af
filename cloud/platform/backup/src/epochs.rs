//! From which epoch on a restored node owns its shards.
//!
//! A vehicle obeys no command under a lower epoch than the highest it has seen (docs/uplink.md section 7), and a node writes
//! to a journal only under the epoch in force. After a restore the journal knows the epochs of its moment alone; others may
//! have been handed out since, by the node that was lost and by earlier restores of the same backup. The new ones are above
//! all of them when either of two things holds: this repository was asked before each restore (each leaves a note, and the
//! leap covers the starts of a node in between), or the clock of this machine is right: each second since 1970 is worth one
//! leap, so that neither the starts of a node nor a restore a second carry an epoch ahead of the clock.

use crate::limits::EPOCH_LEAP;

/// Epochs that are known, and the time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known {
    /// Highest in the journals of the backup.
    pub in_backup: u64,
    /// Highest in a file name of its lake.
    pub in_file_names: u64,
    /// Highest that a restore from this repository began with.
    pub restored: u64,
    /// What an operator has seen, such as in the log line about a Hello.
    pub told: u64,
    /// Seconds since 1970, by this machine's clock.
    pub now_s: u64,
}

/// The epoch above which the next owners are.
pub(crate) fn floor(known: Known) -> u64 {
    if keeps_epochs() {
        return known.in_backup;
    }
    let Known { in_backup, in_file_names, restored, told, now_s } = known;
    let highest = in_backup.max(in_file_names).max(restored).max(told);
    highest.saturating_add(EPOCH_LEAP).max(now_s.saturating_mul(EPOCH_LEAP))
}

/// A deliberate fault that shows that the drill bites: the journal's own epochs stay.
fn keeps_epochs() -> bool {
    fail::fail_point!("restore-keeps-epochs", |_| true);
    false
}

/// The epoch in the name of a round's file, `{writer}-{epoch}-{counter}.parquet`.
pub(crate) fn in_file_name(path: &str) -> Option<u64> {
    let (folder, name) = path.rsplit_once('/')?;
    if !folder.starts_with("fresh") {
        return None;
    }
    name.split('.').next()?.split('-').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        /// The node is started so often: each takes the next epoch, and vehicles see it.
        Starts(u64),
        Backup,
        /// Restores one of the backups; the note of it is kept, or lost with the repository's disk.
        Restore {
            which: usize,
            noted: bool,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1..40u64).prop_map(Step::Starts),
            Just(Step::Backup),
            (0..8usize, any::<bool>()).prop_map(|(which, noted)| Step::Restore { which, noted }),
        ]
    }

    /// Plays the steps; false when an owner had an epoch that somebody had before.
    fn ever_higher(steps: &[Step], right_clock: bool, all_noted: bool) -> bool {
        let (mut epoch, mut seen, mut note, mut now_s) = (0u64, 0u64, 0u64, 1_700_000_000u64);
        let mut backups = vec![0u64];
        for step in steps {
            match *step {
                Step::Starts(times) => {
                    if epoch < seen {
                        return false;
                    }
                    epoch += times;
                    seen = epoch;
                }
                Step::Backup => backups.push(epoch),
                Step::Restore { which, noted } => {
                    now_s += 1;
                    let now_s = if right_clock { now_s } else { 0 };
                    let in_backup = backups[which % backups.len()];
                    epoch = floor(Known { in_backup, restored: note, now_s, ..Known::default() });
                    if noted || all_noted {
                        note = note.max(epoch);
                    }
                }
            }
        }
        true
    }

    proptest! {
        #[test]
        fn every_owner_has_an_epoch_that_nobody_had(steps in prop::collection::vec(step(), 0..40)) {
            prop_assert!(ever_higher(&steps, true, false), "by the clock alone");
            prop_assert!(ever_higher(&steps, false, true), "by the notes alone");
        }
    }

    #[test]
    fn without_notes_and_clock_the_second_restore_of_a_backup_fails() {
        let restore = Step::Restore { which: 0, noted: false };
        let steps = [Step::Starts(1), restore.clone(), Step::Starts(5), restore, Step::Starts(1)];
        assert!(!ever_higher(&steps, false, false));
    }

    #[test]
    fn the_leap_is_above_whatever_is_known() {
        let known = Known { in_backup: 3, in_file_names: 9, restored: 5, told: 7, now_s: 0 };
        assert_eq!(floor(known), 9 + EPOCH_LEAP);
        assert_eq!(floor(Known { told: 7_000_000, now_s: 5, ..known }), 7_000_000 + EPOCH_LEAP);
        assert_eq!(floor(Known { told: 7_000_000, now_s: 50, ..known }), 50 * EPOCH_LEAP);
        assert_eq!(in_file_name("fresh/date=2026-11-30/hour=01/00ff-12-7.parquet"), Some(12));
        assert_eq!(in_file_name("fresh/date=2026-11-30/hour=01/00ff-12-7.reprocessed.parquet"), Some(12));
        assert_eq!(in_file_name("history/organization=a/date=2026-11-30/hour=01/00ff-12-7.parquet"), None);
    }
}
