//! Distances.

use remuda_wire::Fence;

/// Metres per 1e-7 degree of latitude: a sphere with the mean radius of the earth (6,371,008.8 m).
const M_PER_E7: f64 = 6_371_008.8 * std::f64::consts::PI / 180.0 * 1e-7;
/// A vehicle is out of a fence when it is this much farther away than its radius: positions jump.
pub(crate) const OUTSIDE: f64 = 1.2;

/// Distance between two places (latitude, longitude, 1e-7 degrees), m. On the plane that touches the earth between them:
/// right to 0.1 % up to 100 km.
pub fn distance_m(a: (i32, i32), b: (i32, i32)) -> f64 {
    let (x, y) = offset_m(a, b);
    x.hypot(y)
}

/// From `a` to `b`: east and north, m. The short way around the earth.
pub fn offset_m(a: (i32, i32), b: (i32, i32)) -> (f64, f64) {
    let middle = (f64::from(a.0) + f64::from(b.0)) / 2.0 * 1e-7;
    let mut east = f64::from(b.1) - f64::from(a.1);
    if east.abs() > 1.8e9 {
        east -= 3.6e9_f64.copysign(east);
    }
    (east * M_PER_E7 * middle.to_radians().cos(), (f64::from(b.0) - f64::from(a.0)) * M_PER_E7)
}

/// Can one place be in both fences, with what [`crate::Watch`] allows on the way out?
pub fn overlap(a: &Fence, b: &Fence) -> bool {
    let apart = distance_m((a.latitude_e7, a.longitude_e7), (b.latitude_e7, b.longitude_e7));
    apart <= (f64::from(a.radius_m) + f64::from(b.radius_m)) * OUTSIDE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_earth() {
        // One degree of latitude; one of longitude at 60 degrees north is half of that.
        assert!((distance_m((0, 0), (10_000_000, 0)) - 111_195.0).abs() < 1.0);
        assert!((distance_m((600_000_000, 0), (600_000_000, 10_000_000)) - 55_597.5).abs() < 1.0);
        assert!(distance_m((0, 1_799_999_999), (0, -1_799_999_999)) < 0.1, "across the date line");
    }

    #[test]
    fn fences_that_touch_are_known() {
        let fence = |longitude_e7| Fence { latitude_e7: 482_000_000, longitude_e7, radius_m: 50 };
        assert!(overlap(&fence(0), &fence(10_000)));
        assert!(!overlap(&fence(0), &fence(30_000)));
    }
}
