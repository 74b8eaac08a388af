//! Asking for positions.

use remuda_api::telemetry::v1::query_positions_response::Part;
use remuda_api::telemetry::v1::{AsOf, QueryPositionsRequest, Track};
use remuda_exports::Position;
use tonic::Request;

use super::columns::times;
use super::range::timestamp;
use super::session::{Scope, Session};
use crate::error::CtlError;
use crate::text::id;

/// Gets each part: the vehicle's id, and positions.
pub(crate) type Take<'a> = dyn FnMut(&str, &[Position]) -> Result<(), CtlError> + 'a;

/// Asks for the positions of a scope; `take` gets them part by part.
pub(crate) async fn positions(
    session: &mut Session,
    scope: &Scope,
    interval_ms: i64,
    take: &mut Take<'_>,
) -> Result<Option<AsOf>, CtlError> {
    // Its deadline is for each part, not for the whole.
    let request = Request::new(QueryPositionsRequest {
        parent: session.parent(),
        vehicles: session.names(&scope.vehicles),
        filter: scope.filter.clone(),
        start_time: Some(timestamp(scope.from_ns)),
        end_time: Some(timestamp(scope.to_ns)),
        interval_ms,
        limit: 0,
    });
    let mut client = session.client.clone();
    let mut stream = session.wait(client.query_positions(request)).await?.into_inner();
    while let Some(response) = session.next(&mut stream).await? {
        match response.part {
            Some(Part::Track(track)) => take(id(&track.vehicle), &decoded(&track)?)?,
            Some(Part::End(end)) => return Ok(end.as_of),
            Some(Part::Begin(_)) | None => {}
        }
    }
    Err(CtlError::Answer("it ended before it was complete; ask again"))
}

/// The positions of a part.
pub(crate) fn decoded(track: &Track) -> Result<Vec<Position>, CtlError> {
    let times = times(&track.time_ns_delta);
    let fits = |len: usize| len == times.len();
    let optional = |values: &[f32]| values.is_empty() || fits(values.len());
    let whole = fits(track.latitude_e7.len())
        && fits(track.longitude_e7.len())
        && [&track.speed_kmh, &track.heading_deg, &track.altitude_m].into_iter().all(|v| optional(v));
    if !whole {
        return Err(CtlError::Answer(
            "the columns of its positions have different lengths; is it of another version?",
        ));
    }
    // Through its shortest text: 36.1 is not to become 36.099998.
    let value = |values: &[f32], n: usize| {
        values.get(n).filter(|v| v.is_finite()).and_then(|v| v.to_string().parse::<f64>().ok())
    };
    let position = |(n, time_ns): (usize, &i64)| Position {
        time_ns: *time_ns,
        latitude: f64::from(track.latitude_e7[n]) / 1e7,
        longitude: f64::from(track.longitude_e7[n]) / 1e7,
        altitude_m: value(&track.altitude_m, n),
        speed_kmh: value(&track.speed_kmh, n),
        heading_deg: value(&track.heading_deg, n),
        accuracy_m: None,
    };
    Ok(times.iter().enumerate().map(position).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_column_by_column() {
        let track = Track {
            time_ns_delta: vec![5, 1],
            latitude_e7: vec![601_234_567, -1],
            longitude_e7: vec![249_000_000, 1_800_000_000],
            speed_kmh: vec![36.1, f32::NAN],
            ..Track::default()
        };
        let found = decoded(&track).unwrap();
        let expected = Position {
            time_ns: 5,
            latitude: 60.123_456_7,
            longitude: 24.9,
            speed_kmh: Some(36.1),
            ..Position::default()
        };
        assert_eq!(found[0], expected);
        assert_eq!((found[1].time_ns, found[1].longitude, found[1].speed_kmh), (6, 180.0, None));
        let short = Track { latitude_e7: vec![1], ..track };
        assert!(matches!(decoded(&short), Err(CtlError::Answer(_))));
    }
}
