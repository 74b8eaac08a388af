//! The people's door: gRPC services and the web map, on one port.
//!
//! Owns: the vehicle service over [`FleetView`](remuda_contracts::fleet::FleetView), filters, pages, watches, the token, TLS, health
//! and reflection, `/health`, `/ready`, `/metrics`, the roads and the web app. Deliberately absent: any state of its own
//! that matters (the mirror is a cache), and vehicles' connections (`remuda-ingress`).

mod alerts;
mod approvals;
mod around;
mod assistance;
mod audit;
mod audits;
mod business;
mod columns;
mod commands;
mod connection;
mod convert;
mod feeds;
mod filter;
mod fleet_status;
mod follow;
mod front;
mod gate;
mod geofences;
mod groups;
mod held;
mod history;
mod identities;
pub mod limits;
mod metrics;
mod mirror;
mod order;
mod page;
mod pages;
mod partial;
mod policies;
mod precision;
mod refusal;
mod rest;
mod scope;
mod seats;
mod server;
mod service;
mod sight;
mod system;
mod time;
mod tls;
mod token;
mod watch;

pub use filter::{Filter, FilterError};
pub use gate::Access;
pub use identities::Identities;
pub use metrics::ConsoleMetrics;
pub use mirror::Mark;
pub use page::PageToken;
pub use pages::{MetricsText, Readiness, Roads};
pub use server::{Console, ConsoleError, ConsoleSettings, ConsoleSources};
pub use system::ProcessSource;
pub use tls::{ClientTrust, ConsoleTls, ConsoleTlsError, ConsoleTlsFiles};
pub use token::{Token, TokenError};
