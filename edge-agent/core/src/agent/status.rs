//! Reporting: how the vehicle is doing, to a cloud that asked.

use remuda_policy::Collection;
use remuda_wire::topic::Channel;
use remuda_wire::{Ask, BudgetStatus, CollectionLevel, Status, Up};

use super::Agent;
use crate::lane::Book;

const NS_PER_S: u64 = 1_000_000_000;

/// Who asked, and what was said.
#[derive(Debug, Default)]
pub(super) struct Reporting {
    /// Pause between two reports, ns; none when this connection's cloud did not ask.
    interval_ns: Option<u64>,
    due_ns: u64,
    said: Option<Box<Status>>,
}

impl Reporting {
    /// Another connection, and perhaps another cloud.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }
}

impl Agent {
    pub(super) fn handle_ask(&mut self, ask: Ask, now: u64) {
        self.reporting.interval_ns = Some(u64::from(ask.interval_s.max(1)) * NS_PER_S);
        self.reporting.said = None;
        self.report_soon(now);
    }

    /// Something changed that people wait for.
    pub(super) fn report_soon(&mut self, now: u64) {
        self.reporting.due_ns = now;
    }

    pub(super) fn status_deadline(&self) -> Option<u64> {
        self.reporting.interval_ns.filter(|_| self.session.is_welcome()).map(|_| self.reporting.due_ns)
    }

    pub(super) fn status_timeout(&mut self, now: u64) {
        let Some(interval) = self.reporting.interval_ns.filter(|_| self.session.is_welcome()) else { return };
        if now < self.reporting.due_ns {
            return;
        }
        self.reporting.due_ns = now + interval;
        let status = self.status();
        if self.reporting.said.as_deref() != Some(&status) {
            self.send(Channel::Session, &Up::Status(status.clone()));
            self.reporting.said = Some(Box::new(status));
        }
    }

    fn status(&self) -> Status {
        let spent = self.state.spent;
        let budget = self.intake.policy().budget().bytes();
        Status {
            connection: self.connection(),
            policy_revision: self.in_force.revision,
            policy_fingerprint: self.in_force.fingerprint,
            policy_refused: self.policy_refused.clone(),
            clock: self.clock.quality(),
            link: self.link,
            collection: match self.intake.level() {
                Collection::Full => CollectionLevel::Full,
                Collection::Stretched => CollectionLevel::Stretched,
                Collection::EventsOnly => CollectionLevel::EventsOnly,
            },
            bulk_held: self.holds_bulk(),
            budget: budget.map(|bytes| BudgetStatus { month: spent.month, spent_bytes: spent.bytes, bytes }),
            frames_held: self.books.iter().map(Book::held).sum(),
            frames_shed: self.figures.frames_shed,
            frames_damaged: self.figures.frames_damaged,
            readings_dropped: self.intake.dropped,
        }
    }
}
