//! Commands to a vehicle (docs/uplink.md section 7), called *orders* here, since a command of an aggregate is something
//! else.
//!
//! One aggregate per vehicle, in a stream of its own beside the vehicle's, in the same shard: written by the vehicle's
//! actor alone. Pure, like its parent. What a vehicle answers comes as a report of its events lane; that report is the
//! durable fact, and the entry here is its effect (I3): lost between the two, it is made again from the report.

pub mod command;
pub mod decide;
pub mod error;
pub mod event;
pub mod evolve;
pub mod state;

pub use command::{NewOrder, OrderCommand};
pub use decide::decide;
pub use error::OrderRefusal;
pub use event::{OrderEvent, OrderId, orders_stream_of};
pub use evolve::evolve;
pub use state::{Order, OrderPhase, Orders};
