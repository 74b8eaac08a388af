//! Crossings against a naive model, the table of changes, bytes.

use std::sync::Arc;

use proptest::prelude::*;
use remuda_contracts::business::vehicles::Home;
use remuda_contracts::geofences::{
    Geofence, GeofenceChange, GeofenceId, GeofenceKind, GeofencePart, GeofencePatch, GeofenceRefusal,
    GeofenceRequest, GeofenceShape, GeofenceSpec, Place,
};
use remuda_eventsourcing::NewEvent;
use remuda_model::{Incarnation, OrganizationId, SignalId};

use super::event::{shard_of, stream_number, stream_of};
use super::{
    Crossing, CrossingEvent, Decided, Fences, GeofenceEvent, Inside, Shelf, Step, Surroundings, Watch,
    decide, let_go, limits,
};
use crate::event::{AlertFact, Cause, RuleId, Timeliness, VehicleEvent};
use crate::evolve::evolve;
use crate::rules::Sample;
use crate::signals;
use crate::state::VehicleState;

const NS_PER_S: u64 = 1_000_000_000;
// 100 m of latitude, 1e-7 degrees.
const HUNDRED_M: i32 = 8_993;

fn id(name: &str) -> GeofenceId {
    GeofenceId::new(name).unwrap()
}

fn spec(kind: GeofenceKind) -> GeofenceSpec {
    let centre = Place { latitude_e7: 0, longitude_e7: 0 };
    GeofenceSpec {
        display_name: "Yard".into(),
        part: GeofencePart::Organization,
        kind,
        shape: GeofenceShape::Circle { centre, radius_m: 1_000 },
        dwell_s: 0,
        hysteresis_m: 0,
        enabled: true,
    }
}

fn geofence(name: &str, spec: GeofenceSpec) -> Arc<Geofence> {
    let (changed_by, request_id) = (String::new(), String::new());
    Arc::new(Geofence {
        id: id(name),
        spec,
        revision: 1,
        created_ms: 1,
        changed_ms: 1,
        changed_by,
        request_id,
    })
}

fn around(fences: &Fences) -> Surroundings<'_> {
    Surroundings { fences, home: None }
}

/// So far north of the centre, and when.
fn step(watch: &mut Watch, fences: &Fences, incarnation: u64, second: u64, hundreds_m: i32) -> Vec<Crossing> {
    step_in(watch, around(fences), incarnation, second, hundreds_m)
}

fn step_in(
    watch: &mut Watch,
    around: Surroundings<'_>,
    incarnation: u64,
    second: u64,
    hundreds_m: i32,
) -> Vec<Crossing> {
    let degrees = f64::from(hundreds_m * HUNDRED_M) * 1e-7;
    let mut values: Vec<(SignalId, i64)> = vec![
        (signals::LATITUDE, signals::raw(signals::LATITUDE, degrees)),
        (signals::LONGITUDE, signals::raw(signals::LONGITUDE, 0.0)),
    ];
    values.sort_unstable();
    let (rank, incarnation, mono_ns) = (incarnation as u32, Incarnation(incarnation), second * NS_PER_S);
    let sample = Sample { incarnation, seq: second, row: 0, boot: 1, mono_ns, values: &values };
    watch.step(around, rank, &sample)
}

