//! What follows from a wish or a report, given a vehicle's record.

use remuda_eventsourcing::Context;

use super::command::RegistryCommand;
use super::error::RegistryRefusal;
use super::event::{
    Changed, FirmwareReported, OdometerAdvanced, Registered, RegistryEvent, Retired, SensorFitted,
    SensorRemoved, ServiceFellDue, ServicePlanned, Serviced, TripCounted,
};
use super::limits;
use super::state::{RegistryPhase, Sensor, ServicePlan, VehicleDetails, VehicleRecord};

type Decision = Result<Vec<RegistryEvent>, RegistryRefusal>;

/// The facts that follow; none when it is already so.
///
/// # Errors
/// When the rules of [`RegistryRefusal`] forbid it.
pub fn decide(state: &VehicleRecord, command: &RegistryCommand, context: &Context) -> Decision {
    use RegistryCommand as C;
    match (state.phase, command) {
        (RegistryPhase::Unknown, C::Register { details, odometer_m }) => {
            check_details(details)?;
            return Ok(vec![RegistryEvent::Registered(Registered {
                details: details.clone(),
                odometer_m: *odometer_m,
                time_ms: context.now_ms,
            })]);
        }
        (RegistryPhase::Unknown, _) => return Err(RegistryRefusal::NotRegistered),
        (RegistryPhase::Retired, C::Retire { .. } | C::CheckService) => return Ok(vec![]),
        // A ride that ended before it was retired and is told after.
        (RegistryPhase::Retired, C::CountTrip { .. }) | (RegistryPhase::Registered, _) => {}
        (RegistryPhase::Retired, _) => return Err(RegistryRefusal::Retired),
    }
    match command {
        C::Register { details, .. } => {
            let same = state.details.as_ref() == Some(details);
            if same { Ok(vec![]) } else { Err(RegistryRefusal::AlreadyRegistered) }
        }
        C::Change(details) => {
            check_details(details)?;
            let same = state.details.as_ref() == Some(details);
            Ok(if same { vec![] } else { vec![RegistryEvent::Changed(Changed { details: details.clone() })] })
        }
        C::Retire { reason } => {
            text(reason, "say in 1 to 256 bytes why")?;
            Ok(vec![RegistryEvent::Retired(Retired { reason: reason.clone() })])
        }
        C::FitSensor { name, sensor } => fit(state, name, sensor),
        C::RemoveSensor { name } => {
            if !state.sensors.contains_key(name) {
                return Err(RegistryRefusal::NoSuchSensor);
            }
            Ok(vec![RegistryEvent::SensorRemoved(SensorRemoved { name: name.clone() })])
        }
        C::ReportFirmware { ecu, version, at_ms } => firmware(state, ecu, version, *at_ms, context),
        C::ReportOdometer { odometer_m } => {
            // An old report says nothing: the vehicle has driven on.
            if *odometer_m <= state.odometer_m {
                return Ok(vec![]);
            }
            check_step(state, *odometer_m)?;
            let advanced = RegistryEvent::OdometerAdvanced(OdometerAdvanced { odometer_m: *odometer_m });
            Ok(with_service(state, advanced, *odometer_m, context.now_ms))
        }
        C::CountTrip { trip, distance_m, odometer_m } => {
            count(state, trip, *distance_m, *odometer_m, context.now_ms)
        }
        C::PlanService(plan) => plan_service(state, *plan, context.now_ms),
        C::RecordService { odometer_m, at_ms, note } => serviced(state, *odometer_m, *at_ms, note, context),
        C::CheckService => Ok(due(state, state.odometer_m, context.now_ms).into_iter().collect()),
    }
}

fn due(state: &VehicleRecord, odometer_m: u64, time_ms: i64) -> Option<RegistryEvent> {
    let ours = state.phase == RegistryPhase::Registered;
    let fell = ours && !state.service_due && state.is_service_due(odometer_m, time_ms);
    fell.then_some(RegistryEvent::ServiceFellDue(ServiceFellDue { odometer_m, time_ms }))
}

fn with_service(
    state: &VehicleRecord,
    event: RegistryEvent,
    odometer_m: u64,
    now_ms: i64,
) -> Vec<RegistryEvent> {
    std::iter::once(event).chain(due(state, odometer_m, now_ms)).collect()
}

fn fit(state: &VehicleRecord, name: &str, sensor: &Sensor) -> Decision {
    for part in [name, &sensor.signal, &sensor.part] {
        text(part, "a sensor's name, signal and part have 1 to 256 bytes")?;
    }
    match state.sensors.get(name) {
        Some(known) if known == sensor => return Ok(vec![]),
        None if state.sensors.len() >= limits::SENSORS_MAX => {
            return Err(RegistryRefusal::TooMany { what: "sensors", max: limits::SENSORS_MAX });
        }
        _ => {}
    }
    Ok(vec![RegistryEvent::SensorFitted(SensorFitted { name: name.into(), sensor: sensor.clone() })])
}

