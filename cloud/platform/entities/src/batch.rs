//! Commands of one entity decided together: each on the state that those before it leave, all of them in one write.

use std::collections::HashMap;
use std::sync::Arc;

use remuda_eventsourcing::{Aggregate, Caused, Context, Encoded, NewEvent, Refusal, StreamId};
use remuda_model::Epoch;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::entities::{Outcome, Seen, Shared};
use crate::error::AskError;
use crate::limits;
use crate::mailbox::Letter;
use crate::memory::{REFUSED, RefusedEvent, Remembered, refusal};
use crate::recovery::{Loaded, events_between};

type Answer<A> = Result<Outcome<A>, AskError>;

pub(crate) struct Batch<'a, A: Aggregate> {
    shared: &'a Arc<Shared<A>>,
    stream: &'a StreamId,
    loaded: Box<Loaded<A>>,
    events: Vec<NewEvent>,
    /// Outcomes of this batch: it may be larger than the entity's memory.
    fresh: HashMap<String, Remembered>,
    answers: Vec<(oneshot::Sender<Answer<A>>, Answer<A>)>,
    reads: Vec<oneshot::Sender<Result<Seen<A>, AskError>>>,
}

impl<'a, A: Aggregate> Batch<'a, A> {
    pub fn new(shared: &'a Arc<Shared<A>>, stream: &'a StreamId, loaded: Box<Loaded<A>>) -> Self {
        Self {
            shared,
            stream,
            loaded,
            events: Vec::new(),
            fresh: HashMap::new(),
            answers: Vec::new(),
            reads: Vec::new(),
        }
    }

    pub fn epoch(&self) -> Epoch {
        self.loaded.epoch
    }

    pub fn take_events(&mut self) -> Vec<NewEvent> {
        std::mem::take(&mut self.events)
    }

    /// Decides all of it.
    pub async fn decide(&mut self, letters: Vec<Letter<A>>) {
        let before = match self.look_up(&letters).await {
            Ok(before) => before,
            Err(error) => return letters.into_iter().for_each(|letter| letter.fail(error.clone())),
        };
        for (letter, before) in letters.into_iter().zip(before) {
            match letter {
                Letter::Read(reply) => self.reads.push(reply),
                Letter::Ask { command, context, expected, reply } => {
                    let known = self.fresh.get(&context.command_id).cloned().or(before);
                    let answer = match known {
                        Some(known) => self.repeat(known).await,
                        None => self.one(&command, &context, expected),
                    };
                    self.answers.push((reply, answer));
                }
            }
        }
    }

    /// What is remembered of these commands, by the entity or else by the journal. Before any of them is decided, since
    /// deciding one makes the entity forget another.
    async fn look_up(&self, letters: &[Letter<A>]) -> Result<Vec<Option<Remembered>>, AskError> {
        let Loaded { memory, version, .. } = &*self.loaded;
        let mut found: Vec<Option<Remembered>> = letters
            .iter()
            .map(|letter| match letter {
                Letter::Ask { context, .. } => memory.find(&context.command_id).cloned(),
                Letter::Read(_) => None,
            })
            .collect();
        if memory.is_complete() || *version == 0 {
            return Ok(found);
        }
        let unknown: Vec<(usize, String)> = letters
            .iter()
            .enumerate()
            .filter_map(|(i, letter)| match letter {
                Letter::Ask { context, .. } if found[i].is_none() => Some((i, context.command_id.clone())),
                _ => None,
            })
            .collect();
        if unknown.is_empty() {
            return Ok(found);
        }
        let journal = self.shared.shards.journal();
        let failed = |error| AskError::from(&error);
        let ids = unknown.iter().map(|(_, id)| id.clone()).collect();
        let caused = journal.caused_by(self.stream, ids).await.map_err(failed)?;
        for ((i, _), caused) in unknown.into_iter().zip(caused) {
            let Some(Caused { first, last }) = caused else { continue };
            let stored = journal.read_stream(self.stream, first, 1).await.map_err(failed)?;
            let refused = stored.first().filter(|e| e.event.event_type == REFUSED);
            found[i] = refused.and_then(|e| refusal(&e.event)).or(Some(Remembered::Accepted { first, last }));
        }
        Ok(found)
    }

    async fn repeat(&self, known: Remembered) -> Answer<A> {
        match known {
            Remembered::Refused { code, text } => Err(AskError::Refused { code, text }),
            Remembered::Nothing { version } => Ok(Outcome { version, events: Vec::new(), repeated: true }),
            Remembered::Accepted { first, last } => {
                let written = self.loaded.version - self.events.len() as u64;
                let events = if first > written {
                    // A repetition within this batch.
                    let own = self.events.iter().filter(|event| (first..=last).contains(&event.version));
                    own.map(|e| A::decode(&e.event_type, e.schema_version, &e.payload))
                        .collect::<Result<_, _>>()?
                } else {
                    events_between::<A>(&self.shared.shards, self.stream, first, last).await?
                };
                Ok(Outcome { version: last, events, repeated: true })
            }
        }
    }