fn steps(crossings: &[Crossing]) -> Vec<Step> {
    crossings.iter().map(|crossing| crossing.step).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A side counts when every position since one that is old enough was on it, and leaving takes the hysteresis; whenever the
    /// watch is written down and read again.
    #[test]
    fn crossings_are_those_of_a_model_that_remembers_everything(
        walk in prop::collection::vec((1..4u64, 0..20i32), 1..60),
        dwell_s in 0..8u32,
        hysteresis in 0..4i32,
        cut in 0..60usize,
    ) {
        let spec = GeofenceSpec { dwell_s, hysteresis_m: hysteresis as u32 * 100, ..spec(GeofenceKind::KeepIn) };
        let fences = Fences::new([&geofence("yard", spec)]);
        let mut watch = Watch::default();
        let (mut inside, mut history, mut flipped) = (false, Vec::new(), 0);
        let mut now = 0;
        for (place, (pause, hundreds)) in walk.into_iter().enumerate() {
            if place == cut {
                watch = postcard::from_bytes(&postcard::to_allocvec(&watch).unwrap()).unwrap();
            }
            now += pause;
            history.push((now, hundreds));
            let found = steps(&step(&mut watch, &fences, 1, now, hundreds));
            let is_other = |far: i32| if inside { far > 10 + hysteresis } else { far <= 10 };
            let since = history[flipped..].iter().rev().take_while(|(_, far)| is_other(*far)).last();
            let counts = since.is_some_and(|(since, _)| now - since >= u64::from(dwell_s));
            let expected = match (counts, inside) {
                (false, _) => vec![],
                (true, true) => vec![Step::Left],
                (true, false) => vec![Step::Entered],
            };
            prop_assert_eq!(found, expected, "at {} s", now);
            if counts {
                inside = !inside;
                flipped = history.len();
            }
        }
    }

    /// Whatever an earlier start of the agent tells late, the live one goes on as if it had not.
    #[test]
    fn what_comes_late_touches_nothing_live(
        walk in prop::collection::vec((any::<bool>(), 0..20i32), 1..60), dwell_s in 0..4u32,
    ) {
        let spec = GeofenceSpec { dwell_s, hysteresis_m: 100, ..spec(GeofenceKind::KeepOut) };
        let fences = Fences::new([&geofence("yard", spec)]);
        let (mut both, mut alone) = (Watch::default(), Watch::default());
        for watch in [&mut both, &mut alone] {
            step(watch, &fences, 1, 1, 15);
            step(watch, &fences, 2, 1, 15);
        }
        for ((is_late, hundreds), second) in walk.into_iter().zip(2..) {
            if is_late {
                step(&mut both, &fences, 1, second, hundreds);
            } else {
                let one = step(&mut both, &fences, 2, second, hundreds);
                prop_assert_eq!(one, step(&mut alone, &fences, 2, second, hundreds));
            }
        }
    }

    /// The index finds a polygon on both sides of the date line.
    #[test]
    fn the_index_looks_across_the_date_line(
        latitude in -200_000_000..-160_000_000_i32, east in -30_000_000..30_000_000_i64,
    ) {
        let at = |latitude_e7, longitude_e7| Place { latitude_e7, longitude_e7 };
        let (west, far_east) = (1_780_000_000, -1_780_000_000);
        let ring = vec![
            at(-170_000_000, west), at(-170_000_000, far_east), at(-190_000_000, far_east), at(-190_000_000, west),
        ];
        let shape = GeofenceShape::Polygon(ring);
        let fences = Fences::new([&geofence("fiji", GeofenceSpec { shape, ..spec(GeofenceKind::Notify) })]);
        let between = (-190_000_000..=-170_000_000).contains(&latitude);
        let longitude = (east + 3_600_000_000).rem_euclid(3_600_000_000) - 1_800_000_000;
        // The line itself has two names.
        for (longitude_e7, beside) in [(longitude as i32, east.abs() <= 20_000_000), (1_800_000_000, true)] {
            let place = at(latitude, longitude_e7);
            let found = fences.near(place).any(|fence| fence.area.beyond_m(place) <= 0.0);
            prop_assert_eq!(found, between && beside, "{:?}", place);
        }
    }

    /// The index finds every fence that a place is in.
    #[test]
    fn the_index_leaves_none_out(
        circles in prop::collection::vec((-800_000_000..800_000_000_i32, -1_800_000_000..1_800_000_000_i32, 10..400_000u32), 1..30),
        at in (any::<prop::sample::Index>(), -4_000_000..4_000_000_i32, -4_000_000..4_000_000_i32),
    ) {
        let all: Vec<Arc<Geofence>> = circles.iter().zip(0..).map(|((latitude_e7, longitude_e7, radius_m), n)| {
            let centre = Place { latitude_e7: *latitude_e7, longitude_e7: *longitude_e7 };
            let shape = GeofenceShape::Circle { centre, radius_m: *radius_m };
            geofence(&format!("f{n}"), GeofenceSpec { shape, ..spec(GeofenceKind::Notify) })
        }).collect();
        let fences = Fences::new(&all);
        let (latitude, longitude, _) = circles[at.0.index(circles.len())];
        let east = (i64::from(longitude) + i64::from(at.2) + 1_800_000_000).rem_euclid(3_600_000_000) - 1_800_000_000;
        let place = Place { latitude_e7: latitude + at.1, longitude_e7: east as i32 };
        let mut near: Vec<GeofenceId> = fences.near(place).map(|fence| fence.id()).collect();
        near.sort_unstable();
        for geofence in &all {
            let Some(fence) = fences.get(&geofence.id) else { continue };
            if fence.area.beyond_m(place) <= 0.0 {
                prop_assert!(near.binary_search(&geofence.id).is_ok(), "{:?} is in {:?}", place, geofence);
            }
        }
    }
}

