//! Feeds: a resumable firehose of events and telemetry for customers' own systems (docs/feeds.md, docs/adr).
//!
//! ```text
//! journals (events, per shard) ┐
//!                              ├> Reader (cursor) > batch > sink: webhook, NATS JetStream, MQTT > cursor (fsync)
//! lake (rows, by commit)       ┘                        └> gRPC stream, whose client keeps the cursor
//! ```
//!
//! Owns: cursors, the items and their text, filters, what is registered with its cursor and dead letters, the runner of
//! each feed, the sinks. A feed reads what is durable; it stands in nobody's way, holds one batch, and falls behind instead
//! of growing. Deliberately absent: what an event's payload means (the node knows, [`EventJson`]), and who may ask.

mod address;
mod batch;
mod cursor;
mod error;
mod feeds;
mod filter;
mod item;
pub mod limits;
mod metrics;
mod reader;
mod runner;
mod seal;
pub mod sink;
mod source;
mod spec;
mod store;

pub use batch::{Batch, Lag};
pub use cursor::{Cursor, TokenError};
pub use error::FeedError;
pub use feeds::{FeedSettings, FeedStream, FeedView, Feeds};
pub use filter::Filter;
pub use item::{Channel, Item};
pub use metrics::FeedMetrics;
pub use reader::Reader;
pub use runner::{Phase, Status, chain};
pub use source::{EventJson, Source};
pub use spec::{FeedSpec, Secret, SinkSpec, Start};
pub use store::DeadLetter;
