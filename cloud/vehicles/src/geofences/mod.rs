//! Geofences: which there are, where they are, and which vehicles cross them (ADR 26).
//!
//! An organisation's geofences are facts in the vehicles' journal, spread over [`limits::STREAMS`] streams by their ids. A
//! vehicle's crossings are facts in its own stream, in the transaction that stores the row that made them count; they raise
//! and clear alerts like rules do. Pure (I10): the shell is `actor::geofences`.
//!
//! Deliberately absent: positions in the journal, and schedules.

pub mod crossing;
pub mod decide;
pub mod event;
pub mod index;
pub mod limits;
pub mod shape;
pub mod state;
#[cfg(test)]
mod tests;

pub use crossing::{Crossing, Surroundings, Watch, let_go};
pub use decide::{Decided, decide};
pub use event::{CrossingEvent, GeofenceEvent, Step};
pub use index::{Fence, Fences};
pub use state::{Inside, Shelf};
