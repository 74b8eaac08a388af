//! Given these events, when this command, then those events: how the rules of an aggregate are told as tests.

use crate::aggregate::{Aggregate, Context, Encoded, Refusal};

/// A context for tests: a fixed time and names. Change what a test is about.
pub fn context() -> Context {
    Context {
        now_ms: 1_700_000_000_000,
        command_id: "command-1".into(),
        actor: "user/tester".into(),
        correlation_id: "correlation-1".into(),
    }
}

/// An aggregate with this past.
///
/// ```text
/// given::<Trip>([requested()]).when(Command::Cancel { .. }).then([Event::Cancelled { .. }]);
/// given::<Trip>([requested(), completed()]).when(Command::Cancel { .. }).then_refused("already-completed");
/// ```
pub fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Scenario<A> {
    let mut scenario = Scenario { state: A::State::default(), past: Vec::new(), context: context() };
    scenario.happened(events.into_iter().collect());
    scenario
}

/// A past, and the context of the next command.
pub struct Scenario<A: Aggregate> {
    state: A::State,
    past: Vec<A::Event>,
    context: Context,
}

impl<A: Aggregate> Scenario<A> {
    fn happened(&mut self, events: Vec<A::Event>) {
        for event in events {
            kept::<A>(&event);
            A::evolve(&mut self.state, &event);
            self.past.push(event);
        }
        let snapshot = postcard::to_allocvec(&self.state).expect("a state can be put into a snapshot");
        let restored: A::State = postcard::from_bytes(&snapshot).expect("a snapshot can be read");
        assert_eq!(restored, self.state, "a state is the same after a snapshot");
    }

    /// The next command comes at this time, ms since 1970 UTC.
    #[must_use]
    pub fn at(mut self, now_ms: i64) -> Self {
        self.context.now_ms = now_ms;
        self
    }

    /// The next command comes from this actor, such as `vehicle/V1`.
    #[must_use]
    pub fn by(mut self, actor: &str) -> Self {
        self.context.actor = actor.into();
        self
    }

    /// The next command has this id.
    #[must_use]
    pub fn with_id(mut self, command_id: &str) -> Self {
        self.context.command_id = command_id.into();
        self
    }

    /// The next command belongs to this.
    #[must_use]
    pub fn correlated(mut self, correlation_id: &str) -> Self {
        self.context.correlation_id = correlation_id.into();
        self
    }

    /// What is known by now.
    pub fn state(&self) -> &A::State {
        &self.state
    }

    /// Looks at the state.
    ///
    /// # Panics
    /// When `holds` is false.
    #[must_use]
    pub fn then_state(self, holds: impl FnOnce(&A::State) -> bool) -> Self {
        assert!(holds(&self.state), "the state is not as expected: {:#?}", self.state);
        self
    }

    /// Somebody wants this.
    #[must_use]
    pub fn when(self, command: A::Command) -> Decided<A> {
        let outcome = A::decide(&self.state, &command, &self.context);
        let again = A::decide(&self.state, &command, &self.context);
        match (&outcome, &again) {
            (Ok(one), Ok(two)) => assert_eq!(one, two, "a decision depends on its arguments alone"),
            (Err(one), Err(two)) => {
                assert_eq!(one.code(), two.code(), "a refusal depends on its arguments alone")
            }
            _ => panic!("{command:?} was once refused and once not, in the same state"),
        }
        Decided { scenario: self, command, outcome }
    }
}

/// What came of a command.
pub struct Decided<A: Aggregate> {
    scenario: Scenario<A>,
    command: A::Command,
    outcome: Result<Vec<A::Event>, A::Refusal>,
}

impl<A: Aggregate> Decided<A> {
    /// It caused exactly these events. Answers the scenario after them, for the next command.
    ///
    /// # Panics
    /// When it caused others, or was refused.
    pub fn then(self, expected: impl IntoIterator<Item = A::Event>) -> Scenario<A> {
        let Self { mut scenario, command, outcome } = self;
        let expected: Vec<A::Event> = expected.into_iter().collect();
        match outcome {
            Ok(events) => assert_eq!(events, expected, "after {:?}, {command:?}", scenario.past),
            Err(refusal) => {
                panic!("after {:?}, {command:?} was refused: {} ({refusal})", scenario.past, refusal.code())
            }
        }
        scenario.happened(expected);
        scenario
    }

    /// It caused events of which this is true: for events that carry what the test does not care for.
    ///
    /// # Panics
    /// When it is not true, or the command was refused.
    pub fn then_events(self, holds: impl FnOnce(&[A::Event]) -> bool) -> Scenario<A> {
        let Self { mut scenario, command, outcome } = self;
        match outcome {
            Ok(events) => {
                assert!(holds(&events), "after {:?}, {command:?} caused {events:#?}", scenario.past);
                scenario.happened(events);
            }
            Err(refusal) => {
                panic!("after {:?}, {command:?} was refused: {} ({refusal})", scenario.past, refusal.code())
            }
        }
        scenario
    }

    /// It was so already.
    ///
    /// # Panics
    /// When something happened.
    pub fn then_nothing(self) -> Scenario<A> {
        self.then([])
    }

    /// It was refused with this code.
    ///
    /// # Panics
    /// When it was not, or with another code.
    pub fn then_refused(self, code: &str) -> Scenario<A> {
        let Self { scenario, command, outcome } = self;
        match outcome {
            Err(refusal) => {
                assert_eq!(refusal.code(), code, "after {:?}, {command:?}: {refusal}", scenario.past);
                stable_code(refusal.code());
            }
            Ok(events) => {
                panic!("after {:?}, {command:?} was not refused but caused {events:#?}", scenario.past)
            }
        }
        scenario
    }

    /// The outcome itself.
    pub fn outcome(self) -> Result<Vec<A::Event>, A::Refusal> {
        self.outcome
    }
}

fn stable_code(code: &str) {
    let kebab = code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    assert!(kebab && !code.is_empty(), "a refusal's code is kebab-case: {code:?}");
}

/// What is written can be read, and its name is one of this aggregate's.
fn kept<A: Aggregate>(event: &A::Event) {
    let Encoded { event_type, schema_version, payload } = A::encode(event);
    assert!(schema_version >= 1, "versions of forms begin at 1: {event_type}");
    assert!(
        event_type.strip_prefix(A::TYPE).is_some_and(|rest| rest.starts_with('.')),
        "{event_type} is not called {}.<past participle>",
        A::TYPE
    );
    let read = A::decode(event_type, schema_version, &payload).expect("what was written can be read");
    assert_eq!(&read, event, "what was written is read as it was");
}
