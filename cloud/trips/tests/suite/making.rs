//! A flag routes a share of the riders to the second way of making trips, and back.

use std::path::Path;
use std::sync::Arc;

use remuda_contracts::booking::{Booking, BookingStop};
use remuda_contracts::money::{Currency, Money};
use remuda_flags::FlagFile;
use remuda_trips::TripCommand as C;
use remuda_trips::making::{FlaggedTrip, MakeTrip};
use remuda_trips::state::Terms;

use crate::support::stop;

fn booking(rider: &str, fleet: Option<&str>) -> Booking {
    let place = |east_m| {
        let stop = stop(east_m);
        let (latitude_e7, longitude_e7) = (stop.latitude_e7, stop.longitude_e7);
        BookingStop { latitude_e7, longitude_e7, radius_m: 50, label: None }
    };
    Booking {
        rider: rider.into(),
        price: Money { minor_units: 1, currency: Currency::EUR },
        vehicles: vec![],
        // The second lies in the fence of the first.
        stops: vec![place(0), place(30), place(500), place(520)],
        planned_distance_m: None,
        quote_id: None,
        driver: None,
        fleet: fleet.map(str::to_owned),
        depot: None,
    }
}

/// Stops of the trip that is made: 4 in the plain way, 3 when they are merged (the drop-off always stays).
fn stops(maker: &FlaggedTrip, rider: &str, fleet: Option<&str>) -> usize {
    match maker.make("t1", booking(rider, fleet), "V1".into()) {
        Ok(C::Request { plan, .. }) => plan.stops.len(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_share_of_riders_goes_the_second_way_and_back() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/flags.json");
    let text = std::fs::read_to_string(example).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flags.json");
    std::fs::write(&path, &text).unwrap();
    let file = Arc::new(FlagFile::open(&path).unwrap());
    let maker = FlaggedTrip::new(Arc::clone(&file), Terms::default());
    let merged = |maker: &FlaggedTrip| -> Vec<bool> {
        (0..1_000).map(|n| stops(maker, &format!("rider-{n}"), None) == 3).collect()
    };
    assert!(merged(&maker).iter().all(|merged| !merged), "as it comes: nobody");
    assert_eq!(stops(&maker, "rider-1", Some("pilot")), 3, "but the pilot fleet");
    assert_eq!(stops(&maker, "rider-1", Some("vienna")), 4);

    let share = |percent: u32| {
        let text = text.replace(r#"["merging", 0]"#, &format!(r#"["merging", {percent}]"#));
        let text = text.replace(r#"["plain", 100]"#, &format!(r#"["plain", {}]"#, 100 - percent));
        std::fs::write(&path, text).unwrap();
        file.refresh().unwrap();
        merged(&maker)
    };
    let some = share(20);
    let count = some.iter().filter(|merged| **merged).count();
    assert!((150..=250).contains(&count), "{count} of 1000");
    assert_eq!(share(0).iter().filter(|merged| **merged).count(), 0, "and back");
    assert_eq!(share(20), some, "the same riders again");
    // A broken file, or a flag that is gone, is no reason to make no trips.
    std::fs::write(&path, r#"{ "flags": {} }"#).unwrap();
    file.refresh().unwrap();
    assert_eq!(stops(&maker, "rider-1", Some("pilot")), 4);
}
