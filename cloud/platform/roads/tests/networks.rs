//! Generated towns, hand-written maps, and files that are no maps.

mod common;

use std::io::Write;

use common::{assert_strongly_connected, compare_with_dijkstra, legal_cost};
use proptest::prelude::*;
use remuda_roads::{Direction, EdgeId, MapError, Place, RoadNetwork};

fn xml(body: &str) -> String {
    format!("<?xml version='1.0' encoding='UTF-8'?>\n<osm version=\"0.6\">{body}</osm>")
}

fn load(content: &[u8]) -> Result<RoadNetwork, MapError> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(content).expect("written");
    RoadNetwork::load(file.path())
}

/// A square of two-way streets (1-2-3-4), a cross street 1-5-3, and a dead end 2-6.
///
/// ```text
/// 4 --- 3
/// |  5  |
/// 1 --- 2 --- 6
/// ```
fn square(extra: &str, way_tags: &str) -> String {
    let nodes =
        [(1, 0.0, 0.0), (2, 0.0, 0.01), (3, 0.01, 0.01), (4, 0.01, 0.0), (5, 0.005, 0.005), (6, 0.0, 0.02)];
    let mut body = String::new();
    for (id, lat, lon) in nodes {
        body += &format!("<node id=\"{id}\" lat=\"{lat}\" lon=\"{lon}\"/>");
    }
    let ways: [(i64, &[i64]); 6] =
        [(10, &[1, 2]), (11, &[2, 3]), (12, &[3, 4]), (13, &[4, 1]), (14, &[1, 5, 3]), (15, &[2, 6])];
    for (id, refs) in ways {
        let refs: String = refs.iter().map(|r| format!("<nd ref=\"{r}\"/>")).collect();
        let tags = if id == 14 { way_tags } else { "" };
        body += &format!("<way id=\"{id}\">{refs}<tag k=\"highway\" v=\"residential\"/>{tags}</way>");
    }
    xml(&(body + extra))
}

fn edge(network: &RoadNetwork, way: i64, from_latitude: f64) -> EdgeId {
    let starts = |e: &&remuda_roads::Edge| network.vertices(e.id)[0].latitude == from_latitude;
    network.edges().iter().find(|e| e.way == way && starts(e)).expect("such an edge").id
}

#[test]
fn turn_restrictions_forbid_and_prescribe() {
    let relation = |kind: &str, from: i64, via: i64, to: i64| {
        format!(
            "<relation id=\"1\"><member type=\"way\" ref=\"{from}\" role=\"from\"/>\
             <member type=\"node\" ref=\"{via}\" role=\"via\"/><member type=\"way\" ref=\"{to}\" role=\"to\"/>\
             <tag k=\"type\" v=\"restriction\"/><tag k=\"restriction\" v=\"{kind}\"/></relation>"
        )
    };
    let free = load(square("", "").as_bytes()).expect("a network");
    let ways_on = |network: &RoadNetwork| {
        let from = network.edges().iter().find(|e| e.way == 13 && e.reverse.is_some_and(|r| r > e.id));
        let mut ways: Vec<i64> =
            network.turns(from.expect("4 to 1").id).iter().map(|t| network.edge(t.to).way).collect();
        ways.sort_unstable();
        ways
    };
    assert_eq!(ways_on(&free), [10, 14]);
    let no = load(square(&relation("no_left_turn", 13, 1, 14), "").as_bytes()).expect("a network");
    assert_eq!(ways_on(&no), [10]);
    let only = load(square(&relation("only_straight_on", 13, 1, 14), "").as_bytes()).expect("a network");
    assert_eq!(ways_on(&only), [14]);
    assert_eq!(only.counts().restrictions_applied, 1);
    let for_lorries =
        relation("no_left_turn", 13, 1, 14).replace("\"restriction\" v=\"no", "\"restriction:hgv\" v=\"no");
    assert_eq!(ways_on(&load(square(&for_lorries, "").as_bytes()).expect("a network")), [10, 14]);
}

#[test]
fn directions_are_told_and_dead_ends_turn_back() {
    let two_way = load(square("", "").as_bytes()).expect("a network");
    let cross = edge(&two_way, 14, 0.0);
    assert!(two_way.is_allowed(cross, Direction::Along) && two_way.is_allowed(cross, Direction::Against));
    assert_eq!(two_way.vertices(cross).len(), 3, "a bend is no junction");
    let dead_end = two_way.edges().iter().find(|e| e.way == 15 && e.from != e.to).expect("the dead end").id;
    let turns = two_way.turns(dead_end);
    assert_eq!((turns.len(), turns[0].back), (1, true));
    let one_way = load(square("", "<tag k=\"oneway\" v=\"-1\"/>").as_bytes()).expect("a network");
    let cross = edge(&one_way, 14, 0.01);
    assert!(!one_way.is_allowed(cross, Direction::Against));
    assert_eq!(one_way.edges().iter().filter(|e| e.way == 14).count(), 1);
}

