//! Every feed of a node: registered, started, shown, stopped.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use remuda_model::OrganizationId;
use remuda_webhooks::{AddressRules, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;

use crate::cursor::{Cursor, TokenError};
use crate::error::FeedError;
use crate::filter::Filter;
use crate::limits;
use crate::metrics::FeedMetrics;
use crate::reader::{Reader, now_ms};
use crate::runner::{Desired, Patience, Phase, Runner, Status};
use crate::seal::Seal;
use crate::sink::sink_of;
use crate::source::Source;
use crate::spec::{FeedSpec, Start};
use crate::store::{DeadLetter, FeedFolder, Registered, cursor_seal, era};

/// How feeds work.
#[derive(Clone)]
pub struct FeedSettings {
    /// Where they are registered.
    pub folder: PathBuf,
    /// What calls webhooks.
    pub sender: Sender,
    /// Which addresses of servers and brokers may be reached.
    pub addresses: AddressRules,
    /// Longest time a sink may take for a batch.
    pub send_within: Duration,
    /// First and longest pause before a sink is tried again.
    pub retry: (Duration, Duration),
}

impl FeedSettings {
    /// The usual numbers.
    pub const fn new(folder: PathBuf, sender: Sender, addresses: AddressRules) -> Self {
        Self { folder, sender, addresses, send_within: limits::SEND_WITHIN, retry: limits::RETRY }
    }
}

/// A feed as it is shown; its secrets are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedView {
    /// What is registered.
    pub spec: FeedSpec,
    /// When, ms since 1970 UTC.
    pub created_ms: i64,
    /// By whom.
    pub created_by: String,
    /// How it is.
    pub status: Status,
    /// Dead letters that wait.
    pub dead_letters: u64,
}

type Key = (OrganizationId, String);

struct Running {
    registered: Registered,
    folder: FeedFolder,
    status: Arc<Mutex<Status>>,
    desired: watch::Sender<Desired>,
    letters: Arc<tokio::sync::Mutex<()>>,
    task: JoinHandle<()>,
}

struct Inner {
    settings: FeedSettings,
    /// Gone when the node stops.
    source: Mutex<Option<Arc<Source>>>,
    metrics: FeedMetrics,
    running: tokio::sync::Mutex<BTreeMap<Key, Running>>,
    streams: Arc<Semaphore>,
    era: u64,
    seal: Seal,
}

/// The feeds of a node. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Feeds(Arc<Inner>);

/// A stream for a client that keeps its cursor itself.
pub struct FeedStream {
    /// What it reads.
    pub reader: Reader,
    metrics: FeedMetrics,
    _place: OwnedSemaphorePermit,
}

impl Drop for FeedStream {
    fn drop(&mut self) {
        self.metrics.stream_closed();
    }
}

fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FeedError> + Send + 'static,
) -> impl Future<Output = Result<T, FeedError>> {
    let task = tokio::task::spawn_blocking(work);
    async move {
        let gone = |e: tokio::task::JoinError| FeedError::Files {
            operation: "used",
            source: std::io::Error::other(e),
        };
        task.await.map_err(gone)?
    }
}

impl Feeds {
    /// Opens what is registered and starts it.
    ///
    /// # Errors
    /// When the files cannot be read, or what stands in them cannot be used.
    pub async fn open(
        settings: FeedSettings,
        source: Arc<Source>,
        metrics: FeedMetrics,
    ) -> Result<Self, FeedError> {
        let root = settings.folder.clone();
        let opened = blocking(move || Ok((era(&root)?, cursor_seal(&root)?, FeedFolder::all(&root)?)));
        let (era, seal, found) = opened.await?;
        let feeds = Self(Arc::new(Inner {
            settings,
            source: Mutex::new(Some(source)),
            metrics,
            running: tokio::sync::Mutex::default(),
            streams: Arc::new(Semaphore::new(limits::STREAMS_MAX)),
            era,
            seal,
        }));
        let mut running = feeds.0.running.lock().await;
        for (organization, registered, folder) in found {
            let name = registered.spec.name.clone();
            let started = feeds.start(organization, registered, folder)?;
            running.insert((organization, name), started);
        }
        drop(running);
        Ok(feeds)
    }

