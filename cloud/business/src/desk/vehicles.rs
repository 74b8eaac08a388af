//! Vehicles as things, and their troubles, for people.

use async_trait::async_trait;
use remuda_contracts::business::vehicles::{
    DiagnosticsDesk, Home, HomePart, RecordDesk, RecordDetails, RecordFilter, RecordView, ServicePlanView,
    TroubleFilter, TroubleReport, TroubleView,
};
use remuda_contracts::business::{Asker, BusinessError};
use remuda_model::OrganizationId;
use remuda_vehicles::diagnostics::{DiagnosticsCommand, Dtc, DtcKey, Severity};
use remuda_vehicles::registry::state::{Powertrain, RegistryPhase, ServicePlan};
use remuda_vehicles::registry::{PartOf, RecordsOf, RegistryCommand, VehicleDetails, VehicleRecord};

use super::notifications::{hex, unhex};
use super::{Desk, refused, unavailable};
use crate::convert::ask_error;

const POWERTRAINS: [(Powertrain, &str); 4] = [
    (Powertrain::Electric, "electric"),
    (Powertrain::Combustion, "combustion"),
    (Powertrain::Hybrid, "hybrid"),
    (Powertrain::FuelCell, "fuel-cell"),
];

const SEVERITIES: [(Severity, &str); 3] =
    [(Severity::Info, "info"), (Severity::Warning, "warning"), (Severity::Critical, "critical")];

