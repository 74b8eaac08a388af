//! A seeded world: vehicles that drive on roads, with drivers, batteries and sensors.
//!
//! Owns: how simulated vehicles move and what their sensors read. Pure: time is what [`World::step`] is told, chance
//! comes from the seed alone; the same seed on the same roads gives the same world, bit for bit.
//!
//! Deliberately absent: agents and connections (`remuda-fleet`); other traffic in a vehicle's way (vehicles pass
//! through each other); pedestrians, lanes, hills; noise on positions, so that they can be checked against the map.

mod battery;
mod dice;
mod driver;
mod limits;
mod sensors;
mod streets;
mod vehicle;
mod world;

pub use sensors::SIGNALS;
pub use vehicle::{Activity, Vehicle};
pub use world::{World, vehicle_id};
