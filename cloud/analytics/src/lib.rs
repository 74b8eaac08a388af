//! Mileage, consumption and revenue by time and dimension.
//!
//! Owns: a projection over `trip.completed`, `trip.corrected`, `payment.priced` and `charging.completed`
//! ([`Analytics`]), and bounded questions to it ([`Query`], [`Reader`]). Each event counts exactly once:
//! figures and offsets are one atomic write, and a trip's own contribution is kept, so that whatever is said
//! of it later changes sums by the difference. Deliberately absent: telemetry itself.

mod apply;
mod bucket;
mod dimension;
mod figures;
mod keys;
pub mod limits;
mod query;

pub use apply::{Analytics, ModelOf};
pub use bucket::{Granularity, bucket_start};
pub use dimension::Dimension;
pub use figures::Figures;
pub use query::{Answer, Query, QueryError, Reader, Row, SamplesOf, VehiclesOf};
