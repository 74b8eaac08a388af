//! The one place that joins ports to adapters: journal, lake, vehicles, door, console.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use remuda_audit::{AuditError, AuditLog};
use remuda_backup::{BackupMetrics, JournalPart};
use remuda_business::{Business, BusinessError};
use remuda_console::{
    Console, ConsoleError, ConsoleMetrics, ConsoleSettings, ConsoleSources, ConsoleTlsError, Identities,
    ProcessSource, Token, TokenError,
};
use remuda_contracts::assistance::AssistanceDesk;
use remuda_contracts::business::BusinessDesk;
use remuda_contracts::business::vehicles::Home;
use remuda_contracts::operations::OperationsDesk;
use remuda_contracts::system::{DiskSpace, ProcessFigures};
use remuda_eventsourcing::{Journal, JournalError, JournalMetrics, SledJournal};
use remuda_feeds::Feeds;
use remuda_ingress::external::{BrokerHealth, ExternalBroker};
use remuda_ingress::{
    Authenticator, Door, DoorError, DoorMetrics, DoorSettings, EnrolledSecrets, EnrolmentPort, TlsEntrance,
    TrustLoopback, VehicleLimits,
};
use remuda_lake::{Lake, LakeError};
use remuda_model::OrganizationId;
use remuda_observability::{Metrics, process};
use remuda_operations::Operations;
use remuda_roads::{MapError, RoadNetwork};
use remuda_vehicles::{
    FiguresNow, HomeOf, StartError, VehicleHandle, VehicleMetrics, VehicleSettings, VehicleSystem,
};

use crate::access::{access, has_second_person};
use crate::backup::{self, Backing};
use crate::broker::{self, BrokerStartError};
use crate::business::{self, Ledgered};
use crate::compacting::Compacting;
use crate::config::{Config, Identity};
use crate::console_tls;
use crate::control::Control;
use crate::erasing::Eraser;
use crate::feeds::{self, FeedsStartError};
use crate::history::{self, LakeHistory};
use crate::identity::{self, IdentityError, Keeper};
use crate::journal::Which;
use crate::lake_control::LakeDesk;
use crate::lake_files::{compaction_settings, now_ms};
use crate::operations;
use crate::tail;

