//! Areas: what is in them, and how far from their edge a place is. Pure; points against edges are exact.

use remuda_contracts::geofences::{GeofenceShape, Place};

use super::limits;

/// Mean radius of the earth, m.
const EARTH_M: f64 = 6_371_008.8;
/// Metres per 1e-7 degree of latitude.
const M_PER_E7: f64 = EARTH_M * std::f64::consts::PI / 180.0 * 1e-7;
/// Half the way around the earth, 1e-7 degrees.
const HALF: i64 = 1_800_000_000;

/// Why a shape cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Not on the earth, or too near to a pole.
    #[error("a geofence lies between 85 degrees north and south, and longitudes are -180 to 180")]
    Place,
    /// Too small or too large a circle.
    #[error("a circle's radius is 10 to 500,000 m")]
    Radius,
    /// Too few or too many points.
    #[error("a polygon has 3 to 200 points, it has {0}; simplify it, or make several")]
    Points(usize),
    /// The same point twice.
    #[error("point {0} is there twice")]
    Twice(usize),
    /// Edges that meet.
    #[error("the edges after points {0} and {1} cross or touch; a polygon's outline meets itself nowhere")]
    Crossing(usize, usize),
    /// Around a pole, or more than half of the earth.
    #[error("a polygon goes neither around a pole nor half around the earth")]
    Round,
    /// Too small or too large.
    #[error("a polygon's area is 100 m² to 10,000,000 km²")]
    Area,
}

/// A point of a polygon, 1e-7 degrees; longitudes go on beyond ±180 degrees, so that neighbours are near.
type Point = (i64, i64);

#[derive(Debug, Clone, PartialEq)]
enum Outline {
    Circle { centre: Place, radius_m: f64 },
    Ring(Vec<Point>),
}

/// A shape that can be.
#[derive(Debug, Clone, PartialEq)]
pub struct Area {
    outline: Outline,
    /// West, south, east and north, 1e-7 degrees; west and east may be beyond ±180 degrees.
    bounds: [i64; 4],
}

impl Area {
    /// Checks a shape.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn of(shape: &GeofenceShape) -> Result<Self, ShapeError> {
        match shape {
            GeofenceShape::Circle { centre, radius_m } => Self::circle(*centre, *radius_m),
            GeofenceShape::Polygon(places) => Self::polygon(places),
        }
    }

    fn circle(centre: Place, radius_m: u32) -> Result<Self, ShapeError> {
        if !(limits::RADIUS_M_MIN..=limits::RADIUS_M_MAX).contains(&radius_m) {
            return Err(ShapeError::Radius);
        }
        on_earth(centre)?;
        let radius_m = f64::from(radius_m);
        let high = (radius_m / M_PER_E7).ceil() as i64;
        let latitude = i64::from(centre.latitude_e7);
        let farthest = latitude.abs() + high;
        if farthest > i64::from(limits::LATITUDE_E7_MAX) {
            return Err(ShapeError::Place);
        }
        // Where meridians touch it; farther from the equator than its middle.
        let touch = (radius_m / EARTH_M).sin() / (f64::from(centre.latitude_e7) * 1e-7).to_radians().cos();
        let wide = (touch.asin().to_degrees() * 1e7).ceil() as i64;
        let longitude = i64::from(centre.longitude_e7);
        let bounds = [longitude - wide, latitude - high, longitude + wide, latitude + high];
        Ok(Self { outline: Outline::Circle { centre, radius_m }, bounds })
    }

    fn polygon(places: &[Place]) -> Result<Self, ShapeError> {
        if !(3..=limits::POINTS_MAX).contains(&places.len()) {
            return Err(ShapeError::Points(places.len()));
        }
        places.iter().try_for_each(|place| on_earth(*place))?;
        let ring = unrolled(places)?;
        let (west, east) = range(ring.iter().map(|(longitude, _)| *longitude));
        let (south, north) = range(ring.iter().map(|(_, latitude)| *latitude));
        if east - west >= HALF {
            return Err(ShapeError::Round);
        }
        simple(&ring)?;
        if !(limits::AREA_M2_MIN..=limits::AREA_M2_MAX).contains(&area_m2(&ring)) {
            return Err(ShapeError::Area);
        }
        Ok(Self { outline: Outline::Ring(ring), bounds: [west, south, east, north] })
    }

    /// West, south, east and north, 1e-7 degrees; west and east may be beyond ±180 degrees, by the same turn.
    pub const fn bounds(&self) -> [i64; 4] {
        self.bounds
    }

    /// Whether a place is within its bounds; one that is not is not in it.
    pub fn has_near(&self, place: Place) -> bool {
        let [west, south, east, north] = self.bounds;
        let longitude = nearest_turn(i64::from(place.longitude_e7), i64::midpoint(west, east));
        (west..=east).contains(&longitude) && (south..=north).contains(&i64::from(place.latitude_e7))
    }

    /// How far beyond the edge a place is, m; negative inside, by how far it is in. Right to a metre near the edge.
    pub fn beyond_m(&self, place: Place) -> f64 {
        match &self.outline {
            Outline::Circle { centre, radius_m } => distance_m(*centre, place) - radius_m,
            Outline::Ring(ring) => {
                let [west, _, east, _] = self.bounds;
                let mut at = (i64::from(place.longitude_e7), i64::from(place.latitude_e7));
                at.0 = nearest_turn(at.0, i64::midpoint(west, east));
                let near = edges(ring).map(|(a, b)| from_edge_m(at, a, b)).fold(f64::INFINITY, f64::min);
                if is_in(at, ring) { -near } else { near }
            }
        }
    }
}

