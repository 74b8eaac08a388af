//! The three real maps, when they are there.

mod common;

use std::time::Instant;

use common::{assert_strongly_connected, compare_with_dijkstra, real_map};
use remuda_roads::{MapCounts, OSM_ATTRIBUTION, RoadNetwork};

fn load(name: &str) -> Option<RoadNetwork> {
    let path = real_map(name)?;
    let start = Instant::now();
    let network = RoadNetwork::load(&path).expect("the map loads");
    let geojson = network.geojson().len();
    let km = network.length_m() / 1_000.0;
    eprintln!(
        "{name}: {:?}, {km:.0} km, {geojson} bytes of GeoJSON, {:?}",
        network.counts(),
        start.elapsed()
    );
    assert_eq!(network.attribution(), OSM_ATTRIBUTION);
    Some(network)
}

#[test]
fn helsinki() {
    let Some(network) = load("helsinki.osm.pbf") else { return };
    let MapCounts { road_ways, drivable_ways, restrictions, restrictions_applied, signals, .. } =
        network.counts();
    assert_eq!((road_ways, restrictions, signals), (1_002, 45, 135));
    // 91 of the 1,002 are private, closed to cars, or squares.
    assert_eq!(drivable_ways, 911);
    assert!(restrictions_applied > 20, "{restrictions_applied}");
    assert_strongly_connected(&network);
    compare_with_dijkstra(&network, 500, 1);
    // The Senate Square is surrounded by streets.
    let snap = network.snap(60.1695, 24.9525);
    assert!(snap.distance_m < 80.0, "{snap:?}");
    let bounds = network.bounds();
    assert!(
        bounds.south > 60.1 && bounds.north < 60.2 && bounds.west > 24.9 && bounds.east < 25.0,
        "{bounds:?}"
    );
}

#[test]
fn columbus_has_american_limits() {
    let Some(network) = load("columbus.osm.pbf") else { return };
    assert_strongly_connected(&network);
    compare_with_dijkstra(&network, 100, 2);
    let km = network.length_m() / 1_000.0;
    assert!((1_800.0..2_500.0).contains(&km), "{km}");
}

#[test]
fn monaco_is_xml() {
    let Some(network) = load("monaco.osm.gz") else { return };
    assert_strongly_connected(&network);
    compare_with_dijkstra(&network, 500, 3);
    let one_way = network.edges().iter().filter(|e| e.reverse.is_none()).count();
    assert!(one_way * 4 > network.edges().len(), "{one_way}");
}

#[test]
fn a_map_is_always_read_the_same() {
    let Some(path) = real_map("helsinki.osm.pbf") else { return };
    let [a, b] = [0, 1].map(|_| RoadNetwork::load(&path).expect("the map loads"));
    assert_eq!(a.edges(), b.edges());
    assert_eq!(a.geojson(), b.geojson());
    let (first, last) = (a.edges()[0].id, a.edges()[a.edges().len() - 1].id);
    let [to, from] = [last, first].map(|edge| remuda_roads::Place { edge, offset_m: 1.0 });
    assert_eq!(a.route(from, to), b.route(from, to));
}
