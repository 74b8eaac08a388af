//! Read-only exports in forms of others: rFMS 4 (vehicle positions and statuses of truck makers) and GBFS 3.0 (shared
//! vehicles). Both show a page, or all, of ListVehicles.

use remuda_model::VehicleId;
use remuda_transcoder::Problem;
use serde_json::{Value as Json, json};

use crate::limits;
use crate::page::PageToken;
use crate::rest::shapes::id_of;
use crate::rest::views::{Pairs, or_else};
use crate::time::rfc3339;

/// rFMS names its versions in the content type.
pub(crate) const RFMS_POSITIONS: &str = "application/json; rfms=vehiclepositions.v4.0";
/// See `RFMS_POSITIONS`.
pub(crate) const RFMS_STATUSES: &str = "application/json; rfms=vehiclestatuses.v4.0";
/// How long a GBFS reader may keep what it read, seconds.
const GBFS_TTL_S: u32 = 10;

fn largest_page() -> [(&'static str, String); 1] {
    [("page_size", limits::PAGE_MAX.to_string())]
}

/// The largest pages.
pub(crate) fn all(query: Pairs, _: i64) -> Result<Pairs, Problem> {
    Ok(or_else(query, largest_page()))
}

/// What rFMS asks as ListVehicles does: `latestOnly`, which must be true, `vin`, and `lastVin`, after which the answer goes on.
pub(crate) fn rfms_query(query: Pairs, _: i64) -> Result<Pairs, Problem> {
    let wrong = |field: &str, problem: &str| Problem { field: field.to_owned(), problem: problem.to_owned() };
    let (mut latest, mut after, mut filter) = (false, None, String::new());
    for (name, value) in query {
        match name.as_str() {
            "latestOnly" => latest = value == "true",
            "vin" | "lastVin" => {
                let vehicle = VehicleId::new(&value).map_err(|_| wrong(&name, "there is no such vehicle"))?;
                if name == "vin" {
                    filter = format!("vehicle = {vehicle}");
                } else {
                    after = Some(vehicle);
                }
            }
            _ => return Err(wrong(&name, "this export takes latestOnly, vin and lastVin")),
        }
    }
    if !latest {
        return Err(wrong(
            "latestOnly",
            "say latestOnly=true: this export has the latest state; history is in QueryHistory",
        ));
    }
    let token = after.map(|vehicle| ("page_token", PageToken::write(&vehicle, &filter)));
    let filter = Some(("filter", filter)).filter(|(_, filter)| !filter.is_empty());
    Ok(or_else(Vec::new(), largest_page().into_iter().chain(token).chain(filter)))
}

fn seen(page: &Json) -> impl Iterator<Item = &Json> {
    // What was never seen has nothing to tell.
    page["vehicles"].as_array().into_iter().flatten().filter(|vehicle| vehicle["lastSeenTime"].is_string())
}

/// Where a vehicle is, as rFMS says it. Speeds are km/h, headings degrees.
fn gnss(vehicle: &Json) -> Option<Json> {
    let at = vehicle.get("position")?;
    Some(json!({
        "latitude": at["latitude"],
        "longitude": at["longitude"],
        "heading": at["headingDeg"].as_f64().unwrap_or_default().rem_euclid(360.0) as u16,
        "speed": at["speedKmh"],
        "positionDateTime": vehicle["lastSeenTime"],
    }))
}

/// What each line of rFMS begins with. The vehicle's id stands for its VIN, which the cloud is not told.
fn line(vehicle: &Json) -> Json {
    json!({
        "vin": id_of(&vehicle["name"]),
        "triggerType": { "context": "RFMS", "triggerType": "TIMER" },
        "createdDateTime": vehicle["lastSeenTime"],
        "receivedDateTime": vehicle["lastSeenTime"],
    })
}

/// Where there is more, and as of when.
fn end(page: &Json, path: &str, now_ms: i64, mut answer: Json) -> Json {
    let last = page["vehicles"].as_array().and_then(|vehicles| vehicles.last());
    let more = page["nextPageToken"].as_str().is_some_and(|token| !token.is_empty());
    answer["moreDataAvailable"] = Json::from(more);
    if let (true, Some(last)) = (more, last) {
        let last = id_of(&last["name"]);
        answer["moreDataAvailableLink"] = Json::from(format!("{path}?latestOnly=true&lastVin={last}"));
    }
    answer["requestServerDateTime"] = Json::from(rfc3339(now_ms));
    answer
}

/// rFMS 4 vehicle positions.
pub(crate) fn rfms_positions(page: Json, now_ms: i64) -> Json {
    let positions: Vec<Json> = seen(&page)
        .filter_map(|vehicle| {
            let mut shown = line(vehicle);
            shown["gnssPosition"] = gnss(vehicle)?;
            shown["wheelBasedSpeed"] = vehicle["position"]["speedKmh"].clone();
            Some(shown)
        })
        .collect();
    let answer = json!({ "vehiclePositionResponse": { "vehiclePositions": positions } });
    end(&page, "/rfms/vehiclepositions", now_ms, answer)
}

/// rFMS 4 vehicle statuses, with the part that is of one moment (`snapshotData`).
pub(crate) fn rfms_statuses(page: Json, now_ms: i64) -> Json {
    let statuses: Vec<Json> = seen(&page)
        .map(|vehicle| {
            let mut shown = line(vehicle);
            let mut snapshot = json!({});
            if let Some(gnss) = gnss(vehicle) {
                snapshot["wheelBasedSpeed"] = gnss["speed"].clone();
                snapshot["gnssPosition"] = gnss;
            }
            if let Some(charge) = vehicle["chargePercent"].as_f64() {
                snapshot["fuelLevel1"] = Json::from((charge * 10.0).round() / 10.0);
            }
            shown["snapshotData"] = snapshot;
            shown
        })
        .collect();
    let answer = json!({ "vehicleStatusResponse": { "vehicleStatuses": statuses } });
    end(&page, "/rfms/vehiclestatuses", now_ms, answer)
}

/// GBFS 3.0 `vehicle_status`: every vehicle whose place is known. One that is not connected is disabled.
pub(crate) fn gbfs_vehicles(page: Json, now_ms: i64) -> Json {
    let vehicles: Vec<Json> = seen(&page)
        .filter_map(|vehicle| {
            let at = vehicle.get("position")?;
            let mut shown = json!({
                "vehicle_id": id_of(&vehicle["name"]),
                "lat": at["latitude"],
                "lon": at["longitude"],
                "is_reserved": false,
                "is_disabled": vehicle["presence"] != "PRESENCE_ONLINE",
                "last_reported": vehicle["lastSeenTime"],
            });
            if let Some(charge) = vehicle["chargePercent"].as_f64() {
                shown["current_fuel_percent"] = Json::from((charge / 100.0).clamp(0.0, 1.0));
            }
            Some(shown)
        })
        .collect();
    json!({
        "last_updated": rfc3339(now_ms),
        "ttl": GBFS_TTL_S,
        "version": "3.0",
        "data": { "vehicles": vehicles },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(query: &[(&str, &str)]) -> Result<Pairs, Problem> {
        rfms_query(query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(), 0)
    }

    #[test]
    fn rfms_asks_for_the_latest_only() {
        assert_eq!(ask(&[]).unwrap_err().field, "latestOnly");
        assert_eq!(ask(&[("latestOnly", "true"), ("starttime", "x")]).unwrap_err().field, "starttime");
        assert_eq!(ask(&[("latestOnly", "true"), ("vin", "V1 OR 1")]).unwrap_err().field, "vin");
        let size = ("page_size".to_owned(), "1000".to_owned());
        assert_eq!(ask(&[("latestOnly", "true")]), Ok(vec![size.clone()]));
        let token = ("page_token".to_owned(), PageToken::write(&VehicleId::new("V7").expect("an id"), ""));
        assert_eq!(ask(&[("latestOnly", "true"), ("lastVin", "V7")]), Ok(vec![size.clone(), token]));
        let one = ask(&[("latestOnly", "true"), ("vin", "V7")]);
        assert_eq!(one, Ok(vec![size, ("filter".to_owned(), "vehicle = V7".to_owned())]));
    }
}
