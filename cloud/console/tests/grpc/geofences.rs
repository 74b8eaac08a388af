//! Geofences over the port.

use remuda_api::geofences::v1::geofence::{Part, Shape};
use remuda_api::geofences::v1::geofence_service_client::GeofenceServiceClient;
use remuda_api::geofences::v1::{
    Circle, CreateGeofenceRequest, DeleteGeofenceRequest, Geofence, GetGeofenceRequest, Kind,
    ListGeofencesRequest, ListVehiclesInGeofenceRequest, Point, UpdateGeofenceRequest,
};
use remuda_contracts::geofences::GeofenceVisit;
use remuda_model::VehicleId;

use super::support::geofences::FakeGeofences;
use super::*;

#[tokio::test]
async fn geofences_are_kept_and_refusals_have_their_codes() {
    let fleet = Arc::new(FakeFleet::new(3));
    let book = Arc::new(FakeGeofences::default());
    let given = Arc::clone(&book);
    let console = start_with(&fleet, |sources| sources.geofences = given).await;
    let bearer = Bearer(format!("Bearer {TOKEN}").parse().unwrap());
    let mut client = GeofenceServiceClient::with_interceptor(channel(&console).await, bearer);
    let circle = Circle { center: Some(Point { latitude: 60.17, longitude: 24.94 }), radius_m: 250 };
    let yard = Geofence {
        display_name: "Yard".into(),
        kind: Kind::KeepIn.into(),
        shape: Some(Shape::Circle(circle)),
        part: Some(Part::Depot("quay".into())),
        dwell: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
        hysteresis_m: 20,
        ..Geofence::default()
    };
    let create = |id: &str, geofence: &Geofence, validate_only| CreateGeofenceRequest {
        parent: PARENT.into(),
        geofence_id: id.into(),
        geofence: Some(geofence.clone()),
        request_id: "r1".into(),
        validate_only,
    };
    let name = || format!("{PARENT}/geofences/yard");
    client.create_geofence(create("yard", &yard, true)).await.unwrap();
    let missing = client.get_geofence(GetGeofenceRequest { name: name() }).await.unwrap_err();
    assert_eq!((missing.code(), reason_of(&missing).as_str()), (Code::NotFound, "GEOFENCE_NOT_FOUND"));
    let made = client.create_geofence(create("yard", &yard, false)).await.unwrap().into_inner();
    assert_eq!(
        (made.name.as_str(), made.etag.as_str(), made.updated_by.as_str()),
        (name().as_str(), "\"1\"", "console")
    );
    let said = Geofence { name: String::new(), etag: String::new(), ..made.clone() };
    assert_eq!(
        said,
        Geofence {
            create_time: said.create_time,
            update_time: said.update_time,
            updated_by: "console".into(),
            ..yard.clone()
        }
    );
    // Whoever names none gets one that follows from the request.
    let unnamed = client.create_geofence(create("", &yard, false)).await.unwrap().into_inner();
    let again = client.create_geofence(create("", &yard, true)).await.unwrap_err();
    assert_eq!(reason_of(&again), "GEOFENCE_EXISTS", "of the same id: {}", unnamed.name);

    let update = |paths: &[&str], geofence: Geofence| UpdateGeofenceRequest {
        geofence: Some(Geofence { name: name(), ..geofence }),
        update_mask: Some(prost_types::FieldMask {
            paths: paths.iter().map(|path| (*path).into()).collect(),
        }),
        ..UpdateGeofenceRequest::default()
    };
    let other = Geofence { display_name: "Hof".into(), etag: made.etag.clone(), ..Geofence::default() };
    let changed =
        client.update_geofence(update(&["display_name", "part"], other.clone())).await.unwrap().into_inner();
    assert_eq!(
        (changed.display_name.as_str(), changed.part, changed.shape),
        ("Hof", None, made.shape.clone())
    );
    for (answer, code, reason) in [
        (
            client.update_geofence(update(&["display_name"], other.clone())).await.err(),
            Code::Aborted,
            "ETAG_MISMATCH",
        ),
        (
            client.update_geofence(update(&["colour"], Geofence::default())).await.err(),
            Code::InvalidArgument,
            "FIELD_INVALID",
        ),
        (
            client.update_geofence(update(&["kind"], Geofence::default())).await.err(),
            Code::InvalidArgument,
            "FIELD_INVALID",
        ),
        (
            client.update_geofence(update(&[], Geofence::default())).await.err(),
            Code::InvalidArgument,
            "FIELD_INVALID",
        ),
        (
            client.create_geofence(create("yard", &yard, false)).await.err(),
            Code::AlreadyExists,
            "GEOFENCE_EXISTS",
        ),
        (
            client.create_geofence(create("Yard", &yard, false)).await.err(),
            Code::InvalidArgument,
            "FIELD_INVALID",
        ),
        (
            client
                .create_geofence(create("zone", &Geofence { shape: None, ..yard.clone() }, false))
                .await
                .err(),
            Code::InvalidArgument,
            "FIELD_INVALID",
        ),
        (
            client.create_geofence(create("zone", &Geofence { kind: 9, ..yard.clone() }, false)).await.err(),
            Code::InvalidArgument,
            "FIELD_INVALID",
        ),
    ] {
        let status = answer.unwrap();
        assert_eq!((status.code(), reason_of(&status).as_str()), (code, reason), "{status}");
    }

    // Pages.
    let list = |page_token: String, kind: Kind| ListGeofencesRequest {
        parent: PARENT.into(),
        page_size: 1,
        page_token,
        kind: kind.into(),
    };
    let first = client.list_geofences(list(String::new(), Kind::Unspecified)).await.unwrap().into_inner();
    let second = client
        .list_geofences(list(first.next_page_token.clone(), Kind::Unspecified))
        .await
        .unwrap()
        .into_inner();
    let names = [&first.geofences[0].name, &second.geofences[0].name];
    assert_eq!((names, second.next_page_token.as_str()), ([&unnamed.name, &name()], ""));
    let foreign = client.list_geofences(list(first.next_page_token, Kind::KeepIn)).await.unwrap_err();
    assert_eq!(foreign.code(), Code::InvalidArgument);
    let none = client.list_geofences(list(String::new(), Kind::Notify)).await.unwrap().into_inner();
    assert_eq!(none.geofences, []);

    let visit =
        |vehicle: &str, since_ms| GeofenceVisit { vehicle: VehicleId::new(vehicle).unwrap(), since_ms };
    *book.inside.lock() = vec![visit("V000000", Some(5_000)), visit("V000002", None)];
    let who = |page_token| ListVehiclesInGeofenceRequest { name: name(), page_size: 1, page_token };
    let one = client.list_vehicles_in_geofence(who(String::new())).await.unwrap().into_inner();
    assert_eq!(
        (one.visits[0].vehicle.as_str(), one.visits[0].counts),
        ("organizations/default/vehicles/V000000", true)
    );
    assert_eq!(one.visits[0].enter_time.map(|time| time.seconds), Some(5));
    let two = client.list_vehicles_in_geofence(who(one.next_page_token)).await.unwrap().into_inner();
    assert_eq!((two.visits[0].counts, two.next_page_token.as_str()), (false, ""));

    let delete =
        DeleteGeofenceRequest { name: name(), etag: changed.etag, ..DeleteGeofenceRequest::default() };
    assert_eq!(client.delete_geofence(delete.clone()).await.unwrap().into_inner().display_name, "Hof");
    assert_eq!(client.delete_geofence(delete).await.unwrap_err().code(), Code::NotFound);
}