fn range(values: impl Iterator<Item = i64>) -> (i64, i64) {
    values.fold((i64::MAX, i64::MIN), |(low, high), value| (low.min(value), high.max(value)))
}

fn on_earth(place: Place) -> Result<(), ShapeError> {
    let fits =
        place.latitude_e7.abs() <= limits::LATITUDE_E7_MAX && i64::from(place.longitude_e7).abs() <= HALF;
    if fits { Ok(()) } else { Err(ShapeError::Place) }
}

/// The same longitude, by the turn that is nearest to another.
const fn nearest_turn(longitude: i64, to: i64) -> i64 {
    longitude - (longitude - to + HALF).div_euclid(2 * HALF) * 2 * HALF
}

/// The ring with longitudes that go on: each edge goes the short way.
fn unrolled(places: &[Place]) -> Result<Vec<Point>, ShapeError> {
    let mut ring: Vec<Point> = Vec::with_capacity(places.len());
    for (place, number) in places.iter().zip(1..) {
        let (mut longitude, latitude) = (i64::from(place.longitude_e7), i64::from(place.latitude_e7));
        if let Some((last, _)) = ring.last() {
            longitude = nearest_turn(longitude, *last);
        }
        if let Some(first) = ring.first() {
            let back = nearest_turn(longitude, first.0) == first.0;
            if back && latitude == first.1 {
                return Err(ShapeError::Twice(number));
            }
        }
        ring.push((longitude, latitude));
    }
    let (first, last) = (ring[0].0, ring[ring.len() - 1].0);
    // The way from the last to the first must close the ring on this turn.
    if nearest_turn(first, last) == first { Ok(ring) } else { Err(ShapeError::Round) }
}

fn edges(ring: &[Point]) -> impl Iterator<Item = (Point, Point)> + '_ {
    ring.iter().zip(ring.iter().cycle().skip(1)).map(|(a, b)| (*a, *b))
}

/// On which side of the line from `a` to `b`: above 0 on its left.
fn side(a: Point, b: Point, p: Point) -> i128 {
    let wide = |(one, other): (i64, i64)| i128::from(one - other);
    wide((b.0, a.0)) * wide((p.1, a.1)) - wide((b.1, a.1)) * wide((p.0, a.0))
}

