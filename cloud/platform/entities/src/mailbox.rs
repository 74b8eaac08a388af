//! What waits for an entity. ractor's own mailboxes have no bound and cannot be taken from in batches, so commands wait
//! here, and the actor is only woken.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use ractor::ActorRef;
use remuda_eventsourcing::{Aggregate, Context};
use tokio::sync::oneshot;

use crate::actor::Message;
use crate::entities::{Outcome, Seen};
use crate::error::AskError;
use crate::limits;

/// Something for an entity to do.
pub(crate) enum Letter<A: Aggregate> {
    Ask {
        command: A::Command,
        context: Context,
        expected: Option<u64>,
        reply: oneshot::Sender<Result<Outcome<A>, AskError>>,
    },
    Read(oneshot::Sender<Result<Seen<A>, AskError>>),
}

impl<A: Aggregate> Letter<A> {
    /// Whether nobody waits for it any more.
    pub fn is_abandoned(&self) -> bool {
        match self {
            Self::Ask { reply, .. } => reply.is_closed(),
            Self::Read(reply) => reply.is_closed(),
        }
    }

    pub fn fail(self, error: AskError) {
        // Who went away does not need the answer.
        match self {
            Self::Ask { reply, .. } => drop(reply.send(Err(error))),
            Self::Read(reply) => drop(reply.send(Err(error))),
        }
    }
}

struct Queue<A: Aggregate> {
    letters: VecDeque<Letter<A>>,
    /// The actor is working, or has been told to.
    awake: bool,
    /// The actor has left: look for a new one.
    closed: bool,
    /// The actor has been asked to leave, and has not answered.
    asked: bool,
}

pub(crate) struct Mailbox<A: Aggregate> {
    queue: Mutex<Queue<A>>,
    actor: OnceLock<ActorRef<Message>>,
    /// Seconds since the start of its `Entities`.
    used: AtomicU64,
}

/// What became of a letter.
pub(crate) enum Posted<A: Aggregate> {
    Taken,
    Full,
    /// The entity has left the memory meanwhile.
    Closed(Letter<A>),
}

impl<A: Aggregate> Mailbox<A> {
    pub fn new(now: u64) -> Self {
        let queue = Queue { letters: VecDeque::new(), awake: true, closed: false, asked: false };
        Self { queue: Mutex::new(queue), actor: OnceLock::new(), used: AtomicU64::new(now) }
    }

    /// Tells it who empties it, and wakes that.
    pub fn opened_by(&self, actor: ActorRef<Message>) {
        let _ = actor.cast(Message::Wake);
        let _ = self.actor.set(actor);
    }

    pub fn post(&self, letter: Letter<A>, now: u64) -> Posted<A> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Posted::Closed(letter);
        }
        if queue.letters.len() >= limits::MAILBOX_MAX {
            return Posted::Full;
        }
        queue.letters.push_back(letter);
        self.used.store(now, Ordering::Relaxed);
        if !queue.awake {
            queue.awake = true;
            if let Some(actor) = self.actor.get() {
                let _ = actor.cast(Message::Wake);
            }
        }
        Posted::Taken
    }

    /// The next letters; none puts the entity to sleep.
    pub fn take(&self) -> Vec<Letter<A>> {
        let mut queue = self.queue.lock();
        if queue.letters.is_empty() {
            queue.awake = false;
            // An idle entity holds no empty queue.
            queue.letters = VecDeque::new();
            return Vec::new();
        }
        let count = queue.letters.len().min(limits::BATCH_MAX);
        queue.letters.drain(..count).collect()
    }

    /// Asks the actor to leave, if nothing was asked of it since `before`.
    pub fn passivate(&self, before: u64) {
        if self.used.load(Ordering::Relaxed) > before {
            return;
        }
        {
            let mut queue = self.queue.lock();
            if queue.awake || queue.asked {
                return;
            }
            queue.asked = true;
        }
        if let Some(actor) = self.actor.get() {
            let _ = actor.cast(Message::Passivate);
        }
    }

    /// Closes it if nothing waits.
    pub fn close_if_idle(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.asked = false;
        if queue.awake || !queue.letters.is_empty() {
            return false;
        }
        queue.closed = true;
        true
    }

    /// Closes it; who waits gets no answer, and asks again.
    pub fn close(&self) {
        let left = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            std::mem::take(&mut queue.letters)
        };
        drop(left);
    }
}
