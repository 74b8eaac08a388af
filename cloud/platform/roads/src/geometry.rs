//! Distances, headings and boxes on the sphere.

/// Mean radius of the Earth, m (IUGG).
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// A place and a direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// Degrees clockwise from north, 0 to 360.
    pub heading: f64,
}

/// A box that holds a network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Degrees north.
    pub south: f64,
    /// Degrees east.
    pub west: f64,
    /// Degrees north.
    pub north: f64,
    /// Degrees east.
    pub east: f64,
}

impl Bounds {
    pub(crate) fn of(points: impl Iterator<Item = (f64, f64)>) -> Self {
        let mut bounds = Self { south: 90.0, west: 180.0, north: -90.0, east: -180.0 };
        for (latitude, longitude) in points {
            bounds.south = bounds.south.min(latitude);
            bounds.north = bounds.north.max(latitude);
            bounds.west = bounds.west.min(longitude);
            bounds.east = bounds.east.max(longitude);
        }
        bounds
    }

    /// Its middle: latitude, longitude.
    pub fn center(&self) -> (f64, f64) {
        (f64::midpoint(self.south, self.north), f64::midpoint(self.west, self.east))
    }

    /// Whether it holds the point.
    pub fn contains(&self, latitude: f64, longitude: f64) -> bool {
        (self.south..=self.north).contains(&latitude) && (self.west..=self.east).contains(&longitude)
    }
}

/// Great-circle distance of two (latitude, longitude), m.
pub fn haversine_m(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (lat_a, lat_b) = (a.0.to_radians(), b.0.to_radians());
    let half_lat = ((lat_b - lat_a) / 2.0).sin();
    let half_lon = ((b.1 - a.1).to_radians() / 2.0).sin();
    let h = half_lat * half_lat + lat_a.cos() * lat_b.cos() * half_lon * half_lon;
    2.0 * EARTH_RADIUS_M * h.sqrt().min(1.0).asin()
}

/// A point of the globe in space, m from its centre.
pub(crate) fn on_globe_m(latitude: f64, longitude: f64) -> [f64; 3] {
    let (lat, lon) = (latitude.to_radians(), longitude.to_radians());
    [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()].map(|v| v * EARTH_RADIUS_M)
}

/// Direction of the straight line from a to b, degrees clockwise from north, 0 to 360.
pub(crate) fn heading(a: (f64, f64), b: (f64, f64)) -> f64 {
    let east = (b.1 - a.1) * a.0.to_radians().cos();
    let north = b.0 - a.0;
    east.atan2(north).to_degrees().rem_euclid(360.0)
}

/// A flat map around a latitude: good to a millionth over a street's width, which is what snapping needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plane {
    east_m_per_degree: f64,
    north_m_per_degree: f64,
    origin: (f64, f64),
}

impl Plane {
    pub(crate) fn around(center: (f64, f64)) -> Self {
        let north_m_per_degree = EARTH_RADIUS_M.to_radians();
        Self {
            east_m_per_degree: north_m_per_degree * center.0.to_radians().cos(),
            north_m_per_degree,
            origin: center,
        }
    }

    /// Metres east and north of the origin.
    pub(crate) fn project(&self, latitude: f64, longitude: f64) -> [f64; 2] {
        [
            (longitude - self.origin.1) * self.east_m_per_degree,
            (latitude - self.origin.0) * self.north_m_per_degree,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_and_headings_are_those_of_the_globe() {
        // A minute of latitude is a nautical mile, by its old definition.
        assert!((haversine_m((60.0, 25.0), (60.0 + 1.0 / 60.0, 25.0)) - 1_853.2).abs() < 0.5);
        // Helsinki to Tallinn, 82 km.
        assert!((haversine_m((60.1699, 24.9384), (59.437, 24.7536)) - 82_150.0).abs() < 500.0);
        assert!((heading((60.0, 25.0), (60.0, 25.1)) - 90.0).abs() < 1e-9);
        assert!((heading((60.0, 25.0), (59.9, 25.0)) - 180.0).abs() < 1e-9);
    }
}
