//! What every saga definition is tested with (steno's idea): give it services with a way to look at what they hold.
//!
//! [`stock::all`] runs, against a fresh [`World`] each time: every action and every undo twice; every undo without its do,
//! and the do that comes late; a failure of every kind at every step, once and for good; undos that fail; a crash before
//! and after every write; two sagas for the last of something. Everything ends as I6 wants it, with nothing left behind.

pub mod crash;
pub mod fake;
pub mod faults;
pub mod stock;

use async_trait::async_trait;
use serde_json::Value;

use crate::service::Services;

/// Services under test, and what they hold.
#[async_trait]
pub trait World: Send + Sync + 'static {
    /// The services, with their data in this world.
    fn services(&self) -> Services;

    /// An input with which the `n`-th saga completes.
    fn input(&self, n: u32) -> Value;

    /// Everything the services hold that an action may change and its undo must put back, as text: reservations, holds,
    /// trips that stand, messages not taken back. What stays after an undo by design (a tombstone, a message with its
    /// cancellation) is left out. Two worlds that hold the same answer the same.
    async fn held(&self) -> String;

    /// Makes sure that of two sagas started from now on only one finds what it needs; false where there is no such thing.
    fn only_one_left(&self) -> bool {
        false
    }
}
