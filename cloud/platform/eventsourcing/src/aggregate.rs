//! What every business aggregate is: a pure decision and a pure consequence (DESIGN D9).
//!
//! A domain implements [`Aggregate`] in its `command.rs event.rs state.rs decide.rs evolve.rs error.rs`; the one generic
//! shell of `platform/entities` recovers, decides, appends, evolves and only then lets effects happen (I3).

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

/// What a decision may know beside the state and the command: time and ids come in as arguments (I10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Now, ms since 1970 UTC.
    pub now_ms: i64,
    /// Key under which the outcome is remembered: the same key is the same command again.
    pub command_id: String,
    /// Who wants it: `user/ada`, `saga/{id}`, `vehicle/{id}`, `policy/{name}`.
    pub actor: String,
    /// What it belongs to, such as a booking's id.
    pub correlation_id: String,
}

/// The domain says no. Expected, part of the contract; not a fault.
pub trait Refusal: std::error::Error + Send + Sync + 'static {
    /// Stable and machine-readable, kebab-case, such as `already-reserved`. Never renamed.
    fn code(&self) -> &'static str;
}

/// An event as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// `{aggregate}.{past-participle}`, such as `trip.completed`. Never renamed.
    pub event_type: &'static str,
    /// Version of the payload's form, from 1.
    pub schema_version: u16,
    /// postcard.
    pub payload: Vec<u8>,
}

/// A stored event that this program cannot read: a newer program wrote it, or it is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read event {event_type} version {schema_version}: {reason}")]
pub struct Unreadable {
    /// Its type.
    pub event_type: String,
    /// Its form's version.
    pub schema_version: u16,
    /// Why.
    pub reason: String,
}

/// One kind of aggregate.
pub trait Aggregate: Send + Sync + 'static {
    /// `aggregate_type` of its streams, such as `trip`. Never renamed.
    const TYPE: &'static str;
    /// Version of the state's form in snapshots; a snapshot of another version is ignored and the stream replayed.
    const SNAPSHOT_VERSION: u16;

    /// What is known. `Default` is the aggregate before its first event.
    type State: Default + Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync;
    /// An imperative that may be refused.
    type Command: Clone + fmt::Debug + Send + Sync;
    /// A fact.
    type Event: Clone + fmt::Debug + PartialEq + Send + Sync;
    /// A no.
    type Refusal: Refusal;

    /// The facts that follow from a wish; none when it is already so.
    ///
    /// # Errors
    /// When the aggregate's rules forbid it.
    fn decide(
        state: &Self::State,
        command: &Self::Command,
        context: &Context,
    ) -> Result<Vec<Self::Event>, Self::Refusal>;

    /// Takes a fact in. Cannot fail: what was written has happened.
    fn evolve(state: &mut Self::State, event: &Self::Event);

    /// An event as it is stored, in its newest form.
    fn encode(event: &Self::Event) -> Encoded;

    /// A stored event of any form ever written (upcasting older ones).
    ///
    /// # Errors
    /// [`Unreadable`] for an unknown type, a newer version or damaged bytes.
    fn decode(event_type: &str, schema_version: u16, payload: &[u8]) -> Result<Self::Event, Unreadable>;
}
