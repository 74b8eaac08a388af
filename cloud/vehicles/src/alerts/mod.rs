//! Alerts as people work with them: acknowledged, snoozed, cleared by hand, each with its history.
//!
//! Rules begin and end alerts (`AlertRaised`, `AlertCleared`); what people do about one is an [`AlertEvent`] in the same
//! stream, so that one vehicle's alerts have one order. A vehicle has at most one alert of a rule that is not over.
//! Historical findings are only recorded and touch nothing here.
//!
//! Deliberately absent: who is told. An alert that is acknowledged or snoozed demands nobody's attention
//! ([`Alert::wants_attention`]); what comes of that is the shell's.

pub mod command;
pub mod decide;
pub mod error;
pub mod event;
pub mod evolve;
pub mod limits;
pub mod state;
#[cfg(test)]
mod tests;

pub use command::AlertCommand;
pub use decide::decide;
pub use error::AlertRefusal;
pub use event::{AlertEvent, AlertStep};
pub use state::{Acted, Alert, AlertBook, AlertId, AlertPhase, Entry, EntryKind};

use remuda_contracts::alerts::AlertSeverity;

use crate::event::RuleId;

impl RuleId {
    /// How much its alerts matter.
    pub const fn severity(self) -> AlertSeverity {
        match self {
            // It is over when it is seen: somebody talks to the driver some day.
            Self::HarshBraking | Self::Notify(_) => AlertSeverity::Info,
            // The vehicle will stand somewhere, or be somewhere else, if nobody does anything.
            Self::LowCharge | Self::KeepIn(_) | Self::KeepOut(_) => AlertSeverity::Warning,
        }
    }

    /// Whether people may clear its alerts. What a vehicle goes on measuring ends when the measurement says so: cleared by
    /// hand it would be hidden, and not raised again.
    pub const fn clears_by_hand(self) -> bool {
        match self {
            Self::HarshBraking | Self::Notify(_) => true,
            Self::LowCharge | Self::KeepIn(_) | Self::KeepOut(_) => false,
        }
    }
}