    fn source(&self) -> Result<Arc<Source>, FeedError> {
        let stopping = || FeedError::setting("node", "it is stopping");
        self.0.source.lock().clone().ok_or_else(stopping)
    }

    fn start(
        &self,
        organization: OrganizationId,
        registered: Registered,
        folder: FeedFolder,
    ) -> Result<Running, FeedError> {
        let Inner { settings, metrics, .. } = &*self.0;
        let spec = &registered.spec;
        let sink = sink_of(&spec.sink, &spec.name, &settings.sender, &settings.addresses)?;
        let cursor = folder.cursor()?.map(|token| Cursor::parse(&token, &organization)).transpose()?;
        let cursor = cursor.unwrap_or_default();
        let status = Arc::new(Mutex::new(Status { cursor: cursor.clone(), ..Status::default() }));
        let (desired, wanted) = watch::channel(if registered.paused { Desired::Pause } else { Desired::Run });
        let letters = Arc::new(tokio::sync::Mutex::default());
        let refusals_max = if spec.refusals_max == 0 { limits::REFUSALS_MAX } else { spec.refusals_max };
        let runner = Runner {
            name: spec.name.clone(),
            organization,
            reader: Reader::new(&self.source()?, organization, &spec.filter, cursor),
            sink,
            folder: folder.clone(),
            items_max: spec.sink.items_max(),
            patience: Patience { send_within: settings.send_within, retry: settings.retry, refusals_max },
            status: Arc::clone(&status),
            metrics: metrics.of(&label(&organization, &spec.name), spec.sink.kind()),
            desired: wanted,
            letters: Arc::clone(&letters),
        };
        let task = tokio::spawn(runner.run());
        Ok(Running { registered, folder, status, desired, letters, task })
    }

    /// Where a start lies.
    async fn begin(&self, organization: &OrganizationId, start: &Start) -> Result<Cursor, FeedError> {
        let era = self.0.era;
        match start {
            Start::Now => Ok(Cursor { era, ..self.source()?.end().await? }),
            Start::Earliest => Ok(Cursor { era, ..Cursor::default() }),
            Start::After(token) => match Cursor::open(token, organization, &self.0.seal)? {
                cursor if cursor.era == era => Ok(cursor),
                _ => Err(TokenError::OfAnotherLife.into()),
            },
        }
    }

    /// Registers a feed and starts it.
    ///
    /// # Errors
    /// When the name is taken, a setting makes no sense, or there are too many.
    pub async fn create(
        &self,
        organization: OrganizationId,
        spec: FeedSpec,
        start: &Start,
        who: &str,
    ) -> Result<FeedView, FeedError> {
        spec.check()?;
        let Inner { settings, running, .. } = &*self.0;
        sink_of(&spec.sink, &spec.name, &settings.sender, &settings.addresses)?;
        let mut running = running.lock().await;
        let key = (organization, spec.name.clone());
        if running.contains_key(&key) {
            return Err(FeedError::Exists(spec.name));
        }
        if running.len() >= limits::FEEDS_MAX {
            return Err(FeedError::TooMany(limits::FEEDS_MAX));
        }
        let cursor = self.begin(&organization, start).await?.token(&organization);
        let registered = Registered { spec, created_ms: now_ms(), created_by: who.to_owned(), paused: false };
        let folder = FeedFolder::of(&settings.folder, &organization, &registered.spec.name);
        let (there, made) = (folder.clone(), registered.clone());
        blocking(move || there.create(&made, &cursor)).await?;
        let started = self.start(organization, registered, folder)?;
        let view = view_of(&started).await?;
        running.insert(key, started);
        Ok(view)
    }