/// The value of a name in a table, or a refusal that says which names there are.
fn named<T: Copy>(table: &[(T, &'static str)], what: &str, name: &str) -> Result<T, BusinessError> {
    table.iter().find(|(_, known)| *known == name).map(|(value, _)| *value).ok_or_else(|| {
        let known = table.iter().map(|(_, known)| *known).collect::<Vec<_>>().join(", ");
        refused(&format!("bad-{what}"), format!("there is no {what} `{name}`; there are {known}"))
    })
}

fn name_of<T: PartialEq>(table: &[(T, &'static str)], value: &T) -> &'static str {
    table.iter().find(|(known, _)| known == value).map_or("unknown", |(_, name)| name)
}

fn details_of(details: RecordDetails) -> Result<VehicleDetails, BusinessError> {
    Ok(VehicleDetails {
        manufacturer: details.manufacturer,
        model: details.model,
        year: details.year,
        powertrain: named(&POWERTRAINS, "powertrain", &details.powertrain)?,
        seats: details.seats,
        capabilities: details.capabilities.into_iter().collect(),
        licence_class: details.licence_class,
        plate: details.plate,
        fleet: details.fleet,
        depot: details.depot,
    })
}

fn details_view(details: Option<VehicleDetails>) -> RecordDetails {
    details.map_or_else(RecordDetails::default, |details| RecordDetails {
        manufacturer: details.manufacturer,
        model: details.model,
        year: details.year,
        powertrain: name_of(&POWERTRAINS, &details.powertrain).to_owned(),
        seats: details.seats,
        capabilities: details.capabilities.into_iter().collect(),
        licence_class: details.licence_class,
        plate: details.plate,
        fleet: details.fleet,
        depot: details.depot,
    })
}

fn record_view(vehicle: &str, record: VehicleRecord) -> RecordView {
    let plan = |plan: ServicePlan| ServicePlanView { every_m: plan.every_m, every_ms: plan.every_ms };
    RecordView {
        vehicle: vehicle.to_owned(),
        state: if record.phase == RegistryPhase::Retired { "retired" } else { "registered" },
        details: details_view(record.details),
        odometer_m: record.odometer_m,
        trips: record.trips,
        trips_m: record.trips_m,
        service: record.service.map(plan),
        serviced_m: record.serviced_m,
        serviced_ms: record.serviced_ms,
        service_due: record.service_due,
        firmware: record.firmware.into_iter().map(|(ecu, firmware)| (ecu, firmware.version)).collect(),
    }
}

fn trouble_view(vehicle: &str, key: &DtcKey, dtc: Dtc) -> TroubleView {
    TroubleView {
        vehicle: vehicle.to_owned(),
        ecu: key.ecu.clone(),
        code: key.code.clone(),
        severity: name_of(&SEVERITIES, &dtc.severity),
        active: dtc.active,
        first_seen_ms: dtc.first_seen_ms,
        last_seen_ms: dtc.last_seen_ms,
        occurrences: dtc.occurrences,
        freeze_frame: dtc.freeze_frame,
        acknowledged: dtc.acknowledged.map(|word| (word.by, word.note, word.time_ms)),
    }
}

impl Desk {
    async fn record_now(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
    ) -> Result<RecordView, BusinessError> {
        self.check(organization)?;
        let seen = self.0.records.read(organization, vehicle).await.map_err(ask_error)?;
        if seen.state.phase == RegistryPhase::Unknown {
            return Err(BusinessError::NotFound { what: "vehicle-record", id: vehicle.to_owned() });
        }
        Ok(record_view(vehicle, seen.state))
    }

    async fn tell_record(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        command: RegistryCommand,
        verb: &str,
        asker: &Asker,
    ) -> Result<RecordView, BusinessError> {
        self.check(organization)?;
        let context = self.context(asker, verb, vehicle);
        self.0.records.ask(organization, vehicle, command, context).await.map_err(ask_error)?;
        self.record_now(organization, vehicle).await
    }

    async fn tell_diagnostics(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        command: DiagnosticsCommand,
        verb: &str,
        asker: &Asker,
    ) -> Result<(), BusinessError> {
        self.check(organization)?;
        let context = self.context(asker, verb, vehicle);
        let asked = self.0.diagnostics.ask(organization, vehicle, command, context).await;
        asked.map(|_| ()).map_err(ask_error)
    }
}

#[async_trait]
impl RecordDesk for Desk {
    async fn register_vehicle(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        details: RecordDetails,
        odometer_m: u64,
        asker: Asker,
    ) -> Result<RecordView, BusinessError> {
        let command = RegistryCommand::Register { details: details_of(details)?, odometer_m };
        self.tell_record(organization, vehicle, command, "register-vehicle", &asker).await
    }

    async fn change_vehicle(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        details: RecordDetails,
        asker: Asker,
    ) -> Result<RecordView, BusinessError> {
        let command = RegistryCommand::Change(details_of(details)?);
        self.tell_record(organization, vehicle, command, "change-vehicle", &asker).await
    }

    async fn retire_vehicle(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        reason: &str,
        asker: Asker,
    ) -> Result<RecordView, BusinessError> {
        let command = RegistryCommand::Retire { reason: reason.to_owned() };
        self.tell_record(organization, vehicle, command, "retire-vehicle", &asker).await
    }

    async fn plan_service(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        plan: ServicePlanView,
        asker: Asker,
    ) -> Result<RecordView, BusinessError> {
        let plan = ServicePlan { every_m: plan.every_m, every_ms: plan.every_ms };
        let command = RegistryCommand::PlanService(plan);
        self.tell_record(organization, vehicle, command, "plan-service", &asker).await
    }

    async fn record_service(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        odometer_m: u64,
        at_ms: i64,
        note: &str,
        asker: Asker,
    ) -> Result<RecordView, BusinessError> {
        let command = RegistryCommand::RecordService { odometer_m, at_ms, note: note.to_owned() };
        self.tell_record(organization, vehicle, command, "record-service", &asker).await
    }

    async fn record(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
    ) -> Result<RecordView, BusinessError> {
        self.record_now(organization, vehicle).await
    }

    fn home(&self, organization: &OrganizationId, vehicle: &str) -> Result<Option<Home>, BusinessError> {
        let line = self.0.record_lists.record(organization, vehicle).map_err(unavailable)?;
        let details = line.and_then(|line| line.record.details);
        Ok(details.map(|details| Home { fleet: details.fleet, depot: details.depot }))
    }

    fn vehicles_of(
        &self,
        organization: &OrganizationId,
        part: HomePart<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, BusinessError> {
        let part = match part {
            HomePart::Fleet(fleet) => PartOf::Fleet(fleet),
            HomePart::Depot(depot) => PartOf::Depot(depot),
        };
        self.0.record_lists.vehicles_of(organization, part, after, limit).map_err(unavailable)
    }

    async fn records(
        &self,
        organization: &OrganizationId,
        filter: RecordFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RecordView>, BusinessError> {
        self.check(organization)?;
        let of = match (filter.service_due, filter.retired) {
            (true, _) => RecordsOf::ServiceDue,
            (false, true) => RecordsOf::All,
            (false, false) => RecordsOf::Registered,
        };
        let found = self.0.record_lists.records(organization, of, after, limit).map_err(unavailable)?;
        Ok(found.into_iter().map(|line| record_view(&line.vehicle, line.record)).collect())
    }
}

#[async_trait]
impl DiagnosticsDesk for Desk {
    async fn troubles(
        &self,
        organization: &OrganizationId,
        filter: TroubleFilter<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<TroubleView>, Option<String>), BusinessError> {
        self.check(organization)?;
        if filter.gone && filter.vehicle.is_none() {
            return Err(refused("bad-filter", "codes that are gone are shown of one vehicle; name it"));
        }
        let after = after.map(unhex).transpose()?;
        let lists = &self.0.trouble_lists;
        // One more than wanted tells whether there is another page.
        let found = lists.troubles(organization, filter.vehicle, filter.gone, after.as_deref(), limit + 1);
        let mut found = found.map_err(unavailable)?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(place, _)| hex(place));
        let troubles = found.into_iter().map(|(_, line)| trouble_view(&line.vehicle, &line.key, line.dtc));
        Ok((troubles.collect(), next))
    }

    async fn trouble(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        ecu: &str,
        code: &str,
    ) -> Result<TroubleView, BusinessError> {
        self.check(organization)?;
        let seen = self.0.diagnostics.read(organization, vehicle).await.map_err(ask_error)?;
        let key = DtcKey { ecu: ecu.to_owned(), code: code.to_owned() };
        let found = seen.state.dtcs.get(&key).map(|dtc| trouble_view(vehicle, &key, dtc.clone()));
        found.ok_or_else(|| BusinessError::NotFound {
            what: "trouble-code",
            id: format!("{vehicle}/{ecu}/{code}"),
        })
    }

    async fn report_trouble(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        report: TroubleReport,
        asker: Asker,
    ) -> Result<TroubleView, BusinessError> {
        let key = DtcKey { ecu: report.ecu, code: report.code };
        let command = if report.cleared {
            DiagnosticsCommand::Clear { key: key.clone(), at_ms: report.at_ms }
        } else {
            let severity = named(&SEVERITIES, "severity", &report.severity)?;
            let (freeze_frame, at_ms) = (report.freeze_frame, report.at_ms);
            DiagnosticsCommand::Report { key: key.clone(), severity, freeze_frame, at_ms }
        };
        self.tell_diagnostics(organization, vehicle, command, "report-trouble", &asker).await?;
        self.trouble(organization, vehicle, &key.ecu, &key.code).await
    }

    async fn acknowledge_trouble(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        ecu: &str,
        code: &str,
        note: &str,
        asker: Asker,
    ) -> Result<TroubleView, BusinessError> {
        let key = DtcKey { ecu: ecu.to_owned(), code: code.to_owned() };
        let command = DiagnosticsCommand::Acknowledge { key, note: note.to_owned() };
        self.tell_diagnostics(organization, vehicle, command, "acknowledge-trouble", &asker).await?;
        self.trouble(organization, vehicle, ecu, code).await
    }
}
