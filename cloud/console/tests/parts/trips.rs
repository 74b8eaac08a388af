//! Trips go where their vehicle goes.

use super::*;

const NOT_THERE: &str = "TRIP_NOT_FOUND";

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
