//! What a vehicle's sensors read: the registry's signals as raw integers, with noise while it moves.

use remuda_model::signal::{self, SignalId};

use crate::dice::noise;
use crate::vehicle::{Activity, Vehicle};

/// A sensor and what one step of it is, as the registry has it.
#[derive(Debug, Clone, Copy)]
struct Sensor {
    id: SignalId,
    steps_per_unit: f64,
}

/// The signals of a simulated vehicle, ascending by id.
pub const SIGNALS: [SignalId; 30] = [
    signal::SPEED,
    signal::LATITUDE,
    signal::LONGITUDE,
    signal::HEADING,
    signal::ODOMETER,
    signal::IS_MOVING,
    signal::ACCELERATION_LONGITUDINAL,
    signal::ACCELERATION_LATERAL,
    signal::YAW_RATE,
    signal::WHEEL_SPEED_FRONT_LEFT,
    signal::WHEEL_SPEED_FRONT_RIGHT,
    signal::WHEEL_SPEED_REAR_LEFT,
    signal::WHEEL_SPEED_REAR_RIGHT,
    signal::TYRE_PRESSURE_FRONT_LEFT,
    signal::TYRE_PRESSURE_FRONT_RIGHT,
    signal::TYRE_PRESSURE_REAR_LEFT,
    signal::TYRE_PRESSURE_REAR_RIGHT,
    signal::TYRE_TEMPERATURE_FRONT_LEFT,
    signal::STEERING_ANGLE,
    signal::ACCELERATOR_PEDAL,
    signal::BRAKE_PEDAL,
    signal::PARKING_BRAKE,
    signal::CHARGE,
    signal::BATTERY_CURRENT,
    signal::BATTERY_VOLTAGE,
    signal::BATTERY_TEMPERATURE,
    signal::IS_CHARGING,
    signal::RANGE,
    signal::MOTOR_SPEED,
    signal::MOTOR_TEMPERATURE,
];

/// The sensors of every vehicle, looked up once.
#[derive(Debug)]
pub(crate) struct Sensors([Sensor; SIGNALS.len()]);

/// Distance from one side's wheels to the other's, m.
const TRACK_M: f32 = 1.58;
/// Distance from front to rear axle, m.
const WHEELBASE_M: f32 = 2.75;
const STEERING_RATIO: f32 = 15.0;
/// Motor turns per m: gear 9, wheel of 2.05 m around.
const MOTOR_TURNS_PER_M: f32 = 9.0 / 2.05;

impl Sensors {
    pub(crate) fn new() -> Self {
        Self(SIGNALS.map(|id| {
            let scale = signal::by_id(id).map_or(1.0, |def| def.scale);
            Sensor { id, steps_per_unit: 1.0 / scale }
        }))
    }

    /// Appends what they read.
    pub(crate) fn read(&self, vehicle: &Vehicle, time_ms: u64, out: &mut Vec<(SignalId, i64)>) {
        let values = values(vehicle, time_ms);
        out.reserve(SIGNALS.len());
        for (sensor, value) in self.0.iter().zip(values) {
            out.push((sensor.id, (value * sensor.steps_per_unit).round() as i64));
        }
    }
}

fn values(vehicle: &Vehicle, time_ms: u64) -> [f64; SIGNALS.len()] {
    let moving = vehicle.speed > 0.0;
    let jitter = |sensor: u64, size: f32| -> f32 {
        if moving { noise(vehicle.number, time_ms, sensor) * size } else { 0.0 }
    };
    let driving = vehicle.activity == Activity::Driving;
    let speed_kmh = vehicle.speed * 3.6;
    let yaw = vehicle.yaw_rate.to_radians();
    let wheel = |sensor: u64, side: f32| {
        f64::from((speed_kmh + yaw * side * TRACK_M / 2.0 * 3.6 + jitter(sensor, 0.04)).max(0.0))
    };
    let pressure = |tyre: usize| {
        // Warm air presses: 0.34 percent per kelvin.
        f64::from(vehicle.tyre_pressure[tyre] * (1.0 + 0.0034 * (vehicle.tyre_temperature - 15.0)))
    };
    let curvature = if vehicle.speed > 1.0 { yaw / vehicle.speed } else { 0.0 };
    let steering = (curvature * WHEELBASE_M).atan().to_degrees() * STEERING_RATIO;
    let (accelerator, brake) = pedals(vehicle, driving);
    let battery = &vehicle.battery;
    let voltage = battery.voltage();
    [
        f64::from((speed_kmh + jitter(1, 0.04)).max(0.0)),
        vehicle.position.latitude,
        vehicle.position.longitude,
        vehicle.position.heading,
        vehicle.odometer_m,
        f64::from(u8::from(moving)),
        f64::from(vehicle.acceleration + jitter(2, 0.08)),
        f64::from(yaw * vehicle.speed + jitter(3, 0.06)),
        f64::from(vehicle.yaw_rate + jitter(4, 0.1)),
        wheel(5, 1.0),
        wheel(6, -1.0),
        wheel(7, 1.0),
        wheel(8, -1.0),
        pressure(0),
        pressure(1),
        pressure(2),
        pressure(3),
        f64::from(vehicle.tyre_temperature),
        f64::from(steering + jitter(9, 0.3)),
        accelerator,
        brake,
        f64::from(u8::from(!driving)),
        battery.charge(),
        f64::from(battery.power_w / voltage),
        f64::from(voltage),
        f64::from(battery.temperature),
        f64::from(u8::from(vehicle.activity == Activity::Charging)),
        battery.range_m(),
        f64::from(vehicle.speed * MOTOR_TURNS_PER_M * 60.0),
        f64::from(vehicle.motor_temperature),
    ]
}

/// Accelerator and brake, percent.
fn pedals(vehicle: &Vehicle, driving: bool) -> (f64, f64) {
    if !driving {
        return (0.0, 0.0);
    }
    if vehicle.speed == 0.0 {
        return (0.0, 18.0);
    }
    // Rolling takes some pedal; slowing by a little is done by the motor alone.
    let effort = vehicle.acceleration + 0.15 + vehicle.speed * vehicle.speed * 4e-4;
    let accelerator = (effort * 28.0).clamp(0.0, 100.0);
    let brake = ((-vehicle.acceleration - 1.2) * 16.0).clamp(0.0, 100.0);
    (f64::from(accelerator), f64::from(brake))
}