    fn one(&mut self, command: &A::Command, context: &Context, expected: Option<u64>) -> Answer<A> {
        let current = self.loaded.version;
        if let Some(expected) = expected.filter(|expected| *expected != current) {
            return Err(AskError::VersionMismatch { expected, current });
        }
        let facts = match A::decide(&self.loaded.state, command, context) {
            Ok(facts) => facts,
            Err(refusal) => return Err(self.refused(refusal.code(), &refusal.to_string(), context)),
        };
        let id = &context.command_id;
        if facts.is_empty() {
            self.note(id, Remembered::Nothing { version: current });
            return Ok(Outcome { version: current, events: facts, repeated: false });
        }
        let encoded: Vec<Encoded> = facts.iter().map(A::encode).collect();
        let largest = encoded.iter().map(|e| e.payload.len()).max().unwrap_or_default();
        if facts.len() > limits::EVENTS_PER_COMMAND_MAX || largest > limits::PAYLOAD_BYTES_MAX {
            let (count, most) = (facts.len(), limits::EVENTS_PER_COMMAND_MAX);
            let why = format!(
                "would cause {count} events (at most {most}) of up to {largest} bytes (at most {})",
                limits::PAYLOAD_BYTES_MAX
            );
            return Err(AskError::Invalid { what: "the command", why });
        }
        for (index, (fact, Encoded { event_type, schema_version, payload })) in
            facts.iter().zip(encoded).enumerate()
        {
            self.push(context, index, event_type, schema_version, payload);
            A::evolve(&mut self.loaded.state, fact);
        }
        let last = self.loaded.version;
        self.note(id, Remembered::Accepted { first: current + 1, last });
        Ok(Outcome { version: last, events: facts, repeated: false })
    }

    fn note(&mut self, command_id: &str, outcome: Remembered) {
        self.fresh.insert(command_id.to_owned(), outcome.clone());
        self.loaded.memory.note(command_id, outcome);
    }

    /// Remembers a refusal in the stream, so that a copy of the command that comes later, also after a restart, is not
    /// obeyed after all. One by an entity that has no events yet stays in memory: else anybody could fill the journal by
    /// asking for things that are not there.
    fn refused(&mut self, code: &str, text: &str, context: &Context) -> AskError {
        let (code, text) = (code.to_owned(), text.to_owned());
        if self.loaded.version > 0 && self.shared.settings.durable_refusals {
            let payload = postcard::to_allocvec(&RefusedEvent { code: code.clone(), text: text.clone() });
            if let Ok(payload) = payload {
                self.push(context, 0, REFUSED, 1, payload);
            }
        }
        let outcome = Remembered::Refused { code: code.clone(), text: text.clone() };
        self.note(&context.command_id, outcome);
        AskError::Refused { code, text }
    }

    fn push(
        &mut self,
        context: &Context,
        index: usize,
        event_type: &str,
        schema_version: u16,
        payload: Vec<u8>,
    ) {
        self.loaded.version += 1;
        self.events.push(NewEvent {
            event_id: event_id(self.stream, self.loaded.version, &context.command_id, index),
            stream: self.stream.clone(),
            version: self.loaded.version,
            event_type: event_type.to_owned(),
            schema_version,
            time_ms: context.now_ms,
            causation_id: context.command_id.clone(),
            correlation_id: context.correlation_id.clone(),
            actor: context.actor.clone(),
            payload,
        });
    }

    /// All of it is durable: tells everybody.
    pub fn answer(self) -> Box<Loaded<A>> {
        // Who went away does not need the answer.
        for (reply, answer) in self.answers {
            let _ = reply.send(answer);
        }
        for reply in self.reads {
            let state = self.loaded.state.clone();
            let _ = reply.send(Ok(Seen { version: self.loaded.version, state }));
        }
        self.loaded
    }

    /// Nothing of it is known to be durable, and what was decided on it neither.
    pub fn fail(self, error: &AskError) {
        for (reply, _) in self.answers {
            let _ = reply.send(Err(error.clone()));
        }
        for reply in self.reads {
            let _ = reply.send(Err(error.clone()));
        }
    }
}

/// The same command gives its events the same ids, however often it is tried.
fn event_id(stream: &StreamId, version: u64, command_id: &str, index: usize) -> [u8; 16] {
    let StreamId { organization, aggregate_type, aggregate_id } = stream;
    let mut hash = Sha256::new();
    for part in [organization.as_str(), aggregate_type, aggregate_id, command_id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(version.to_be_bytes());
    hash.update((index as u64).to_be_bytes());
    let digest = hash.finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id
}
