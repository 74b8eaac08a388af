//! What is asked of a group command.

use remuda_model::VehicleId;

use super::event::Spec;
use super::state::Outcome;

/// How one vehicle's command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Which vehicle, by its place in the list.
    pub index: u32,
    /// How.
    pub outcome: Outcome,
    /// The vehicle's words.
    pub detail: String,
}

/// A wish; [`super::decide()`] may refuse it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupCommand {
    /// Have such a group command.
    Create {
        /// What it says.
        spec: Spec,
        /// Which vehicles, ascending, each once.
        vehicles: Vec<VehicleId>,
        /// Why a second person must agree, when one must.
        because: Option<String>,
    },
    /// A second person agreed to what has this hash.
    Start {
        /// Who.
        by: String,
        /// SHA-256 of what they agreed to.
        digest: [u8; 32],
    },
    /// No second person agreed.
    Deny {
        /// Who said so.
        by: String,
        /// Why.
        reason: String,
    },
    /// The next vehicles' turn has come: from this place on, so many.
    Dispatch {
        /// The place of the first.
        from: u32,
        /// How many.
        count: u32,
    },
    /// Vehicles' commands have ended.
    Settle(Vec<Ending>),
    /// Give no more for now.
    Pause {
        /// Why.
        reason: String,
    },
    /// Go on.
    Resume {
        /// Why.
        reason: String,
    },
    /// Give no more at all.
    Abort {
        /// Why.
        reason: String,
    },
}
