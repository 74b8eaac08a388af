//! The aggregate of an organisation's collection policies: documents, and whom they are meant for (docs/uplink.md
//! section 8). Pure (I10).

pub mod decide;
pub mod event;
pub mod evolve;
pub mod state;

// The commands and refusals are what people say and hear, so they stand in `remuda_contracts::policies`.
pub use remuda_contracts::policies::{
    PolicyChange as Command, PolicyRefusal as Refusal, PolicyStatus, PolicyView, Target,
};
pub use state::{Desired, PoliciesState};