fn is_on(a: Point, b: Point, p: Point) -> bool {
    let within = |one: i64, other: i64, p: i64| one.min(other) <= p && p <= one.max(other);
    side(a, b, p) == 0 && within(a.0, b.0, p.0) && within(a.1, b.1, p.1)
}

fn meet(a: Point, b: Point, c: Point, d: Point) -> bool {
    let apart = |a: Point, b: Point, c: Point, d: Point| side(a, b, c).signum() * side(a, b, d).signum() < 0;
    (apart(a, b, c, d) && apart(c, d, a, b))
        || is_on(a, b, c)
        || is_on(a, b, d)
        || is_on(c, d, a)
        || is_on(c, d, b)
}

/// Refuses a ring whose outline meets itself.
fn simple(ring: &[Point]) -> Result<(), ShapeError> {
    let all: Vec<(Point, Point)> = edges(ring).collect();
    let count = all.len();
    for (i, (a, b)) in all.iter().enumerate() {
        if a == b {
            return Err(ShapeError::Twice((i + 1) % count + 1));
        }
        for (j, (c, d)) in all.iter().enumerate().skip(i + 1) {
            let crossing = if j == i + 1 {
                // They share `b`: neither may lie on the other.
                is_on(*a, *b, *d) || is_on(*c, *d, *a)
            } else if (j + 1) % count == i {
                is_on(*a, *b, *c) || is_on(*c, *d, *b)
            } else {
                meet(*a, *b, *c, *d)
            };
            if crossing {
                return Err(ShapeError::Crossing(i + 1, j + 1));
            }
        }
    }
    Ok(())
}

/// Whether a point is in a ring; its edge belongs to it.
fn is_in(p: Point, ring: &[Point]) -> bool {
    let mut inside = false;
    for (a, b) in edges(ring) {
        if is_on(a, b, p) {
            return true;
        }
        // Does a line to the east cross this edge? Each point counts to the edge above it.
        if (a.1 > p.1) != (b.1 > p.1) {
            let left = side(a, b, p) > 0;
            inside ^= left == (b.1 > a.1);
        }
    }
    inside
}

