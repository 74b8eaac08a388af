//! The ledger at the end: everything made is accounted for, once; every decision that the rows demand was made, once.

use std::collections::{BTreeMap, BTreeSet};

use remuda_model::VehicleId;
use remuda_vehicles::RuleSettings;
use remuda_vehicles::ledger::{Decision, demanded};

use crate::instance::Made;
use crate::truth::{Books, Fate};

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Frames made durable by agents.
    pub frames_made: u64,
    /// Of them, in the lake or the journal.
    pub frames_stored: u64,
    /// Of them, given up by a full outbox.
    pub frames_shed: u64,
    /// Of them, told as damaged.
    pub frames_damaged: u64,
    /// Of them, gone with a disk that was replaced by an older copy.
    pub frames_replaced: u64,
    /// Decisions made.
    pub decisions: u64,
    /// Faults, by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// How long it took to drain once nothing went wrong any more, ms.
    pub drained_ms: u64,
}

/// Balances one vehicle's books.
pub(crate) fn balance(
    vehicle: &VehicleId,
    made: &Made,
    books: &Books,
    report: &mut Report,
) -> Result<(), String> {
    for ((key, seq), rows) in &made.made {
        let place = (*key, *seq);
        let name = || format!("{vehicle} {} {:x}/{seq}", key.0.as_str(), key.1.0);
        report.frames_made += 1;
        let fate = books.fates.get(key).and_then(|fates| fates.get(seq));
        match fate {
            Some(Fate::Stored { rows: stored }) if stored == rows => report.frames_stored += 1,
            Some(Fate::Stored { rows: stored }) => {
                return Err(format!("{} was made with {rows} rows and stored with {stored}", name()));
            }
            Some(Fate::Quarantined) => return Err(format!("{} is in quarantine, though sound", name())),
            Some(Fate::Gap) if made.shed.contains(&place) => report.frames_shed += 1,
            Some(Fate::Gap) if made.damaged.contains(&place) => report.frames_damaged += 1,
            Some(Fate::Gap) => return Err(format!("{} is a gap that nobody told", name())),
            // Shed to its end, a lane is dropped without a word.
            None if made.shed.contains(&place) => report.frames_shed += 1,
            None if made.replaced.contains(&place) => report.frames_replaced += 1,
            None => return Err(format!("{} is lost", name())),
        }
    }
    for (key, fates) in &books.fates {
        let stored = fates.iter().filter(|(_, fate)| matches!(fate, Fate::Stored { .. }));
        for (seq, _) in stored {
            if !made.made.contains_key(&(*key, *seq)) {
                return Err(format!(
                    "{vehicle} {} {:x}/{seq} is stored and was never made",
                    key.0.as_str(),
                    key.1.0
                ));
            }
        }
    }
    decisions(vehicle, books, report)
}

fn decisions(vehicle: &VehicleId, books: &Books, report: &mut Report) -> Result<(), String> {
    let demanded = demanded(&RuleSettings::default(), &books.rows);
    let required: BTreeSet<Decision> = demanded.required.into_iter().collect();
    let permitted: BTreeSet<Decision> = demanded.permitted.into_iter().collect();
    if let Some(missing) = required.difference(&books.decisions).next() {
        return Err(format!("{vehicle} was not decided: {missing:?}"));
    }
    if let Some(odd) = books.decisions.iter().find(|d| !required.contains(d) && !permitted.contains(d)) {
        return Err(format!("{vehicle} was decided without a cause: {odd:?}"));
    }
    report.decisions += books.decisions.len() as u64;
    Ok(())
}
