//! Users as running entities: the saga's service, erasure, lists.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use remuda_contracts::booking::{Booking, USER_SERVICE};
use remuda_contracts::money::Currency;
use remuda_contracts::trips::{CancellationFee, CancelledBy, TripCancelled, TripParties};
use remuda_entities::projection::{Place, project};
use remuda_entities::reactor::Reactor;
use remuda_entities::{Entities, EntityMetrics, Settings, Shards};
use remuda_eventsourcing::testing::context;
use remuda_eventsourcing::{Context, Event, MemoryJournal, NewEvent, StreamId, codec};
use remuda_model::{OrganizationId, ShardId};
use remuda_saga::testing::{World, stock};
use remuda_saga::{ActionSpec, Definition, Service, Services, StepBuilder, StepContext, StepError};
use remuda_users::privacy::{MemoryKeyStore, Retention, UserRef, Vault};
use remuda_users::returning::ReturnCredits;
use remuda_users::state::{PersonalField, Preferences, Role, UserPhase};
use remuda_users::{UserCommand as C, UserDirectory, UserLists, UserService, Users};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::support::*;

fn wall_clock_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292 million")
}

fn home() -> OrganizationId {
    OrganizationId::default()
}

fn ada() -> UserRef {
    UserRef::new(home(), "ada").unwrap()
}

fn with_id(command_id: &str) -> Context {
    Context { now_ms: wall_clock_ms(), command_id: command_id.into(), ..context() }
}

async fn service() -> UserService {
    let journal = Arc::new(MemoryJournal::new());
    let shards = Shards::take_all(journal, EntityMetrics::default()).await.unwrap();
    let users = Entities::<Users>::start(&shards, Settings::default()).await.unwrap();
    let vault = Vault::new(Arc::new(MemoryKeyStore::default()));
    UserService::new(users, vault, Retention::default(), Arc::new(wall_clock_ms))
}

/// Ada, with 100 minor units.
async fn with_ada() -> UserService {
    let service = service().await;
    let profile = BTreeMap::from([(PersonalField::Name, "Ada Lovelace".to_owned())]);
    let roles = [Role::Rider].into();
    let preferences = Preferences::default();
    service.register(&ada(), roles, profile, preferences, Currency::EUR, with_id("r")).await.unwrap();
    let top_up = C::TopUp { amount: euros(100), reference: "p1".into() };
    service.entities().ask(&home(), "ada", top_up, with_id("t")).await.unwrap();
    service
}

/// A world with Ada in it, made when it is first asked.
#[derive(Clone, Default)]
struct Town {
    service: Arc<OnceCell<UserService>>,
}

impl Town {
    async fn service(&self) -> &UserService {
        self.service.get_or_init(with_ada).await
    }
}

#[async_trait]
impl Service for Town {
    fn name(&self) -> &'static str {
        USER_SERVICE
    }

    fn actions(&self) -> &'static [ActionSpec] {
        const {
            &[
                ActionSpec::undone_by("reserve-credits", "release-credits"),
                ActionSpec::plain("release-credits"),
            ]
        }
    }

    async fn call(&self, action: &str, key: &str, context: &StepContext) -> Result<Value, StepError> {
        self.service().await.call(action, key, context).await
    }
}

#[async_trait]
impl World for Town {
    fn services(&self) -> Services {
        Services::new([Arc::new(self.clone()) as Arc<dyn Service>])
    }

    fn input(&self, _: u32) -> Value {
        // Two do not fit into what Ada has.
        let booking = Booking {
            rider: "ada".into(),
            price: euros(60),
            vehicles: vec![],
            stops: vec![],
            planned_distance_m: None,
            quote_id: None,
            driver: None,
            fleet: None,
            depot: None,
        };
        serde_json::to_value(booking).unwrap()
    }

    async fn held(&self) -> String {
        let user = self.service().await.entities().read(&home(), "ada").await.unwrap().state;
        let holds: Vec<String> =
            user.credits.holds.iter().map(|(key, hold)| format!("{key}: {}", hold.amount)).collect();
        format!("{} free, held {holds:?}", user.credits.available)
    }