#[test]
fn a_new_start_of_the_agent_drives_on_and_an_old_one_only_tells() {
    let fences = Fences::new([&geofence("yard", spec(GeofenceKind::KeepIn))]);
    let mut watch = Watch::default();
    assert_eq!(steps(&step(&mut watch, &fences, 1, 1, 5)), [Step::Entered]);
    assert_eq!(step(&mut watch, &fences, 2, 1, 6), [], "it is in it still");
    assert_eq!(steps(&step(&mut watch, &fences, 2, 2, 15)), [Step::Left]);
    assert_eq!(steps(&step(&mut watch, &fences, 1, 3, 20)), [Step::Left], "told late, of the start before");
    assert_eq!(step(&mut watch, &fences, 2, 3, 15), []);
    watch.agree(&[Inside { fence: id("yard"), kind: GeofenceKind::KeepIn, since_ms: 0 }]);
    assert_eq!(steps(&step(&mut watch, &fences, 2, 4, 15)), [Step::Left], "the stream knows better");
}

#[test]
fn what_is_forgotten_is_where_it_was_and_not_what_it_is_in() {
    let fences = Fences::new([&geofence("yard", spec(GeofenceKind::KeepIn))]);
    let mut watch = Watch::default();
    assert_eq!(steps(&step(&mut watch, &fences, 1, 1, 5)), [Step::Entered]);
    assert!(!watch.forget(|_, _| true), "it is shown elsewhere still");
    assert!(watch.forget(|_, _| false));
    assert!(!watch.forget(|_, _| false), "nothing is left");
    assert_eq!(steps(&step(&mut watch, &fences, 1, 2, 15)), [Step::Left]);
}

#[test]
fn a_dwell_begins_anew_with_the_clock_and_after_what_was_replayed() {
    let fences = Fences::new([&geofence("yard", GeofenceSpec { dwell_s: 5, ..spec(GeofenceKind::KeepOut) })]);
    let mut watch = Watch::default();
    assert_eq!(step(&mut watch, &fences, 1, 100, 5), []);
    let standing = Sample { incarnation: Incarnation(1), seq: 9, row: 0, boot: 2, mono_ns: 0, values: &[] };
    assert_eq!(watch.step(around(&fences), 1, &standing), [], "its machine started anew");
    let later = Sample { mono_ns: 5 * NS_PER_S, ..standing };
    assert_eq!(steps(&watch.step(around(&fences), 1, &later)), [Step::Entered], "it stands, and time passes");
    assert_eq!(step(&mut watch, &fences, 1, 200, 50), []);
    let passed = Sample { boot: 1, mono_ns: 202 * NS_PER_S, ..standing };
    watch.pass(1, &passed);
    let after = Sample { mono_ns: 206 * NS_PER_S, ..passed };
    assert_eq!(watch.step(around(&fences), 1, &after), []);
    assert_eq!(step(&mut watch, &fences, 1, 207, 50), []);
    assert_eq!(steps(&step(&mut watch, &fences, 1, 212, 50)), [Step::Left]);
}

#[test]
fn what_is_gone_or_not_for_it_is_left() {
    let yard =
        |kind| geofence("yard", GeofenceSpec { part: GeofencePart::Fleet("north".into()), ..spec(kind) });
    let fences = Fences::new([&yard(GeofenceKind::KeepOut)]);
    let north = Home { fleet: Some("north".into()), depot: None };
    let (theirs, others) = (
        Surroundings { fences: &fences, home: Some(&north) },
        Surroundings { fences: &fences, home: Some(&Home { fleet: None, depot: Some("north".into()) }) },
    );
    let mut watch = Watch::default();
    assert_eq!(step_in(&mut watch, others, 1, 1, 5), []);
    assert_eq!(steps(&step_in(&mut watch, theirs, 1, 2, 5)), [Step::Entered]);
    // Where it belongs cannot be told: nothing is known, nothing changes.
    assert_eq!(step(&mut watch, &fences, 1, 3, 50), []);
    let kept = watch.clone();
    assert_eq!(steps(&step_in(&mut watch, others, 1, 4, 5)), [Step::Released]);
    watch = kept;
    let other_kind = Fences::new([&yard(GeofenceKind::KeepIn)]);
    let now = Surroundings { fences: &other_kind, home: Some(&north) };
    assert_eq!(steps(&step_in(&mut watch, now, 1, 4, 5)), [Step::Released, Step::Entered]);
    assert_eq!(steps(&step_in(&mut watch, around(&Fences::default()), 1, 5, 5)), [Step::Released]);
}

