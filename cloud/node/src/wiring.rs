//! The one place that joins ports to adapters: journal, lake, vehicles, door, console.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use remuda_console::{
    Console, ConsoleError, ConsoleMetrics, ConsoleSettings, ConsoleSources, Token, TokenError,
};
use remuda_eventsourcing::{Journal, JournalError, JournalMetrics, SledJournal};
use remuda_ingress::{
    Authenticator, Door, DoorError, DoorMetrics, DoorSettings, EnrolledSecrets, TrustLoopback,
};
use remuda_lake::{Lake, LakeError, LakeSettings};
use remuda_model::OrganizationId;
use remuda_observability::{Metrics, process};
use remuda_roads::{MapError, RoadNetwork};
use remuda_vehicles::{
    FiguresNow, StartError, VehicleHandle, VehicleMetrics, VehicleSettings, VehicleSystem,
};

use crate::config::{Config, Identity};

/// What the console's map shows under the vehicles.
pub enum Drawing {
    /// The map file of the configuration, if it names one.
    FromConfig,
    /// Roads that somebody has loaded already, as GeoJSON.
    Roads(String),
}

/// Why a node does not start, or does not stop well: one sentence each.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The machine permits too few open files.
    #[error("{0}")]
    Files(String),
    /// The journal.
    #[error("the journal in {folder} cannot be opened: {source}")]
    Journal {
        /// Where it is.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: JournalError,
    },
    /// The lake.
    #[error("{}", chain(.0))]
    Lake(#[from] LakeError),
    /// The vehicles.
    #[error("{}", chain(.0))]
    Vehicles(#[from] StartError),
    /// The vehicles' door.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// The people's door.
    #[error(transparent)]
    Console(#[from] ConsoleError),
    /// The token of the configuration.
    #[error("console.token: {0}")]
    Token(#[from] TokenError),
    /// The map.
    #[error("{}", chain(.0))]
    Map(#[from] MapError),
}

/// An error with everything that caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// A node that serves.
pub struct Node {
    /// Address of the vehicles' door.
    pub door: String,
    /// Address of the console.
    pub console: String,
    /// The console's token.
    pub token: String,
    parts: Parts,
    ready: Arc<AtomicBool>,
    sweeping: tokio::task::JoinHandle<()>,
}

struct Parts {
    door: Door,
    console: Console,
    vehicles: Arc<Mutex<Option<VehicleHandle>>>,
}

/// Handles beside those of the vehicles: journal, lake, console, logs.
const FILES_BESIDE: u64 = 256;
/// How often files that were never committed are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);

/// Starts everything; returns when vehicles and people can connect.
///
/// # Errors
/// One sentence about the first part that does not start.
pub async fn start(config: Config, drawing: Drawing) -> Result<Node, NodeError> {
    let wanted = FILES_BESIDE + config.door.connections_max as u64;
    let files = process::raise_file_limit();
    let connections = config.door.connections_max.min(files.saturating_sub(FILES_BESIDE) as usize);
    if files < wanted {
        process::require_files(FILES_BESIDE * 2, "a node").map_err(NodeError::Files)?;
        tracing::info!(
            connections,
            files,
            "the limit of open files bounds how many vehicles can connect; ulimit -n raises it"
        );
    }
    let roads = load_roads(&config, drawing)?;
    let metrics = Metrics::default();
    let folder = config.data_dir.join("journal");
    let journal_metrics = JournalMetrics::default();
    metrics.register(|registry| journal_metrics.register(registry));
    let journal = SledJournal::open(&folder, journal_metrics)
        .map_err(|source| NodeError::Journal { folder, source })?;
    let journal: Arc<dyn Journal> = Arc::new(journal);
    let lake = open_lake(&config, &journal, &metrics).await?;
    let ready = Arc::new(AtomicBool::new(false));
    let vehicle_metrics = VehicleMetrics::default();
    metrics.register(|registry| vehicle_metrics.register(registry));
    let settings = VehicleSettings {
        idle: Duration::from_secs(config.vehicles.idle_s),
        rows_bytes_max: config.vehicles.in_flight_bytes_max,
        intake_bytes_max: config.vehicles.in_flight_bytes_max,
        ..VehicleSettings::default()
    };
    let system = VehicleSystem::start(settings, journal, Arc::clone(&lake), vehicle_metrics).await?;
    // Shards are taken now, so what earlier writers left behind is superseded.
    let sweeping = tokio::spawn(sweep(lake));
    let console = open_console(&config, &system, roads, &metrics, &ready).await?;
    let door_metrics = DoorMetrics::default();
    metrics.register(|registry| door_metrics.register(registry));
    let settings = DoorSettings { connections_max: connections, ..DoorSettings::new(config.door.listen) };
    let door = Door::bind(settings, authenticator(&config), system.intake, door_metrics).await?;
    ready.store(true, Ordering::Release);
    let vehicles = Arc::new(Mutex::new(Some(system.handle)));
    let (door_addr, console_addr) = (door.local_addr().to_string(), console.local_addr().to_string());
    let token = console.url().rsplit_once("token=").map(|(_, token)| token.to_owned()).unwrap_or_default();
    let parts = Parts { door, console, vehicles };
    Ok(Node { door: door_addr, console: console_addr, token, parts, ready, sweeping })
}

fn load_roads(config: &Config, drawing: Drawing) -> Result<Option<Bytes>, NodeError> {
    match (drawing, &config.map.file) {
        (Drawing::Roads(roads), _) => Ok(Some(roads.into())),
        (Drawing::FromConfig, Some(file)) => Ok(Some(RoadNetwork::load(file)?.geojson().into())),
        (Drawing::FromConfig, None) => Ok(None),
    }
}

async fn open_lake(
    config: &Config,
    journal: &Arc<dyn Journal>,
    metrics: &Metrics,
) -> Result<Arc<Lake>, NodeError> {
    let settings = LakeSettings {
        root: config.data_dir.join("lake"),
        round_interval_ms: config.lake.round_interval_ms,
        round_bytes_max: config.lake.round_bytes_max,
        checkpoint_interval_ms: config.lake.checkpoint_interval_ms,
    };
    let lake = Lake::open(settings, Arc::clone(journal)).await?;
    metrics.register(|registry| lake.metrics().register(registry));
    Ok(Arc::new(lake))
}

async fn open_console(
    config: &Config,
    system: &VehicleSystem,
    roads: Option<Bytes>,
    metrics: &Metrics,
    ready: &Arc<AtomicBool>,
) -> Result<Console, NodeError> {
    let token =
        if config.console.token.is_empty() { Token::random()? } else { Token::new(&config.console.token)? };
    let console_metrics = ConsoleMetrics::default();
    metrics.register(|registry| console_metrics.register(registry));
    let (metrics, ready) = (metrics.clone(), Arc::clone(ready));
    let sources = ConsoleSources {
        view: Arc::clone(&system.view),
        roads: Arc::new(move || roads.clone()),
        metrics_text: Arc::new(move || metrics.render()),
        ready: Arc::new(move || {
            if ready.load(Ordering::Acquire) {
                Ok(())
            } else {
                Err("the node is starting or stopping".to_owned())
            }
        }),
        metrics: console_metrics,
    };
    let settings =
        ConsoleSettings { addr: config.console.listen, token, organization: OrganizationId::default() };
    Ok(Console::bind(settings, sources).await?)
}

fn authenticator(config: &Config) -> Arc<dyn Authenticator> {
    match config.door.identity {
        Identity::TrustLoopback => Arc::new(TrustLoopback),
        Identity::Enrolled => Arc::new(secrets(config)),
    }
}

/// Where the secrets of enrolled vehicles are kept.
pub(crate) fn secrets(config: &Config) -> EnrolledSecrets {
    EnrolledSecrets::new(config.data_dir.join("identity").join("vehicles"))
}

async fn sweep(lake: Arc<Lake>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    loop {
        ticks.tick().await;
        match lake.sweep().await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "files that were never committed went to the trash"),
            Err(error) => tracing::warn!(
                error = chain(&error),
                "the lake could not be swept; it is tried again in an hour"
            ),
        }
    }
}

impl Node {
    /// The console's address with its token.
    pub fn console_url(&self) -> String {
        self.parts.console.url()
    }

    /// A closure that answers the vehicles' figures as long as the node lives.
    pub fn figures(&self) -> impl Fn() -> FiguresNow + Send + Sync + 'static {
        let vehicles = Arc::clone(&self.parts.vehicles);
        move || {
            let vehicles = vehicles.lock().unwrap_or_else(PoisonError::into_inner);
            vehicles.as_ref().map(VehicleHandle::figures).unwrap_or_default()
        }
    }

    /// Not ready, door closed, vehicles drained, last round and checkpoints written, console closed: in this order.
    ///
    /// # Errors
    /// When the last checkpoint or the console failed; what was acknowledged is safe all the same.
    pub async fn stop(self) -> Result<(), NodeError> {
        self.ready.store(false, Ordering::Release);
        self.sweeping.abort();
        let Parts { door, console, vehicles } = self.parts;
        door.stop().await;
        let handle = vehicles.lock().unwrap_or_else(PoisonError::into_inner).take();
        let stopped = match handle {
            Some(handle) => handle.stop().await,
            None => Ok(()),
        };
        console.stop().await?;
        Ok(stopped?)
    }
}
