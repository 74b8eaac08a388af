//! The shapes of plain answers.

use remuda_transcoder::Problem;
use serde_json::{Map, Value as Json, json};

use crate::rest::views::{Pairs, or_else};
use crate::time::rfc3339;

const DAY_MS: i64 = 86_400_000;

/// The last part of a resource name.
pub(crate) fn id_of(name: &Json) -> &str {
    name.as_str().and_then(|name| name.rsplit('/').next()).unwrap_or_default()
}

/// `PRESENCE_ONLINE` as `online`.
fn status_of(vehicle: &Json) -> String {
    let presence = vehicle["presence"].as_str().unwrap_or_default();
    match presence.strip_prefix("PRESENCE_").unwrap_or_default() {
        "" | "UNSPECIFIED" => "unknown".to_owned(),
        word => word.to_ascii_lowercase(),
    }
}

/// A vehicle: `id`, `status` (online, offline, unknown), `location` (`lat`, `lng`; null when not known), and what else is known.
pub(crate) fn vehicle(mut vehicle: Json, _: i64) -> Json {
    let mut shown = Map::new();
    shown.insert("id".into(), id_of(&vehicle["name"]).into());
    shown.insert("status".into(), status_of(&vehicle).into());
    let position = vehicle.as_object_mut().and_then(|fields| fields.remove("position"));
    let location = position.as_ref().map(|at| json!({ "lat": at["latitude"], "lng": at["longitude"] }));
    shown.insert("location".into(), location.unwrap_or_default());
    if let Some(position) = position {
        shown.insert("headingDeg".into(), position["headingDeg"].clone());
        shown.insert("speedKmh".into(), position["speedKmh"].clone());
    }
    if let Json::Object(mut rest) = vehicle {
        rest.remove("presence");
        shown.append(&mut rest);
    }
    Json::Object(shown)
}

/// A page of vehicles.
pub(crate) fn vehicles(mut page: Json, now_ms: i64) -> Json {
    for one in page["vehicles"].as_array_mut().into_iter().flatten() {
        *one = vehicle(one.take(), now_ms);
    }
    page
}

/// Every message that has a name gets an `id`: its last part.
pub(crate) fn with_ids(mut json: Json, _: i64) -> Json {
    let identify = |one: &mut Json| {
        let id = id_of(&one["name"]).to_owned();
        if let (false, Some(fields)) = (id.is_empty(), one.as_object_mut()) {
            fields.insert("id".into(), id.into());
        }
    };
    for list in json.as_object_mut().into_iter().flat_map(|fields| fields.values_mut()) {
        list.as_array_mut().into_iter().flatten().for_each(identify);
    }
    identify(&mut json);
    json
}

/// Without another range, the routes of the last day, of all vehicles, each with its shape.
pub(crate) fn last_day(query: Pairs, now_ms: i64) -> Result<Pairs, Problem> {
    let named = query.iter().any(|(name, _)| name == "vehicles" || name == "filter");
    let whole_fleet = (!named).then(|| ("filter", "vehicle = *".to_owned()));
    let defaults = [
        ("start_time", rfc3339(now_ms - DAY_MS)),
        ("end_time", rfc3339(now_ms)),
        ("track_points", "50".to_owned()),
    ];
    Ok(or_else(query, defaults.into_iter().chain(whole_fleet)))
}

/// Journeys as routes: `vehicle` by its id, `path` as pairs of `lat` and `lng`.
pub(crate) fn routes(mut page: Json, _: i64) -> Json {
    let journeys = page["journeys"].take();
    let route = |journey: &Json| {
        let column = |name: &str| journey["track"][name].as_array().cloned().unwrap_or_default();
        let degrees = |value: &Json| value.as_f64().unwrap_or_default() / 1e7;
        let path: Vec<Json> = column("latitudeE7")
            .iter()
            .zip(&column("longitudeE7"))
            .map(|(lat, lng)| json!({ "lat": degrees(lat), "lng": degrees(lng) }))
            .collect();
        let mut shown = json!({ "vehicle": id_of(&journey["vehicle"]), "path": path });
        for field in ["startTime", "endTime", "underWay", "distanceM", "movingMs", "maxSpeedKmh"] {
            shown[field] = journey[field].clone();
        }
        shown
    };
    let routes: Vec<Json> = journeys.as_array().into_iter().flatten().map(route).collect();
    json!({ "routes": routes, "nextPageToken": page["nextPageToken"] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vehicle_has_an_id_a_status_and_a_location() {
        let seen = vehicle(
            json!({ "name": "organizations/default/vehicles/V1", "etag": "\"7\"", "presence": "PRESENCE_ONLINE",
                "position": { "latitude": 60.5, "longitude": 24.9, "headingDeg": 90.0, "speedKmh": 31.5 } }),
            0,
        );
        assert_eq!((&seen["id"], &seen["status"]), (&json!("V1"), &json!("online")));
        assert_eq!(seen["location"], json!({ "lat": 60.5, "lng": 24.9 }));
        assert_eq!((&seen["speedKmh"], &seen["presence"]), (&json!(31.5), &Json::Null));
        let never = vehicle(
            json!({ "name": "organizations/default/vehicles/V2", "presence": "PRESENCE_UNKNOWN" }),
            0,
        );
        assert_eq!((&never["status"], &never["location"]), (&json!("unknown"), &Json::Null));
        assert!(never.as_object().expect("fields").contains_key("location"));
    }

    #[test]
    fn lists_and_single_ones_get_ids() {
        let page =
            with_ids(json!({ "trips": [{ "name": "organizations/o/trips/t1" }], "nextPageToken": "" }), 0);
        assert_eq!(page["trips"][0]["id"], "t1");
        assert_eq!(with_ids(json!({ "name": "organizations/o/trips/t2" }), 0)["id"], "t2");
        assert_eq!(with_ids(json!({ "x": 1 }), 0), json!({ "x": 1 }));
    }
}
