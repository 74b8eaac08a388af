//! What people want to know of a vehicle's delivery besides counts: its newest gaps and quarantined frames, and what it
//! last said of itself.

use std::collections::VecDeque;

use remuda_contracts::fleet::{GapView, QuarantineView, ReportView};
use remuda_wire::{Hello, Status};
use serde::{Deserialize, Serialize};

use crate::limits;

const FORM: u8 = 1;

/// Notes on one vehicle; snapshotted behind its memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Notes {
    /// The newest gaps, oldest first.
    pub gaps: VecDeque<GapView>,
    /// The newest frames in quarantine, oldest first.
    pub quarantined: VecDeque<QuarantineView>,
    /// What it last said of itself.
    pub report: Option<Box<ReportView>>,
    /// When two agents last answered for it, ms since 1970 UTC; 0 = never.
    pub cloned_ms: i64,
    /// Frames of samples were lost, and no newest values were heard since: what is told on change alone may be stale.
    pub values_lost: bool,
}

fn push<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() >= limits::NOTES_MAX {
        list.pop_front();
    }
    list.push_back(item);
}

impl Notes {
    /// Notes a gap.
    pub fn gap(&mut self, gap: GapView) {
        push(&mut self.gaps, gap);
    }

    /// Notes a frame in quarantine.
    pub fn quarantine(&mut self, frame: QuarantineView) {
        push(&mut self.quarantined, frame);
    }

    /// Takes a greeting: what it does not say of the vehicle is not known any more.
    pub fn greeted(&mut self, hello: &Hello, now_ms: i64) {
        let held = hello.lanes.iter().map(|lane| lane.next_seq.saturating_sub(lane.floor)).sum();
        let refused = self.report.take().and_then(|before| before.policy_refused);
        self.report = Some(Box::new(ReportView {
            reported_ms: now_ms,
            agent_version: hello.agent_version.clone(),
            boot: hello.boot,
            policy_revision: hello.policy_revision,
            policy_fingerprint: None,
            policy_refused: refused,
            clock: hello.clock,
            frames_held: held,
            ..ReportView::default()
        }));
    }

    /// Takes a status. True when it refuses a policy that it had not refused before.
    pub fn reported(&mut self, status: Status, now_ms: i64) -> bool {
        let report = self.report.get_or_insert_default();
        let refused = status.policy_refused.map(|refused| (refused.revision, refused.reason));
        let is_news = refused.is_some() && refused != report.policy_refused;
        **report = ReportView {
            reported_ms: now_ms,
            agent_version: std::mem::take(&mut report.agent_version),
            boot: report.boot,
            policy_revision: status.policy_revision,
            policy_fingerprint: Some(status.policy_fingerprint),
            policy_refused: refused,
            clock: status.clock,
            link: status.link,
            collection: status.collection,
            bulk_held: status.bulk_held,
            budget: status.budget,
            frames_held: status.frames_held,
            frames_shed: status.frames_shed,
            frames_damaged: status.frames_damaged,
            readings_dropped: status.readings_dropped,
        };
        is_news
    }

    /// Their bytes.
    pub fn encode(&self, mut out: Vec<u8>) -> Vec<u8> {
        out.push(FORM);
        // Plain data always encodes.
        postcard::to_extend(self, out).unwrap_or_default()
    }

    /// Reads what [`Notes::encode`] wrote, and what stands behind it; nothing for a form this code does not know, since notes
    /// are only shown.
    pub fn decode(bytes: &[u8]) -> (Self, &[u8]) {
        match bytes.split_first() {
            Some((&FORM, rest)) => postcard::take_from_bytes(rest).unwrap_or_default(),
            _ => Default::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use remuda_model::{Incarnation, Lane};

    use super::*;

    #[test]
    fn only_the_newest_are_kept_and_come_back() {
        let mut notes = Notes::default();
        for n in 0..100 {
            notes.gap(GapView {
                lane: Lane::Samples,
                incarnation: Incarnation(1),
                from: n,
                to: n,
                reason: "shed".into(),
                recorded_ms: n as i64,
            });
        }
        assert_eq!(
            (notes.gaps.len(), notes.gaps[0].from),
            (limits::NOTES_MAX, 100 - limits::NOTES_MAX as u64)
        );
        let mut bytes = notes.encode(Vec::new());
        bytes.extend([7, 8]);
        assert_eq!(Notes::decode(&bytes), (notes, [7, 8].as_slice()));
        assert_eq!(Notes::decode(&[]).0, Notes::default());
        assert_eq!(Notes::decode(&[FORM + 1, 2, 3]).0, Notes::default());
    }
}
