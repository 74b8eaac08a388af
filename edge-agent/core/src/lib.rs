//! The vehicle's agent as a machine without I/O (DESIGN D8, docs/uplink.md sections 1 to 3, 7, 8).
//!
//! Owns: intake, reduction by policy, batching, what is made, sent, acked, trimmed and shed, greetings, reconnecting,
//! reconciling the clock, deciding on commands, questions to people, watching the stops of a trip. Deliberately absent: sockets, files, clocks, randomness. Time and a
//! seed come in as arguments; work for the shell comes out of [`Agent::poll_output`].

mod agent;
mod clock;
mod instruments;
pub mod intake;
mod lane;
pub mod limits;
mod meter;
pub mod output;
mod random;
pub mod state;

pub use agent::{Agent, AskRefusal, Figures, RefuseAll, Settings, Verifier};
pub use intake::Reading;
pub use meter::Spent;
pub use output::{Held, Output, Record, ShedUntil};
pub use remuda_policy::{Policy, PolicyError};
pub use state::{Choice, OpenQuestion, SavedState, TripOnWatch, WaitingMark};
