//! Durable sagas (DESIGN D7): steps in other aggregates that either all happen or are undone, whatever crashes.
//!
//! Owns: definitions (YAML and code), the pure machine, the runner that carries it out, what an operator may do with a
//! saga that is stuck, and the stock tests for every definition. Deliberately absent: any business rule, and any
//! knowledge of what a step does: services are given to it ([`Service`]).
//!
//! A saga ends completed, or fully compensated, or visibly stuck (I6).

pub mod aggregate;
pub mod definition;
mod entity_host;
pub mod host;
pub mod index;
pub mod limits;
pub mod memory;
pub mod metrics;
mod runner;
pub mod service;
pub mod testing;
pub mod timeline;

pub use aggregate::{Command, Phase, Saga, SagaEvent, SagaRefusal, State};
pub use definition::{Definition, DefinitionError, DefinitionErrors, Definitions, StepBuilder};
pub use entity_host::EntityHost;
pub use host::{Executed, HostError, Recorded, SagaHost, SagaId};
pub use metrics::SagaMetrics;
pub use runner::{Filter, Requester, SagaError, Sagas, Settings, Status, StepSummary, Summary};
pub use service::{ActionSpec, Service, Services, StepContext, StepError};
pub use timeline::{Entry, timeline};