#[test]
fn a_place_behind_on_the_same_edge_is_once_around() {
    let network = load(square("", "<tag k=\"oneway\" v=\"yes\"/>").as_bytes()).expect("a network");
    let cross = edge(&network, 14, 0.0);
    let at = |offset_m| Place { edge: cross, offset_m };
    let ahead = network.route(at(10.0), at(400.0));
    assert_eq!(ahead.edges, [cross]);
    assert!((ahead.length_m - 390.0).abs() < 1e-6);
    let around = network.route(at(400.0), at(10.0));
    assert!(around.edges.len() > 2 && around.length_m > 1_000.0, "{around:?}");
    legal_cost(&network, &around);
}

#[test]
fn what_is_no_map_is_said_in_one_sentence() {
    let sentence = |content: &[u8]| {
        let error = load(content).expect_err("no map").to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    };
    assert!(sentence(b"").contains("is not an OpenStreetMap file; give an extract"));
    assert!(sentence(b"%PDF-1.7 ...").contains("is not an OpenStreetMap file"));
    assert!(sentence(xml("").as_bytes()).contains("has no roads"));
    let whole = square("", "");
    assert!(sentence(&whole.as_bytes()[..whole.len() - 20]).contains("is damaged"));
    assert!(sentence(b"\x1f\x8b\x08\x00garbage").contains("is damaged"));
    let mut pbf = b"\0\0\0\x0e\x0a\x09OSMHeader\x18\x7c".to_vec();
    pbf.extend_from_slice(&[7; 200]);
    assert!(sentence(&pbf).contains("is damaged"));
    let missing = RoadNetwork::load("no/such/map.osm.pbf").expect_err("no file").to_string();
    assert!(missing.contains("cannot read the map no/such/map.osm.pbf"), "{missing}");
}

#[test]
fn a_road_that_only_leads_away_is_no_network() {
    let lonely = xml(
        "<node id=\"1\" lat=\"0\" lon=\"0\"/><node id=\"2\" lat=\"0\" lon=\"0.01\"/><way id=\"1\"><nd ref=\"1\"/>\
         <nd ref=\"2\"/><tag k=\"highway\" v=\"primary\"/><tag k=\"oneway\" v=\"yes\"/></way>",
    );
    assert!(matches!(load(lonely.as_bytes()), Err(MapError::NoRoads { .. })));
}

#[test]
fn gzip_is_seen_by_content() {
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zipped.write_all(square("", "").as_bytes()).expect("written");
    let network = load(&zipped.finish().expect("zipped")).expect("a network");
    assert_eq!(network.counts().drivable_ways, 6);
}

#[test]
fn geojson_is_json_and_names_the_roads() {
    let network = load(square("", "<tag k=\"name\" v=\"O&apos;Hara &quot;Lane&quot;\"/>").as_bytes())
        .expect("a network");
    let value: serde_json::Value = serde_json::from_str(&network.geojson()).expect("JSON");
    let features = value["features"].as_array().expect("features");
    assert_eq!(features.len(), 6);
    assert!(features.iter().any(|f| f["properties"]["name"] == "O'Hara \"Lane\""));
    assert_eq!(features[0]["properties"]["class"], "residential");
    assert!(value["attribution"].as_str().is_some_and(|text| text.contains("OpenStreetMap")));
}

#[test]
fn a_generated_town_is_the_same_for_the_same_seed() {
    let [a, b, c] = [7, 7, 8].map(|seed| RoadNetwork::generate(seed).expect("a town"));
    assert_eq!(a.edges(), b.edges());
    assert_eq!(a.geojson(), b.geojson());
    assert_ne!(a.geojson(), c.geojson());
    assert!(a.edges().iter().any(|e| e.reverse.is_none()), "some streets are one-way");
    assert!(a.counts().signals_on_roads > 0 && a.counts().restrictions_applied > 0, "{:?}", a.counts());
    assert_eq!(a.attribution(), "");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn generated_towns_hang_together(seed in any::<u64>()) {
        let network = RoadNetwork::generate(seed).expect("a town");
        assert_strongly_connected(&network);
        compare_with_dijkstra(&network, 50, seed);
        // Hardly anything is lost to interrupted streets.
        prop_assert!(network.counts().edges * 10 > network.counts().edges_found * 9, "{:?}", network.counts());
    }
}

#[test]
fn snapping_finds_what_lies_on_the_road() {
    let network = RoadNetwork::generate(3).expect("a town");
    for edge in network.edges() {
        let offset = edge.length_m * 0.4;
        let place = network.position(edge.id, offset);
        let snap = network.snap(place.latitude, place.longitude);
        assert!(snap.distance_m < 0.5, "{edge:?} {snap:?}");
        let near = network.snap_within(place.latitude, place.longitude, 1.0);
        let own = near.iter().find(|s| s.edge == edge.id).expect("its own edge is near");
        assert!((own.offset_m - offset).abs() < 1.0, "{edge:?} {own:?}");
    }
}
