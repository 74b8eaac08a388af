//! What a saga does: steps, each an action and its compensation, in stages.
//!
//! From YAML ([`Definitions::load_folder`]) or from code ([`Definition::named`]). A saga carries the definition it was
//! started with in its first event, so this form is stored: change it only by adding a new schema version.

mod build;
mod check;
mod error;
mod registry;
mod yaml;

use serde::{Deserialize, Serialize};

use crate::limits;

pub use build::{DefinitionBuilder, StepBuilder};
pub use error::{DefinitionError, DefinitionErrors, Problem};
pub use registry::Definitions;
pub use yaml::from_yaml;

/// A saga's steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Such as `TripBookingSaga`.
    pub name: String,
    /// From 1. The newest version loaded is the one that new sagas take.
    pub version: u32,
    /// In order; steps of one stage stand together.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in the definition; part of the keys of its calls, and the name of its output.
    pub name: String,
    /// From 0. Steps of the same stage run at the same time.
    pub stage: u16,
    /// What it is.
    pub kind: StepKind,
}

/// What a step is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepKind {
    /// A command to a service.
    Call(Call),
    /// A pause, which survives restarts.
    Timer {
        /// How long, ms.
        wait_ms: u64,
    },
}

/// A command to a service, and the one that undoes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Whom it asks.
    pub service: String,
    /// For what.
    pub action: String,
    /// What undoes it; none for an action that leaves nothing behind.
    pub compensate: Option<String>,
    /// How hard it is tried.
    pub doing: Policy,
    /// How hard the undoing is tried.
    pub undoing: Policy,
}

/// How hard a call is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How long one try may take, ms, 1 to 3,600,000.
    pub deadline_ms: u64,
    /// How often it is tried, from 1.
    pub tries: u16,
    /// Pauses between tries.
    pub back_off: BackOff,
}

/// Pauses between tries: doubling, with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackOff {
    /// After the first failed try, ms.
    pub first_ms: u32,
    /// The longest, ms.
    pub most_ms: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { deadline_ms: limits::DEADLINE_MS, tries: limits::TRIES, back_off: BackOff::default() }
    }
}

impl Default for BackOff {
    fn default() -> Self {
        Self { first_ms: limits::BACK_OFF_FIRST_MS, most_ms: limits::BACK_OFF_MOST_MS }
    }
}

impl Definition {
    /// Begins a definition in code.
    pub fn named(name: &str) -> DefinitionBuilder {
        DefinitionBuilder::new(name)
    }

    /// How many stages it has.
    pub fn stages(&self) -> u16 {
        self.steps.last().map_or(0, |step| step.stage + 1)
    }

    /// The step of this name and its index.
    pub fn step_named(&self, name: &str) -> Option<(u16, &Step)> {
        (0u16..).zip(&self.steps).find(|(_, step)| step.name == name)
    }

    /// The same with other pauses: for tests, which should not wait.
    #[must_use]
    pub fn with_back_off(mut self, first_ms: u32, most_ms: u32) -> Self {
        for step in &mut self.steps {
            if let StepKind::Call(call) = &mut step.kind {
                call.doing.back_off = BackOff { first_ms, most_ms };
                call.undoing.back_off = BackOff { first_ms, most_ms };
            }
        }
        self
    }
}

impl Step {
    /// Its call, unless it is a timer.
    pub fn call(&self) -> Option<&Call> {
        match &self.kind {
            StepKind::Call(call) => Some(call),
            StepKind::Timer { .. } => None,
        }
    }

    /// Whether it leaves something behind that must be undone.
    pub fn has_undo(&self) -> bool {
        self.call().is_some_and(|call| call.compensate.is_some())
    }
}
