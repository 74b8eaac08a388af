//! The assembly: one journal, the domains over it, the sagas between them, and what keeps them going.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use remuda_billing::desk::{BillTrips, DrivePayments, SetupError};
use remuda_billing::invoices::Seller;
use remuda_billing::ledger::TrialBalance;
use remuda_billing::metrics::PaymentMetrics;
use remuda_billing::payment::Method;
use remuda_billing::provider::Gateway;
use remuda_billing::tariff::{TariffError, Tariffs};
use remuda_billing::{Billing, BillingService, BillingSettings};
use remuda_contracts::fleet::FleetView;
use remuda_entities::metrics::EntityMetrics;
use remuda_entities::projection::{Place, Projected, project};
use remuda_entities::reactor::{Reacting, react};
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
use remuda_vehicles::reservation::{
    AvailabilityDirectory, AvailabilityLists, ReleaseVehicles, Reservations, VehicleService,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::balance::{self, Balances};
use crate::desk::Desk;
use crate::directory::Riders;
use crate::dispatch::Dispatch;
use crate::limits;
use crate::observer::Observer;
use crate::upkeep;

/// Now, ms since 1970 UTC.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The saga that books trips, as shipped.
const TRIP_BOOKING: &str = include_str!("../../../config/sagas/trip-booking.yml");
/// Its name.
pub(crate) const BOOKING_SAGA: &str = "TripBookingSaga";
/// Prices, as shipped.
const TARIFFS: &str = include_str!("../../../config/tariffs/standard.toml");

/// How the business runs on a node.
pub struct BusinessSettings {
    /// Folder of what it keeps beside the journal: projections, offsets, keys of personal data.
    pub folder: PathBuf,
    /// Whose business.
    pub organization: OrganizationId,
    /// Roads, for times and lengths of ways; none: as the crow flies, and a bit.
    pub roads: Option<Arc<RoadNetwork>>,
    /// The relay for e-mails, when there is one.
    pub mailer: Option<Mailer>,
    /// Services of sagas beside those of the domains assembled here; one of the same name takes its place.
    pub services: Vec<Arc<dyn Service>>,
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
}

impl BusinessMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        self.entities.register(registry);
        self.sagas.register(registry);
        self.payments.register(registry);
        self.notifications.register(registry);
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
    reactors: Reactors,
}

struct Reactors {
    release: Reacting<ReleaseVehicles>,
    credits: Reacting<ReturnCredits>,
    bill: Reacting<BillTrips>,
    drive: Reacting<DrivePayments>,
}

/// What the desk asks.
pub(crate) struct Parts {
    pub organization: OrganizationId,
    pub users: UserService,
    pub riders: UserDirectory,
    pub vehicles: VehicleService,
    pub availability: AvailabilityDirectory,
    pub trips: TripService,
    pub lists: TripDirectory,
    pub billing: Billing,
    pub balances: Projected<Balances>,
    pub notifications: Notifications,
    pub mailbox: Mailbox,
    pub sagas: Sagas,
    pub host: EntityHost,
    pub dispatch: Dispatch,
    pub clock: Clock,
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
        let gateway = Gateway::new(Arc::new(credits), metrics.payments);
        let billing = BillingSettings {
            tariffs: Tariffs::from_toml(TARIFFS)?,
            tariff: "standard".to_owned(),
            method: Method::Credits,
            seller: settings.seller,
            utc_offset_min: 0,
        };
        let gateways = BTreeMap::from([(Method::Credits, gateway)]);
        let billing = Billing::start(&shards, gateways, billing, Arc::clone(&clock)).await?;

        let riders = UserDirectory::new(project(&shards, &place, UserLists).await?);
        let availability = AvailabilityDirectory::new(project(&shards, &place, AvailabilityLists).await?);
        let lists = TripDirectory::new(project(&shards, &place, TripLists).await?);
        let balances = project(&shards, &place, Balances).await?;
        let reactors = Reactors {
            release: react(&shards, &place, ReleaseVehicles(vehicles.clone())).await?,
            credits: react(
                &shards,
                &place,
                ReturnCredits { users: users.entities().clone(), clock: Arc::clone(&clock) },
            )
            .await?,
            bill: react(&shards, &place, BillTrips(billing.clone())).await?,
            drive: react(&shards, &place, DrivePayments(billing.clone())).await?,
        };

        let told = NotificationsConfig {
            catalogue: Catalogue::builtin()?,
            directory: Arc::new(Riders { users: users.entities().clone(), vault }),
            mailer: settings.mailer,
            webhooks: None,
            metrics: metrics.notifications,
            clock: Arc::clone(&clock),
        };
        let notifications = Notifications::start(&shards, told).await.map_err(BusinessError::Entities)?;
        let mailbox = Mailbox(project(&shards, &place, MailboxProjection).await?);