#[test]
fn who_says_nothing_lets_go_of_what_is_gone() {
    let mut state = VehicleState::default();
    let cause = |rule| Cause { rule, incarnation: Incarnation(1), seq: 2, row: 0 };
    let raised = |rule| {
        let (sampled_ms, timeliness) = (5, Timeliness::Timely);
        VehicleEvent::AlertRaised(AlertFact {
            cause: cause(rule),
            value: 1.0,
            threshold: 0.0,
            sampled_ms,
            timeliness,
        })
    };
    let entered = CrossingEvent {
        fence: id("gone"),
        kind: GeofenceKind::KeepOut,
        step: Step::Entered,
        incarnation: Incarnation(1),
        seq: 2,
        row: 0,
        sampled_ms: 5,
        timeliness: Timeliness::Timely,
    };
    let stays = [RuleId::LowCharge, RuleId::KeepIn(id("yard"))];
    let goes = [RuleId::KeepOut(id("gone")), RuleId::Notify(id("yard"))];
    evolve(&mut state, &VehicleEvent::Crossed(entered));
    stays.iter().chain(&goes).for_each(|rule| evolve(&mut state, &raised(*rule)));
    assert_eq!((state.alerts.len(), state.is_inside(id("gone"))), (4, true));
    let fences = Fences::new([&geofence("yard", spec(GeofenceKind::KeepIn))]);
    let events = let_go(&state, around(&fences), 9);
    events.iter().for_each(|event| evolve(&mut state, event));
    let left: Vec<RuleId> = state.alerts.iter().map(|fact| fact.cause.rule).collect();
    assert_eq!((events.len(), left.as_slice(), state.inside.len()), (3, stays.as_slice(), 0));
    assert_eq!(state.book.open.len(), 2);
    assert_eq!(let_go(&state, around(&fences), 9), []);
}

fn request(name: &str, change: GeofenceChange, request_id: &str) -> GeofenceRequest {
    let (by, request_id) = ("user/ada".to_owned(), request_id.to_owned());
    GeofenceRequest { id: id(name), change, by, request_id, expected: None, validate_only: false }
}

fn run(shelf: &mut Shelf, request: &GeofenceRequest) -> Result<Option<&'static str>, GeofenceRefusal> {
    run_as(shelf, request, &|_| true)
}

fn run_as(
    shelf: &mut Shelf,
    request: &GeofenceRequest,
    sees: remuda_contracts::geofences::Sees<'_>,
) -> Result<Option<&'static str>, GeofenceRefusal> {
    Ok(match decide(shelf, shelf.fences.len(), request, sees)? {
        Decided::IsSo(_) => None,
        Decided::Follows(event) => {
            shelf.evolve(&event, 7, &request.by);
            Some(event.event_type())
        }
    })
}

