//! The built-in signals: paths and units of COVESA VSS 6.0, ids, scales and classes ours. Append only: a line's
//! id, type, unit and scale never change; its class may become stricter.

use crate::signal::SignalKind::{Boolean, Enumeration, Number};
use crate::signal::{SignalDef, SignalId};
use crate::signal_class::SignalClass;

macro_rules! registry {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $path:literal, $kind:expr, $unit:literal, $scale:literal, $class:ident;)*) => {
        $($(#[$doc])* pub const $name: SignalId = SignalId($id);)*

        /// Every built-in signal, ascending by id, without holes from 1.
        pub const REGISTRY: &[SignalDef] = &[
            $(SignalDef { id: $name, path: $path, kind: $kind, unit: $unit, scale: $scale, class: SignalClass::$class },)*
        ];
    };
}

registry! {
    /// `Vehicle.Speed`, km/h.
    SPEED = 1, "Vehicle.Speed", Number, "km/h", 0.01, DriverBehaviour;
    /// `Vehicle.CurrentLocation.Latitude`, degrees.
    LATITUDE = 2, "Vehicle.CurrentLocation.Latitude", Number, "degrees", 1e-7, Position;
    /// `Vehicle.CurrentLocation.Longitude`, degrees.
    LONGITUDE = 3, "Vehicle.CurrentLocation.Longitude", Number, "degrees", 1e-7, Position;
    /// `Vehicle.CurrentLocation.Heading`, degrees.
    HEADING = 4, "Vehicle.CurrentLocation.Heading", Number, "degrees", 0.1, Position;
    /// `Vehicle.CurrentLocation.Altitude`, m.
    ALTITUDE = 5, "Vehicle.CurrentLocation.Altitude", Number, "m", 0.1, Position;
    /// `Vehicle.CurrentLocation.HorizontalAccuracy`, m.
    HORIZONTAL_ACCURACY = 6, "Vehicle.CurrentLocation.HorizontalAccuracy", Number, "m", 0.1, Position;
    /// `Vehicle.CurrentLocation.GNSSReceiver.FixType`.
    GNSS_FIX = 7, "Vehicle.CurrentLocation.GNSSReceiver.FixType", Enumeration(&["NONE", "TWO_D", "TWO_D_SATELLITE_BASED_AUGMENTATION", "TWO_D_GROUND_BASED_AUGMENTATION", "TWO_D_SATELLITE_AND_GROUND_BASED_AUGMENTATION", "THREE_D", "THREE_D_SATELLITE_BASED_AUGMENTATION", "THREE_D_GROUND_BASED_AUGMENTATION", "THREE_D_SATELLITE_AND_GROUND_BASED_AUGMENTATION"]), "", 1.0, Position;
    /// `Vehicle.TraveledDistance`, m.
    ODOMETER = 8, "Vehicle.TraveledDistance", Number, "m", 0.1, Technical;
    /// `Vehicle.TripMeterReading`, m.
    TRIP_METER = 9, "Vehicle.TripMeterReading", Number, "m", 0.1, Technical;
    /// `Vehicle.IsMoving`.
    IS_MOVING = 10, "Vehicle.IsMoving", Boolean, "", 1.0, DriverBehaviour;
    /// `Vehicle.Acceleration.Longitudinal`, m/s^2.
    ACCELERATION_LONGITUDINAL = 11, "Vehicle.Acceleration.Longitudinal", Number, "m/s^2", 0.01, DriverBehaviour;
    /// `Vehicle.Acceleration.Lateral`, m/s^2.
    ACCELERATION_LATERAL = 12, "Vehicle.Acceleration.Lateral", Number, "m/s^2", 0.01, DriverBehaviour;
    /// `Vehicle.Acceleration.Vertical`, m/s^2.
    ACCELERATION_VERTICAL = 13, "Vehicle.Acceleration.Vertical", Number, "m/s^2", 0.01, DriverBehaviour;
    /// `Vehicle.AngularVelocity.Yaw`, degrees/s.
    YAW_RATE = 14, "Vehicle.AngularVelocity.Yaw", Number, "degrees/s", 0.01, DriverBehaviour;
    /// `Vehicle.AngularVelocity.Roll`, degrees/s.
    ROLL_RATE = 15, "Vehicle.AngularVelocity.Roll", Number, "degrees/s", 0.01, DriverBehaviour;
    /// `Vehicle.AngularVelocity.Pitch`, degrees/s.
    PITCH_RATE = 16, "Vehicle.AngularVelocity.Pitch", Number, "degrees/s", 0.01, DriverBehaviour;
    /// `Vehicle.Chassis.Axle.Row1.Wheel.Left.Speed`, km/h.
    WHEEL_SPEED_FRONT_LEFT = 17, "Vehicle.Chassis.Axle.Row1.Wheel.Left.Speed", Number, "km/h", 0.01, DriverBehaviour;
    /// `Vehicle.Chassis.Axle.Row1.Wheel.Right.Speed`, km/h.
    WHEEL_SPEED_FRONT_RIGHT = 18, "Vehicle.Chassis.Axle.Row1.Wheel.Right.Speed", Number, "km/h", 0.01, DriverBehaviour;
    /// `Vehicle.Chassis.Axle.Row2.Wheel.Left.Speed`, km/h.
    WHEEL_SPEED_REAR_LEFT = 19, "Vehicle.Chassis.Axle.Row2.Wheel.Left.Speed", Number, "km/h", 0.01, DriverBehaviour;
    /// `Vehicle.Chassis.Axle.Row2.Wheel.Right.Speed`, km/h.
    WHEEL_SPEED_REAR_RIGHT = 20, "Vehicle.Chassis.Axle.Row2.Wheel.Right.Speed", Number, "km/h", 0.01, DriverBehaviour;
    /// `Vehicle.Chassis.Axle.Row1.Wheel.Left.Tire.Pressure`, kPa.
    TYRE_PRESSURE_FRONT_LEFT = 21, "Vehicle.Chassis.Axle.Row1.Wheel.Left.Tire.Pressure", Number, "kPa", 1.0, Technical;
    /// `Vehicle.Chassis.Axle.Row1.Wheel.Right.Tire.Pressure`, kPa.
    TYRE_PRESSURE_FRONT_RIGHT = 22, "Vehicle.Chassis.Axle.Row1.Wheel.Right.Tire.Pressure", Number, "kPa", 1.0, Technical;
    /// `Vehicle.Chassis.Axle.Row2.Wheel.Left.Tire.Pressure`, kPa.
    TYRE_PRESSURE_REAR_LEFT = 23, "Vehicle.Chassis.Axle.Row2.Wheel.Left.Tire.Pressure", Number, "kPa", 1.0, Technical;
    /// `Vehicle.Chassis.Axle.Row2.Wheel.Right.Tire.Pressure`, kPa.
    TYRE_PRESSURE_REAR_RIGHT = 24, "Vehicle.Chassis.Axle.Row2.Wheel.Right.Tire.Pressure", Number, "kPa", 1.0, Technical;
    /// `Vehicle.Chassis.Axle.Row1.Wheel.Left.Tire.Temperature`, Celsius.
    TYRE_TEMPERATURE_FRONT_LEFT = 25, "Vehicle.Chassis.Axle.Row1.Wheel.Left.Tire.Temperature", Number, "Celsius", 0.5, Technical;
    /// `Vehicle.Chassis.Axle.Row1.Wheel.Right.Tire.Temperature`, Celsius.
    TYRE_TEMPERATURE_FRONT_RIGHT = 26, "Vehicle.Chassis.Axle.Row1.Wheel.Right.Tire.Temperature", Number, "Celsius", 0.5, Technical;
    /// `Vehicle.Chassis.Axle.Row2.Wheel.Left.Tire.Temperature`, Celsius.
    TYRE_TEMPERATURE_REAR_LEFT = 27, "Vehicle.Chassis.Axle.Row2.Wheel.Left.Tire.Temperature", Number, "Celsius", 0.5, Technical;
    /// `Vehicle.Chassis.Axle.Row2.Wheel.Right.Tire.Temperature`, Celsius.
    TYRE_TEMPERATURE_REAR_RIGHT = 28, "Vehicle.Chassis.Axle.Row2.Wheel.Right.Tire.Temperature", Number, "Celsius", 0.5, Technical;
    /// `Vehicle.Chassis.Axle.Row1.Wheel.Left.Brake.PadWear`, percent.
    BRAKE_PAD_WEAR_FRONT_LEFT = 29, "Vehicle.Chassis.Axle.Row1.Wheel.Left.Brake.PadWear", Number, "percent", 1.0, Technical;
    /// `Vehicle.Chassis.Axle.Row1.Wheel.Right.Brake.PadWear`, percent.
    BRAKE_PAD_WEAR_FRONT_RIGHT = 30, "Vehicle.Chassis.Axle.Row1.Wheel.Right.Brake.PadWear", Number, "percent", 1.0, Technical;
    /// `Vehicle.Chassis.Axle.Row2.Wheel.Left.Brake.PadWear`, percent.
    BRAKE_PAD_WEAR_REAR_LEFT = 31, "Vehicle.Chassis.Axle.Row2.Wheel.Left.Brake.PadWear", Number, "percent", 1.0, Technical;
    /// `Vehicle.Chassis.Axle.Row2.Wheel.Right.Brake.PadWear`, percent.
    BRAKE_PAD_WEAR_REAR_RIGHT = 32, "Vehicle.Chassis.Axle.Row2.Wheel.Right.Brake.PadWear", Number, "percent", 1.0, Technical;
    /// `Vehicle.Chassis.SteeringWheel.Angle`, degrees.
    STEERING_ANGLE = 33, "Vehicle.Chassis.SteeringWheel.Angle", Number, "degrees", 0.1, DriverBehaviour;
    /// `Vehicle.Chassis.Accelerator.PedalPosition`, percent.
    ACCELERATOR_PEDAL = 34, "Vehicle.Chassis.Accelerator.PedalPosition", Number, "percent", 0.5, DriverBehaviour;
    /// `Vehicle.Chassis.Brake.PedalPosition`, percent.
    BRAKE_PEDAL = 35, "Vehicle.Chassis.Brake.PedalPosition", Number, "percent", 0.5, DriverBehaviour;
    /// `Vehicle.Chassis.ParkingBrake.IsEngaged`.
    PARKING_BRAKE = 36, "Vehicle.Chassis.ParkingBrake.IsEngaged", Boolean, "", 1.0, DriverBehaviour;
    /// `Vehicle.Powertrain.TractionBattery.StateOfCharge.Current`, percent.
    CHARGE = 37, "Vehicle.Powertrain.TractionBattery.StateOfCharge.Current", Number, "percent", 0.1, Technical;
    /// `Vehicle.Powertrain.TractionBattery.StateOfCharge.Displayed`, percent.
    CHARGE_DISPLAYED = 38, "Vehicle.Powertrain.TractionBattery.StateOfCharge.Displayed", Number, "percent", 0.1, Technical;
    /// `Vehicle.Powertrain.TractionBattery.StateOfHealth`, percent.
    BATTERY_HEALTH = 39, "Vehicle.Powertrain.TractionBattery.StateOfHealth", Number, "percent", 0.1, Technical;
    /// `Vehicle.Powertrain.TractionBattery.CurrentCurrent`, A.
    BATTERY_CURRENT = 40, "Vehicle.Powertrain.TractionBattery.CurrentCurrent", Number, "A", 0.1, Technical;
    /// `Vehicle.Powertrain.TractionBattery.CurrentVoltage`, V.
    BATTERY_VOLTAGE = 41, "Vehicle.Powertrain.TractionBattery.CurrentVoltage", Number, "V", 0.1, Technical;
    /// `Vehicle.Powertrain.TractionBattery.CurrentPower`, W.
    BATTERY_POWER = 42, "Vehicle.Powertrain.TractionBattery.CurrentPower", Number, "W", 1.0, Technical;
    /// `Vehicle.Powertrain.TractionBattery.Temperature.Average`, Celsius.
    BATTERY_TEMPERATURE = 43, "Vehicle.Powertrain.TractionBattery.Temperature.Average", Number, "Celsius", 0.5, Technical;
    /// `Vehicle.Powertrain.TractionBattery.Temperature.Min`, Celsius.
    BATTERY_TEMPERATURE_MIN = 44, "Vehicle.Powertrain.TractionBattery.Temperature.Min", Number, "Celsius", 0.5, Technical;
    /// `Vehicle.Powertrain.TractionBattery.Temperature.Max`, Celsius.
    BATTERY_TEMPERATURE_MAX = 45, "Vehicle.Powertrain.TractionBattery.Temperature.Max", Number, "Celsius", 0.5, Technical;
    /// `Vehicle.Powertrain.TractionBattery.Range`, m.
    BATTERY_RANGE = 46, "Vehicle.Powertrain.TractionBattery.Range", Number, "m", 100.0, Technical;
    /// `Vehicle.Powertrain.TractionBattery.Charging.IsCharging`.
    IS_CHARGING = 47, "Vehicle.Powertrain.TractionBattery.Charging.IsCharging", Boolean, "", 1.0, Technical;
    /// `Vehicle.Powertrain.TractionBattery.Charging.ChargingPort.AnyPosition.IsChargingCableConnected`.
    CHARGING_CABLE = 48, "Vehicle.Powertrain.TractionBattery.Charging.ChargingPort.AnyPosition.IsChargingCableConnected", Boolean, "", 1.0, Technical;
    /// `Vehicle.Powertrain.TractionBattery.Charging.ChargeLimit`, percent.
    CHARGE_LIMIT = 49, "Vehicle.Powertrain.TractionBattery.Charging.ChargeLimit", Number, "percent", 1.0, Technical;
    /// `Vehicle.Powertrain.TractionBattery.Charging.AveragePower`, kW.
    CHARGING_POWER = 50, "Vehicle.Powertrain.TractionBattery.Charging.AveragePower", Number, "kW", 0.1, Technical;
    /// `Vehicle.Powertrain.TractionBattery.Charging.TimeToComplete`, s.
    TIME_TO_COMPLETE = 51, "Vehicle.Powertrain.TractionBattery.Charging.TimeToComplete", Number, "s", 1.0, Technical;
    /// `Vehicle.Powertrain.TractionBattery.AccumulatedChargedEnergy`, kWh.
    CHARGED_ENERGY = 52, "Vehicle.Powertrain.TractionBattery.AccumulatedChargedEnergy", Number, "kWh", 0.01, Technical;
    /// `Vehicle.Powertrain.TractionBattery.AccumulatedConsumedEnergy`, kWh.
    CONSUMED_ENERGY = 53, "Vehicle.Powertrain.TractionBattery.AccumulatedConsumedEnergy", Number, "kWh", 0.01, Technical;
    /// `Vehicle.Powertrain.Range`, m.
    RANGE = 54, "Vehicle.Powertrain.Range", Number, "m", 100.0, Technical;
    /// `Vehicle.Powertrain.ElectricMotor.Speed`, rpm.
    MOTOR_SPEED = 55, "Vehicle.Powertrain.ElectricMotor.Speed", Number, "rpm", 1.0, DriverBehaviour;
    /// `Vehicle.Powertrain.ElectricMotor.Torque`, Nm.
    MOTOR_TORQUE = 56, "Vehicle.Powertrain.ElectricMotor.Torque", Number, "Nm", 1.0, DriverBehaviour;
    /// `Vehicle.Powertrain.ElectricMotor.Power`, kW.
    MOTOR_POWER = 57, "Vehicle.Powertrain.ElectricMotor.Power", Number, "kW", 1.0, DriverBehaviour;
    /// `Vehicle.Powertrain.ElectricMotor.Temperature`, Celsius.
    MOTOR_TEMPERATURE = 58, "Vehicle.Powertrain.ElectricMotor.Temperature", Number, "Celsius", 0.5, Technical;
    /// `Vehicle.Powertrain.CombustionEngine.Speed`, rpm.
    ENGINE_SPEED = 59, "Vehicle.Powertrain.CombustionEngine.Speed", Number, "rpm", 1.0, DriverBehaviour;
    /// `Vehicle.Powertrain.CombustionEngine.EngineCoolant.Temperature`, Celsius.
    ENGINE_COOLANT_TEMPERATURE = 60, "Vehicle.Powertrain.CombustionEngine.EngineCoolant.Temperature", Number, "Celsius", 0.5, Technical;
    /// `Vehicle.Powertrain.CombustionEngine.IsRunning`.
    ENGINE_RUNNING = 61, "Vehicle.Powertrain.CombustionEngine.IsRunning", Boolean, "", 1.0, Technical;
    /// `Vehicle.Powertrain.FuelSystem.RelativeLevel`, percent.
    FUEL_LEVEL = 62, "Vehicle.Powertrain.FuelSystem.RelativeLevel", Number, "percent", 0.5, Technical;
    /// `Vehicle.Powertrain.FuelSystem.InstantConsumption`, l/100km.
    FUEL_CONSUMPTION = 63, "Vehicle.Powertrain.FuelSystem.InstantConsumption", Number, "l/100km", 0.1, Technical;
    /// `Vehicle.Powertrain.Transmission.CurrentGear`.
    GEAR = 64, "Vehicle.Powertrain.Transmission.CurrentGear", Number, "", 1.0, DriverBehaviour;
    /// `Vehicle.LowVoltageBattery.CurrentVoltage`, V.
    LOW_VOLTAGE = 65, "Vehicle.LowVoltageBattery.CurrentVoltage", Number, "V", 0.01, Technical;
    /// `Vehicle.LowVoltageBattery.CurrentCurrent`, A.
    LOW_VOLTAGE_CURRENT = 66, "Vehicle.LowVoltageBattery.CurrentCurrent", Number, "A", 0.1, Technical;
    /// `Vehicle.LowVoltageSystemState`.
    IGNITION = 67, "Vehicle.LowVoltageSystemState", Enumeration(&["UNDEFINED", "LOCK", "OFF", "ACC", "ON", "START"]), "", 1.0, Technical;
    /// `Vehicle.Exterior.AirTemperature`, Celsius.
    AMBIENT_TEMPERATURE = 68, "Vehicle.Exterior.AirTemperature", Number, "Celsius", 0.5, Technical;
    /// `Vehicle.Cabin.HVAC.AmbientAirTemperature`, Celsius.
    CABIN_TEMPERATURE = 69, "Vehicle.Cabin.HVAC.AmbientAirTemperature", Number, "Celsius", 0.5, Cabin;
    /// `Vehicle.Cabin.Door.Row1.DriverSide.IsOpen`.
    DOOR_OPEN_FRONT_DRIVER = 70, "Vehicle.Cabin.Door.Row1.DriverSide.IsOpen", Boolean, "", 1.0, Cabin;
    /// `Vehicle.Cabin.Door.Row1.PassengerSide.IsOpen`.
    DOOR_OPEN_FRONT_PASSENGER = 71, "Vehicle.Cabin.Door.Row1.PassengerSide.IsOpen", Boolean, "", 1.0, Cabin;
    /// `Vehicle.Cabin.Door.Row2.DriverSide.IsOpen`.
    DOOR_OPEN_REAR_DRIVER = 72, "Vehicle.Cabin.Door.Row2.DriverSide.IsOpen", Boolean, "", 1.0, Cabin;
    /// `Vehicle.Cabin.Door.Row2.PassengerSide.IsOpen`.
    DOOR_OPEN_REAR_PASSENGER = 73, "Vehicle.Cabin.Door.Row2.PassengerSide.IsOpen", Boolean, "", 1.0, Cabin;
    /// `Vehicle.Cabin.Door.Row1.DriverSide.IsLocked`.
    DOOR_LOCKED_FRONT_DRIVER = 74, "Vehicle.Cabin.Door.Row1.DriverSide.IsLocked", Boolean, "", 1.0, Cabin;
    /// `Vehicle.Cabin.Door.Row1.PassengerSide.IsLocked`.
    DOOR_LOCKED_FRONT_PASSENGER = 75, "Vehicle.Cabin.Door.Row1.PassengerSide.IsLocked", Boolean, "", 1.0, Cabin;
    /// `Vehicle.Cabin.Door.Row2.DriverSide.IsLocked`.
    DOOR_LOCKED_REAR_DRIVER = 76, "Vehicle.Cabin.Door.Row2.DriverSide.IsLocked", Boolean, "", 1.0, Cabin;
    /// `Vehicle.Cabin.Door.Row2.PassengerSide.IsLocked`.
    DOOR_LOCKED_REAR_PASSENGER = 77, "Vehicle.Cabin.Door.Row2.PassengerSide.IsLocked", Boolean, "", 1.0, Cabin;
    /// `Vehicle.Body.Trunk.Rear.IsOpen`.
    TRUNK_OPEN = 78, "Vehicle.Body.Trunk.Rear.IsOpen", Boolean, "", 1.0, Cabin;
    /// `Vehicle.Cabin.Seat.Row1.DriverSide.IsBelted`.
    BELT_DRIVER = 79, "Vehicle.Cabin.Seat.Row1.DriverSide.IsBelted", Boolean, "", 1.0, Cabin;
    /// `Vehicle.Cabin.Seat.Row1.PassengerSide.IsBelted`.
    BELT_PASSENGER = 80, "Vehicle.Cabin.Seat.Row1.PassengerSide.IsBelted", Boolean, "", 1.0, Cabin;
    /// `Vehicle.Body.Lights.Hazard.IsSignaling`.
    HAZARD_LIGHTS = 81, "Vehicle.Body.Lights.Hazard.IsSignaling", Boolean, "", 1.0, Cabin;
    /// `Vehicle.Body.Lights.Beam.Low.IsOn`.
    LOW_BEAM = 82, "Vehicle.Body.Lights.Beam.Low.IsOn", Boolean, "", 1.0, Cabin;
    /// `Vehicle.Body.Windshield.Front.Wiping.Intensity`.
    WIPERS = 83, "Vehicle.Body.Windshield.Front.Wiping.Intensity", Number, "", 1.0, Cabin;
    /// `Vehicle.ADAS.ABS.IsEngaged`.
    ABS_ENGAGED = 84, "Vehicle.ADAS.ABS.IsEngaged", Boolean, "", 1.0, DriverBehaviour;
    /// `Vehicle.ADAS.ESC.IsEngaged`.
    ESC_ENGAGED = 85, "Vehicle.ADAS.ESC.IsEngaged", Boolean, "", 1.0, DriverBehaviour;
    /// `Vehicle.Diagnostics.DTCCount`.
    DTC_COUNT = 86, "Vehicle.Diagnostics.DTCCount", Number, "", 1.0, Technical;
    /// `Vehicle.CurrentOverallWeight`, kg.
    CURRENT_WEIGHT = 87, "Vehicle.CurrentOverallWeight", Number, "kg", 10.0, Technical;
    /// `Vehicle.Cabin.Door.Row1.DriverSide.Window.Position`, percent open.
    WINDOW_FRONT_DRIVER = 88, "Vehicle.Cabin.Door.Row1.DriverSide.Window.Position", Number, "percent", 1.0, Cabin;
    /// `Vehicle.Cabin.Door.Row1.PassengerSide.Window.Position`, percent open.
    WINDOW_FRONT_PASSENGER = 89, "Vehicle.Cabin.Door.Row1.PassengerSide.Window.Position", Number, "percent", 1.0, Cabin;
    /// `Vehicle.Cabin.Door.Row2.DriverSide.Window.Position`, percent open.
    WINDOW_REAR_DRIVER = 90, "Vehicle.Cabin.Door.Row2.DriverSide.Window.Position", Number, "percent", 1.0, Cabin;
    /// `Vehicle.Cabin.Door.Row2.PassengerSide.Window.Position`, percent open.
    WINDOW_REAR_PASSENGER = 91, "Vehicle.Cabin.Door.Row2.PassengerSide.Window.Position", Number, "percent", 1.0, Cabin;
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;
    use std::path::Path;
    use std::string::{String, ToString};

    use super::*;
    use crate::signal::{by_id, by_path};

    #[test]
    fn ids_are_dense_and_paths_unique() {
        for (i, def) in REGISTRY.iter().enumerate() {
            assert_eq!(usize::from(def.id.0), i + 1, "{}", def.path);
            assert_eq!(by_id(def.id), Some(def));
            assert_eq!(by_path(def.path), Some(def), "{} stands twice", def.path);
            assert_eq!(by_path(&def.path[..def.path.len() - 1]), None);
            assert!(def.scale > 0.0 && def.scale.is_finite());
        }
        assert_eq!(by_id(SignalId(0)), None);
        assert_eq!(by_id(SignalId(REGISTRY.len() as u16 + 1)), None);
    }

    #[test]
    fn physical_and_raw_are_inverses() {
        for def in REGISTRY {
            for raw in [-1_234_567, -1, 0, 1, 42, 999_999_999] {
                assert_eq!(def.to_raw(def.to_physical(raw)), raw, "{}", def.path);
            }
        }
        let speed = by_id(SPEED).expect("built in");
        assert_eq!((speed.to_raw(f64::INFINITY), speed.to_raw(f64::NAN)), (i64::MAX, 0));
    }

    #[test]
    fn paths_and_units_are_those_of_vss() {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/vss/vss_release_6.0.json");
        let Ok(text) = std::fs::read_to_string(file) else {
            std::eprintln!("skipped: the VSS 6.0 catalogue is not here");
            return;
        };
        let vss: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        for def in REGISTRY {
            let pointer: String =
                def.path.split('.').map(ToString::to_string).collect::<std::vec::Vec<_>>().join("/children/");
            let node =
                vss.pointer(&format!("/{pointer}")).unwrap_or_else(|| panic!("VSS has no {}", def.path));
            assert_eq!(node["unit"].as_str().unwrap_or(""), def.unit, "{}", def.path);
            match def.kind {
                Boolean => assert_eq!(node["datatype"], "boolean", "{}", def.path),
                Enumeration(names) => assert_eq!(node["allowed"], serde_json::json!(names), "{}", def.path),
                Number => {
                    assert!(node["datatype"] != "string" && node["datatype"] != "boolean", "{}", def.path)
                }
            }
        }
    }
}
