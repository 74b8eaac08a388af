//! The main job: `remuda demo`, as a new user runs it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use remuda_e2e::{binary, shared_data};
use remuda_lake::RowBody;
use remuda_model::{SignalId, signal};
use remuda_roads::{EdgeId, RoadNetwork};
use serde_json::Value;

fn demo(args: &[&str]) -> Value {
    let output = Command::new(binary("remuda")).arg("demo").args(args).output().expect("remuda runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the demo failed ({}):\n{log}", output.status);
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        out.trim_end().lines().count(),
        1,
        "one JSON object and nothing else on standard output:\n{out}"
    );
    serde_json::from_str(&out).expect("JSON")
}

fn number(report: &Value, key: &str) -> f64 {
    report[key].as_f64().unwrap_or_else(|| panic!("the report has no number {key}: {report}"))
}

fn check(report: &Value) {
    for key in [
        "vehicles",
        "seconds",
        "frames_made",
        "frames_acked",
        "frames_stored",
        "frames_quarantined",
        "frames_in_outbox",
        "frames_shed",
        "frames_lost",
        "frames_duplicated",
        "samples_stored",
        "ack_p50_ms",
        "ack_p95_ms",
        "frames_per_second",
        "rss_mb",
        "bytes_per_sample_wire",
        "trips_requested",
        "trips_completed",
        "trips_cancelled",
        "trips_compensated",
        "trips_unserved",
        "sagas_running",
        "sagas_stuck",
        "reactors_stopped",
        "ledger_sum_minor_units",
    ] {
        number(report, key);
    }
    assert_eq!(number(report, "sagas_stuck"), 0.0, "{report}");
    assert_eq!(number(report, "reactors_stopped"), 0.0, "{report}");
    assert_eq!(number(report, "ledger_sum_minor_units"), 0.0, "{report}");
    let ends = ["trips_completed", "trips_cancelled", "trips_compensated", "trips_unserved"];
    let ended: f64 = ends.iter().map(|key| number(report, key)).sum();
    assert_eq!(ended, number(report, "trips_requested"), "{report}");
    assert_eq!(number(report, "frames_lost"), 0.0, "{report}");
    assert_eq!(number(report, "frames_duplicated"), 0.0, "{report}");
    assert!(number(report, "frames_made") > 0.0, "{report}");
    let classes = ["frames_stored", "frames_quarantined", "frames_in_outbox", "frames_shed", "frames_lost"];
    let sum: f64 = classes.iter().map(|key| number(report, key)).sum();
    assert_eq!(sum, number(report, "frames_made"), "{report}");
}

#[test]
fn runs_counts_and_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("fleet").to_string_lossy().into_owned();
    let args = ["--vehicles", "20", "--for", "4s", "--json", "--data", &data, "--console", "127.0.0.1:0"];
    let first = demo(&args);
    check(&first);
    assert_eq!(number(&first, "vehicles"), 20.0);
    assert!(number(&first, "samples_stored") > 0.0);
    let second = demo(&args);
    check(&second);
    let more = number(&second, "frames_made") - number(&first, "frames_made");
    assert!(more > 0.0, "the second run counts the first one's frames too: {first} then {second}");
}

/// The three real maps: positions stored in the lake lie on drivable ways, in the permitted direction, within limits.
#[test]
fn vehicles_obey_real_maps() {
    for map in ["osm/helsinki.osm.pbf", "osm/columbus.osm.pbf", "osm/monaco.osm.gz"] {
        let Some(path) = shared_data(map) else { continue };
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("fleet").to_string_lossy().into_owned();
        let map_arg = path.to_string_lossy().into_owned();
        let report = demo(&[
            "--map",
            &map_arg,
            "--vehicles",
            "200",
            "--for",
            "12s",
            "--json",
            "--data",
            &data,
            "--console",
            "127.0.0.1:0",
        ]);
        check(&report);
        assert!(number(&report, "trips_requested") > 0.0, "riders ask on any map: {report}");
        let checked = positions_on_the_map(&path, Path::new(&data));
        eprintln!("{map}: {checked} stored positions checked");
        assert!(checked > 300, "only {checked} positions of {map} were stored");
    }
}

/// The place that CI found: a corner of 59 degrees, and a position rounded just past it.
#[test]
fn a_position_at_a_sharp_corner_is_lawful_and_a_wrong_way_is_not() {
    let Some(path) = shared_data("osm/monaco.osm.gz") else { return };
    let network = RoadNetwork::load(&path).expect("the map loads");
    let fix = Fix { latitude: 43.745_258_7, longitude: 7.431_136_2, heading: 320.2, speed_kmh: 12.4 };
    assert_eq!(not_permitted(&network, &fix), None);
    // Against the traffic in the middle of one-way streets; many here lie above or beside one that runs the other way.
    let one_way = |edge: &remuda_roads::Edge| edge.reverse.is_none() && edge.length_m > 150.0;
    let against: Vec<Fix> = (0..network.edges().len())
        .filter_map(|n| network.edge_at(n).filter(|id| one_way(network.edge(*id))))
        .map(|id| {
            let place = network.position(id, network.edge(id).length_m / 2.0);
            let heading = (place.heading + 180.0) % 360.0;
            Fix { latitude: place.latitude, longitude: place.longitude, heading, speed_kmh: 12.4 }
        })
        .collect();
    let refused = against.iter().filter(|fix| not_permitted(&network, fix).is_some()).count();
    assert!(refused * 2 > against.len(), "{refused} of {} wrong ways were noticed", against.len());
}