fn firmware(state: &VehicleRecord, ecu: &str, version: &str, at_ms: i64, context: &Context) -> Decision {
    for part in [ecu, version] {
        text(part, "an ECU's name and version have 1 to 256 bytes")?;
    }
    if at_ms > context.now_ms.saturating_add(limits::CLOCK_TOLERANCE_MS) {
        return Err(RegistryRefusal::TimeOutOfOrder);
    }
    match state.firmware.get(ecu) {
        // The same as before, or told late.
        Some(known) if known.version == version || at_ms <= known.at_ms => return Ok(vec![]),
        None if state.firmware.len() >= limits::ECUS_MAX => {
            return Err(RegistryRefusal::TooMany { what: "ECUs", max: limits::ECUS_MAX });
        }
        _ => {}
    }
    Ok(vec![RegistryEvent::FirmwareReported(FirmwareReported {
        ecu: ecu.into(),
        version: version.into(),
        at_ms,
    })])
}

fn check_step(state: &VehicleRecord, odometer_m: u64) -> Result<(), RegistryRefusal> {
    if odometer_m > state.odometer_m.saturating_add(limits::STEP_M_MAX) {
        return Err(RegistryRefusal::OdometerJumps { known: state.odometer_m, told: odometer_m });
    }
    Ok(())
}

fn count(state: &VehicleRecord, trip: &str, distance_m: u64, told_m: Option<u64>, now_ms: i64) -> Decision {
    text(trip, "a trip's id has 1 to 256 bytes")?;
    if state.counted.iter().any(|counted| counted == trip) {
        return Ok(vec![]);
    }
    if distance_m > limits::STEP_M_MAX {
        return Err(RegistryRefusal::BadValue("a trip is at most 10000000 m long"));
    }
    // A vehicle that does not tell its odometer: what it drove is added. One that jumps is not believed, the trip is.
    let odometer_m = match told_m {
        Some(told_m) if check_step(state, told_m).is_ok() => state.odometer_m.max(told_m),
        Some(_) => state.odometer_m,
        None => state.odometer_m.saturating_add(distance_m),
    };
    let counted = RegistryEvent::TripCounted(TripCounted { trip: trip.into(), distance_m, odometer_m });
    Ok(with_service(state, counted, odometer_m, now_ms))
}

fn plan_service(state: &VehicleRecord, plan: ServicePlan, now_ms: i64) -> Decision {
    let some = plan.every_m.is_some() || plan.every_ms.is_some();
    if !some || plan.every_m == Some(0) || plan.every_ms.is_some_and(|ms| ms <= 0) {
        return Err(RegistryRefusal::BadValue("a service plan has a distance or a time, above zero"));
    }
    if state.service == Some(plan) {
        return Ok(vec![]);
    }
    let planned = VehicleRecord { service: Some(plan), service_due: false, ..state.clone() };
    let event = RegistryEvent::ServicePlanned(ServicePlanned { plan });
    Ok(with_service(&planned, event, state.odometer_m, now_ms))
}

fn serviced(state: &VehicleRecord, odometer_m: u64, at_ms: i64, note: &str, context: &Context) -> Decision {
    text(note, "say in 1 to 256 bytes what was done")?;
    if (odometer_m, at_ms) == (state.serviced_m, state.serviced_ms) {
        return Ok(vec![]);
    }
    if at_ms < state.serviced_ms || at_ms > context.now_ms.saturating_add(limits::CLOCK_TOLERANCE_MS) {
        return Err(RegistryRefusal::TimeOutOfOrder);
    }
    check_step(state, odometer_m)?;
    Ok(vec![RegistryEvent::Serviced(Serviced { odometer_m, at_ms, note: note.into() })])
}

fn text(text: &str, advice: &'static str) -> Result<(), RegistryRefusal> {
    let fits = (1..=limits::TEXT_BYTES_MAX).contains(&text.len());
    if fits { Ok(()) } else { Err(RegistryRefusal::BadValue(advice)) }
}

fn check_details(details: &VehicleDetails) -> Result<(), RegistryRefusal> {
    for part in [&details.manufacturer, &details.model, &details.licence_class] {
        text(part, "manufacturer, model and licence class have 1 to 256 bytes")?;
    }
    for part in [&details.plate, &details.fleet, &details.depot].into_iter().flatten() {
        text(part, "plate, fleet and depot have 1 to 256 bytes")?;
    }
    if !(1886..=2200).contains(&details.year) {
        return Err(RegistryRefusal::BadValue("a model year is from 1886 to 2200"));
    }
    if details.seats > limits::SEATS_MAX {
        return Err(RegistryRefusal::BadValue("a vehicle has at most 300 seats"));
    }
    let kebab = |name: &String| {
        (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if details.capabilities.len() > 64 || !details.capabilities.iter().all(kebab) {
        return Err(RegistryRefusal::BadValue(
            "a vehicle has at most 64 capabilities in kebab-case, such as `child-seat`",
        ));
    }
    Ok(())
}