#[test]
fn changes_are_made_once_and_by_who_sees_them() {
    use GeofenceChange::{Create, Delete, Update};
    let mut shelf = Shelf::default();
    let of =
        |part: &str| GeofenceSpec { part: GeofencePart::Fleet(part.into()), ..spec(GeofenceKind::KeepIn) };
    let create = request("yard", Create(of("north")), "r1");
    assert_eq!(run(&mut shelf, &create), Ok(Some("geofences.created")));
    assert_eq!(run(&mut shelf, &create), Ok(None), "asked for again");
    let other = request("yard", Create(of("south")), "r1");
    assert_eq!(run(&mut shelf, &other), Err(GeofenceRefusal::RequestIdReused));
    assert_eq!(
        run(&mut shelf, &request("yard", Create(of("north")), "r2")),
        Err(GeofenceRefusal::Exists(id("yard")))
    );

    let patch = |kind| Update(GeofencePatch { kind: Some(kind), ..GeofencePatch::default() });
    let south = |part: &GeofencePart| *part == GeofencePart::Fleet("south".into());
    let north = |part: &GeofencePart| *part == GeofencePart::Fleet("north".into());
    let update = request("yard", patch(GeofenceKind::KeepOut), "r3");
    let hidden = Err(GeofenceRefusal::NoSuchGeofence(id("yard")));
    assert_eq!(run_as(&mut shelf, &update, &south), hidden);
    assert_eq!(run_as(&mut shelf, &request("yard", Delete, ""), &south), hidden);
    assert_eq!(run_as(&mut shelf, &update, &north), Ok(Some("geofences.changed")));
    let away = Update(GeofencePatch { part: Some(GeofencePart::Organization), ..GeofencePatch::default() });
    assert_eq!(run_as(&mut shelf, &request("yard", away, ""), &north), Err(GeofenceRefusal::OutOfReach));
    let stale = GeofenceRequest { expected: Some(1), ..request("yard", patch(GeofenceKind::Notify), "") };
    assert_eq!(run(&mut shelf, &stale), Err(GeofenceRefusal::Changed));
    assert_eq!(shelf.fences[&id("yard")].revision, 2);
    assert_eq!(run(&mut shelf, &request("yard", patch(GeofenceKind::KeepOut), "r9")), Ok(None), "it is so");

    let delete = request("yard", Delete, "r4");
    assert_eq!(run(&mut shelf, &delete), Ok(Some("geofences.deleted")));
    assert_eq!(run(&mut shelf, &delete), Ok(None), "asked for again");
    assert_eq!(run(&mut shelf, &request("yard", Delete, "r5")), hidden);
    assert_eq!(run(&mut shelf, &request("yard", Create(of("south")), "")), Ok(Some("geofences.created")));
    assert_eq!(shelf.fences[&id("yard")].revision, 4, "never one that was given before");
    assert_eq!(Shelf::restore(&shelf.snapshot().unwrap()), Some(shelf));
}

#[test]
fn a_snapshot_gives_up_old_deletions_before_geofences() {
    let place = Place { latitude_e7: 600_000_000, longitude_e7: 1_700_000_000 };
    let shape = GeofenceShape::Polygon(vec![place; limits::POINTS_MAX]);
    let large = GeofenceSpec { shape, ..spec(GeofenceKind::Notify) };
    let create = |shelf: &mut Shelf, n: usize| {
        let (id, request_id) = (id(&format!("f{n}")), format!("r{n}"));
        shelf.evolve(&GeofenceEvent::Created { id, spec: large.clone(), request_id }, 7, "ada");
    };
    let mut shelf = Shelf::default();
    for n in 0..limits::DELETIONS_MAX {
        create(&mut shelf, n);
        let (id, request_id) = (id(&format!("f{n}")), format!("r{n}"));
        shelf.evolve(&GeofenceEvent::Deleted { id, request_id }, 7, "ada");
    }
    (100..120).for_each(|n| create(&mut shelf, n));
    let read = Shelf::restore(&shelf.snapshot().unwrap()).unwrap();
    assert_eq!((read.version, &read.fences), (shelf.version, &shelf.fences));
    let kept = read.deleted.len();
    assert!((1..limits::DELETIONS_MAX).contains(&kept), "{kept}");
    assert!(read.deleted.iter().eq(shelf.deleted.iter().skip(limits::DELETIONS_MAX - kept)), "the last ones");
    (200..240).for_each(|n| create(&mut shelf, n));
    assert_eq!(shelf.snapshot(), None);
}

