//! What vehicles measure while they drive, once a second, for whoever wants plausible data without the simulator.
//!
//! `cargo run --release -p remuda-world --example record_drive FILE VEHICLES SECONDS [MAP]`: the file begins with one line of
//! JSON (vehicles, seconds, ids of the signals); then for each vehicle and second a raw value for each signal, i32 little
//! endian. Without a map (OpenStreetMap) the roads are generated. Time that a vehicle stands parked is left out.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::time::Duration;

use remuda_model::{SignalId, signal};
use remuda_roads::RoadNetwork;
use remuda_world::{Activity, World};

/// Of an electric car: where, how fast and how it is driven, its battery, temperatures and tyres.
const SIGNALS: [SignalId; 18] = [
    signal::SPEED,
    signal::LATITUDE,
    signal::LONGITUDE,
    signal::HEADING,
    signal::ODOMETER,
    signal::ACCELERATION_LONGITUDINAL,
    signal::ACCELERATION_LATERAL,
    signal::TYRE_PRESSURE_FRONT_LEFT,
    signal::TYRE_PRESSURE_FRONT_RIGHT,
    signal::TYRE_TEMPERATURE_FRONT_LEFT,
    signal::STEERING_ANGLE,
    signal::ACCELERATOR_PEDAL,
    signal::BRAKE_PEDAL,
    signal::CHARGE,
    signal::BATTERY_CURRENT,
    signal::BATTERY_VOLTAGE,
    signal::BATTERY_TEMPERATURE,
    signal::MOTOR_TEMPERATURE,
];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, vehicles, seconds, map @ ..] = args.as_slice() else {
        return Err("usage: record_drive FILE VEHICLES SECONDS [MAP]".into());
    };
    let (vehicles, seconds): (usize, usize) = (vehicles.parse()?, seconds.parse()?);
    let network = match map.first() {
        Some(map) => RoadNetwork::load(map)?,
        None => RoadNetwork::generate(1)?,
    };
    let mut world = World::new(Arc::new(network), vehicles, 1);
    let mut recorded: Vec<Vec<i32>> = vec![Vec::with_capacity(seconds * SIGNALS.len()); vehicles];
    let (mut readings, mut full, mut passed) = (Vec::new(), 0, 0);
    while full < vehicles {
        world.step(Duration::from_secs(1));
        passed += 1;
        for (number, rows) in recorded.iter_mut().enumerate() {
            if rows.len() == seconds * SIGNALS.len()
                || world.vehicles()[number].activity() != Activity::Driving
            {
                continue;
            }
            readings.clear();
            world.read_sensors(number, &mut readings);
            for (_, raw) in readings.iter().filter(|(id, _)| SIGNALS.contains(id)) {
                rows.push(i32::try_from(*raw)?);
            }
            full += usize::from(rows.len() == seconds * SIGNALS.len());
        }
        if passed % 600 == 0 {
            eprintln!("{passed} s passed, {full} of {vehicles} vehicles are done");
        }
    }
    let mut out = BufWriter::new(File::create(file)?);
    let ids: Vec<String> = SIGNALS.iter().map(|id| id.0.to_string()).collect();
    writeln!(out, r#"{{"vehicles":{vehicles},"seconds":{seconds},"signals":[{}]}}"#, ids.join(","))?;
    for rows in recorded {
        for raw in rows {
            out.write_all(&raw.to_le_bytes())?;
        }
    }
    Ok(out.flush()?)
}