    /// An organisation's feeds by name.
    ///
    /// # Errors
    /// When their files cannot be read.
    pub async fn list(&self, organization: &OrganizationId) -> Result<Vec<FeedView>, FeedError> {
        let running = self.0.running.lock().await;
        let mut views = Vec::new();
        for ((whose, _), feed) in running.iter() {
            if whose == organization {
                views.push(view_of(feed).await?);
            }
        }
        Ok(views)
    }

    /// One feed.
    ///
    /// # Errors
    /// When there is none of the name.
    pub async fn get(&self, organization: &OrganizationId, name: &str) -> Result<FeedView, FeedError> {
        let running = self.0.running.lock().await;
        let feed = running.get(&(*organization, name.to_owned()));
        view_of(feed.ok_or_else(|| FeedError::NoSuchFeed(name.to_owned()))?).await
    }

    /// Pauses a feed, or lets it go on: durably.
    ///
    /// # Errors
    /// When there is none of the name, or its files cannot be written.
    pub async fn pause(
        &self,
        organization: &OrganizationId,
        name: &str,
        paused: bool,
    ) -> Result<FeedView, FeedError> {
        let mut running = self.0.running.lock().await;
        let feed = running.get_mut(&(*organization, name.to_owned()));
        let feed = feed.ok_or_else(|| FeedError::NoSuchFeed(name.to_owned()))?;
        let registered = Registered { paused, ..feed.registered.clone() };
        let (folder, described) = (feed.folder.clone(), registered.clone());
        blocking(move || folder.describe(&described)).await?;
        feed.registered = registered;
        feed.desired.send_replace(if paused { Desired::Pause } else { Desired::Run });
        view_of(feed).await
    }

    /// Stops a feed and forgets it, its cursor and its dead letters.
    ///
    /// # Errors
    /// When there is none of the name, or its files cannot be removed.
    pub async fn delete(&self, organization: &OrganizationId, name: &str) -> Result<(), FeedError> {
        let mut running = self.0.running.lock().await;
        let key = (*organization, name.to_owned());
        let feed = running.remove(&key).ok_or_else(|| FeedError::NoSuchFeed(name.to_owned()))?;
        feed.desired.send_replace(Desired::Stop);
        // It panicked, if anything: then it has ended too.
        let _ = feed.task.await;
        let folder = feed.folder.clone();
        blocking(move || folder.delete()).await?;
        self.0.metrics.remove(&label(organization, name), feed.registered.spec.sink.kind());
        Ok(())
    }

    /// A feed's dead letters, the oldest first.
    ///
    /// # Errors
    /// When there is none of the name, or its files cannot be read.
    pub async fn dead_letters(
        &self,
        organization: &OrganizationId,
        name: &str,
    ) -> Result<Vec<DeadLetter>, FeedError> {
        let (folder, _, letters) = self.named(organization, name).await?;
        let _held = letters.lock().await;
        blocking(move || folder.dead_letters()).await
    }

    async fn named(
        &self,
        organization: &OrganizationId,
        name: &str,
    ) -> Result<(FeedFolder, FeedSpec, Arc<tokio::sync::Mutex<()>>), FeedError> {
        let running = self.0.running.lock().await;
        let feed = running.get(&(*organization, name.to_owned()));
        let feed = feed.ok_or_else(|| FeedError::NoSuchFeed(name.to_owned()))?;
        Ok((feed.folder.clone(), feed.registered.spec.clone(), Arc::clone(&feed.letters)))
    }

