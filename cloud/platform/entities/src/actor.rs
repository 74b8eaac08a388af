//! The actor of one entity: recover, decide, append, evolve, answer (D9). It knows no domain.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use remuda_eventsourcing::{Aggregate, StreamId};

use crate::batch::Batch;
use crate::entities::{Key, Shared};
use crate::error::AskError;
use crate::limits;
use crate::mailbox::{Letter, Mailbox};
use crate::recovery::{Loaded, load, to_snapshot};

pub(crate) enum Message {
    /// There are letters.
    Wake,
    /// Leave, if there are none.
    Passivate,
}

pub(crate) struct EntityActor<A>(pub PhantomData<fn() -> A>);

/// An entity's place in its `Entities`; however it ends, the place is cleared.
pub(crate) struct Tenancy<A: Aggregate> {
    pub shared: Arc<Shared<A>>,
    pub key: Arc<Key>,
    pub mailbox: Arc<Mailbox<A>>,
    /// It leaves because it was idle, not because it broke.
    pub leaving: bool,
}

impl<A: Aggregate> Drop for Tenancy<A> {
    fn drop(&mut self) {
        self.shared.left(&self.key, &self.mailbox, !self.leaving);
        self.mailbox.close();
    }
}

pub(crate) struct Tenant<A: Aggregate> {
    pub tenancy: Tenancy<A>,
    pub loaded: Option<Box<Loaded<A>>>,
}

impl<A: Aggregate> Actor for EntityActor<A> {
    type Msg = Message;
    type State = Tenant<A>;
    type Arguments = Tenancy<A>;

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        tenancy: Tenancy<A>,
    ) -> Result<Tenant<A>, ActorProcessingErr> {
        Ok(Tenant { tenancy, loaded: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        tenant: &mut Tenant<A>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            // Boxed: the future of an idle actor's task holds room for its largest handler.
            Message::Wake => Box::pin(tenant.work()).await?,
            Message::Passivate => {
                if tenant.tenancy.mailbox.close_if_idle() {
                    let Tenancy { shared, key, mailbox, leaving } = &mut tenant.tenancy;
                    *leaving = true;
                    // At once: whoever asks now must find a new place, not this closed one.
                    shared.left(key, mailbox, false);
                    tenant.leave();
                    let _ = myself.drain();
                }
            }
        }
        Ok(())
    }
}

impl<A: Aggregate> Tenant<A> {
    fn stream(&self) -> StreamId {
        self.tenancy.key.stream::<A>()
    }

    /// Answers letters until there are none.
    async fn work(&mut self) -> Result<(), AskError> {
        loop {
            let letters = self.tenancy.mailbox.take();
            if letters.is_empty() {
                return Ok(());
            }
            // Who gave up need not be served; whether it was is not known to them anyway.
            let letters: Vec<Letter<A>> = letters.into_iter().filter(|l| !l.is_abandoned()).collect();
            match self.loaded().await {
                Ok(loaded) => self.decide(loaded, letters).await,
                Err(error) => {
                    letters.into_iter().for_each(|letter| letter.fail(error.clone()));
                    if !matches!(error, AskError::Unavailable { .. }) {
                        // Its past cannot be read: it waits for longer and longer, and is told of.
                        return Err(error);
                    }
                }
            }
        }
    }

    /// The entity as of its shard's present epoch.
    async fn loaded(&mut self) -> Result<Box<Loaded<A>>, AskError> {
        let shared = &self.tenancy.shared;
        let shard = self.tenancy.key.shard;
        let Some(epoch) = shared.shards.epoch(shard) else {
            self.loaded = None;
            shared.shards.revive(shard);
            return Err(AskError::unavailable(format!("shard {shard} is not owned by this node")));
        };
        if let Some(loaded) = self.loaded.take_if(|loaded| loaded.epoch == epoch) {
            return Ok(loaded);
        }
        let begun = Instant::now();
        let permit = shared.activations.acquire().await;
        let loaded = load::<A>(&shared.shards, &self.stream(), epoch).await?;
        drop(permit);
        shared.metrics().activated(A::TYPE, begun.elapsed());
        Ok(Box::new(loaded))
    }

    /// Decides letters on one state, appends what follows in one write, and only then answers. After a write that did not
    /// succeed the entity is read again.
    async fn decide(&mut self, loaded: Box<Loaded<A>>, letters: Vec<Letter<A>>) {
        let shared = Arc::clone(&self.tenancy.shared);
        let stream = self.stream();
        let mut batch = Batch::new(&shared, &stream, loaded);
        batch.decide(letters).await;
        let shard = self.tenancy.key.shard;
        let events = batch.take_events();
        let result = match events.is_empty() {
            true => Ok(()),
            false => shared.shards.append(shard, batch.epoch(), events).await,
        };
        match result {
            Ok(()) => {
                let mut loaded = batch.answer();
                if loaded.version >= loaded.snapshot + shared.settings.snapshot_every {
                    self.snapshot(&mut loaded);
                }
                self.loaded = Some(loaded);
            }
            Err(error) => batch.fail(&AskError::unavailable(error.to_string())),
        }
    }

    fn leave(&mut self) {
        self.tenancy.shared.metrics().passivated(A::TYPE);
        if let Some(mut loaded) = self.loaded.take()
            && loaded.version > loaded.snapshot + limits::SNAPSHOT_WHEN_LEAVING
        {
            self.snapshot(&mut loaded);
        }
    }

    /// Writes a snapshot beside the entity's work: losing one costs a longer activation, nothing else.
    fn snapshot(&self, loaded: &mut Loaded<A>) {
        let shared = &self.tenancy.shared;
        let Ok(permit) = Arc::clone(&shared.snapshots).try_acquire_owned() else { return };
        let snapshot = match to_snapshot::<A>(loaded.version, &loaded.state) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                tracing::error!(%error, kind = A::TYPE, "a state cannot be put into a snapshot");
                return;
            }
        };
        loaded.snapshot = loaded.version;
        let (shards, shard, epoch) = (Arc::clone(&shared.shards), self.tenancy.key.shard, loaded.epoch);
        let stream = self.stream();
        tokio::spawn(async move {
            let _permit = permit;
            match shards.snapshot(shard, epoch, stream, snapshot).await {
                Ok(_) => shards.metrics().snapshot(A::TYPE),
                Err(error) => tracing::warn!(%error, kind = A::TYPE, "a snapshot was not written"),
            }
        });
    }
}
