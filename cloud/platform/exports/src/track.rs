//! Where a track is cut.

use crate::limits::TRACK_GAP_NS;
use crate::model::Position;

/// Follows a track and says where a new segment begins.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    last_ns: Option<i64>,
}

impl Segments {
    /// Whether this position begins a segment: the first one does, and one after a gap or a step back in time.
    pub fn begins(&mut self, position: &Position) -> bool {
        let last = self.last_ns.replace(position.time_ns);
        let Some(last) = last else { return true };
        position.time_ns < last || position.time_ns.saturating_sub(last) > TRACK_GAP_NS
    }
}

/// Cuts a line where it crosses the antimeridian (RFC 7946, 3.1.9): both parts end on it, at the same latitude.
pub(crate) fn split_at_antimeridian(line: Vec<Position>) -> Vec<Vec<Position>> {
    let mut lines = Vec::new();
    let mut part: Vec<Position> = Vec::with_capacity(line.len());
    for position in line {
        if let Some(before) = part.last().copied()
            && (position.longitude - before.longitude).abs() > 180.0
        {
            let (leaving, entering) = crossing(&before, &position);
            if before.longitude != leaving.longitude {
                part.push(leaving);
            }
            lines.push(std::mem::take(&mut part));
            if position.longitude != entering.longitude {
                part.push(entering);
            }
        }
        part.push(position);
    }
    lines.push(part);
    lines
}

/// The point of the antimeridian between two positions, seen from either side.
fn crossing(from: &Position, to: &Position) -> (Position, Position) {
    let edge = 180_f64.copysign(from.longitude);
    let across = to.longitude + 2.0 * edge;
    let way = across - from.longitude;
    // No way at all: both stand on the antimeridian.
    let share = if way == 0.0 { 0.0 } else { ((edge - from.longitude) / way).clamp(0.0, 1.0) };
    let between = |from: f64, to: f64| from + (to - from) * share;
    let both = |from: Option<f64>, to: Option<f64>| Some(between(from?, to?));
    let span_ns = to.time_ns.saturating_sub(from.time_ns);
    let leaving = Position {
        time_ns: from.time_ns.saturating_add((span_ns as f64 * share) as i64),
        latitude: between(from.latitude, to.latitude),
        longitude: edge,
        altitude_m: both(from.altitude_m, to.altitude_m),
        ..Position::default()
    };
    (leaving, Position { longitude: -edge, ..leaving })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, longitude: f64, latitude: f64) -> Position {
        Position { time_ns: seconds * 1_000_000_000, latitude, longitude, ..Position::default() }
    }

    #[test]
    fn gaps_and_steps_back_begin_a_segment() {
        let mut segments = Segments::default();
        let begins: Vec<bool> =
            [0, 1, 121, 242, 241, 241].iter().map(|s| segments.begins(&at(*s, 0.0, 0.0))).collect();
        assert_eq!(begins, [true, false, false, true, true, false]);
    }

    #[test]
    fn a_line_over_the_antimeridian_is_cut_on_it() {
        let lines = split_at_antimeridian(vec![at(0, 179.0, 10.0), at(4, -179.0, 12.0), at(5, -178.0, 12.0)]);
        let points: Vec<Vec<(f64, f64)>> =
            lines.iter().map(|l| l.iter().map(|p| (p.longitude, p.latitude)).collect()).collect();
        assert_eq!(
            points,
            [vec![(179.0, 10.0), (180.0, 11.0)], vec![(-180.0, 11.0), (-179.0, 12.0), (-178.0, 12.0)]]
        );
        assert_eq!(lines[0][1].time_ns, 2_000_000_000);
        // Whoever stands on it needs no further point.
        let lines = split_at_antimeridian(vec![at(0, -179.0, 1.0), at(1, -180.0, 2.0), at(2, 180.0, 2.0)]);
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(split_at_antimeridian(vec![at(0, 89.0, 1.0), at(1, -90.0, 2.0)]).len(), 1);
    }
}
