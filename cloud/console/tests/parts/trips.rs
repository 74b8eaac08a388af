//! Trips and their figures go where their vehicle goes.

use std::collections::BTreeMap;

use super::*;
use crate::support::now_ms;

const NOT_THERE: &str = "TRIP_NOT_FOUND";

/// An hour so many from now, as a query says it.
fn hour(from_now: i64) -> String {
    prost_types::Timestamp { seconds: now_ms() / 1_000 + from_now * 3_600, nanos: 0 }.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_that_no_vehicle_has_is_there_for_the_organisation_only() {
    let parts = parts().await;
    let stop = |hundreds: i32| {
        let latitude_e7 = business::HERE.latitude_e7 + business::HUNDRED_M * hundreds;
        json!({ "latitude": f64::from(latitude_e7) / 1e7, "longitude": 24.94 })
    };
    // Its only vehicle has another trip.
    let wish = json!({ "rider": RIDERS[1], "stops": [stop(3), stop(23)], "vehicles": [NORTH], "requestId": "trip-8" });
    let trip = parts.made("POST", "/trips", wish).await;
    assert_eq!((&trip["state"], &trip["vehicle"]), (&json!("not-booked"), &json!("")), "{trip}");
    let of_it = Made { trip: "trip-8", rider: RIDERS[1], ..made(&parts, NORTH, 0).await };
    let about_trips = cases(&of_it).into_iter().filter(|case| case.4 == NOT_THERE);
    let about_trips = about_trips.collect::<Vec<_>>();
    assert_eq!(about_trips.len(), 8);
    for (method, verb, path, body, _) in &about_trips {
        for who in ["north", "quay", "empty"] {
            let (status, refusal) = parts.json(who, verb, path, body.as_ref()).await;
            assert_eq!((status, reason_of(&refusal)), (404, NOT_THERE), "{method} as {who}: {refusal}");
        }
    }
    // Whoever sees everything sees it; who changes things of the north only does not change it.
    for who in ["whole", "mixed"] {
        assert_eq!(parts.json(who, "GET", "/trips/trip-8", None).await.0, 200, "{who}");
    }
    let because = json!({ "reason": "a drill" });
    for (trip, status) in [("trip-8", 404), ("trip-1", 404), ("trip-0", 200)] {
        let cancelled = parts.json("mixed", "POST", &format!("/trips/{trip}:cancel"), Some(&because)).await;
        assert_eq!(cancelled.0, status, "{trip}: {}", cancelled.1);
    }
    // One that ended stays with the vehicle that had it.
    let (status, ended) = parts.json("north", "GET", "/trips/trip-0", None).await;
    assert_eq!((status, &ended["state"]), (200, &json!("cancelled")), "{ended}");
    parts.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gets_a_vehicle_gets_its_trips_and_the_links_to_them() {
    let parts = parts().await;
    let (status, made) = parts.json("quay", "POST", "/trips/trip-1:share", Some(&json!({}))).await;
    assert_eq!(status, 200, "{made}");
    let share = id_in(&made["share"]["name"]);
    let followed = made["path"].as_str().unwrap();
    assert_eq!(parts.json("north", "GET", "/trips/trip-1", None).await.0, 404);
    parts.moves(SOUTH, "north").await;
    within("it comes", async {
        while parts.json("north", "GET", "/trips/trip-1", None).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let (status, refusal) = parts.json("quay", "GET", "/trips/trip-1/shares", None).await;
    assert_eq!((status, reason_of(&refusal)), (404, NOT_THERE), "{refusal}");
    // A link opens its trip whoever made it, until whoever has the vehicle takes it back.
    let shares = parts.json("north", "GET", "/trips/trip-1/shares", None).await.1;
    assert_eq!(shares["shares"], json!([made["share"]]));
    let address = parts.stage.console.local_addr();
    assert_eq!(ask(address, "GET", followed, &[], None).await.status, 200);
    let revoke = format!("/trips/trip-1/shares/{share}:revoke");
    assert_eq!(parts.json("quay", "POST", &revoke, Some(&json!({}))).await.0, 404);
    assert_eq!(parts.json("north", "POST", &revoke, Some(&json!({}))).await.0, 200);
    assert_eq!(ask(address, "GET", followed, &[], None).await.status, 401);
    parts.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_those_of_ones_own_vehicles() {
    let parts = parts().await;
    for (n, vehicle) in [NORTH, SOUTH].into_iter().enumerate() {
        parts.rides(vehicle, n).await;
    }
    parts.business.settle(PATIENCE).await.unwrap();
    let figures = format!("/figures?granularity=month&fromTime={}&toTime={}", hour(-24), hour(24));
    // Trips by the dimension's value.
    let counted = async |who: &str, asks: &str| {
        let (status, told) = parts.json(who, "GET", &format!("{figures}{asks}"), None).await;
        assert_eq!(status, 200, "{who} {asks}: {told}");
        let mut trips = BTreeMap::<String, i64>::new();
        for row in told["rows"].as_array().unwrap() {
            let counted: i64 = row["trips"].as_str().unwrap().parse().unwrap();
            *trips.entry(row["value"].as_str().unwrap().to_owned()).or_default() += counted;
        }
        trips
    };
    let of = |trips: &[(&str, i64)]| {
        trips.iter().map(|(value, trips)| ((*value).to_owned(), *trips)).collect::<BTreeMap<_, _>>()
    };
    for (who, asks, wanted) in [
        ("whole", "&dimension=vehicle", of(&[(NORTH, 1), (SOUTH, 1)])),
        ("mixed", "&dimension=vehicle", of(&[(NORTH, 1), (SOUTH, 1)])),
        ("north", "&dimension=vehicle", of(&[(NORTH, 1)])),
        ("quay", "&dimension=vehicle", of(&[(SOUTH, 1)])),
        ("empty", "&dimension=vehicle", of(&[])),
        // What is others' fills no page.
        ("north", "&dimension=vehicle&pageSize=1", of(&[(NORTH, 1)])),
        ("whole", "", of(&[("", 2)])),
        ("north", "&dimension=organization", of(&[("", 1)])),
        ("empty", "", of(&[])),
    ] {
        assert_eq!(counted(who, asks).await, wanted, "{who} {asks}");
    }
    // No more than of a vehicle that is not there.
    for vehicle in [SOUTH, "V999999"] {
        assert_eq!(counted("north", &format!("&dimension=vehicle&value={vehicle}")).await, of(&[]));
    }
    for dimension in ["fleet", "depot", "model", "tariff"] {
        let path = format!("{figures}&dimension={dimension}");
        let (status, refusal) = parts.json("north", "GET", &path, None).await;
        assert_eq!((status, reason_of(&refusal)), (403, "GRANT_TOO_NARROW"), "{dimension}: {refusal}");
        assert_eq!(parts.json("whole", "GET", &path, None).await.0, 200, "{dimension}");
    }
    let (status, refusal) = parts.json("north", "GET", &format!("{figures}&dimension=colour"), None).await;
    assert_eq!((status, reason_of(&refusal)), (400, "BAD_DIMENSION"), "{refusal}");
    // Whoever has a vehicle has its earlier figures too.
    parts.moves(SOUTH, "north").await;
    within("it comes", async {
        while counted("north", "&dimension=vehicle").await.len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(counted("north", "").await, of(&[("", 2)]));
    parts.stop().await;
}