    /// Sends a dead letter again, read anew from where it lies, with the same ids; once it is confirmed it is a dead
    /// letter no more. Answers how many items were sent.
    ///
    /// # Errors
    /// When the sink does not take it, or it cannot be read.
    pub async fn replay(
        &self,
        organization: &OrganizationId,
        name: &str,
        number: u64,
    ) -> Result<u64, FeedError> {
        let (folder, spec, letters) = self.named(organization, name).await?;
        let Inner { settings, .. } = &*self.0;
        // Held: nobody sends it twice at a time. The feed itself goes on, unless it has one more to add.
        let _held = letters.lock().await;
        let there = folder.clone();
        let mut all = blocking(move || there.dead_letters()).await?;
        let letter = all.iter().find(|letter| letter.number == number);
        let letter = letter.cloned().ok_or(FeedError::NoSuchDeadLetter(number))?;
        let (from, to) =
            (Cursor::parse(&letter.from, organization)?, Cursor::parse(&letter.to, organization)?);
        let mut sink = sink_of(&spec.sink, &format!("{name}-again"), &settings.sender, &settings.addresses)?;
        let mut reader = Reader::new(&self.source()?, *organization, &spec.filter, from).until(to);
        let mut sent = 0;
        loop {
            let batch = reader.next(spec.sink.items_max()).await?;
            if !batch.items.is_empty() {
                let sending = tokio::time::timeout(settings.send_within, sink.send(&batch.items)).await;
                let hung = |_| FeedError::NotTaken("it confirmed nothing in time".into());
                sending.map_err(hung)?.map_err(|error| FeedError::NotTaken(error.text))?;
                sent += batch.items.len() as u64;
            }
            if batch.caught_up {
                break;
            }
        }
        all.retain(|letter| letter.number != number);
        blocking(move || folder.write_dead_letters(&all)).await?;
        Ok(sent)
    }

    /// Drops a dead letter.
    ///
    /// # Errors
    /// When there is none of the number, or the files cannot be written.
    pub async fn drop_dead_letter(
        &self,
        organization: &OrganizationId,
        name: &str,
        number: u64,
    ) -> Result<(), FeedError> {
        let (folder, _, letters) = self.named(organization, name).await?;
        let _held = letters.lock().await;
        blocking(move || {
            let mut all = folder.dead_letters()?;
            let before = all.len();
            all.retain(|letter| letter.number != number);
            if all.len() == before {
                return Err(FeedError::NoSuchDeadLetter(number));
            }
            folder.write_dead_letters(&all)
        })
        .await
    }

    /// A stream of an organisation's items, whose cursor the client keeps.
    ///
    /// # Errors
    /// When the filter or the cursor cannot be used, or too many streams are open.
    pub async fn follow(
        &self,
        organization: OrganizationId,
        filter: &Filter,
        start: &Start,
    ) -> Result<FeedStream, FeedError> {
        filter.check()?;
        let place = Arc::clone(&self.0.streams).try_acquire_owned();
        let place = place.map_err(|_| FeedError::TooMany(limits::STREAMS_MAX))?;
        let cursor = self.begin(&organization, start).await?;
        let metrics = self.0.metrics.clone();
        let reader = Reader::new(&self.source()?, organization, filter, cursor);
        metrics.stream_opened();
        Ok(FeedStream { reader, metrics, _place: place })
    }

    /// A cursor as a text for a client who may not read it: one who sees a part of the organisation.
    pub fn sealed(&self, cursor: &Cursor, organization: &OrganizationId) -> String {
        cursor.sealed(organization, &self.0.seal)
    }

    /// Ends every feed between two steps, and lets go of journals and lake. What was confirmed and whose cursor is not
    /// written is sent again after the next start.
    pub async fn stop(&self) {
        let running = std::mem::take(&mut *self.0.running.lock().await);
        self.0.source.lock().take();
        for feed in running.values() {
            feed.desired.send_replace(Desired::Stop);
        }
        for feed in running.into_values() {
            // It panicked, if anything: then it has ended too.
            let _ = feed.task.await;
        }
    }
}

fn label(organization: &OrganizationId, name: &str) -> String {
    format!("{organization}/{name}")
}

async fn view_of(feed: &Running) -> Result<FeedView, FeedError> {
    let folder = feed.folder.clone();
    let dead_letters = blocking(move || folder.dead_letters()).await?.len() as u64;
    let mut status = feed.status.lock().clone();
    if feed.registered.paused {
        status.phase = Phase::Paused;
    }
    let Registered { spec, created_ms, created_by, .. } = feed.registered.clone();
    Ok(FeedView { spec, created_ms, created_by, status, dead_letters })
}
