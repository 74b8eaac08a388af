//! Signed HTTP calls to customers' systems, never to private addresses unless allowed.
//!
//! Owns: the check of targets and addresses ([`AddressRules`]), signatures after the Standard Webhooks
//! specification ([`SigningKeys`]), one attempt with its bounds ([`Sender`]) and the pure schedule of
//! attempts ([`RetryPlan`]). Deliberately absent: queues and durable state, which belong to whoever has
//! something to say; redirects; proxies.

mod address;
mod error;
pub mod limits;
mod metrics;
mod network;
mod retry;
mod send;
mod sign;
mod target;

pub use address::{AddressRules, forbidden};
pub use error::{Failure, SetupError};
pub use metrics::WebhookMetrics;
pub use network::Network;
pub use retry::{Next, RetryPlan};
pub use send::{Delivered, Message, Resolver, Sender, SenderConfig};
pub use sign::{SigningKeys, Unverified, verify};
pub use target::Target;
