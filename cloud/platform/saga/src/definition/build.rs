//! Definitions from code.

use std::time::Duration;

use super::check::check;
use super::{BackOff, Call, Definition, DefinitionErrors, Policy, Step, StepKind};

/// A definition in the making.
#[derive(Debug, Clone)]
pub struct DefinitionBuilder {
    definition: Definition,
}

/// A step in the making: a call.
#[derive(Debug, Clone)]
pub struct StepBuilder {
    name: String,
    call: Call,
}

impl DefinitionBuilder {
    pub(super) fn new(name: &str) -> Self {
        Self { definition: Definition { name: name.to_owned(), version: 1, steps: Vec::new() } }
    }

    /// Its version, from 1.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.definition.version = version;
        self
    }

    /// One more step, after all before it.
    #[must_use]
    pub fn step(self, step: StepBuilder) -> Self {
        self.parallel([step])
    }

    /// Steps that run at the same time, after all before them.
    #[must_use]
    pub fn parallel(mut self, steps: impl IntoIterator<Item = StepBuilder>) -> Self {
        let stage = self.definition.stages();
        let steps =
            steps.into_iter().map(|step| Step { name: step.name, stage, kind: StepKind::Call(step.call) });
        self.definition.steps.extend(steps);
        self
    }

    /// A pause.
    #[must_use]
    pub fn timer(mut self, name: &str, wait: Duration) -> Self {
        let stage = self.definition.stages();
        let kind = StepKind::Timer { wait_ms: millis(wait) };
        self.definition.steps.push(Step { name: name.to_owned(), stage, kind });
        self
    }

    /// The definition.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn build(self) -> Result<Definition, DefinitionErrors> {
        check(&self.definition, "code")?;
        Ok(self.definition)
    }
}

impl StepBuilder {
    /// A command to a service; the step is called like the action.
    pub fn call(service: &str, action: &str) -> Self {
        Self {
            name: action.to_owned(),
            call: Call {
                service: service.to_owned(),
                action: action.to_owned(),
                compensate: None,
                doing: Policy::default(),
                undoing: Policy::default(),
            },
        }
    }

    /// Another name for the step.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// What undoes it.
    #[must_use]
    pub fn undone_by(mut self, action: &str) -> Self {
        self.call.compensate = Some(action.to_owned());
        self
    }

    /// How long one try may take, doing and undoing.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.call.doing.deadline_ms = millis(deadline);
        self.call.undoing.deadline_ms = millis(deadline);
        self
    }

    /// How often it is tried, doing and undoing.
    #[must_use]
    pub fn tries(mut self, tries: u16) -> Self {
        self.call.doing.tries = tries;
        self.call.undoing.tries = tries;
        self
    }

    /// The first and the longest pause between tries, ms, doing and undoing.
    #[must_use]
    pub fn back_off(mut self, first_ms: u32, most_ms: u32) -> Self {
        self.call.doing.back_off = BackOff { first_ms, most_ms };
        self.call.undoing.back_off = BackOff { first_ms, most_ms };
        self
    }

    /// How hard only the undoing is tried.
    #[must_use]
    pub fn undoing(mut self, policy: Policy) -> Self {
        self.call.undoing = policy;
        self
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