    fn only_one_left(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn credits_are_held_and_released_as_sagas_need_it() {
    let step = StepBuilder::call(USER_SERVICE, "reserve-credits").undone_by("release-credits");
    let definition = Definition::named("Credits").step(step).build().unwrap();
    let report = stock::all(&definition, &Town::default).await.unwrap();
    assert!(report.sagas > 10 && report.crashes > 2, "{report:?}");
}

#[tokio::test]
async fn a_person_is_erased_end_to_end() {
    let service = with_ada().await;
    assert_eq!(service.export(&ada()).await.unwrap()["profile"]["name"], "Ada Lovelace");
    let refused = service.erase(&ada(), vec!["t1".into()], true, with_id("e1")).await.unwrap_err();
    assert!(refused.to_string().contains("running"), "{refused}");
    let report = service.erase(&ada(), vec![], true, with_id("e2")).await.unwrap();
    assert_eq!((report.forfeited, report.retained[0].what), (100, "invoices"));
    assert_eq!(service.export(&ada()).await.unwrap()["profile"]["name"], "erased");
    let changes = BTreeMap::from([(PersonalField::Name, Some("Ada".to_owned()))]);
    let refused = service.change_profile(&ada(), changes, with_id("c")).await.unwrap_err();
    assert!(refused.to_string().contains("erased"), "{refused}");
    // Asked again, after a crash or by the same person: the same answer.
    let again = service.erase(&ada(), vec![], true, with_id("e2")).await.unwrap();
    assert_eq!(again, report);
    service.erase(&ada(), vec![], true, with_id("e3")).await.unwrap();
    let nobody = UserRef::new(home(), "nobody").unwrap();
    assert!(service.export(&nobody).await.is_err());
}

#[tokio::test]
async fn an_erasure_that_a_crash_cut_short_is_finished() {
    let service = with_ada().await;
    let order = C::OrderErasure { running_trips: vec![], forfeit: true };
    service.entities().ask(&home(), "ada", order, with_id("e1")).await.unwrap();
    let shards = service.entities().shards();
    let lists = UserDirectory::new(project(shards, &Place::memory(), UserLists).await.unwrap());
    lists.projected().caught_up().await.unwrap();
    let begun = lists.in_phase(&home(), UserPhase::Erasing, None, 10).unwrap();
    assert_eq!(begun.iter().map(|line| line.user.as_str()).collect::<Vec<_>>(), ["ada"]);
    assert_eq!(
        service.export(&ada()).await.unwrap()["profile"]["name"],
        "Ada Lovelace",
        "her key is still there"
    );
    // Perhaps twice: the list may already know that she is erased.
    assert!(service.settle(&home(), &lists).await.unwrap() >= 1);
    assert_eq!(service.export(&ada()).await.unwrap()["profile"]["name"], "erased");
    lists.projected().caught_up().await.unwrap();
    assert_eq!(service.settle(&home(), &lists).await.unwrap(), 1, "again, with no harm");
    assert_eq!(lists.in_phase(&home(), UserPhase::Erasing, None, 10).unwrap(), []);
    assert_eq!(lists.user(&home(), "ada").unwrap().unwrap().phase, UserPhase::Erased);
}

#[tokio::test]
async fn lists_say_what_the_aggregates_say() {
    let service = with_ada().await;
    let users = service.entities();
    let lists = UserDirectory::new(project(users.shards(), &Place::memory(), UserLists).await.unwrap());
    for (n, (user, command)) in [
        ("bob", register(&[Role::Driver])),
        ("cleo", register(&[Role::Rider, Role::Staff])),
        ("cleo", C::RevokeRole(Role::Staff)),
        ("cleo", C::Suspend { reason: "x".into() }),
        ("ada", C::Hold { key: "b1".into(), amount: euros(60), expires_ms: wall_clock_ms() + 60_000 }),
        ("ada", C::Hold { key: "b2".into(), amount: euros(10), expires_ms: wall_clock_ms() + 60_000 }),
        ("ada", capture("b1", 45)),
        ("ada", C::Refund { key: "b1".into(), amount: 5, reference: "r".into() }),
    ]
    .into_iter()
    .enumerate()
    {
        users.ask(&home(), user, command, with_id(&format!("c{n}"))).await.unwrap();
    }
    lists.projected().caught_up().await.unwrap();
    let names = |lines: Vec<remuda_users::lists::UserLine>| -> Vec<String> {
        lines.into_iter().map(|line| line.user).collect()
    };
    assert_eq!(names(lists.all(&home(), None, 10).unwrap()), ["ada", "bob", "cleo"]);
    assert_eq!(names(lists.all(&home(), Some("ada"), 1).unwrap()), ["bob"]);
    assert_eq!(names(lists.with_role(&home(), Role::Rider, None, 10).unwrap()), ["ada", "cleo"]);
    assert!(lists.with_role(&home(), Role::Staff, None, 10).unwrap().is_empty());
    assert_eq!(names(lists.in_phase(&home(), UserPhase::Suspended, None, 10).unwrap()), ["cleo"]);
    assert!(lists.all(&OrganizationId::new("other").unwrap(), None, 10).unwrap().is_empty());
    for user in ["ada", "bob", "cleo"] {
        let (line, state) =
            (lists.user(&home(), user).unwrap().unwrap(), users.read(&home(), user).await.unwrap().state);
        assert_eq!((line.available, line.held), (state.credits.available, state.credits.held()), "{user}");
        assert_eq!((line.phase, line.roles), (state.phase, state.roles), "{user}");
    }
}

#[tokio::test]
async fn credits_go_back_when_a_trip_is_called_off_for_nothing() {
    let service = with_ada().await;
    let users = service.entities().clone();
    let reactor = ReturnCredits { users: users.clone(), clock: Arc::new(wall_clock_ms) };
    let cancelled = |key: &str, fee| {
        let facts = TripCancelled {
            trip: key.into(),
            parties: TripParties { rider: "ada".into(), ..TripParties::default() },
            by: CancelledBy::Rider,
            reason: "x".into(),
            fee,
            time_ms: 1,
            since_assigned_ms: None,
            waited_ms: 0,
            driven_m: 0,
            quote: None,
            hold_key: Some(key.into()),
        };
        let stream =
            StreamId { organization: home(), aggregate_type: "trip".into(), aggregate_id: key.into() };
        Event {
            shard: ShardId::new(1).unwrap(),
            position: 1,
            event: NewEvent {
                event_id: [key.len() as u8; 16],
                stream,
                version: 1,
                event_type: "trip.cancelled".into(),
                schema_version: 1,
                time_ms: 1,
                causation_id: "c".into(),
                correlation_id: key.into(),
                actor: "a".into(),
                payload: codec::encode("trip.cancelled", 1, &facts).payload,
            },
        }
    };
    for key in ["b1", "b-22"] {
        let hold = C::Hold { key: key.into(), amount: euros(40), expires_ms: wall_clock_ms() + 60_000 };
        users.ask(&home(), "ada", hold, with_id(key)).await.unwrap();
    }
    for _ in 0..2 {
        reactor.react(&cancelled("b1", CancellationFee::None)).await.unwrap();
        reactor.react(&cancelled("b-22", CancellationFee::LateCancellation)).await.unwrap();
    }
    let credits = users.read(&home(), "ada").await.unwrap().state.credits;
    assert_eq!((credits.available, credits.held()), (60, 40), "what a fee is due for stays held");
}
