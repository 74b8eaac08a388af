//! The assembly: one journal, the domains over it, the sagas between them, and what keeps them going.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use remuda_analytics::{Analytics, Reader as FiguresReader};
use remuda_billing::desk::{BillTrips, DrivePayments, SetupError};
use remuda_billing::invoices::Seller;
use remuda_billing::metrics::PaymentMetrics;
use remuda_billing::payment::Method;
use remuda_billing::provider::{Gateway, PaymentProvider};
use remuda_billing::tariff::{TariffError, Tariffs};
use remuda_billing::{Billing, BillingReader, BillingService, BillingSettings, BillingViews};
use remuda_contracts::fleet::FleetView;
use remuda_contracts::marks::TripMarks;
use remuda_entities::metrics::EntityMetrics;
use remuda_entities::operate::Operated;
use remuda_entities::projection::{Place, Projected, Projection, project};
use remuda_entities::reactor::{Reactor, react};
use remuda_entities::{Entities, Settings as EntitySettings, Shards};
use remuda_eventsourcing::{Journal, JournalError};
use remuda_model::OrganizationId;
use remuda_notifications::channels::email::Mailer;
use remuda_notifications::metrics::NotificationMetrics;
use remuda_notifications::templates::{Catalogue, TemplateError};
use remuda_notifications::{
    Mailbox, MailboxProjection, NotificationService, Notifications, NotificationsConfig, Runner,
};
use remuda_roads::RoadNetwork;
use remuda_saga::definition::from_yaml;
use remuda_saga::{
    Definition, DefinitionErrors, Definitions, EntityHost, SagaError, SagaMetrics, Sagas, Service, Services,
};
use remuda_trips::{TripDirectory, TripLists, TripService, Trips};
use remuda_users::privacy::{FileKeyStore, KeyError, Retention, Vault};
use remuda_users::returning::ReturnCredits;
use remuda_users::{UserDirectory, UserLists, UserService, Users};
use remuda_vehicles::diagnostics::{Diagnostics, TroubleDirectory, TroubleLists};
use remuda_vehicles::registry::{CountTrips, RecordDirectory, RecordLists, Registry as Records};
use remuda_vehicles::reservation::{
    AvailabilityDirectory, AvailabilityLists, ReleaseVehicles, Reservations, VehicleService,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::desk::Desk;
use crate::directory::Riders;
use crate::dispatch::Dispatch;
use crate::free::FreeVehicles;
use crate::limits;
use crate::marks::{Bringing, Brought, Cursor};
use crate::observer::Observer;
use crate::on_call::{Caller, OnCall, People};
use crate::post_credits::PostCredits;
use crate::reach::{Reach, Steady};
use crate::upkeep;

/// Now, ms since 1970 UTC.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The saga that books trips, as shipped.
const TRIP_BOOKING: &str = include_str!("../../../config/sagas/trip-booking.yml");
/// Its name.
pub(crate) const BOOKING_SAGA: &str = "TripBookingSaga";
/// Prices, as shipped.
const TARIFFS: &str = include_str!("../../../config/tariffs/standard.toml");

/// Puts something around the provider that credits are, such as faults of a test.
pub type WrapProvider = Arc<dyn Fn(Arc<dyn PaymentProvider>) -> Arc<dyn PaymentProvider> + Send + Sync>;

/// How the business runs on a node.
pub struct BusinessSettings {
    /// Folder of what it keeps beside the journal: projections, offsets, keys of personal data.
    pub folder: PathBuf,
    /// Whose business.
    pub organization: OrganizationId,
    /// Roads, for times and lengths of ways; none: as the crow flies, and a bit.
    pub roads: Option<Arc<RoadNetwork>>,
    /// Trips that vehicles watch themselves; none: the cloud watches for all.
    pub marks: Option<Arc<dyn TripMarks>>,
    /// The relay for e-mails, when there is one.
    pub mailer: Option<Mailer>,
    /// Alerts, and who is told of them; none: nobody.
    pub on_call: Option<OnCall>,
    /// Services of sagas beside those of the domains assembled here; one of the same name takes its place.
    pub services: Vec<Arc<dyn Service>>,
    /// Around the payment provider; none on a node.
    pub wrap_provider: Option<WrapProvider>,
    /// Who stands on invoices.
    pub seller: Seller,
    /// Server time.
    pub clock: Clock,
}

/// Why the business does not start.
#[derive(Debug, thiserror::Error)]
pub enum BusinessError {
    /// The journal, or a store beside it.
    #[error("the business journal or a store beside it cannot be opened")]
    Journal(#[from] JournalError),
    /// A domain's entities.
    #[error("the business cannot start: {0}")]
    Entities(String),
    /// The keys of personal data.
    #[error("the keys of personal data cannot be opened")]
    Keys(#[from] KeyError),
    /// Prices.
    #[error(transparent)]
    Tariffs(#[from] TariffError),
    /// Billing.
    #[error(transparent)]
    Billing(#[from] SetupError),
    /// The file of feature flags.
    #[error(transparent)]
    Flags(#[from] remuda_flags::FlagsError),
    /// Texts of notifications.
    #[error(transparent)]
    Texts(#[from] TemplateError),
    /// Definitions of sagas.
    #[error(transparent)]
    Definitions(#[from] DefinitionErrors),
    /// Sagas cannot go on.
    #[error("sagas that had not ended cannot go on")]
    Sagas(#[from] SagaError),
}

/// What the business counts.
#[derive(Debug, Clone, Default)]
pub struct BusinessMetrics {
    entities: EntityMetrics,
    sagas: SagaMetrics,
    payments: PaymentMetrics,
    notifications: NotificationMetrics,
    foreign_marks: Counter,
    marks_aside: Gauge,
    marks_given_up: Counter,
}

impl BusinessMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        self.entities.register(registry);
        self.sagas.register(registry);
        self.payments.register(registry);
        self.notifications.register(registry);
        let help = "Trip marks of vehicles whose trip it is not";
        registry.register("remuda_business_foreign_marks", help, self.foreign_marks.clone());
        let help = "Trip marks that their trips do not take; they are brought again";
        registry.register("remuda_business_marks_aside", help, self.marks_aside.clone());
        let help = "Trip marks that their trips did not take in time, or too many of one vehicle";
        registry.register("remuda_business_marks_given_up", help, self.marks_given_up.clone());
    }
}

/// Numbers of the business now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BusinessFigures {
    /// Sagas that run or unwind.
    pub sagas_running: u64,
    /// Sagas that an operator must resolve.
    pub sagas_stuck: u64,
    /// Places where charging, giving back or returning stands still at an event, and an operator must look.
    pub reactors_stopped: u64,
    /// Sum of all accounts of all ledgers, minor units, without its sign: zero, or money appeared or vanished.
    pub ledger_sum_minor_units: u64,
}

/// The business of a node.
pub struct Business {
    pub(crate) parts: Arc<Parts>,
    stopping: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// Not everything that follows from what happened was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// Somebody must look.
    #[error("{0}; see `remudactl reactors list`")]
    Stopped(String),
    /// It takes longer.
    #[error("not done within {within_s} s: {behind}")]
    TooSlow {
        /// The time given, s.
        within_s: u64,
        /// Who is behind, by how many events.
        behind: String,
    },
}

/// What the desk asks.
pub(crate) struct Parts {
    pub organization: OrganizationId,
    pub users: UserService,
    pub riders: UserDirectory,
    pub directory: Arc<Riders>,
    pub vehicles: VehicleService,
    pub records: Entities<Records>,
    pub record_lists: RecordDirectory,
    pub diagnostics: Entities<Diagnostics>,
    pub trouble_lists: TroubleDirectory,
    pub trips: TripService,
    pub lists: TripDirectory,
    pub billing: Billing,
    pub bills: BillingReader,
    pub view: Arc<dyn FleetView>,
    pub figures: FiguresReader,
    pub notifications: Notifications,
    pub mailbox: Mailbox,
    pub sagas: Sagas,
    pub host: EntityHost,
    pub dispatch: Dispatch,
    pub clock: Clock,
    /// Everything that reads the journal's feeds, reactors first.
    pub readers: Vec<Arc<dyn Operated>>,
}

/// Starts readers of the feeds, and keeps them for who looks after them.
struct Readers {
    shards: Arc<Shards>,
    place: Place,
    all: Vec<Arc<dyn Operated>>,
}

impl Readers {
    async fn react<R: Reactor>(&mut self, reactor: R) -> Result<(), JournalError> {
        self.all.push(Arc::new(react(&self.shards, &self.place, reactor).await?));
        Ok(())
    }

    async fn project<P: Projection>(&mut self, projection: P) -> Result<Projected<P>, JournalError> {
        let projected = project(&self.shards, &self.place, projection).await?;
        self.all.push(Arc::new(projected.clone()));
        Ok(projected)
    }
}

async fn entities<A: remuda_eventsourcing::Aggregate>(
    shards: &Arc<Shards>,
) -> Result<Entities<A>, BusinessError> {
    Entities::<A>::start(shards, EntitySettings::default()).await.map_err(BusinessError::Entities)
}

/// All definitions that ship with the program.
fn definitions() -> Result<Definitions, DefinitionErrors> {
    let mut all = Definitions::default();
    let booking: Definition = from_yaml(TRIP_BOOKING, "config/sagas/trip-booking.yml")?;
    all.add_from(booking, "config/sagas/trip-booking.yml")?;
    Ok(all)
}

impl Business {
    /// Takes the journal's shards, starts every domain, and goes on with what had not ended.
    ///
    /// # Errors
    /// One sentence about the first part that does not start.
    pub async fn start(
        settings: BusinessSettings,
        journal: Arc<dyn Journal>,
        view: Arc<dyn FleetView>,
        metrics: BusinessMetrics,
    ) -> Result<Self, BusinessError> {
        let shards = Shards::take_all(journal, metrics.entities).await?;
        let place = Place::folder(settings.folder.join("views"));
        let clock = Arc::clone(&settings.clock);

        let vault = Vault::new(Arc::new(FileKeyStore::open(settings.folder.join("keys"))?));
        let users = entities::<Users>(&shards).await?;
        let users = UserService::new(users, vault.clone(), Retention::default(), Arc::clone(&clock));
        let vehicles = VehicleService::new(entities::<Reservations>(&shards).await?, Arc::clone(&clock));
        let trips = TripService::new(entities::<Trips>(&shards).await?, Arc::clone(&clock));
        let (trips, flags) = upkeep::with_flags(&settings.folder, trips)?;
        let credits =
            crate::credits::CreditsProvider { users: users.clone(), organization: settings.organization };
        let provider: Arc<dyn PaymentProvider> = Arc::new(credits);
        let provider = settings.wrap_provider.map_or(Arc::clone(&provider), |wrap| wrap(provider));
        let gateway = Gateway::new(provider, metrics.payments);
        let billing = BillingSettings {
            tariffs: Tariffs::from_toml(TARIFFS)?,
            tariff: "standard".to_owned(),
            method: Method::Credits,
            seller: settings.seller,
            utc_offset_min: 0,
        };
        let gateways = BTreeMap::from([(Method::Credits, gateway)]);
        let billing = Billing::start(&shards, gateways, billing, Arc::clone(&clock)).await?;

        let (records, diagnostics) =
            (entities::<Records>(&shards).await?, entities::<Diagnostics>(&shards).await?);

        let mut readers = Readers { shards: Arc::clone(&shards), place: place.clone(), all: Vec::new() };
        readers.react(ReleaseVehicles(vehicles.clone())).await?;
        let returning = ReturnCredits { users: users.entities().clone(), clock: Arc::clone(&clock) };
        readers.react(returning).await?;
        readers.react(BillTrips(billing.clone())).await?;
        readers.react(DrivePayments(billing.clone())).await?;
        readers.react(PostCredits { users: users.entities().clone(), billing: billing.clone() }).await?;
        readers.react(CountTrips { registry: records.clone(), clock: Arc::clone(&clock) }).await?;
        let riders = UserDirectory::new(readers.project(UserLists).await?);
        let availability = AvailabilityDirectory::new(readers.project(AvailabilityLists).await?);
        let lists = TripDirectory::new(readers.project(TripLists).await?);
        let bills = BillingReader(readers.project(BillingViews).await?);
        let record_lists = RecordDirectory(readers.project(RecordLists).await?);
        let trouble_lists = TroubleDirectory(readers.project(TroubleLists).await?);
        let models = record_lists.clone();
        let zone = chrono_tz::UTC;
        let analytics = Analytics {
            zone,
            model_of: Arc::new(move |organization, vehicle| {
                let line = models.record(organization, vehicle).ok().flatten();
                line.and_then(|line| line.record.details).map(|details| details.model)
            }),
        };
        let figures = FiguresReader::new(readers.project(analytics).await?, zone);

        let directory = Arc::new(Riders { users: users.entities().clone(), vault });
        let on_call = settings.on_call;
        let staff = on_call.as_ref().map_or(&[][..], |on_call| on_call.people.as_slice());
        let told = NotificationsConfig {
            catalogue: Catalogue::builtin()?,
            directory: Arc::new(People::new(Arc::clone(&directory), staff)),
            mailer: settings.mailer,
            webhooks: on_call.as_ref().and_then(|on_call| on_call.webhooks.clone()),
            metrics: metrics.notifications,
            clock: Arc::clone(&clock),
        };
        let notifications = Notifications::start(&shards, told).await.map_err(BusinessError::Entities)?;
        let mailbox = Mailbox(readers.project(MailboxProjection).await?);

        let own: [Arc<dyn Service>; 5] = [
            Arc::new(users.clone()),
            Arc::new(vehicles.clone()),
            Arc::new(trips.clone()),
            Arc::new(BillingService::new(billing.clone())),
            Arc::new(NotificationService::new(notifications.clone())),
        ];
        let services = Services::new(own.into_iter().chain(settings.services));
        let host = EntityHost::start(&shards, &place).await.map_err(BusinessError::Entities)?;
        readers.all.push(Arc::new(host.index().clone()));
        let sagas = Sagas::new(
            Arc::new(host.clone()),
            services,
            definitions()?,
            remuda_saga::Settings::default(),
            metrics.sagas,
            Arc::clone(&clock),
        )?;
        sagas.resume().await?;

        let organization = settings.organization;
        let free = FreeVehicles::new(Arc::clone(&view), availability, organization);
        let parts = Arc::new(Parts {
            organization,
            users,
            riders,
            directory,
            vehicles,
            records,
            record_lists,
            diagnostics,
            trouble_lists,
            trips,
            lists,
            billing,
            bills,
            view: Arc::clone(&view),
            figures,
            notifications,
            mailbox,
            sagas,
            host,
            dispatch: Dispatch { free, roads: settings.roads },
            clock,
            readers: readers.all,
        });
        let (stopping, stops) = watch::channel(false);
        let marks = settings.marks;
        let observer =
            Observer::new(view, marks.clone(), parts.trips.clone(), parts.lists.clone(), parts.organization);
        let reach = Reach {
            view: Arc::clone(&parts.view),
            marks: marks.clone(),
            lists: parts.lists.clone(),
            organization: parts.organization,
            steady: Steady::default(),
        };
        let nothing = Brought { caught_up: marks.is_none(), ..Brought::default() };
        let (bringing_to, brought) = watch::channel(nothing);
        let bringing = marks.map(|marks| Bringing {
            marks,
            trips: parts.trips.clone(),
            cursor: Cursor::new(&settings.folder),
            foreign: metrics.foreign_marks,
            waiting: metrics.marks_aside,
            given_up: metrics.marks_given_up,
            clock: Arc::clone(&parts.clock),
            brought: bringing_to,
        });
        let runner = Runner::new(parts.notifications.clone(), parts.mailbox.clone());
        let mut tasks = vec![
            tokio::spawn(runner.run(stops.clone())),
            tokio::spawn(watch_vehicles(observer, stops.clone())),
            tokio::spawn(upkeep::settle_erasures(Arc::clone(&parts), stops.clone())),
            tokio::spawn(tell_time(Arc::clone(&parts), reach, brought, stops.clone())),
            tokio::spawn(upkeep::take_answers(Arc::clone(&parts), stops.clone())),
        ];
        tasks.extend(bringing.map(|bringing| tokio::spawn(bringing.run(stops.clone()))));
        tasks.extend(flags.map(|flags| tokio::spawn(upkeep::follow_flags(flags, stops.clone()))));
        tasks.extend(on_call.filter(|on_call| !on_call.people.is_empty()).map(|on_call| {
            let caller = Caller {
                alerts: on_call.alerts,
                people: on_call.people,
                records: parts.record_lists.clone(),
                notifications: parts.notifications.clone(),
                mailbox: parts.mailbox.clone(),
                organization: parts.organization,
                clock: Arc::clone(&parts.clock),
            };
            tokio::spawn(caller.run(stops))
        }));
        Ok(Self { parts, stopping, tasks: Mutex::new(tasks) })
    }

    /// The shards of its journal.
    pub fn shards(&self) -> &Arc<Shards> {
        self.parts.trips.entities().shards()
    }

    /// What people ask.
    pub fn desk(&self) -> Arc<dyn remuda_contracts::business::BusinessDesk> {
        Arc::new(Desk(Arc::clone(&self.parts)))
    }

    /// Numbers for progress lines and checks.
    pub fn figures(&self) -> BusinessFigures {
        let all = self.parts.sagas.list(
            self.parts.organization,
            &remuda_saga::Filter { limit: usize::MAX, ..remuda_saga::Filter::default() },
        );
        let count = |wanted: &[remuda_saga::Status]| {
            all.iter().filter(|saga| wanted.contains(&saga.status)).count() as u64
        };
        // One that cannot be read is not zero.
        let balance = self.parts.bills.trial_balance(&self.parts.organization);
        let ledger_sum = balance.map_or(u128::MAX, |all| all.imbalance_minor());
        let stopped = self.parts.readers.iter().map(|reader| reader.standing().stopped.len() as u64);
        BusinessFigures {
            sagas_running: count(&[
                remuda_saga::Status::Loading,
                remuda_saga::Status::Running,
                remuda_saga::Status::Unwinding,
            ]),
            sagas_stuck: count(&[remuda_saga::Status::Stuck]),
            reactors_stopped: stopped.sum(),
            ledger_sum_minor_units: u64::try_from(ledger_sum).unwrap_or(u64::MAX),
        }
    }

    /// Waits until every event so far was reacted to: charged, given back, listed.
    ///
    /// # Errors
    /// When that takes longer than `within`, or somebody stopped at an event.
    pub async fn settle(&self, within: Duration) -> Result<(), SettleError> {
        match tokio::time::timeout(within, self.settled()).await {
            Ok(settled) => settled.map_err(SettleError::Stopped),
            Err(_) => {
                let standings = self.parts.readers.iter().map(|reader| reader.standing());
                let behind = standings.filter(|standing| standing.lag_events > 0).map(|standing| {
                    let why = standing.reason.map(|why| format!(" ({why})")).unwrap_or_default();
                    format!("{} by {} events{why}", standing.name, standing.lag_events)
                });
                let behind = behind.collect::<Vec<_>>().join(", ");
                Err(SettleError::TooSlow { within_s: within.as_secs(), behind })
            }
        }
    }

    async fn settled(&self) -> Result<(), String> {
        for _ in 0..limits::SETTLE_ROUNDS {
            for reader in &self.parts.readers {
                reader.caught_up().await?;
            }
        }
        Ok(())
    }

    /// Hears calls under way, writes down where everything stands, and ends. Sagas go on at the next start.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        self.parts.sagas.drain().await;
        let tasks: Vec<_> = self.tasks.lock().drain(..).collect();
        for task in tasks {
            // It panicked, which was reported, or it is done.
            let _ = task.await;
        }
        for reader in &self.parts.readers {
            reader.stop().await;
        }
        self.parts.host.stop().await;
        self.parts.users.entities().drain().await;
        self.parts.vehicles.entities().drain().await;
        self.parts.records.drain().await;
        self.parts.diagnostics.drain().await;
        self.parts.trips.entities().drain().await;
        self.parts.notifications.entities().drain().await;
        self.parts.billing.payments().drain().await;
        self.parts.billing.ledgers().drain().await;
        self.parts.billing.books().drain().await;
        self.parts.billing.quotes().drain().await;
    }
}

/// Ends with the node.
pub(crate) async fn pause(stops: &mut watch::Receiver<bool>, time: Duration) -> bool {
    tokio::select! {
        () = tokio::time::sleep(time) => true,
        // A sender that is gone has stopped as well.
        _ = stops.wait_for(|stops| *stops) => false,
    }
}

async fn watch_vehicles(mut observer: Observer, mut stops: watch::Receiver<bool>) {
    // A list that is still being built would withdraw what vehicles watch.
    loop {
        let caught_up = tokio::select! {
            caught_up = observer.lists.projected().caught_up() => caught_up,
            // A sender that is gone has stopped as well.
            _ = stops.wait_for(|stops| *stops) => return,
        };
        let Err(error) = caught_up else { break };
        tracing::warn!(%error, "no trip is looked at before all of them are listed");
        if !pause(&mut stops, limits::LISTS_AGAIN).await {
            return;
        }
    }
    while pause(&mut stops, limits::OBSERVE_EVERY).await {
        observer.look().await;
    }
}

async fn tell_time(
    parts: Arc<Parts>,
    mut reach: Reach,
    brought: watch::Receiver<Brought>,
    mut stops: watch::Receiver<bool>,
) {
    let mut told = 0;
    let mut ready: Option<Instant> = None;
    while pause(&mut stops, limits::SWEEP_EVERY).await {
        told += 1;
        if told % limits::SWEEPS_PER_EXPIRY == 0
            && let Err(error) = upkeep::expire_holds(&parts).await
        {
            tracing::warn!(error, "holds could not be told the time; they are told again soon");
        }
        // What vehicles noticed while nobody listened comes before time.
        if !brought.borrow().caught_up {
            continue;
        }
        let since = *ready.get_or_insert_with(Instant::now);
        let swept = match reach.look() {
            Ok(_) if since.elapsed() < reach.grace() => Ok(0),
            Ok(mut in_reach) => {
                // What their vehicles told has not come to them.
                in_reach.retain(|(trip, _)| !brought.borrow().aside.contains(trip));
                parts.trips.sweep(&parts.organization, &parts.lists, &in_reach).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = swept {
            tracing::warn!(error, "trips could not be told the time; they are told again soon");
        }
    }
}
