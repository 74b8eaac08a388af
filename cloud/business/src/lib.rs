//! Joins the domains of the ride business.
//!
//! Owns: the assembly of users, vehicles' reservations, trips, billing, notifications and sagas over one business journal; quotes and the
//! choice of vehicles; trips moved on by what vehicles report; the desk that people ask
//! ([`BusinessDesk`](remuda_contracts::business::BusinessDesk)). Deliberately absent: any rule of a domain, and any transport.

mod aside;
mod convert;
mod credits;
mod desk;
mod directory;
mod dispatch;
mod free;
pub mod limits;
mod marks;
mod observer;
pub mod on_call;
mod post_credits;
mod reach;
mod start;
mod upkeep;

pub use start::{
    Business, BusinessError, BusinessFigures, BusinessMetrics, BusinessSettings, SettleError, WrapProvider,
};