/// One stored position.
#[derive(Debug, Clone, Copy)]
struct Fix {
    latitude: f64,
    longitude: f64,
    heading: f64,
    speed_kmh: f64,
}

/// Newest values of one vehicle: a row holds only what changed.
type Newest = BTreeMap<SignalId, f64>;

fn positions_on_the_map(map: &Path, data: &Path) -> usize {
    let network = RoadNetwork::load(map).expect("the map loads");
    let mut newest: BTreeMap<String, Newest> = BTreeMap::new();
    let mut fixes: Vec<(String, Fix)> = Vec::new();
    remuda_ledger::for_each_row(&data.join("cloud"), |row| {
        let RowBody::Samples(values) = &row.body else { return };
        let vehicle = row.vehicle.to_string();
        let known = newest.entry(vehicle.clone()).or_default();
        for (id, raw) in values {
            known.insert(*id, signal::by_id(*id).map_or(0.0, |def| def.to_physical(*raw)));
        }
        // Both, since one without the other is not a place.
        let has = |wanted| values.iter().any(|(id, _)| *id == wanted);
        let moved = has(signal::LATITUDE) && has(signal::LONGITUDE);
        let fix = || {
            Some(Fix {
                latitude: *known.get(&signal::LATITUDE)?,
                longitude: *known.get(&signal::LONGITUDE)?,
                heading: *known.get(&signal::HEADING)?,
                speed_kmh: *known.get(&signal::SPEED)?,
            })
        };
        if moved && let Some(fix) = fix() {
            fixes.push((vehicle, fix));
        }
    })
    .expect("the lake can be read");
    for (vehicle, fix) in &fixes {
        let why = not_permitted(&network, fix);
        assert!(why.is_none(), "{vehicle} at {fix:?} of {}: {}", map.display(), why.unwrap_or_default());
    }
    fixes.len()
}

/// Metres that quantisation and receiver noise may put between a stored position and the road.
const OFF_ROAD_M: f64 = 4.0;
/// How far around a position limits are looked at: a speed may still be that of the road before a junction.
const AROUND_M: f64 = 25.0;
/// How far around a position directions are looked at: position and heading are of the same instant.
const DIRECTION_AROUND_M: f64 = 10.0;
/// How far along an edge its direction may be that of the vehicle: a rounded position may lie past a corner of the map.
const BEND_M: f64 = 8.0;
/// Degrees between the road's direction and the vehicle's, in a bend or a turn.
const HEADING_OFF: f64 = 50.0;
/// km/h above the limit that a speed sensor's noise may show.
const SPEED_OVER_KMH: f64 = 3.0;

/// Why a fix is not that of a lawful vehicle; `None` when some road nearby permits it.
fn not_permitted(network: &RoadNetwork, fix: &Fix) -> Option<String> {
    let near = network.snap_within(fix.latitude, fix.longitude, AROUND_M);
    let closest = near.first().map_or(f64::INFINITY, |snap| snap.distance_m);
    if closest > OFF_ROAD_M {
        return Some(format!("{closest:.1} m from the nearest road"));
    }
    let limit = near.iter().map(|snap| network.limit_kmh(snap.edge)).fold(0.0, f64::max);
    if fix.speed_kmh > limit + SPEED_OVER_KMH {
        return Some(format!("{:.1} km/h where {limit:.0} are permitted", fix.speed_kmh));
    }
    let along = |edge: EdgeId, offset: f64| {
        let (from, to) = ((offset - BEND_M).max(0.0), (offset + BEND_M).min(network.edge(edge).length_m));
        let runs = |at: f64| {
            let off = (network.position(edge, at).heading - fix.heading).abs() % 360.0;
            off.min(360.0 - off) <= HEADING_OFF
        };
        (0..=16).map(|step| from + (to - from) * f64::from(step) / 16.0).any(runs)
    };
    let mut direct = near.iter().filter(|snap| snap.distance_m <= DIRECTION_AROUND_M);
    // Edges exist in permitted directions only, so one that runs as the vehicle does is proof enough.
    let lawful = fix.speed_kmh < 5.0 || direct.any(|snap| along(snap.edge, snap.offset_m));
    (!lawful).then(|| format!("no road near runs {:.0} degrees", fix.heading))
}
