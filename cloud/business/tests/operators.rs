//! What operators do: let readers go on, give money back, look at documents, figures and messages, keep vehicles' records.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use remuda_contracts::business::analytics::FiguresQuery;
use remuda_contracts::business::billing::{Collection, PaymentFilter, StatementView};
use remuda_contracts::business::feedback::{GiveFeedback, Words};
use remuda_contracts::business::notifications::{
    NotificationFilter, NotificationView, PreferencesView, QuietView,
};
use remuda_contracts::business::vehicles::{
    RecordDetails, RecordFilter, ServicePlanView, TroubleFilter, TroubleReport,
};
use remuda_contracts::business::{BusinessDesk, BusinessError};
use remuda_contracts::money::{Currency, Money};
use remuda_eventsourcing::{Journal, JournalMetrics, NewEvent, SledJournal, StreamId, shard_of};
use support::*;

fn code<T: std::fmt::Debug>(result: Result<T, BusinessError>) -> String {
    match result.unwrap_err() {
        BusinessError::Refused { code, .. } => code,
        BusinessError::NotFound { what, .. } => format!("no {what}"),
        BusinessError::Unavailable(text) => panic!("{text}"),
    }
}

fn eur(minor_units: i64) -> Money {
    Money { minor_units, currency: Currency::EUR }
}

/// Drives the nearest vehicle to the rider, and the rider to where they want.
async fn driven(desk: &Arc<dyn BusinessDesk>, fleet: &Arc<Fleet>, id: &str) {
    let booked = desk.book(&ORGANIZATION(), ride("rita"), asker(id)).await.unwrap();
    let car = booked.vehicle.as_str();
    let at = |hundreds: i32| 481_000_000 + HUNDRED_M * hundreds;
    for (hundreds, kmh, state) in
        [(1, 30.0, "arriving"), (3, 0.0, "boarding"), (8, 50.0, "under-way"), (23, 0.0, "completed")]
    {
        fleet.put(car, at(hundreds), kmh);
        until(desk, id, state).await;
    }
}