        let own: [Arc<dyn Service>; 5] = [
            Arc::new(users.clone()),
            Arc::new(vehicles.clone()),
            Arc::new(trips.clone()),
            Arc::new(BillingService::new(billing.clone())),
            Arc::new(NotificationService::new(notifications.clone())),
        ];
        let services = Services::new(own.into_iter().chain(settings.services));
        let host = EntityHost::start(&shards, &place).await.map_err(BusinessError::Entities)?;
        let sagas = Sagas::new(
            Arc::new(host.clone()),
            services,
            definitions()?,
            remuda_saga::Settings::default(),
            metrics.sagas,
            Arc::clone(&clock),
        )?;
        sagas.resume().await?;

        let dispatch =
            Dispatch { view: Arc::clone(&view), availability: availability.clone(), roads: settings.roads };
        let organization = settings.organization;
        let parts = Arc::new(Parts {
            organization,
            users,
            riders,
            vehicles,
            availability,
            trips,
            lists,
            billing,
            balances,
            notifications,
            mailbox,
            sagas,
            host,
            dispatch,
            clock,
        });
        let (stopping, stops) = watch::channel(false);
        let observer = Observer::new(view, parts.trips.clone(), parts.lists.clone(), parts.organization);
        let runner = Runner::new(parts.notifications.clone(), parts.mailbox.clone());
        let mut tasks = vec![
            tokio::spawn(runner.run(stops.clone())),
            tokio::spawn(watch_vehicles(observer, stops.clone())),
            tokio::spawn(upkeep::settle_erasures(Arc::clone(&parts), stops.clone())),
            tokio::spawn(tell_time(Arc::clone(&parts), stops.clone())),
        ];
        tasks.extend(flags.map(|flags| tokio::spawn(upkeep::follow_flags(flags, stops))));
        Ok(Self { parts, stopping, tasks: Mutex::new(tasks), reactors })
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
        let balance: Result<Option<TrialBalance>, _> =
            self.parts.balances.get(&balance::place(&self.parts.organization));
        // One that cannot be read is not zero.
        let ledger_sum = balance.map_or(u128::MAX, |balance| balance.map_or(0, |all| all.imbalance_minor()));
        BusinessFigures {
            sagas_running: count(&[
                remuda_saga::Status::Loading,
                remuda_saga::Status::Running,
                remuda_saga::Status::Unwinding,
            ]),
            sagas_stuck: count(&[remuda_saga::Status::Stuck]),
            reactors_stopped: (self.reactors.release.status().stopped.len()
                + self.reactors.credits.status().stopped.len()
                + self.reactors.bill.status().stopped.len()
                + self.reactors.drive.status().stopped.len()) as u64,
            ledger_sum_minor_units: u64::try_from(ledger_sum).unwrap_or(u64::MAX),
        }
    }

    /// Waits until every event so far was reacted to: charged, given back, listed.
    pub async fn settle(&self) {
        // A charge makes payments, whose driving makes ledger entries: twice around is enough.
        for _ in 0..2 {
            let _ = self.reactors.release.caught_up().await;
            let _ = self.reactors.credits.caught_up().await;
            let _ = self.reactors.bill.caught_up().await;
            let _ = self.reactors.drive.caught_up().await;
        }
        let _ = self.parts.lists.projected().caught_up().await;
        let _ = self.parts.riders.projected().caught_up().await;
        let _ = self.parts.balances.caught_up().await;
        let _ = self.parts.availability.projected().caught_up().await;
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
        self.reactors.release.stop().await;
        self.reactors.credits.stop().await;
        self.reactors.bill.stop().await;
        self.reactors.drive.stop().await;
        self.parts.riders.projected().stop().await;
        self.parts.availability.projected().stop().await;
        self.parts.lists.projected().stop().await;
        self.parts.balances.stop().await;
        self.parts.mailbox.0.stop().await;
        self.parts.host.stop().await;
        self.parts.users.entities().drain().await;
        self.parts.vehicles.entities().drain().await;
        self.parts.trips.entities().drain().await;
        self.parts.notifications.entities().drain().await;
        self.parts.billing.payments().drain().await;
        self.parts.billing.ledgers().drain().await;
        self.parts.billing.books().drain().await;
        self.parts.billing.quotes().drain().await;
    }
}

/// Ends with the node.
pub(crate) async fn pause(stops: &mut watch::Receiver<bool>, time: std::time::Duration) -> bool {
    tokio::select! {
        () = tokio::time::sleep(time) => true,
        // A sender that is gone has stopped as well.
        _ = stops.wait_for(|stops| *stops) => false,
    }
}

async fn watch_vehicles(mut observer: Observer, mut stops: watch::Receiver<bool>) {
    while pause(&mut stops, limits::OBSERVE_EVERY).await {
        observer.look().await;
    }
}

async fn tell_time(parts: Arc<Parts>, mut stops: watch::Receiver<bool>) {
    let mut told = 0;
    while pause(&mut stops, limits::SWEEP_EVERY).await {
        told += 1;
        if told % limits::SWEEPS_PER_EXPIRY == 0
            && let Err(error) = upkeep::expire_holds(&parts).await
        {
            tracing::warn!(error, "holds could not be told the time; they are told again soon");
        }
        if let Err(error) = parts.trips.sweep(&parts.organization, &parts.lists).await {
            tracing::warn!(error, "trips could not be told the time; they are told again soon");
        }
    }
}
