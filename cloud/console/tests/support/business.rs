//! The ride business behind a console, over a journal in memory and the fake fleet.

#![allow(dead_code, missing_docs)] // Each test file uses a part of it.
// A panic is the answer.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use remuda_billing::invoices::Seller;
use remuda_business::{Business, BusinessMetrics, BusinessSettings};
use remuda_contracts::business::vehicles::RecordDetails;
use remuda_contracts::business::{Asker, BookTrip, BusinessDesk, Place};
use remuda_contracts::fleet::Position;
use remuda_contracts::money::{Currency, Money};
use remuda_eventsourcing::MemoryJournal;
use remuda_model::OrganizationId;

use crate::support::{FakeFleet, now_ms};

/// 100 m of latitude, 1e-7 degrees.
pub const HUNDRED_M: i32 = 8_993;
/// Where the first vehicle of a test stands.
pub const HERE: Position =
    Position { latitude_e7: 601_700_000, longitude_e7: 249_400_000, heading_deg: 0.0, speed_kmh: 0.0 };

pub const HOME: fn() -> OrganizationId = OrganizationId::default;

pub fn asker(request_id: &str) -> Asker {
    Asker { who: "test".into(), request_id: request_id.into() }
}

pub async fn start(folder: &Path, fleet: &Arc<FakeFleet>) -> Business {
    let settings = BusinessSettings {
        folder: folder.to_owned(),
        organization: HOME(),
        roads: None,
        marks: None,
        mailer: None,
        on_call: None,
        services: vec![],
        wrap_provider: None,
        seller: Seller { name: "Remuda".into(), address: vec![], tax_id: "DE1".into() },
        clock: Arc::new(now_ms),
    };
    let journal = Arc::new(MemoryJournal::new());
    Business::start(settings, journal, Arc::clone(fleet) as _, BusinessMetrics::default()).await.unwrap()
}

/// Puts a vehicle so many hundreds of metres north of [`HERE`].
pub fn put(fleet: &FakeFleet, vehicle: &str, hundreds: i32, speed_kmh: f32) {
    fleet.change(vehicle, |line| {
        line.position =
            Some(Position { latitude_e7: HERE.latitude_e7 + HUNDRED_M * hundreds, speed_kmh, ..HERE });
        line.last_seen_ms = now_ms().max(line.last_seen_ms + 1);
    });
}

/// A rider with credits.
pub async fn rider(desk: &Arc<dyn BusinessDesk>, id: &str) {
    let email = Some(format!("{id}@example.com"));
    desk.register_rider(&HOME(), id, id.to_uppercase(), email, asker(&format!("register-{id}")))
        .await
        .unwrap();
    let amount = Money { minor_units: 100_000, currency: Currency::EUR };
    desk.top_up(&HOME(), id, amount, asker(&format!("pay-{id}"))).await.unwrap();
}

/// A vehicle on record, in service, belonging somewhere.
pub async fn vehicle(desk: &Arc<dyn BusinessDesk>, id: &str, fleet: Option<&str>, depot: Option<&str>) {
    let details = RecordDetails {
        manufacturer: "Acme".into(),
        model: "Box".into(),
        year: 2026,
        powertrain: "electric".into(),
        seats: 4,
        licence_class: "B".into(),
        plate: Some(format!("PL {id}")),
        fleet: fleet.map(str::to_owned),
        depot: depot.map(str::to_owned),
        ..RecordDetails::default()
    };
    desk.register_vehicle(&HOME(), id, details, 0, asker(&format!("record-{id}"))).await.unwrap();
    desk.set_in_service(&HOME(), id, true, "", asker(&format!("serve-{id}"))).await.unwrap();
}

/// From 300 m north of [`HERE`] two kilometres further on, with this vehicle.
pub async fn book(desk: &Arc<dyn BusinessDesk>, id: &str, rider: &str, vehicle: &str) {
    let stop = |hundreds: i32| Place {
        latitude_e7: HERE.latitude_e7 + HUNDRED_M * hundreds,
        longitude_e7: HERE.longitude_e7,
    };
    let stops = vec![stop(3), stop(23)];
    let trip = BookTrip { rider: rider.into(), stops, vehicles: vec![vehicle.into()] };
    let booked = desk.book(&HOME(), trip, asker(id)).await.unwrap();
    assert_eq!((booked.state, booked.vehicle.as_str()), ("assigned", vehicle), "{booked:?}");
}
