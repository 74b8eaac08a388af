//! What vehicle and cloud say to each other (docs/uplink.md section 2).
//!
//! Owns: messages and their bytes, frames with their CRC, columnar sample blocks, topics, limits. No I/O, no clock.
//! Deliberately absent: who may say what when (`remuda-edge-agent-core`, `remuda-vehicles`) and how bytes travel
//! (`remuda-mqtt`).

pub mod assistance;
mod bits;
mod counted;
pub mod frame;
pub mod limits;
pub mod marks;
pub mod message;
pub mod samples;
pub mod signing;
pub mod topic;

pub use assistance::{Decided, PositionE7, Question, QuestionStep};
pub use frame::{Body, ClockQuality, Event, Frame, FrameError, FrameHeader, TraceContext};
pub use marks::{Fence, Observation, TripMarked, TripPlace, TripWatch, WatchedTrip, Watching};
pub use message::{
    Ack, Ask, BudgetStatus, CollectionLevel, Command, CommandKind, DecodeError, Down, Farewell,
    FarewellReason, FloorReason, Frames, HandOver, Hello, LaneAck, LaneState, LinkKind, Live, Policy,
    PolicyRefused, Status, Up, Welcome,
};
pub use samples::{Column, SampleBlock, TimeUnit};
pub use topic::{Channel, Topic};

/// The newest version of the wire this code speaks.
pub const WIRE_VERSION: u8 = 1;
/// The oldest version of the wire this code understands.
pub const WIRE_VERSION_MIN: u8 = 1;
