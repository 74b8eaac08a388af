//! Billing at work against a provider with every fault, on a journal that outlives it.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use common::{TARIFFS, eur, seller};
use remuda_billing::desk::{BillTrips, Calculated, DriveError, DrivePayments, Driven};
use remuda_billing::fare::Measured;
use remuda_billing::invoices::{Invoices, InvoicesEvent};
use remuda_billing::ledger::{Account, Ledger, TrialBalance};
use remuda_billing::metrics::PaymentMetrics;
use remuda_billing::money::Currency;
use remuda_billing::payment::{Method, Status};
use remuda_billing::provider::{FakeProvider, Faults, Gateway, PaymentProvider, StatementLine};
use remuda_billing::reconcile::{LedgerLine, reconcile};
use remuda_billing::tariff::Tariffs;
use remuda_billing::views::PaymentsOf;
use remuda_billing::{Billing, BillingReader, BillingService, BillingSettings, BillingViews};
use remuda_contracts::trips::{
    CancellationFee, CancelledBy, DistanceSource, Mark, QuoteReference, TRIP_COMPLETED, TRIP_NO_SHOW,
    TripCancelled, TripCompleted, TripParties,
};
use remuda_entities::projection::{Place, fact, project};
use remuda_entities::reactor::react;
use remuda_entities::{EntityMetrics, Feed, From, Shards};
use remuda_eventsourcing::{Event, Journal, MemoryJournal, NewEvent, StreamId, shard_of};
use remuda_model::OrganizationId;
use remuda_saga::{Service, StepContext, StepError};

const NOW: i64 = 1_767_225_600_000;

struct Desk {
    billing: Billing,
    shards: Arc<Shards>,
}

async fn desk(journal: &Arc<dyn Journal>, provider: &Arc<FakeProvider>) -> Desk {
    let shards = Shards::take_all(Arc::clone(journal), EntityMetrics::default()).await.expect("taken");
    let taker: Arc<dyn PaymentProvider> = provider.clone();
    let gateway = Gateway::new(taker, PaymentMetrics::default()).with_timeout(Duration::from_millis(20));
    let gateways = BTreeMap::from([(Method::Card, gateway.clone()), (Method::Credits, gateway)]);
    let settings = BillingSettings {
        tariffs: Tariffs::from_toml(TARIFFS).expect("tariffs"),
        tariff: "standard".into(),
        method: Method::Card,
        seller: seller(),
        utc_offset_min: 60,
    };
    let billing = Billing::start(&shards, gateways, settings, Arc::new(|| NOW)).await.expect("started");
    Desk { billing, shards }
}

fn journal() -> Arc<dyn Journal> {
    Arc::new(MemoryJournal::new())
}

fn organization() -> OrganizationId {
    OrganizationId::default()
}

fn mark(time_ms: i64, odometer_m: Option<u64>) -> Mark {
    Mark { time_ms, latitude_e7: 0, longitude_e7: 0, odometer_m, energy_wh: None, samples: None }
}

fn trip(id: &str, distance_m: u64) -> TripCompleted {
    TripCompleted {
        trip: id.into(),
        parties: TripParties {
            rider: format!("rider-{}", id.len() % 3),
            vehicle: "V1".into(),
            ..Default::default()
        },
        requested_ms: NOW - 900_000,
        start: mark(NOW - 600_000, Some(50_000)),
        end: mark(NOW, Some(50_000 + distance_m)),
        distance_m: 1,
        distance_source: DistanceSource::Odometer,
        duration_ms: 1,
        energy_wh: None,
        waiting_ms: 0,
        stops: 0,
        quote: None,
        hold_key: None,
    }
}

fn event_id(n: usize) -> [u8; 16] {
    (n as u128 + 1).to_be_bytes()
}