/// What the console's map shows under the vehicles.
pub enum Drawing {
    /// The map file of the configuration, if it names one.
    FromConfig,
    /// Roads that somebody has loaded already: as GeoJSON, and to find ways on.
    Roads(String, Arc<RoadNetwork>),
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
    /// The external broker.
    #[error("{}", chain(.0))]
    Broker(#[from] BrokerStartError),
    /// Vehicles' identities.
    #[error("{}", chain(.0))]
    Identity(#[from] IdentityError),
    /// The people's door.
    #[error(transparent)]
    Console(#[from] ConsoleError),
    /// Its TLS.
    #[error("[console.tls]: {0}")]
    ConsoleTls(#[from] ConsoleTlsError),
    /// Group commands and second persons.
    #[error("group commands do not start: {0}")]
    Operations(#[from] operations::StartError),
    /// The ride business.
    #[error("the ride business does not start")]
    Business(#[from] BusinessError),
    /// Feeds.
    #[error("the feeds do not start: {}", chain(.0))]
    Feeds(#[from] FeedsStartError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The console's accounts or issuer.
    #[error("{0}")]
    Access(String),
    /// The token of the configuration.
    #[error("console.token: {0}")]
    Token(#[from] TokenError),
    /// The map.
    #[error("{}", chain(.0))]
    Map(#[from] MapError),
    /// The data folder is half a restore.
    #[error("{0}")]
    Restore(String),
    /// The control socket.
    #[error("the control socket in {folder} cannot be made: {source}")]
    Control {
        /// The data folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// An error with everything that caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
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
    /// Where vehicles connect: the node's own door (TLS), or the external broker when that is the only one.
    pub door: String,
    /// Where simulators connect without TLS, if anywhere.
    pub plain_door: Option<String>,
    /// The external broker through which vehicles come in, if there is one.
    pub broker: Option<String>,
    /// Where vehicles get their certificates: `https://host:port`.
    pub enrolment: String,
    /// Where people and their programs connect, such as `http://127.0.0.1:7070`.
    pub console: String,
    /// The console's token.
    pub token: String,
    parts: Parts,
    ready: Arc<AtomicBool>,
    sweeping: tokio::task::JoinHandle<()>,
    compacting: Compacting,
    control: Control,
    tailing: Option<tail::Serving>,
}

struct Parts {
    door: Option<Door>,
    enrolment: EnrolmentPort,
    keeper: Keeper,
    broker: Option<ExternalBroker>,
    console: Console,
    business: Option<Arc<Business>>,
    operations: Operations,
    feeds: Feeds,
    vehicles: Arc<Mutex<Option<VehicleHandle>>>,
}

/// Handles beside those of the vehicles: journal, lake, console, logs.
const FILES_BESIDE: u64 = 256;

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
    backup::check_restored(&config.data_dir).map_err(NodeError::Restore)?;
    let (roads, network) = load_roads(&config, drawing)?;
    let keeper = identity::keep(&config)?;
    let metrics = Metrics::default();
    let folder = config.data_dir.join("journal");
    let journal_metrics = JournalMetrics::default();
    metrics.register(|registry| journal_metrics.register(registry));
    let Ledgered { journal: ledger, part, which } = business::open_journal(&config, &journal_metrics)
        .map_err(|source| NodeError::Journal { folder: config.data_dir.join("business"), source })?;
    let journal = SledJournal::open(&folder, journal_metrics)
        .map_err(|source| NodeError::Journal { folder, source })?;
    let journal = Arc::new(journal);
    let mut sources = vec![JournalPart { name: "journal", source: Arc::clone(&journal) as _ }];
    let journal: Arc<dyn Journal> = journal;
    let mut tailed = vec![(Which::Vehicles, Arc::clone(&journal))];
    sources.push(part);
    tailed.push((which, Arc::clone(&ledger)));
    // Who cannot look at events while the node runs can when it does not: no reason not to serve.
    let tailing = tail::serve(&config.data_dir, tailed, tail::decoders())
        .inspect_err(|error| tracing::warn!(%error, "remuda journal tail cannot ask this node"))
        .ok();
    let lake = open_lake(&config, &journal, &metrics).await?;
    let audit = Arc::new(AuditLog::open(&config.data_dir.join("audit"))?);
    let eraser = Eraser::new(&lake, &compaction_settings(&config));
    let control = open_control(&config, sources, &metrics, eraser.clone())?;
    let ready = Arc::new(AtomicBool::new(false));
    let vehicle_metrics = VehicleMetrics::default();
    metrics.register(|registry| vehicle_metrics.register(registry));
    let settings = VehicleSettings {
        idle: Duration::from_secs(config.vehicles.idle_s),
        rows_bytes_max: config.vehicles.in_flight_bytes_max,
        intake_bytes_max: config.vehicles.in_flight_bytes_max,
        signer: keeper.signer(),
        ..VehicleSettings::default()
    };
    let fed: Vec<(&'static str, Arc<dyn Journal>)> =
        vec![("vehicles", Arc::clone(&journal)), ("business", Arc::clone(&ledger))];
    let system = VehicleSystem::start(settings, journal, Arc::clone(&lake), vehicle_metrics).await?;
    // Shards are taken now, so what earlier writers left behind is superseded.
    let every = config.lake.compact_interval_s;
    let every = (every > 0).then(|| Duration::from_secs(every));
    let _ = eraser.forgetting.set(system.forgetting.clone());
    let compacting =
        Compacting::start(Arc::clone(&lake), Arc::clone(&audit), compaction_settings(&config), every);
    let history = history::reader(&lake, eraser, &metrics);
    let decoders = tail::decoders();
    let webhooks = feeds::webhooks(&config.feeds, &metrics)?;
    let called = webhooks.clone();
    let feeds = feeds::start(&config.feeds, &config.data_dir, &lake, fed, decoders, called, &metrics).await?;
    let sweeping = tokio::spawn(sweep(lake, Duration::from_millis(config.lake.sweep_interval_ms)));
    let health = Arc::new(OnceLock::new());
    let vehicles = business::Vehicles {
        view: Arc::clone(&system.view),
        marks: Arc::clone(&system.marks),
        alerts: Arc::clone(&system.alerts),
    };
    let business = match config.business.enabled {
        true => {
            let journal = Arc::clone(&ledger);
            let business = business::start(&config, journal, vehicles, network, webhooks, &metrics).await?;
            Some(Arc::new(business))
        }
        false => None,
    };
    let commands = (Arc::clone(&system.commands), Arc::clone(&system.questions));
    let operations = operations::start(&config, business.as_deref(), &ledger, commands, &metrics).await?;
    let desk = business.as_ref().map(|business| business.desk());
    system.homing.know(homes(desk.as_ref()));
    let shown = Shown {
        system: &system,
        keeper: &keeper,
        history,
        audit,
        business: desk,
        operations: operations.desk(),
        assistance: operations.assistance(),
        feeds: feeds.clone(),
    };
    let console = open_console(&config, shown, roads, &metrics, (&ready, &health)).await?;
    let door_metrics = DoorMetrics::default();
    metrics.register(|registry| door_metrics.register(registry));
    let entrance = TlsEntrance { listen: config.door.listen, tls: Arc::clone(&keeper.tls) };
    let mut settings = DoorSettings {
        connections_max: connections,
        plain_listen: config.door.plain_listen,
        vehicle: VehicleLimits {
            messages_per_second: config.door.messages_per_second,
            bytes_per_second: config.door.bytes_per_second,
            logins_per_minute: config.door.logins_per_minute,
            failures_per_minute: config.door.failures_per_minute,
        },
        ..DoorSettings::secured(entrance)
    };
    settings.session.packet_bytes_max = config.door.packet_bytes_max;
    let door = if config.broker.leaves_door_open() {
        let (intake, metrics) = (Arc::clone(&system.intake), door_metrics.clone());
        Some(Door::bind(settings, authenticator(&config), intake, metrics).await?)
    } else {
        None
    };
    let broker =
        broker::open(&config.broker, &keeper.register, system.intake, door_metrics, &metrics, &health)
            .await?;
    let tls_addr = door.as_ref().and_then(Door::tls_addr);
    let enrolment = identity::open_port(&config, &keeper, tls_addr, &metrics).await?;
    ready.store(true, Ordering::Release);
    let vehicles = Arc::new(Mutex::new(Some(system.handle)));
    let door_addr = tls_addr.map_or(config.broker.address, |at| at.to_string());
    let plain_door = door.as_ref().and_then(Door::plain_addr).map(|at| at.to_string());
    let enrolment_url = format!("https://{}", enrolment.local_addr());
    let console_addr = console.address().to_owned();
    let token = console.url().rsplit_once("token=").map(|(_, token)| token.to_owned()).unwrap_or_default();
    let broker_addr = broker.as_ref().map(|broker| broker.address().to_owned());
    let parts = Parts { door, enrolment, keeper, broker, console, business, operations, feeds, vehicles };
    Ok(Node {
        door: door_addr,
        plain_door,
        broker: broker_addr,
        enrolment: enrolment_url,
        console: console_addr,
        token,
        parts,
        ready,
        sweeping,
        compacting,
        control,
        tailing,
    })
}

/// Roads to draw, and to find ways on.
type Roads = (Option<Bytes>, Option<Arc<RoadNetwork>>);

fn load_roads(config: &Config, drawing: Drawing) -> Result<Roads, NodeError> {
    match (drawing, &config.map.file) {
        (Drawing::Roads(drawn, network), _) => Ok((Some(drawn.into()), Some(network))),
        (Drawing::FromConfig, Some(file)) => {
            let network = RoadNetwork::load(file)?;
            Ok((Some(network.geojson().into()), Some(Arc::new(network))))
        }
        (Drawing::FromConfig, None) => Ok((None, None)),
    }
}

/// What commands on this machine ask of the node: backups.
fn open_control(
    config: &Config,
    journals: Vec<JournalPart>,
    metrics: &Metrics,
    eraser: Eraser,
) -> Result<Control, NodeError> {
    let backup_metrics = BackupMetrics::default();
    metrics.register(|registry| backup_metrics.register(registry));
    let folder = config.data_dir.clone();
    let bucket = backup::lake_bucket(config, &tokio::runtime::Handle::current())?;
    let backing = Backing::new(backup::parts(&folder, journals, bucket), backup_metrics);
    let desk = LakeDesk { eraser, settings: compaction_settings(config) };
    Control::start(&folder, backing, &config.backup, desk)
        .map_err(|source| NodeError::Control { folder, source })
}

async fn open_lake(
    config: &Config,
    journal: &Arc<dyn Journal>,
    metrics: &Metrics,
) -> Result<Arc<Lake>, NodeError> {
    let lake = config.lake.open(&config.data_dir, Arc::clone(journal)).await?;
    metrics.register(|registry| lake.metrics().register(registry));
    Ok(Arc::new(lake))
}

/// What the console shows.
struct Shown<'a> {
    system: &'a VehicleSystem,
    keeper: &'a Keeper,
    history: LakeHistory,
    audit: Arc<AuditLog>,
    business: Option<Arc<dyn BusinessDesk>>,
    operations: Arc<dyn OperationsDesk>,
    assistance: Arc<dyn AssistanceDesk>,
    feeds: Feeds,
}

async fn open_console(
    config: &Config,
    Shown { system, keeper, history, audit, business, operations, assistance, feeds }: Shown<'_>,
    roads: Option<Bytes>,
    metrics: &Metrics,
    (ready, health): (&Arc<AtomicBool>, &Arc<OnceLock<BrokerHealth>>),
) -> Result<Console, NodeError> {
    let token =
        if config.console.token.is_empty() { Token::random()? } else { Token::new(&config.console.token)? };
    let console_metrics = ConsoleMetrics::default();
    metrics.register(|registry| console_metrics.register(registry));
    let (metrics, ready, health) = (metrics.clone(), Arc::clone(ready), Arc::clone(health));
    let sources = ConsoleSources {
        view: Arc::clone(&system.view),
        policies: Arc::clone(&system.policies),
        commands: Arc::clone(&system.commands),
        alerts: Arc::clone(&system.alerts),
        geofences: Arc::clone(&system.geofences),
        history: Arc::new(history),
        business,
        operations: Some(operations),
        assistance: Some(assistance),
        feeds: Some(feeds),
        audit,
        identities: Identities {
            register: Arc::clone(&keeper.register),
            fingerprint: keeper.authority.fingerprint(),
            token_valid_ms: config.enrolment.token_valid_ms(),
        },
        roads: Arc::new(move || roads.clone()),
        metrics_text: Arc::new(move || metrics.render()),
        ready: Arc::new(move || {
            if ready.load(Ordering::Acquire) {
                // A broker that is away takes no node out of service: people look at the fleet all the same.
                Ok(health.get().and_then(|health| health.now().err()))
            } else {
                Err("the node is starting or stopping".to_owned())
            }
        }),
        process: process_of(config.data_dir.clone()),
        metrics: console_metrics,
    };
    let (access, organization) =
        (access(&config.console).map_err(NodeError::Access)?, OrganizationId::default());
    if !has_second_person(&access, organization) {
        tracing::info!(
            "nobody but the node's own token can agree to commands that need two persons; `remuda account NAME --grant \
             operator` makes an account for somebody else"
        );
    }
    let settings = ConsoleSettings { addr: config.console.listen, token, organization, access };
    match console_tls::open(&config.console.tls, keeper.server_file.as_ref())? {
        Some(tls) => Ok(Console::secured(settings, tls, sources).await?),
        None => Ok(Console::bind(settings, sources).await?),
    }
}

/// What this process uses, with the disk of its data.
fn process_of(data: PathBuf) -> ProcessSource {
    let started_ms = now_ms();
    Arc::new(move || ProcessFigures {
        started_ms,
        memory_bytes: process::resident_bytes(),
        memory_peak_bytes: process::peak_resident_bytes(),
        open_files: process::open_files() as u64,
        open_files_max: process::file_limit(),
        cpu_seconds: process::cpu_seconds(),
        disk: process::disk_bytes(&data).map(|(free, total)| DiskSpace { free, total }),
    })
}

/// Where vehicles belong, as the business's records say; without a business nowhere. The vehicles
/// outlive the desk, which looks at them: held for good, neither would ever let go of its journal.
fn homes(desk: Option<&Arc<dyn BusinessDesk>>) -> HomeOf {
    let desk = desk.map(Arc::downgrade);
    Arc::new(move |vehicle| {
        let Some(desk) = &desk else { return Some(Home::default()) };
        let desk = desk.upgrade()?;
        let home = desk.home(&OrganizationId::default(), vehicle.as_str());
        home.inspect_err(
            |error| tracing::warn!(vehicle_id = %vehicle, %error, "where a vehicle belongs cannot be read"),
        )
        .map(Option::unwrap_or_default)
        .ok()
    })
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

async fn sweep(lake: Arc<Lake>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match lake.sweep().await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "files that were never committed went to the trash"),
            Err(error) => {
                tracing::warn!(error = chain(&error), "the lake could not be swept; it is tried again later")
            }
        }
    }
}

impl Node {
    /// The ride business, where there is one.
    pub fn business(&self) -> Option<Arc<Business>> {
        self.parts.business.clone()
    }

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

    /// Who is enrolled, and by whom.
    #[cfg(feature = "demo")]
    pub(crate) fn identities(&self) -> (Arc<remuda_identity::Register>, Arc<remuda_identity::EmbeddedCa>) {
        (Arc::clone(&self.parts.keeper.register), Arc::clone(&self.parts.keeper.authority))
    }

    /// Not ready, door closed, vehicles drained, last round and checkpoints written, console closed: in this order.
    ///
    /// # Errors
    /// When the last checkpoint or the console failed; what was acknowledged is safe all the same.
    pub async fn stop(self) -> Result<(), NodeError> {
        self.ready.store(false, Ordering::Release);
        self.control.stop().await;
        if let Some(tailing) = self.tailing {
            tailing.stop().await;
        }
        self.sweeping.abort();
        self.compacting.stop().await;
        let Parts { door, enrolment, keeper, broker, console, business, operations, feeds, vehicles } =
            self.parts;
        feeds.stop().await;
        enrolment.stop().await;
        if let Some(door) = door {
            door.stop().await;
        }
        if let Some(broker) = broker {
            broker.stop().await;
        }
        // Before the business, whose shards it uses, and the vehicles, whom it commands.
        operations.stop().await;
        if let Some(business) = business {
            business.stop().await;
        }
        let handle = vehicles.lock().unwrap_or_else(PoisonError::into_inner).take();
        let stopped = match handle {
            Some(handle) => handle.stop().await,
            None => Ok(()),
        };
        console.stop().await?;
        drop(keeper);
        Ok(stopped?)
    }
}
