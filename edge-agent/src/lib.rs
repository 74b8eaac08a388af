//! The vehicle agent: outbox, connection and sources around the sans-IO core.
//!
//! Owns: the segment log, MQTT, the loop that drives a core, the binary `remuda-agent`. Deliberately absent: what an
//! agent decides (`remuda-edge-agent-core`).

pub mod actuators;
pub mod config;
pub mod enroll;
pub mod handles;
pub mod identity;
pub mod io;
pub mod outbox;
pub mod replay;
pub mod runner;
pub mod sources;

pub use actuators::{Actuators, ChoiceMade, CommandKey, Controls, NoActuators, Program};
pub use identity::{Credentials, Enroller, Folder, Identity, ServerUrl, Token, TrustAnchors};
pub use io::{Link, LinkEvent, LinkSettings, Security, ThinMqtt};
pub use outbox::{OutboxError, Profile, Store};
pub use runner::{AgentRunner, Clock, Input, Reading, RunError, Stop};
