//! The vehicle agent: outbox, connection and sources around the sans-IO core.
//!
//! Owns: the segment log, MQTT, the loop that drives a core, the binary `remuda-agent`. Deliberately absent: what an
//! agent decides (`remuda-edge-agent-core`).

pub mod outbox;
