//! An exhaustive model of the uplink's rules (docs/uplink.md, docs/adr/0008).
//!
//! Owns: an explorer of explicit states, a model of vehicle, link and cloud (`link`), a model of rounds, owners and
//! decisions (`rounds`). Each rule of the protocol can be taken out, and then the explorer must find a trace that
//! breaks it. Deliberately absent: bytes, times, sizes: only who knows what, in every order.

pub mod explorer;
pub mod link;
pub mod rounds;