/// Distance to an edge, m, on the plane that touches the earth at the point: right near it, and no nearer than it is far away.
fn from_edge_m(p: Point, a: Point, b: Point) -> f64 {
    let east = M_PER_E7 * (p.1 as f64 * 1e-7).to_radians().cos();
    let plane = |q: Point| ((q.0 - p.0) as f64 * east, (q.1 - p.1) as f64 * M_PER_E7);
    let ((ax, ay), (bx, by)) = (plane(a), plane(b));
    let (dx, dy) = (bx - ax, by - ay);
    let along = (-(ax * dx + ay * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
    (ax + along * dx).hypot(ay + along * dy)
}

/// Great-circle distance on a sphere, m.
fn distance_m(a: Place, b: Place) -> f64 {
    let radians = |e7: i32| (f64::from(e7) * 1e-7).to_radians();
    let (from, to) = (radians(a.latitude_e7), radians(b.latitude_e7));
    let north = ((to - from) / 2.0).sin();
    let east = ((radians(b.longitude_e7) - radians(a.longitude_e7)) / 2.0).sin();
    let chord = north * north + from.cos() * to.cos() * east * east;
    2.0 * EARTH_M * chord.sqrt().min(1.0).asin()
}

/// Area of a ring, m²: on the cylinder that keeps areas.
fn area_m2(ring: &[Point]) -> f64 {
    let on_cylinder = |(x, y): Point| {
        ((x as f64 * 1e-7).to_radians() * EARTH_M, (y as f64 * 1e-7).to_radians().sin() * EARTH_M)
    };
    let twice: f64 = edges(ring)
        .map(|(a, b)| (on_cylinder(a), on_cylinder(b)))
        .map(|((ax, ay), (bx, by))| ax * by - bx * ay)
        .sum();
    twice.abs() / 2.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(latitude: f64, longitude: f64) -> Place {
        Place { latitude_e7: (latitude * 1e7) as i32, longitude_e7: (longitude * 1e7) as i32 }
    }

    fn polygon(points: &[(f64, f64)]) -> Result<Area, ShapeError> {
        let places = points.iter().map(|(latitude, longitude)| place(*latitude, *longitude)).collect();
        Area::of(&GeofenceShape::Polygon(places))
    }

    #[test]
    fn what_is_no_shape_is_refused_with_the_place_of_the_fault() {
        assert_eq!(polygon(&[(0.0, 0.0), (0.0, 1.0)]), Err(ShapeError::Points(2)));
        let bow = [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0)];
        assert_eq!(polygon(&bow), Err(ShapeError::Crossing(1, 3)));
        let spike = [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 1.0)];
        assert!(matches!(polygon(&spike), Err(ShapeError::Crossing(..))));
        assert_eq!(polygon(&[(0.0, 0.0), (0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]), Err(ShapeError::Twice(2)));
        assert_eq!(polygon(&[(0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.0, 0.0)]), Err(ShapeError::Twice(4)));
        assert_eq!(polygon(&[(80.0, 0.0), (80.0, 120.0), (80.0, -120.0)]), Err(ShapeError::Round));
        assert_eq!(polygon(&[(86.0, 0.0), (86.0, 1.0), (85.0, 1.0)]), Err(ShapeError::Place));
        assert_eq!(polygon(&[(0.0, 0.0), (0.0, 1e-5), (1e-5, 1e-5)]), Err(ShapeError::Area));
        let circle = |radius_m, latitude| {
            Area::of(&GeofenceShape::Circle { centre: place(latitude, 0.0), radius_m }).map(|_| ())
        };
        assert_eq!(circle(9, 0.0), Err(ShapeError::Radius));
        assert_eq!(circle(500_000, 84.0), Err(ShapeError::Place));
        assert_eq!(circle(500, 84.0), Ok(()));
        for error in [ShapeError::Points(2), ShapeError::Crossing(1, 3), ShapeError::Area] {
            assert!(error.to_string().len() > 10);
        }
    }

    #[test]
    fn the_edge_belongs_to_it_and_distances_are_metres() {
        let square = polygon(&[(0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0)]).unwrap();
        assert_eq!(square.beyond_m(place(0.0, 0.5)).abs(), 0.0);
        assert_eq!(square.beyond_m(place(0.0, 0.0)).abs(), 0.0);
        let north = square.beyond_m(place(1.01, 0.5));
        assert!((north - 1_111.95).abs() < 0.1, "{north}");
        let inside = square.beyond_m(place(0.5, 0.001));
        assert!((inside + 111.19).abs() < 0.1, "{inside}");
        let round = Area::of(&GeofenceShape::Circle { centre: place(60.0, 25.0), radius_m: 1_000 }).unwrap();
        let east = round.beyond_m(place(60.0, 25.02));
        assert!((east - 111.95).abs() < 0.5, "{east}");
    }

    #[test]
    fn across_the_date_line_nothing_changes() {
        let fiji = [(-17.0, 178.0), (-17.0, -178.0), (-19.0, -178.0), (-19.0, 178.0)];
        let area = polygon(&fiji).unwrap();
        for (longitude, is_in) in [
            (179.0, true),
            (-179.0, true),
            (180.0, true),
            (-180.0, true),
            (177.9, false),
            (-177.9, false),
            (0.0, false),
        ] {
            assert_eq!(area.beyond_m(place(-18.0, longitude)) <= 0.0, is_in, "{longitude}");
        }
        let [west, _, east, _] = area.bounds();
        assert_eq!(east - west, 40_000_000);
        let round = GeofenceShape::Circle { centre: place(-18.0, 180.0), radius_m: 10_000 };
        assert!(Area::of(&round).unwrap().beyond_m(place(-18.0, -179.99)) < 0.0);
    }

    /// A star around its centre: distances by direction, so that it is simple and may be concave.
    fn star() -> impl Strategy<Value = (Place, Vec<Place>)> {
        let centre = (-600_000_000..600_000_000_i32, -1_800_000_000..1_800_000_000_i32);
        (centre, prop::collection::vec(1_000..2_000_000_i32, 3..24)).prop_map(
            |((latitude, longitude), reach)| {
                let centre = Place { latitude_e7: latitude, longitude_e7: longitude };
                let count = reach.len() as f64;
                let places = reach.iter().zip(0..).map(|(reach, at)| {
                    let angle = std::f64::consts::TAU * f64::from(at) / count;
                    let east = i64::from(longitude) + (f64::from(*reach) * angle.cos()) as i64;
                    Place {
                        latitude_e7: latitude + (f64::from(*reach) * angle.sin()) as i32,
                        longitude_e7: wrapped(east),
                    }
                });
                (centre, places.collect())
            },
        )
    }

    fn wrapped(longitude: i64) -> i32 {
        nearest_turn(longitude, 0) as i32
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// A point is in a star when it is in one of the triangles between its centre and an edge.
        #[test]
        fn in_a_star_is_in_one_of_its_triangles(
            (centre, places) in star(), points in prop::collection::vec((-2_500_000..2_500_000_i32, -2_500_000..2_500_000_i32), 1..40),
        ) {
            // With three arms the centre may lie outside.
            prop_assume!(places.len() > 4);
            let Ok(area) = Area::of(&GeofenceShape::Polygon(places.clone())) else { return Ok(()) };
            let zero = i64::from(centre.longitude_e7);
            let flat = |place: &Place| {
                (nearest_turn(i64::from(place.longitude_e7), zero) - zero, i64::from(place.latitude_e7 - centre.latitude_e7))
            };
            let ring: Vec<Point> = places.iter().map(flat).collect();
            for (east, north) in points {
                let p = (i64::from(east), i64::from(north));
                let in_triangle = |(a, b): (Point, Point)| {
                    let sides = [side((0, 0), a, p), side(a, b, p), side(b, (0, 0), p)];
                    sides.iter().all(|side| *side >= 0)
                };
                let expected = edges(&ring).any(in_triangle);
                let at = Place { latitude_e7: centre.latitude_e7 + north, longitude_e7: wrapped(zero + p.0) };
                let beyond = area.beyond_m(at);
                prop_assert_eq!(beyond <= 0.0, expected, "{:?} {}", p, beyond);
            }
        }

        /// Whatever is taken: what is in it is within its bounds, and a step to the edge is as long as it says.
        #[test]
        fn what_is_in_it_is_within_its_bounds(
            (centre, places) in star(), north in -2_500_000..2_500_000_i32, east in -2_500_000..2_500_000_i64,
        ) {
            let Ok(area) = Area::of(&GeofenceShape::Polygon(places)) else { return Ok(()) };
            let (latitude_e7, zero) = (centre.latitude_e7 + north, i64::from(centre.longitude_e7));
            let at = Place { latitude_e7, longitude_e7: wrapped(zero + east) };
            let beyond = area.beyond_m(at);
            prop_assert!(area.has_near(at) || beyond > 0.0);
            // Many places on the edge, and how far apart they are at most.
            let Outline::Ring(ring) = &area.outline else { panic!("a star is a ring") };
            let (mut nearest, mut apart) = (f64::INFINITY, 0.0_f64);
            for (a, b) in edges(ring) {
                let on_edge = |step: i64| Place {
                    latitude_e7: (a.1 + (b.1 - a.1) * step / 200) as i32,
                    longitude_e7: wrapped(a.0 + (b.0 - a.0) * step / 200),
                };
                nearest = (0..200).map(|step| distance_m(at, on_edge(step))).fold(nearest, f64::min);
                apart = apart.max(distance_m(on_edge(0), on_edge(1)));
            }
            // Half a degree away the plane is a hundredth off.
            let (least, most) = (nearest * 0.98 - apart - 2.0, nearest * 1.02 + 2.0);
            prop_assert!((least..=most).contains(&beyond.abs()), "{} not in {}..={}", beyond, least, most);
        }
    }
}