async fn everything(shards: &Arc<Shards>) -> Vec<Arc<Event>> {
    let mut feed = Feed::new(shards, From::Start);
    let mut all = Vec::new();
    while let Some(events) = feed.poll().await.expect("read") {
        all.extend(events);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quoted_ride_is_bounded_by_its_quote() {
    let (journal, provider) = (journal(), Arc::new(FakeProvider::new(1, Faults::default())));
    let Desk { billing, .. } = desk(&journal, &provider).await;
    let planned = Measured { distance_m: 5_000, duration_ms: 600_000, waiting_ms: 0 };
    // 3.50 + 5 km * 1.40 + 10 min * 0.25 = 13.00, doubled by surge that the tariff cuts to 200 %.
    let quote = billing.give_quote(&organization(), "q1", "ada", planned, 900).await.expect("a quote");
    assert_eq!((quote.fare.gross, quote.surge_percent), (eur(2_600), 200));
    let same = billing.give_quote(&organization(), "q1", "ada", planned, 100).await.expect("a quote");
    assert_eq!(same, quote);
    billing.accept_quote(&organization(), "q1", "t1").await.expect("accepted");
    let other = billing.accept_quote(&organization(), "q1", "t2").await.expect_err("one ride per quote");
    assert_eq!(other.code(), "already-accepted");
    // Driven: 50 km. Measured and surged it would cost 151.00; the quote allows 20 % more than it said.
    let mut driven = trip("t1", 50_000);
    driven.quote = Some(QuoteReference { quote_id: "q1".into(), price: quote.fare.gross });
    let charged = billing.calculate(&organization(), event_id(1), &driven).await.expect("charged");
    assert_eq!(charged, Calculated::Charged(eur(3_120)));
    let again = billing.calculate(&organization(), event_id(1), &driven).await.expect("charged");
    assert_eq!(again, Calculated::Already);
    let second =
        billing.calculate(&organization(), event_id(2), &driven).await.expect_err("one charge per ride");
    assert!(!second.is_transient() && second.to_string().contains("charged already"), "{second}");
    assert_eq!(billing.drive(&organization(), "t1").await.expect("driven"), Driven::AtRest);
    assert_eq!(provider.net_minor(Currency::EUR), 3_120);
    // A vehicle that tells nonsense: the ride is priced as the trip says, else as it was planned.
    let mut nonsense = trip("t3", 9_000_000_000);
    nonsense.distance_m = 2_000;
    nonsense.duration_ms = 600_000;
    let charged = billing.calculate(&organization(), event_id(3), &nonsense).await.expect("charged");
    assert_eq!(charged, Calculated::Charged(eur(880)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_ride_pays_its_fee_or_lets_its_hold_go() {
    let (journal, provider) = (journal(), Arc::new(FakeProvider::new(1, Faults::default())));
    let Desk { billing, .. } = desk(&journal, &provider).await;
    let cancelled = |id: &str, fee| TripCancelled {
        trip: id.into(),
        time_ms: NOW,
        parties: TripParties { rider: "ada".into(), ..Default::default() },
        by: CancelledBy::Rider,
        reason: "no longer needed".into(),
        fee,
        since_assigned_ms: Some(0),
        waited_ms: 0,
        driven_m: 0,
        quote: None,
        hold_key: None,
    };
    for (id, fee, expected) in [
        ("free", CancellationFee::None, Calculated::Nothing),
        ("late", CancellationFee::LateCancellation, Calculated::Charged(eur(500))),
        ("absent", CancellationFee::NoShow, Calculated::Charged(eur(800))),
    ] {
        billing.hold(&organization(), id, "ada", Method::Card, eur(2_000), "h").await.expect("held");
        let seen = billing.payments().read(&organization(), id).await.expect("read").state;
        assert_eq!(seen.status, Status::Held);
        let event = event_id(id.len());
        let done = billing.cancel(&organization(), event, &cancelled(id, fee)).await.expect("done");
        assert_eq!(done, expected, "{id}");
        assert_eq!(billing.drive(&organization(), id).await.expect("driven"), Driven::AtRest);
    }
    assert_eq!((provider.open_holds(), provider.net_minor(Currency::EUR)), (0, 1_300));
    let free = billing.payments().read(&organization(), "free").await.expect("read").state;
    assert_eq!(free.status, Status::Voided);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_show_is_billed_from_its_own_event() {
    let (journal, provider) = (journal(), Arc::new(FakeProvider::new(1, Faults::default())));
    let Desk { billing, .. } = desk(&journal, &provider).await;
    billing.hold(&organization(), "absent", "ada", Method::Card, eur(2_000), "h").await.expect("held");
    let absent = TripCancelled {
        trip: "absent".into(),
        parties: TripParties { rider: "ada".into(), ..TripParties::default() },
        by: CancelledBy::System,
        reason: "nobody came".into(),
        fee: CancellationFee::NoShow,
        time_ms: NOW,
        since_assigned_ms: Some(0),
        waited_ms: 0,
        driven_m: 0,
        quote: None,
        hold_key: None,
    };
    let event = Event {
        shard: shard_of(&StreamId {
            organization: organization(),
            aggregate_type: "trip".into(),
            aggregate_id: "absent".into(),
        }),
        position: 1,
        event: NewEvent {
            event_id: event_id(1),
            stream: StreamId {
                organization: organization(),
                aggregate_type: "trip".into(),
                aggregate_id: "absent".into(),
            },
            version: 3,
            event_type: TRIP_NO_SHOW.into(),
            schema_version: 1,
            time_ms: NOW,
            causation_id: "test".into(),
            correlation_id: "absent".into(),
            actor: "test".into(),
            payload: postcard::to_allocvec(&absent).expect("bytes"),
        },
    };
    assert_eq!(billing.take(&event).await.expect("taken"), Some(Calculated::Charged(eur(800))));
    assert_eq!(billing.take(&event).await.expect("again"), Some(Calculated::Already));
}

#[tokio::test(flavor = "multi_thread")]
async fn as_a_service_of_sagas_it_holds_and_undoes() {
    let (journal, provider) = (journal(), Arc::new(FakeProvider::new(1, Faults::default())));
    let Desk { billing, .. } = desk(&journal, &provider).await;
    let service = BillingService::new(billing.clone());
    let context = |saga: &str| StepContext {
        organization: organization(),
        saga_id: saga.into(),
        saga: "booking".into(),
        step: "hold".into(),
        attempt: 1,
        deadline_ms: NOW + 10_000,
        data: serde_json::json!({ "payment": { "payer": "ada", "amount_minor": 1500, "currency": "EUR" } }),
    };
    let first = service.call("hold-payment", "b1/hold/do", &context("b1")).await.expect("held");
    let again = service.call("hold-payment", "b1/hold/do", &context("b1")).await.expect("held");
    assert_eq!((&first["held_minor"], &first), (&serde_json::json!(1500), &again));
    assert_eq!(provider.open_holds(), 1);
    for _ in 0..2 {
        service.call("void-payment", "b1/hold/undo", &context("b1")).await.expect("undone");
        assert_eq!(provider.open_holds(), 0);
    }
    // An undo whose do never came bars it.
    service.call("void-payment", "b2/hold/undo", &context("b2")).await.expect("nothing to undo");
    let late = service.call("hold-payment", "b2/hold/do", &context("b2")).await;
    assert!(matches!(&late, Err(StepError::Refused { code, .. }) if code == "payment-voided"), "{late:?}");
    let mut wrong = context("b3");
    wrong.data = serde_json::json!({ "payment": { "payer": "ada" } });
    let refused = service.call("hold-payment", "b3/hold/do", &wrong).await;
    assert!(
        matches!(&refused, Err(StepError::Refused { code, .. }) if code == "invalid-input"),
        "{refused:?}"
    );
}

/// Drives all payments until each is at rest.
async fn settle(desk: &Desk, rides: u64) {
    for ride in 1..=rides {
        let mut tries = 0;
        while let Driven::Waiting(_) =
            desk.billing.drive(&organization(), &format!("t{ride}")).await.expect("driven")
        {
            tries += 1;
            assert!(tries < 200, "t{ride} does not come to rest");
        }
        desk.billing.take_late_answers().await.expect("kept");
    }
}

/// The same by the reactors alone, on a provider that only fails and loses answers: nothing is called but by
/// events.
#[tokio::test(flavor = "multi_thread")]
async fn events_alone_do_it() {
    let faults = Faults { fail: 100, lose: 200, ..Faults::default() };
    let (journal, provider) = (journal(), Arc::new(FakeProvider::new(3, faults)));
    let Desk { billing, shards } = desk(&journal, &provider).await;
    let trips = react(&shards, &Place::memory(), BillTrips(billing.clone())).await.expect("started");
    let driver = react(&shards, &Place::memory(), DrivePayments(billing.clone())).await.expect("started");
    let event = |n: usize| {
        let id = format!("t{n}");
        NewEvent {
            event_id: event_id(n),
            stream: StreamId {
                organization: organization(),
                aggregate_type: "trip".into(),
                aggregate_id: id.clone(),
            },
            version: 1,
            event_type: TRIP_COMPLETED.into(),
            schema_version: 1,
            time_ms: NOW,
            causation_id: "test".into(),
            correlation_id: id.clone(),
            actor: "test".into(),
            payload: postcard::to_allocvec(&trip(&id, 3_000)).expect("bytes"),
        }
    };
    for n in 1..=5 {
        let event = event(n);
        let shard = shard_of(&event.stream);
        let epoch = shards.epoch(shard).expect("owned");
        shards.append(shard, epoch, vec![event]).await.expect("written");
    }
    let paid = async {
        for n in 1..=5 {
            loop {
                let state =
                    billing.payments().read(&organization(), &format!("t{n}")).await.expect("read").state;
                if state.status == Status::Captured && state.posted as usize == state.entries.len() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), paid).await.expect("paid in time");
    assert_eq!(provider.net_minor(Currency::EUR), 5 * 1_020);
    trips.stop().await;
    driver.stop().await;
}

/// 60 rides with holds, charges, refunds and cancellations; a provider that fails in every way; the process
/// dies between rides and comes back on the same journal; every event is delivered twice. Then the books are
/// compared by others than their writers.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_the_money_is_right() {
    let seed = std::env::var("REMUDA_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(7);
    eprintln!("REMUDA_SEED={seed}");
    let (journal, provider) =
        (journal(), Arc::new(FakeProvider::new(seed, Faults::all(Duration::from_millis(40)))));
    let mut rides = 0;
    for life in 0..3 {
        let desk = desk(&journal, &provider).await;
        for _ in 0..20 {
            rides += 1;
            let id = format!("t{rides}");
            let billing = &desk.billing;
            if rides % 3 != 0 {
                // What comes of it does not matter here: declined, hanging and held ones all occur.
                let _ = billing.hold(&organization(), &id, "ada", Method::Card, eur(2_000), "hold").await;
            }
            if rides % 10 == 0 {
                let _ = billing.void(&organization(), &id, "cancelled", "void").await;
                continue;
            }
            let ended = trip(&id, 1_000 * rides);
            for _ in 0..2 {
                billing.calculate(&organization(), event_id(rides as usize), &ended).await.expect("charged");
            }
            if rides % 4 == 0 {
                // Half of them are refunded as soon as they are paid.
                settle(&desk, rides).await;
                let seen = billing.payments().read(&organization(), &id).await.expect("read").state;
                if seen.status == Status::Captured {
                    let half = eur(seen.captured_minor / 2);
                    let _ = billing.refund(&organization(), &id, "r1", half, "late", "user/op").await;
                }
            }
        }
        if life == 2 {
            settle(&desk, rides).await;
            check(&desk, &provider, rides).await;
        }
        desk.billing.payments().drain().await;
        desk.billing.ledgers().drain().await;
        desk.billing.books().drain().await;
    }
}

async fn check(desk: &Desk, provider: &FakeProvider, rides: u64) {
    assert_eq!(provider.open_holds(), 0, "no hold is left");
    let (mut captured, mut refunded, mut owed) = (0, 0, 0);
    for ride in 1..=rides {
        let state =
            desk.billing.payments().read(&organization(), &format!("t{ride}")).await.expect("read").state;
        captured += state.captured_minor;
        refunded += state.refunded_minor;
        owed += state.outstanding_minor();
        let resting =
            [Status::Captured, Status::Refunded, Status::Voided, Status::Owed, Status::HoldDeclined];
        assert!(resting.contains(&state.status), "t{ride} is {:?}", state.status);
    }
    assert!(captured > 0 && refunded > 0, "the run did something");
    assert_eq!(captured - refunded, provider.net_minor(Currency::EUR), "we and the provider agree");
    // From the journal alone: what the ledgers, the books and the provider say.
    let (mut trial, mut lines, mut numbers, mut notes) = (TrialBalance::default(), Vec::new(), Vec::new(), 0);
    let mut documents = 0;
    for event in everything(&desk.shards).await {
        if let Some(fact) = fact::<Ledger>(&event).expect("readable") {
            trial.apply(&fact);
            lines.extend(LedgerLine::of(&fact));
        }
        if let Some(InvoicesEvent::Issued(issued)) = fact::<Invoices>(&event).expect("readable") {
            documents += 1;
            notes += usize::from(issued.issued.number.contains('C'));
            numbers.push((issued.issued.number.clone(), issued.issued.document.payment.clone()));
        }
    }
    assert_eq!(trial.imbalance_minor(), 0, "the ledger sums to zero");
    let balance = |account| trial.balance(account, Currency::EUR);
    assert_eq!(balance(Account::ProviderClearing), i128::from(captured - refunded));
    assert_eq!(balance(Account::AccountsReceivable), i128::from(owed));
    let earned = balance(Account::Revenue) + balance(Account::TaxPayable);
    assert_eq!(earned, -i128::from(captured + owed - refunded));
    // Every charged ride has one invoice, and the numbers have no gap.
    let charged = rides - rides / 10;
    let invoices: BTreeSet<&String> = numbers.iter().map(|(n, _)| n).filter(|n| !n.contains('C')).collect();
    assert_eq!((invoices.len() as u64, documents - notes), (charged, invoices.len()));
    assert_eq!(invoices.last().map(|n| n.as_str()), Some(format!("2026-{charged:06}").as_str()));
    let book = desk.billing.books().read(&organization(), "2026").await.expect("read").state;
    assert_eq!(book.unconfirmed.len(), 0, "the book remembers no key for ever");
    let views = project(&desk.shards, &Place::memory(), BillingViews).await.expect("started");
    let reader = BillingReader(views.clone());
    views.caught_up().await.expect("caught up");
    assert_eq!(reader.trial_balance(&organization()).expect("a balance"), trial);
    let mut moved = reader.moved(&organization(), 0, i64::MAX).expect("lines");
    moved.sort_by(|a, b| a.reference.cmp(&b.reference));
    lines.sort_by(|a, b| a.reference.cmp(&b.reference));
    assert_eq!(moved, lines);
    assert_eq!(
        reader.moved(&organization(), 0, NOW).expect("lines"),
        [],
        "all of it happened at that moment"
    );
    let first = reader.document(&organization(), "2026-000001").expect("read").expect("a document");
    let of_payment = reader.numbers(&organization(), &first.document.payment).expect("numbers");
    assert_eq!(of_payment[0], "2026-000001");
    assert_eq!(reader.documents(&organization(), None, 1_000).expect("documents").len(), documents);
    views.stop().await;
    let statement = provider.statement(0, i64::MAX).await.expect("a statement");
    let report = reconcile(&lines, &statement).expect("few lines");
    assert!(report.agrees(), "{report}");
    assert_eq!(report.matched, statement.len());
    disagree(&lines, &statement);
}

/// A report names each kind of difference.
fn disagree(lines: &[LedgerLine], statement: &[StatementLine]) {
    let (mut ours, mut theirs) = (lines.to_vec(), statement.to_vec());
    ours.sort_by(|a, b| a.reference.cmp(&b.reference));
    theirs.sort_by(|a, b| a.reference.cmp(&b.reference));
    let (gone_here, gone_there) = (ours.remove(0), theirs.remove(1));
    theirs[1].amount.minor_units += 1;
    theirs.push(theirs[2].clone());
    let report = reconcile(&ours, &theirs).expect("few lines");
    let names = |d: &remuda_billing::reconcile::Differences| {
        d.first.iter().map(|d| d.reference.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&report.missing_here), [gone_here.reference]);
    assert_eq!(names(&report.missing_there), [gone_there.reference]);
    assert_eq!(names(&report.amounts_differ), [theirs[1].reference.clone()]);
    assert_eq!(names(&report.repeated), [theirs[2].reference.clone()]);
    assert!(!report.agrees() && report.to_string().contains("amounts differ: 1"), "{report}");
    let json = serde_json::to_value(&report).expect("JSON");
    assert_eq!(json["missing_here"]["count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_that_was_declined_too_often_waits_for_somebody_who_collects_it_or_writes_it_off() {
    let faults = Faults { decline: 1_000, ..Faults::default() };
    let (journal, provider) = (journal(), Arc::new(FakeProvider::new(1, faults)));
    let Desk { billing, shards } = desk(&journal, &provider).await;
    let views = project(&shards, &Place::memory(), BillingViews).await.expect("started");
    let reader = BillingReader(views.clone());
    let waiting = async || {
        views.caught_up().await.expect("reads on");
        let lines = reader.payments(&organization(), PaymentsOf::Attention, None, 10).expect("read");
        lines.into_iter().map(|line| line.id).collect::<Vec<_>>()
    };
    let early = billing.write_off(&organization(), "t1", "too early", "w0", "user/ada").await;
    assert!(matches!(early, Err(DriveError::Ask(error)) if error.code() == "nothing-to-collect"));
    billing.calculate(&organization(), event_id(1), &trip("t1", 3_000)).await.expect("charged");
    assert_eq!(billing.drive(&organization(), "t1").await, Ok(Driven::NeedsAttention));
    assert_eq!(waiting().await, ["t1"]);
    // Still no money there.
    let again = billing.try_again(&organization(), "t1", "they called", "a1", "user/ada").await;
    assert_eq!(again, Ok(Driven::NeedsAttention));
    let seen = billing.payments().read(&organization(), "t1").await.expect("read").state;
    let due = seen.outstanding_minor();
    assert!(due > 0);
    let given_up = billing.write_off(&organization(), "t1", "they moved away", "w1", "user/ada").await;
    assert_eq!(given_up, Ok(Driven::AtRest));
    assert!(waiting().await.is_empty());
    let state = billing.payments().read(&organization(), "t1").await.expect("read").state;
    assert_eq!((state.outstanding_minor(), state.written_off_minor), (0, due));
    let balance = reader.trial_balance(&organization()).expect("read");
    assert_eq!(balance.imbalance_minor(), 0);
    assert_eq!(balance.balance(Account::BadDebt, Currency::EUR), i128::from(due));
    assert_eq!(balance.balance(Account::AccountsReceivable, Currency::EUR), 0);
    let of_rider = reader.payments(&organization(), PaymentsOf::Payer(&state.payer), None, 10).expect("read");
    assert_eq!(of_rider.len(), 1);
}
