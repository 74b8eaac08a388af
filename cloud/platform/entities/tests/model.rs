//! The shell against a model of what it promises, under random commands, repetitions, restarts and departures.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;
use remuda_entities::{AskError, Entities, EntityMetrics, Settings, Shards};
use remuda_eventsourcing::testing::{Tally, TallyCommand, TallyEvent, TallyState, context};
use remuda_eventsourcing::{Aggregate, Context, Journal, MemoryJournal, Refusal, StreamId};
use remuda_model::OrganizationId;

#[derive(Debug, Clone)]
enum Step {
    /// Asked at the same time, of one entity.
    Ask(u8, Vec<(u8, TallyCommand)>),
    Restart,
    Leave,
}

fn command() -> impl Strategy<Value = TallyCommand> {
    prop_oneof![
        6 => (-4_i64..6).prop_map(TallyCommand::Add),
        2 => (0_u32..4).prop_map(TallyCommand::AddOnes),
        1 => Just(TallyCommand::Close),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0_u8..3, prop::collection::vec((0_u8..60, command()), 1..6)).prop_map(|(e, c)| Step::Ask(e, c)),
        1 => Just(Step::Restart),
        1 => Just(Step::Leave),
    ]
}

/// What a command may be answered: version and events, or the refusal's code.
type Answer = Result<(u64, Vec<TallyEvent>), String>;

#[derive(Default)]
struct Model {
    version: u64,
    state: TallyState,
    /// Answers that hold for ever.
    durable: HashMap<u8, Answer>,
    /// Answers that hold while the entity remembers them.
    fleeting: HashMap<u8, Answer>,
}

impl Model {
    /// Whether the shell may answer this, and what is so after it. `stored`: the journal has an outcome of it.
    fn agrees(&mut self, id: u8, command: &TallyCommand, said: &Answer, stored: bool) -> bool {
        if let Some(before) = self.durable.get(&id) {
            return before == said;
        }
        // Either the same again or, when the entity forgot, decided anew. A refusal sounds the same both times; only the
        // journal tells whether it was decided anew, and is remembered for ever now.
        let is_the_same_again = match said {
            Ok((_, events)) => events.is_empty(),
            Err(_) => !stored,
        };
        if self.fleeting.get(&id) == Some(said) && is_the_same_again {
            return true;
        }
        let decided = Tally::decide(&self.state, command, &context());
        let answer = match decided {
            Err(refusal) => {
                let answer = Err(refusal.code().to_owned());
                if self.version > 0 {
                    self.version += 1;
                    self.durable.insert(id, answer.clone());
                } else {
                    self.fleeting.insert(id, answer.clone());
                }
                answer
            }
            Ok(events) => {
                self.version += events.len() as u64;
                events.iter().for_each(|event| Tally::evolve(&mut self.state, event));
                let answer = Ok((self.version, events.clone()));
                let kept = if events.is_empty() { &mut self.fleeting } else { &mut self.durable };
                kept.insert(id, answer.clone());
                answer
            }
        };
        answer == *said
    }
}

async fn start(journal: &Arc<dyn Journal>) -> Entities<Tally> {
    let shards = Shards::take_all(Arc::clone(journal), EntityMetrics::default()).await.expect("taken");
    let settings = Settings { snapshot_every: 5, ..Settings::default() };
    Entities::start(&shards, settings).await.expect("started")
}

async fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::in_place());
    let mut tallies = start(&journal).await;
    let mut models: HashMap<u8, Model> = HashMap::new();
    let organization = OrganizationId::default();
    for step in steps {
        match step {
            Step::Ask(entity, commands) => {
                let name = format!("t{entity}");
                let asks = commands.iter().map(|(id, command)| {
                    let context = Context { command_id: format!("c{id}"), ..context() };
                    tallies.ask(&organization, &name, command.clone(), context)
                });
                let mut answers = Vec::new();
                // Polled in their order, so that they are posted in it.
                let mut pinned: Vec<_> = asks.map(Box::pin).collect();
                for ask in &mut pinned {
                    tokio::select! { biased; answer = ask.as_mut() => answers.push(Some(answer)), () = std::future::ready(()) => answers.push(None) }
                }
                for (ask, answer) in pinned.into_iter().zip(&mut answers) {
                    if answer.is_none() {
                        *answer = Some(ask.await);
                    }
                }
                let stream = StreamId {
                    organization,
                    aggregate_type: Tally::TYPE.to_owned(),
                    aggregate_id: name.clone(),
                };
                let events = journal.read_stream(&stream, 1, 10_000).await.expect("read");
                let model = models.entry(entity).or_default();
                for ((id, command), answer) in commands.iter().zip(answers.into_iter().flatten()) {
                    let said: Answer = match answer {
                        Ok(outcome) => Ok((outcome.version, outcome.events)),
                        Err(AskError::Refused { code, .. }) => Err(code),
                        Err(other) => return Err(TestCaseError::fail(other.to_string())),
                    };
                    let stored = events.iter().any(|event| event.event.causation_id == format!("c{id}"));
                    prop_assert!(
                        model.agrees(*id, command, &said, stored),
                        "c{id} {command:?} was answered {said:?}"
                    );
                }
                let seen = tallies.read(&organization, &name).await.expect("read");
                prop_assert_eq!((seen.version, &seen.state), (model.version, &model.state));
            }
            Step::Restart | Step::Leave => {
                tallies.drain().await;
                tallies = start(&journal).await;
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_shell_keeps_its_promises(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("made");
        runtime.block_on(run(steps))?;
    }
}

/// What CI found: refused before the first event, forgotten by a restart, refused anew and remembered from then on.
#[test]
fn a_refusal_that_was_forgotten_is_decided_anew() {
    let steps = vec![
        Step::Ask(0, vec![(45, TallyCommand::Add(-1)), (0, TallyCommand::Add(1))]),
        Step::Restart,
        Step::Ask(0, vec![(0, TallyCommand::Add(0))]),
        Step::Ask(0, vec![(45, TallyCommand::Add(-2))]),
        Step::Ask(0, vec![(45, TallyCommand::Add(1))]),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("made");
    runtime.block_on(run(steps)).expect("as promised");
}