/// A completed trip whose bytes mean nothing, as a damaged or a newer program would leave it.
async fn write_nonsense(folder: &Path) {
    let journal = SledJournal::open(&folder.join("journal"), JournalMetrics::default()).unwrap();
    let stream = StreamId {
        organization: ORGANIZATION(),
        aggregate_type: "trip".into(),
        aggregate_id: "nonsense".into(),
    };
    let owned = journal.acquire(&[shard_of(&stream)]).await.unwrap();
    let event = NewEvent {
        event_id: [9; 16],
        stream,
        version: 1,
        event_type: "trip.completed".into(),
        schema_version: 1,
        time_ms: now_ms(),
        causation_id: "test".into(),
        correlation_id: "nonsense".into(),
        actor: "test".into(),
        payload: vec![255],
    };
    journal.append(owned[0].0, owned[0].1, vec![event]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_stopped_are_listed_tried_again_and_let_pass() {
    let folder = tempfile::tempdir().unwrap();
    write_nonsense(folder.path()).await;
    let fleet = Fleet::new(&["CAR0"]);
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    let error = business.settle(PATIENCE).await.unwrap_err().to_string();
    assert!(error.contains("reactors list"), "{error}");
    // Each of them comes to the event in its own time.
    for name in ["billing-calculate", "count-trips", "trip-lists"] {
        until_stopped(&desk, name).await;
    }
    assert!(business.figures().reactors_stopped >= 3);
    let reader = desk.reactor(&ORGANIZATION(), "billing-calculate").await.unwrap();
    let [at] = &reader.stopped[..] else { panic!("{reader:?}") };
    assert_eq!((at.event_type.as_str(), reader.kind), ("trip.completed", "reactor"));
    // Nothing was mended: it stops there again.
    desk.retry_reactor(&ORGANIZATION(), reader.name, Some(at.shard), "a look", asker("r-1")).await.unwrap();
    until_stopped(&desk, "billing-calculate").await;
    let here = ORGANIZATION();
    let slip = desk.skip_event(&here, reader.name, at.shard, at.position + 1, "x", asker("s-0"));
    assert_eq!(code(slip.await), "reactor-not-stopped");
    assert_eq!(code(desk.reactor(&ORGANIZATION(), "nobody").await), "no reactor");
    loop {
        // One after the other: a list that others wait for may stop later than they do.
        let settled = business.settle(PATIENCE).await;
        let all = desk.reactors(&ORGANIZATION()).await.unwrap();
        let Some(reader) = all.into_iter().find(|reader| !reader.stopped.is_empty()) else {
            settled.unwrap();
            break;
        };
        let at = reader.stopped[0].clone();
        let skip = desk.skip_event(&here, reader.name, at.shard, at.position, "nonsense", asker("s"));
        let after = skip.await.unwrap();
        assert_eq!(after.skipped.len(), 1);
        assert_eq!(after.skipped[0].reason, "ada: nonsense");
    }
    business.settle(PATIENCE).await.unwrap();
    business.stop().await;
    drop((desk, business));
    // What was passed over is known after a restart, and nothing stops there again.
    let business = start(folder.path(), &fleet, None).await;
    business.settle(PATIENCE).await.unwrap();
    let reader = business.desk().reactor(&ORGANIZATION(), "billing-calculate").await.unwrap();
    assert_eq!((reader.skipped.len(), reader.stopped.len(), reader.lag_events), (1, 0, 0));
    business.stop().await;
}

async fn until_stopped(desk: &Arc<dyn BusinessDesk>, name: &str) {
    let begun = Instant::now();
    while desk.reactor(&ORGANIZATION(), name).await.unwrap().stopped.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "{name} should stop");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ride_has_an_invoice_and_its_money_can_be_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(&["CAR0"]);
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    riders_and_vehicles(&desk, &["rita"], &["CAR0"]).await;
    driven(&desk, &fleet, "b-1").await;
    business.settle(PATIENCE).await.unwrap();
    let [invoice] = &desk.invoices(&ORGANIZATION(), Some("b-1"), None, 10).await.unwrap()[..] else {
        panic!("one invoice")
    };
    assert_eq!((invoice.kind, invoice.buyer.as_str()), ("invoice", "rita"));
    assert_eq!(desk.invoices(&ORGANIZATION(), None, None, 10).await.unwrap(), std::slice::from_ref(invoice));
    let pdf = desk.invoice_pdf(&ORGANIZATION(), &invoice.number).await.unwrap();
    let text = String::from_utf8_lossy(&pdf);
    assert!(text.starts_with("%PDF") && text.contains("RITA"), "the name is opened for the paper only");
    assert_eq!(code(desk.invoice(&ORGANIZATION(), "1999-000001").await), "no invoice");

    let paid = desk.payment(&ORGANIZATION(), "b-1").await.unwrap();
    let price = invoice.gross.minor_units;
    assert_eq!((paid.state, paid.captured_minor, paid.due_minor), ("captured", price, 0));
    let refund = async |cents: i64, name: &str| {
        desk.refund(&ORGANIZATION(), "b-1", eur(cents), "a dirty seat", asker(name)).await
    };
    assert_eq!(refund(100, "r-1").await.unwrap().refunded_minor, 100);
    assert_eq!(refund(100, "r-1").await.unwrap().refunded_minor, 100, "the same name is the same refund");
    assert_eq!(code(refund(price, "r-2").await), "over-refund");
    business.settle(PATIENCE).await.unwrap();
    let rita = desk.user(&ORGANIZATION(), "rita").await.unwrap();
    assert_eq!(rita.available, 10_000 - price + 100);
    let documents = desk.invoices(&ORGANIZATION(), Some("b-1"), None, 10).await.unwrap();
    assert_eq!(documents.iter().map(|one| one.kind).collect::<Vec<_>>(), ["invoice", "credit-note"]);
    let here = ORGANIZATION();
    let collect = desk.collect(&here, "b-1", Collection::WriteOff, "no", asker("w-1"));
    assert_eq!(code(collect.await), "nothing-to-collect");
    let of_rita = PaymentFilter { payer: Some("rita"), ..PaymentFilter::default() };
    assert_eq!(desk.payments(&ORGANIZATION(), of_rita, None, 10).await.unwrap().len(), 1);
    let attention = PaymentFilter { attention: true, payer: None };
    assert_eq!(desk.payments(&ORGANIZATION(), attention, None, 10).await.unwrap(), []);

    // What riders may still ride for is owed to them, and the top-up is what a provider's statement must show.
    let balances = desk.balances(&ORGANIZATION()).await.unwrap();
    let account = |name: &str| {
        balances.accounts.iter().find(|account| account.account == name).map_or(0, |one| one.minor_units)
    };
    assert_eq!(balances.imbalance_minor, 0);
    assert_eq!(account("credits-liability"), -i128::from(rita.available + rita.held));
    assert_eq!(account("provider-clearing"), 10_000);
    let range = (0, now_ms() + 1);
    let compare =
        async |lines: Vec<StatementView>| desk.reconcile(&ORGANIZATION(), "credits", range, lines).await;
    assert_eq!(code(compare(vec![]).await), "no-statement");
    let line = |reference: &str, cents| StatementView { reference: reference.into(), amount: eur(cents) };
    let agrees = compare(vec![line("pay-rita", 10_000)]).await.unwrap();
    assert_eq!((agrees.matched, agrees.differences.len()), (1, 0));
    let differs = compare(vec![line("pay-rita", 9_999), line("pay-rob", 5)]).await.unwrap();
    let kinds: Vec<_> = differs.differences.iter().map(|one| (one.kind, one.reference.as_str())).collect();
    assert_eq!(kinds, [("missing-here", "pay-rob"), ("amounts-differ", "pay-rita")]);
    business.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_ride_counts_once_in_figures_and_in_its_vehicles_record() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(&["CAR0"]);
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    riders_and_vehicles(&desk, &["rita"], &["CAR0"]).await;
    let details = RecordDetails {
        manufacturer: "Acme".into(),
        model: "Box".into(),
        year: 2026,
        powertrain: "electric".into(),
        seats: 4,
        licence_class: "B".into(),
        ..RecordDetails::default()
    };
    let steam = RecordDetails { powertrain: "steam".into(), ..details.clone() };
    let register = async |details: &RecordDetails, name: &str| {
        desk.register_vehicle(&ORGANIZATION(), "CAR0", details.clone(), 1_000, asker(name)).await
    };
    assert_eq!(code(register(&steam, "v-0").await), "bad-powertrain");
    assert_eq!(code(desk.record(&ORGANIZATION(), "CAR0").await), "no vehicle-record");
    assert_eq!(register(&details, "v-1").await.unwrap().odometer_m, 1_000);
    let plan = ServicePlanView { every_m: Some(1_500), every_ms: None };
    desk.plan_service(&ORGANIZATION(), "CAR0", plan, asker("p-1")).await.unwrap();
    business.settle(PATIENCE).await.unwrap();
    // Of the last frame of the ride nobody knows yet whether it will stay.
    *fleet.samples.lock() = (7, 6);
    driven(&desk, &fleet, "b-1").await;
    business.settle(PATIENCE).await.unwrap();
    business.stop().await;
    drop((desk, business));
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    business.settle(PATIENCE).await.unwrap();
    let ridden = desk.trip(&ORGANIZATION(), "b-1").await.unwrap().distance_m.unwrap();
    let record = desk.record(&ORGANIZATION(), "CAR0").await.unwrap();
    assert_eq!((record.trips, record.trips_m, record.service_due), (1, ridden, true));
    let due = RecordFilter { service_due: true, ..RecordFilter::default() };
    assert_eq!(desk.records(&ORGANIZATION(), due, None, 10).await.unwrap(), std::slice::from_ref(&record));
    let (at_m, now) = (record.odometer_m, now_ms());
    let serviced =
        desk.record_service(&ORGANIZATION(), "CAR0", at_m, now, "new tyres", asker("w-1")).await.unwrap();
    assert!(!serviced.service_due);

    let query = |dimension: &str| FiguresQuery {
        granularity: "day".into(),
        dimension: dimension.into(),
        value: None,
        vehicles: None,
        from_ms: now - 86_400_000,
        to_ms: now + 86_400_000,
        limit: 10,
    };
    for (dimension, value) in [("organization", ""), ("vehicle", "CAR0"), ("model", "Box")] {
        let answer = desk.figures(&ORGANIZATION(), query(dimension)).await.unwrap();
        let [row] = &answer.rows[..] else { panic!("{dimension}: {answer:?}") };
        assert_eq!((row.value.as_str(), row.trips, row.distance_m), (value, 1, ridden as i64));
        assert_eq!((row.unpriced_trips, row.revenue.len()), (0, 1));
        // Money has not waited for it, figures say that they do.
        assert_eq!(row.provisional_trips, 1);
        let used = (ridden as f64 * 0.15).round() as i64;
        assert!(
            (row.energy_wh - used).abs() <= 20 && row.energy_trips == 1,
            "{} Wh, {used} wanted",
            row.energy_wh
        );
    }
    *fleet.samples.lock() = (7, 7);
    let answer = desk.figures(&ORGANIZATION(), query("vehicle")).await.unwrap();
    assert_eq!(answer.rows[0].provisional_trips, 0);
    assert_eq!(code(desk.figures(&ORGANIZATION(), query("colour")).await), "bad-dimension");
    // Of no vehicle at all.
    let nobodys = |dimension: &str| FiguresQuery { vehicles: Some(Arc::default()), ..query(dimension) };
    for dimension in ["organization", "vehicle"] {
        assert_eq!(desk.figures(&ORGANIZATION(), nobodys(dimension)).await.unwrap().rows, []);
    }
    assert_eq!(code(desk.figures(&ORGANIZATION(), nobodys("model")).await), "bad-dimension");
    let backwards = FiguresQuery { to_ms: now - 90_000_000, ..query("fleet") };
    assert_eq!(code(desk.figures(&ORGANIZATION(), backwards).await), "bad-range");
    desk.retire_vehicle(&ORGANIZATION(), "CAR0", "sold", asker("x-1")).await.unwrap();
    business.settle(PATIENCE).await.unwrap();
    assert_eq!(desk.records(&ORGANIZATION(), RecordFilter::default(), None, 10).await.unwrap(), []);
    let all = RecordFilter { retired: true, ..RecordFilter::default() };
    assert_eq!(desk.records(&ORGANIZATION(), all, None, 10).await.unwrap().len(), 1);
    business.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_codes_come_are_looked_at_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let business = start(folder.path(), &Fleet::new(&["CAR0"]), None).await;
    let desk = business.desk();
    let report = |code: &str, severity: &str, cleared| TroubleReport {
        ecu: "engine".into(),
        code: code.into(),
        severity: severity.into(),
        freeze_frame: BTreeMap::from([("Vehicle.Speed".to_owned(), 523)]),
        at_ms: now_ms(),
        cleared,
    };
    let tell = async |vehicle: &str, report, name: &str| {
        desk.report_trouble(&ORGANIZATION(), vehicle, report, asker(name)).await
    };
    assert_eq!(code(tell("CAR0", report("X9", "info", false), "t-0").await), "bad-value");
    assert_eq!(code(tell("CAR0", report("P0420", "fatal", false), "t-1").await), "bad-severity");
    for (n, vehicle) in ["CAR0", "CAR1", "CAR10"].into_iter().enumerate() {
        let name = format!("t-a{n}");
        let seen = tell(vehicle, report("P0420", "critical", false), &name).await.unwrap();
        assert_eq!((seen.severity, seen.active, seen.occurrences), ("critical", true, 1));
        assert_eq!(seen.freeze_frame["Vehicle.Speed"], 523);
        tell(vehicle, report("P0171", "info", false), &format!("t-b{n}")).await.unwrap();
    }
    let acknowledge = async |code: &str, name: &str| {
        let note = "seen, harmless";
        desk.acknowledge_trouble(&ORGANIZATION(), "CAR1", "engine", code, note, asker(name)).await
    };
    let seen = acknowledge("P0420", "k-1").await.unwrap();
    assert_eq!(
        seen.acknowledged.as_ref().map(|(by, note, _)| (&**by, &**note)),
        Some(("user/ada", "seen, harmless"))
    );
    assert_eq!(code(acknowledge("P0999", "k-2").await), "no-such-dtc");
    assert!(!tell("CAR1", report("P0171", "", true), "t-c").await.unwrap().active);
    business.settle(PATIENCE).await.unwrap();
    // All pages together are the whole fleet, each code once.
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let page =
            desk.troubles(&ORGANIZATION(), TroubleFilter::default(), after.as_deref(), 2).await.unwrap();
        all.extend(page.0.into_iter().map(|one| (one.vehicle, one.code)));
        after = page.1;
        if after.is_none() {
            break;
        }
    }
    let pair = |vehicle: &str, code: &str| (vehicle.to_owned(), code.to_owned());
    let wanted = [
        pair("CAR0", "P0171"),
        pair("CAR0", "P0420"),
        pair("CAR1", "P0420"),
        pair("CAR10", "P0171"),
        pair("CAR10", "P0420"),
    ];
    assert_eq!(all, wanted);
    let of_one = TroubleFilter { vehicle: Some("CAR1"), gone: true };
    assert_eq!(desk.troubles(&ORGANIZATION(), of_one, None, 10).await.unwrap().0.len(), 2);
    business.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_listed_and_wishes_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(&["CAR0", "CAR1"]);
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    riders_and_vehicles(&desk, &["rita", "rob"], &["CAR0", "CAR1"]).await;
    for (rider, id) in [("rita", "b-1"), ("rob", "b-2")] {
        desk.book(&ORGANIZATION(), ride(rider), asker(id)).await.unwrap();
    }
    business.settle(PATIENCE).await.unwrap();
    let all = NotificationFilter::All;
    let (first, next) = desk.notifications(&ORGANIZATION(), all, None, 1).await.unwrap();
    let (second, end) = desk.notifications(&ORGANIZATION(), all, next.as_deref(), 1).await.unwrap();
    assert_eq!((first[0].recipient.as_str(), second[0].recipient.as_str(), end), ("rob", "rita", None));
    assert_eq!(first[0].kind, "booking-confirmed");
    let of_rita = NotificationFilter::Recipient("rita");
    // By id: it may be delivered meanwhile.
    let ids = |page: Vec<NotificationView>| page.into_iter().map(|one| one.id).collect::<Vec<_>>();
    let hers = desk.notifications(&ORGANIZATION(), of_rita, None, 9).await.unwrap().0;
    assert_eq!(ids(hers), ids(second));
    let one = desk.notification(&ORGANIZATION(), &first[0].id).await.unwrap();
    assert_eq!(one.recipient, "rob");
    assert_eq!(code(desk.notification(&ORGANIZATION(), "nothing").await), "no notification");
    let dead = NotificationFilter::DeadLetters;
    assert_eq!(desk.notifications(&ORGANIZATION(), dead, None, 9).await.unwrap(), (vec![], None));
    assert_eq!(code(desk.resend(&ORGANIZATION(), &first[0].id, asker("n-1")).await), "not-dead");
    let wishes = PreferencesView {
        locale: "de-AT".into(),
        channels: vec!["in-app".into()],
        quiet: Some(QuietView { from_minute: 1_320, to_minute: 420, utc_offset_minutes: 60 }),
    };
    let kept = desk.set_preferences(&ORGANIZATION(), "rita", wishes.clone(), asker("w-1")).await.unwrap();
    assert_eq!(kept, wishes);
    let pigeon = PreferencesView { channels: vec!["pigeon".into()], ..wishes };
    let refused = desk.set_preferences(&ORGANIZATION(), "rita", pigeon, asker("w-2")).await;
    assert_eq!(code(refused), "bad-channel");
    business.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_sagas_are_listed_page_by_page_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(&["CAR0", "CAR1", "CAR2"]);
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    riders_and_vehicles(&desk, &["rita"], &["CAR0", "CAR1", "CAR2"]).await;
    for n in 0..3 {
        desk.book(&ORGANIZATION(), ride("rita"), asker(&format!("b-{n}"))).await.unwrap();
    }
    desk.book(&ORGANIZATION(), ride("nobody"), asker("b-9")).await.ok();
    business.settle(PATIENCE).await.unwrap();
    business.stop().await;
    drop((desk, business));
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    let (mut ids, mut after) = (Vec::new(), None::<String>);
    loop {
        let (page, next) = desk.sagas(&ORGANIZATION(), Some("completed"), after.as_deref(), 2).await.unwrap();
        ids.extend(page.into_iter().map(|saga| saga.id));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(ids, ["b-2", "b-1", "b-0"]);
    assert_eq!(desk.sagas(&ORGANIZATION(), Some("stuck"), None, 9).await.unwrap(), (vec![], None));
    assert_eq!(code(desk.sagas(&ORGANIZATION(), None, Some("x"), 9).await), "bad-page-token");
    business.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn riders_words_are_sealed_listed_and_gone_with_the_rider() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(&["CAR0"]);
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    riders_and_vehicles(&desk, &["rita", "rob"], &["CAR0"]).await;
    let here = ORGANIZATION();
    let words = "the driver of grandmother's trip sang beautifully";
    let wish = |rider: &str, stars, comment: Option<&str>| GiveFeedback {
        trip: "b-1".into(),
        rider: rider.into(),
        stars,
        comment: comment.map(|text| Words(text.into())),
    };
    assert_eq!(code(desk.give_feedback(&here, wish("rita", 5, None), asker("f-0")).await), "no trip");
    desk.book(&here, ride("rita"), asker("b-1")).await.unwrap();
    assert_eq!(code(desk.give_feedback(&here, wish("rita", 5, None), asker("f-1")).await), "not-completed");
    desk.cancel(&here, "b-1", "another time", asker("c-1")).await.unwrap();
    business.settle(PATIENCE).await.unwrap();
    driven(&desk, &fleet, "b-2").await;
    let wish =
        |rider: &str, stars, comment| GiveFeedback { trip: "b-2".into(), ..wish(rider, stars, comment) };
    assert_eq!(code(desk.feedback(&here, "b-2").await), "no feedback");
    let long = "x".repeat(513);
    for (n, (wrong, wanted)) in [
        (wish("rob", 5, Some("mine")), "not-the-rider"),
        (wish("nobody", 5, Some("mine")), "not-the-rider"),
        (wish("rita", 6, None), "bad-value"),
        (wish("rita", 5, Some(long.as_str())), "bad-comment"),
    ]
    .into_iter()
    .enumerate()
    {
        // Under one name, the second would be told what the first was.
        let refused = desk.give_feedback(&here, wrong, asker(&format!("f-2-{n}"))).await;
        assert_eq!(code(refused), wanted);
    }
    let said = desk.give_feedback(&here, wish("rita", 2, Some(words)), asker("f-3")).await.unwrap();
    assert_eq!((said.stars, said.comment.clone().unwrap().0.as_str()), (2, words));
    assert!(!format!("{said:?}").contains("grandmother"));
    let again = desk.give_feedback(&here, wish("rita", 2, Some(words)), asker("f-3")).await.unwrap();
    assert_eq!(again, said, "the same wish is the same word");
    let better = desk.give_feedback(&here, wish("rita", 4, Some(words)), asker("f-4")).await.unwrap();
    assert!(better.stars == 4 && better.rated_ms == said.rated_ms && better.changed_ms >= said.changed_ms);
    business.settle(PATIENCE).await.unwrap();
    let listed = |stars| desk.feedback_list(&here, stars, None, 10);
    assert_eq!(listed(None).await.unwrap(), (vec![better.clone()], None));
    assert_eq!((listed(Some(4)).await.unwrap().0.len(), listed(Some(2)).await.unwrap().0.len()), (1, 0));
    assert_eq!(code(listed(Some(0)).await), "bad-stars");
    assert_eq!(code(desk.feedback_list(&here, None, Some("x"), 10).await), "bad-page-token");

    desk.erase_user(&here, "rita", true, asker("e-1")).await.unwrap();
    let gone = desk.feedback(&here, "b-2").await.unwrap();
    assert_eq!((gone.stars, gone.comment, gone.comment_erased), (4, None, true));
    assert_eq!(
        code(desk.give_feedback(&here, wish("rita", 5, Some("x")), asker("f-5")).await),
        "user-erased"
    );
    business.stop().await;
    drop((desk, business));
    // Nowhere on the disk are her words.
    let mut files = vec![folder.path().to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(11).any(|window| window == b"grandmother");
        assert!(!found, "{}", path.display());
    }
}
