//! The one shell that runs every business aggregate, and the projections that read their events.
//!
//! ```text
//! let shards = Shards::take_all(journal, metrics).await?;            // one a node: each shard has one writer
//! let trips = Entities::<Trip>::start(&shards, Settings::default()).await?;   // one a kind
//! match trips.ask(&organization, "t-1", Command::Cancel, context).await {
//!     Ok(Outcome { version, events, repeated }) => ...               // durable
//!     Err(AskError::Refused { code, text }) => ...                   // the domain's own code
//!     Err(error) if error.is_transient() => ...                      // ask again with the same command id
//! }
//! let Seen { version, state } = trips.read(&organization, "t-1").await?;
//! let mut feed = trips.follow(From::Now);                            // every durable event, in shard order
//! for event in feed.next().await? {
//!     if let Some(Recorded { event, fact }) = Recorded::<Trip>::decode(&event)? { ... }
//! }
//! ```
//!
//! Owns: the one writer of each shard ([`Shards`]), entities as actors with snapshots, passivation, back-off and bounds
//! ([`Entities`]), the memory of commands (a command id is its command: the same answer, also after a restart), cursors
//! over the feeds ([`Feed`]). Deliberately absent: any business rule, any clock or id of its own (they come
//! with each command's `Context`), and names or groups of ractor (they are the whole process's).

mod actor;
mod batch;
pub mod describe;
pub mod entities;
pub mod error;
mod failures;
pub mod feed;
pub mod limits;
mod mailbox;
mod memory;
pub mod metrics;
pub mod operate;
pub mod projection;
pub mod reactor;
mod recovery;
pub mod shards;
mod supervisor;

pub use describe::{Decoders, Described};
pub use entities::{Entities, Outcome, Seen, Settings};
pub use error::{AppendError, AskError};
pub use feed::{Feed, From, Offsets, Recorded};
pub use memory::{REFUSED, RefusedEvent, SHELL_EVENTS};
pub use metrics::EntityMetrics;
pub use shards::Shards;
