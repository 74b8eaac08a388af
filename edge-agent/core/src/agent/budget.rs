//! The data budget: what was spent, and what is left out for it (docs/uplink.md section 8).

use remuda_policy::{Bulk, Collection};
use remuda_wire::LinkKind;

use super::Agent;
use crate::limits;

impl Agent {
    /// The kind of link there is now, as far as the shell can know it.
    pub fn handle_link(&mut self, link: LinkKind, now: u64) {
        if self.link != link {
            self.link = link;
            self.report_soon(now);
            self.pump(now);
        }
    }

    /// Counts a message, either way.
    pub(super) fn spend(&mut self, payload_bytes: usize) {
        if self.link != LinkKind::Wifi && self.intake.policy().budget().bytes().is_some() {
            self.state.spent.bytes += payload_bytes as u64 + limits::MESSAGE_COST;
        }
    }

    /// Begins a month, and compares what was spent with what there is.
    pub(super) fn weigh(&mut self, now: u64) {
        let budget = *self.intake.policy().budget();
        let level = match self.link {
            LinkKind::Wifi => Collection::Full,
            LinkKind::Unknown | LinkKind::Metered => {
                let Some(bytes) = budget.bytes() else { return self.set_level(Collection::Full, now) };
                // The wall clock here is the cloud's: nothing the vehicle itself believes can begin a month.
                let rolled =
                    self.clock.wall_ms(now / 1_000_000).is_some_and(|trusted| self.state.spent.roll(trusted));
                let grown = self.state.spent.bytes.saturating_sub(self.spent_saved);
                if rolled || grown > bytes / limits::SPENT_SAVED_PARTS {
                    self.save();
                }
                budget.collection(self.state.spent.bytes)
            }
        };
        self.set_level(level, now);
    }

    fn set_level(&mut self, level: Collection, now: u64) {
        if self.intake.level() != level {
            self.intake.set_level(level);
            self.report_soon(now);
        }
    }

    /// Samples wait in the outbox: for a link that costs nothing, or for the next month.
    pub(super) fn holds_bulk(&self) -> bool {
        let wifi_only = self.intake.policy().budget().bulk == Bulk::Wifi;
        self.link != LinkKind::Wifi && (wifi_only || self.intake.level() == Collection::EventsOnly)
    }
}
