//! Fences around a trip's stops: from a vehicle's positions to what it noticed of its trip. Pure.
//!
//! Owns: distances on the ground, when a fence counts as entered and left, how a watch goes on when its stops change. One code for
//! the vehicle, which watches its own trip, and for the cloud, which watches for vehicles that cannot. Deliberately absent: what
//! follows for the trip (`remuda-trips`), what travels (`remuda-wire`), clocks.

mod ground;
mod watch;

pub use ground::{distance_m, offset_m, overlap};
pub use remuda_wire::{Fence, Observation, TripPlace};
pub use watch::{Sight, Watch, energy_wh};