#[test]
fn what_cannot_be_is_refused_with_the_field() {
    let mut shelf = Shelf::default();
    let mut refused =
        |spec: GeofenceSpec| match run(&mut shelf, &request("yard", GeofenceChange::Create(spec), "")) {
            Err(GeofenceRefusal::Invalid { field, .. }) => field,
            other => panic!("{other:?}"),
        };
    let plain = || spec(GeofenceKind::KeepIn);
    assert_eq!(refused(GeofenceSpec { display_name: " ".into(), ..plain() }), "display_name");
    assert_eq!(refused(GeofenceSpec { display_name: "a\nb".into(), ..plain() }), "display_name");
    assert_eq!(refused(GeofenceSpec { part: GeofencePart::Depot(String::new()), ..plain() }), "part");
    assert_eq!(refused(GeofenceSpec { dwell_s: 86_401, ..plain() }), "dwell");
    assert_eq!(refused(GeofenceSpec { hysteresis_m: 1_001, ..plain() }), "hysteresis_m");
    assert_eq!(refused(GeofenceSpec { shape: GeofenceShape::Polygon(vec![]), ..plain() }), "shape");
    let long = GeofenceRequest { request_id: "r".repeat(65), ..request("yard", GeofenceChange::Delete, "") };
    assert!(matches!(run(&mut shelf, &long), Err(GeofenceRefusal::Invalid { field: "request_id", .. })));
    let full =
        decide(&shelf, limits::GEOFENCES_MAX, &request("yard", GeofenceChange::Create(plain()), ""), &|_| {
            true
        });
    assert_eq!(full, Err(GeofenceRefusal::TooMany(limits::GEOFENCES_MAX)));

    let at = |latitude_e7, longitude_e7| Place { latitude_e7, longitude_e7 };
    let ring = vec![at(0, 0), at(0, 100_000), at(100_000, 0), at(0, 0)];
    let closed = GeofenceSpec { shape: GeofenceShape::Polygon(ring), ..plain() };
    assert!(run(&mut shelf, &request("yard", GeofenceChange::Create(closed), "")).is_ok());
    let GeofenceShape::Polygon(kept) = &shelf.fences[&id("yard")].spec.shape else { panic!() };
    assert_eq!(kept.len(), 3, "GeoJSON closes its rings");
}

#[test]
fn ids_of_a_geofences_alerts_are_read_back() {
    for rule in [RuleId::KeepIn(id("a-1")), RuleId::KeepOut(id("in-9-x")), RuleId::Notify(id("keep-out-b"))] {
        assert_eq!(RuleId::named(&rule.to_string()), Some(rule));
    }
    assert_eq!(RuleId::named("keep-in-"), None);
    assert_eq!(RuleId::named("keep-in"), None);
    assert_eq!(RuleId::named("low-charge"), Some(RuleId::LowCharge));
}

#[test]
fn what_was_written_is_read_for_ever() {
    let crossed = VehicleEvent::Crossed(CrossingEvent {
        fence: id("yard"),
        kind: GeofenceKind::KeepOut,
        step: Step::Left,
        incarnation: Incarnation(3),
        seq: 4,
        row: 5,
        sampled_ms: 6,
        timeliness: Timeliness::Late,
    });
    let cause = Cause { rule: RuleId::KeepIn(id("a")), incarnation: Incarnation(3), seq: 4, row: 5 };
    let (value, threshold, timeliness) = (1.0, 0.0, Timeliness::Timely);
    let raised = VehicleEvent::AlertRaised(AlertFact { cause, value, threshold, sampled_ms: 6, timeliness });
    let polygon = GeofenceShape::Polygon(vec![Place { latitude_e7: 1, longitude_e7: -1 }]);
    let created = GeofenceEvent::Created {
        id: id("a"),
        spec: GeofenceSpec {
            shape: polygon,
            part: GeofencePart::Depot("q".into()),
            ..spec(GeofenceKind::Notify)
        },
        request_id: "r".into(),
    };
    let deleted = GeofenceEvent::Deleted { id: id("a"), request_id: String::new() };
    let hex = |bytes: Vec<u8>| bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    assert_eq!(hex(postcard::to_allocvec(&crossed).unwrap()), "07047961726401010304050c01");
    assert_eq!(
        hex(postcard::to_allocvec(&raised).unwrap()),
        "03020161030405000000000000f03f00000000000000000c00"
    );
    assert_eq!(hex(postcard::to_allocvec(&created).unwrap()), "000161045961726402017102010102010000010172");
    assert_eq!(hex(postcard::to_allocvec(&deleted).unwrap()), "02016100");
    for event in [created, deleted] {
        let stream = stream_of(OrganizationId::default(), stream_number(&event.id()));
        assert!(usize::from(shard_of(&stream).number()) < 1_024);
        let envelope: NewEvent = event.envelope(stream, 3, 5, "ada");
        assert_eq!(GeofenceEvent::open(&envelope), Some(event));
    }
    assert_eq!((stream_number(&id("yard")), stream_number(&id("a"))), (25, 12), "where they stand for ever");
}
