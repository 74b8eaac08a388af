//! What is wrong with a definition, where, and what to do about it.

use std::fmt;

use crate::limits;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {}{problem}", .step.as_ref().map(|s| format!("step \"{s}\": ")).unwrap_or_default())]
pub struct DefinitionError {
    /// The file, or `code`.
    pub origin: String,
    /// The step, by its name or, where it has none, by its place.
    pub step: Option<String>,
    /// What.
    #[source]
    pub problem: Problem,
}

/// All that is wrong, so that people need not find it one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionErrors(pub Vec<DefinitionError>);

impl fmt::Display for DefinitionErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if place == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for DefinitionErrors {}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot be read: {0}; check that the path is right and the file readable")]
    Unreadable(String),
    /// The file is no YAML, or has other fields.
    #[error("is not a saga definition: {0}")]
    Form(String),
    /// No steps.
    #[error("the saga \"{0}\" has no steps; give it at least one below \"steps:\"")]
    Empty(String),
    /// Too many steps.
    #[error("there are {0} steps, at most {max} are taken; split the saga", max = limits::STEPS_MAX)]
    TooManySteps(usize),
    /// A name that cannot be part of a key.
    #[error(
        "the {what} \"{name}\" is not a name: 1 to {max} letters, digits, '.', '-' or '_'",
        max = limits::NAME_BYTES_MAX
    )]
    Name {
        /// Of what.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A version of 0.
    #[error("the version is 0; versions count from 1")]
    Version,
    /// A step is none of the three kinds, or more than one.
    #[error(
        "needs either \"service\" and \"action\", or \"timer\", or \"parallel\", and not more than one of them"
    )]
    Kind,
    /// A field that this kind of step does not have.
    #[error("\"{field}\" does not go with \"{kind}\"; take it out")]
    Misplaced {
        /// The field.
        field: &'static str,
        /// Beside what.
        kind: &'static str,
    },
    /// A group inside a group.
    #[error("a parallel group cannot hold another one; put its steps into the outer group")]
    Nested,
    /// A group of less than two.
    #[error("the parallel group has {0} steps, it needs at least two")]
    Group(usize),
    /// Two steps of one name.
    #[error(
        "an earlier step has this name; steps are told apart by name, so give this one a \"name\" of its own"
    )]
    Duplicate,
    /// A deadline out of range.
    #[error("the {what} is {ms} ms; it must be more than zero and at most an hour, such as \"10s\"")]
    Deadline {
        /// Of what.
        what: &'static str,
        /// What it says, ms.
        ms: u64,
    },
    /// Tries out of range.
    #[error("{what} is {tries}; it must be 1 to {max}", max = limits::TRIES_MAX)]
    Tries {
        /// Of what.
        what: &'static str,
        /// What it says.
        tries: u64,
    },
    /// Pauses that make no sense.
    #[error(
        "the {what} goes from {first_ms} ms to {most_ms} ms; it must go from at least 1 ms up, to an hour at most"
    )]
    BackOff {
        /// Of what.
        what: &'static str,
        /// First pause, ms.
        first_ms: u64,
        /// Longest pause, ms.
        most_ms: u64,
    },
    /// A timer out of range.
    #[error("the timer is {ms} ms; it must be more than zero and at most 90 days, such as \"15m\"")]
    Timer {
        /// What it says, ms.
        ms: u64,
    },
    /// Nobody offers this service.
    #[error("there is no service \"{service}\"; there are: {known}")]
    UnknownService {
        /// Asked for.
        service: String,
        /// Those that exist.
        known: String,
    },
    /// The service has no such action.
    #[error("the service \"{service}\" has no action \"{action}\"; it has: {known}")]
    UnknownAction {
        /// Of this service.
        service: String,
        /// Asked for.
        action: String,
        /// Those that exist.
        known: String,
    },
    /// The action must be undone and nothing says how.
    #[error("the action \"{action}\" leaves something behind and needs \"compensate: {by}\"")]
    MissingCompensation {
        /// The action.
        action: String,
        /// What undoes it.
        by: String,
    },
    /// Something else undoes the action.
    #[error("\"{given}\" does not undo \"{action}\"; say \"compensate: {by}\"")]
    WrongCompensation {
        /// The action.
        action: String,
        /// What the definition says.
        given: String,
        /// What the service says.
        by: String,
    },
    /// Two definitions of one name and version.
    #[error(
        "version {version} of \"{name}\" was already read from {other}; raise \"version\", sagas under way keep theirs"
    )]
    Repeated {
        /// Name.
        name: String,
        /// Version.
        version: u32,
        /// Where the first is.
        other: String,
    },
}
