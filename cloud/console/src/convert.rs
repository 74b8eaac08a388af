//! From the vehicle domain's words to the contract's.

use prost_types::Timestamp;
use remuda_api::VehicleName;
use remuda_api::vehicles::v1 as api;
use remuda_contracts::fleet::{
    AlertView, GapView, Presence, QuarantineView, TwinValue, TwinView, VehicleDetail, VehicleSummary,
};
use remuda_model::signal::{self, SignalDef, SignalKind};
use remuda_wire::{ClockQuality, CollectionLevel, LinkKind};

use crate::precision::Precision;

/// A presence's number in the contract.
pub fn presence_of(presence: Presence) -> api::Presence {
    match presence {
        Presence::Unknown => api::Presence::Unknown,
        Presence::Online => api::Presence::Online,
        Presence::Offline => api::Presence::Offline,
    }
}

/// A time, ms since 1970 UTC; none for 0, which means "not known".
pub fn timestamp_of(ms: i64) -> Option<Timestamp> {
    (ms != 0).then(|| Timestamp {
        seconds: ms.div_euclid(1000),
        // Below 1e9 by construction.
        nanos: (ms.rem_euclid(1000) * 1_000_000) as i32,
    })
}

/// A vehicle's line.
pub fn vehicle_of(summary: &VehicleSummary, precision: Precision) -> api::Vehicle {
    let name =
        VehicleName { organization: summary.organization.to_string(), vehicle: summary.vehicle.to_string() };
    api::Vehicle {
        name: name.to_string(),
        etag: format!("\"{:x}\"", summary.revision),
        presence: presence_of(summary.presence).into(),
        last_seen_time: timestamp_of(summary.last_seen_ms),
        position: summary.position.map(|p| api::Position {
            latitude: f64::from(precision.e7(p.latitude_e7)) / 1e7,
            longitude: f64::from(precision.e7(p.longitude_e7)) / 1e7,
            heading_deg: p.heading_deg,
            speed_kmh: p.speed_kmh,
        }),
        charge_percent: summary.charge_percent,
        open_alerts: i32::from(summary.open_alerts),
        twin: None,
    }
}

/// A vehicle with its twin.
pub fn vehicle_with_twin(twin: &TwinView, now_ms: i64, precision: Precision) -> api::Vehicle {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let mut refusals: Vec<api::Refusal> = twin
        .refusals
        .iter()
        .map(|(reason, n)| api::Refusal { reason: reason.clone(), count: count(*n) })
        .collect();
    refusals.sort_by(|a, b| a.reason.cmp(&b.reason));
    api::Vehicle {
        twin: Some(api::Twin {
            signals: twin.values.iter().map(|value| signal_of(value, precision)).collect(),
            alerts: twin.alerts.iter().map(|alert| alert_of(alert, precision)).collect(),
            delivery: Some(api::Delivery {
                frames_durable: count(twin.frames_durable),
                frames_in_gaps: count(twin.frames_in_gaps),
                frames_quarantined: count(twin.frames_quarantined),
                refusals,
                gaps: twin.detail.gaps.iter().map(gap_of).collect(),
                quarantined: twin.detail.quarantined.iter().map(quarantined_of).collect(),
                frames_reprocessed: count(twin.detail.frames_reprocessed),
                clone_time: timestamp_of(twin.detail.cloned_ms),
            }),
            read_time: timestamp_of(now_ms),
            report: Some(report_of(&twin.detail)),
        }),
        ..vehicle_of(&twin.summary, precision)
    }
}

fn gap_of(gap: &GapView) -> api::Gap {
    api::Gap {
        lane: gap.lane.as_str().to_owned(),
        incarnation: gap.incarnation.to_string(),
        from_seq: gap.from,
        to_seq: gap.to,
        reason: gap.reason.clone(),
        record_time: timestamp_of(gap.recorded_ms),
    }
}

fn quarantined_of(frame: &QuarantineView) -> api::QuarantinedFrame {
    api::QuarantinedFrame {
        lane: frame.lane.as_str().to_owned(),
        incarnation: frame.incarnation.to_string(),
        seq: frame.seq,
        reason: frame.reason.clone(),
        bytes: i64::try_from(frame.bytes).unwrap_or(i64::MAX),
        record_time: timestamp_of(frame.recorded_ms),
    }
}

/// What is desired of a vehicle, and what it said.
fn report_of(detail: &VehicleDetail) -> api::Report {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let said = detail.report.clone().unwrap_or_default();
    let (refused_revision, refused_reason) = said.policy_refused.unwrap_or_default();
    api::Report {
        report_time: timestamp_of(said.reported_ms),
        agent_version: said.agent_version,
        boot: said.boot,
        desired_policy: detail.policy.clone().unwrap_or_default(),
        desired_revision: detail.policy_revision,
        reported_revision: said.policy_revision,
        refused_revision,
        refused_reason,
        clock: match said.clock {
            ClockQuality::Unknown => "unknown",
            ClockQuality::Server => "server",
            ClockQuality::Gnss => "gnss",
        }
        .to_owned(),
        link: match said.link {
            LinkKind::Unknown => "unknown",
            LinkKind::Metered => "metered",
            LinkKind::Wifi => "wifi",
        }
        .to_owned(),
        collection: match said.collection {
            CollectionLevel::Full => "full",
            CollectionLevel::Stretched => "stretched",
            CollectionLevel::EventsOnly => "events-only",
        }
        .to_owned(),
        bulk_held: said.bulk_held,
        budget: said.budget.map(|budget| api::DataBudget {
            month: match budget.month {
                0 => String::new(),
                month => format!("{:04}-{:02}", month / 100, month % 100),
            },
            spent_bytes: count(budget.spent_bytes),
            bytes: count(budget.bytes),
        }),
        frames_held: count(said.frames_held),
        frames_shed: count(said.frames_shed),
        frames_damaged: count(said.frames_damaged),
        readings_dropped: count(said.readings_dropped),
    }
}

fn alert_of(alert: &AlertView, precision: Precision) -> api::Alert {
    let value = if alert.of_geofence { precision.beyond_m(alert.value) } else { alert.value };
    api::Alert { rule: alert.rule.clone(), raise_time: timestamp_of(alert.raised_ms), value }
}

fn signal_of(value: &TwinValue, precision: Precision) -> api::SignalValue {
    let definition = signal::by_id(value.signal);
    api::SignalValue {
        signal_id: u32::from(value.signal.0),
        path: definition.map_or_else(String::new, |d| d.path.to_owned()),
        value: Some(physical(definition, precision.raw(value.signal, value.raw))),
        unit: definition.map_or_else(String::new, |d| d.unit.to_owned()),
        decimals: definition.map_or(0, decimals),
        sample_time: timestamp_of(value.sampled_ms),
    }
}

fn physical(definition: Option<&SignalDef>, raw: i64) -> api::signal_value::Value {
    use api::signal_value::Value;
    match definition.map(|d| (d.kind, d.scale)) {
        Some((SignalKind::Number, scale)) => Value::Number(raw as f64 * scale),
        Some((SignalKind::Boolean, _)) if raw == 0 || raw == 1 => Value::Boolean(raw == 1),
        Some((SignalKind::Enumeration(names), _)) => usize::try_from(raw)
            .ok()
            .and_then(|index| names.get(index))
            .map_or(Value::Raw(raw), |name| Value::Text((*name).to_owned())),
        Some((SignalKind::Boolean, _)) | None => Value::Raw(raw),
    }
}

/// Digits after the point that one raw step can change.
fn decimals(definition: &SignalDef) -> u32 {
    match definition.kind {
        // Between 0 and 12, so the cast is exact.
        SignalKind::Number => (-definition.scale.log10()).ceil().clamp(0.0, 12.0) as u32,
        SignalKind::Boolean | SignalKind::Enumeration(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use remuda_model::{SignalClass, SignalId};

    use super::*;

    fn definition(kind: SignalKind, scale: f64) -> SignalDef {
        SignalDef { id: SignalId(1), path: "Vehicle.X", kind, unit: "", scale, class: SignalClass::Technical }
    }

    #[test]
    fn values_are_physical_where_the_registry_knows_them() {
        use api::signal_value::Value;
        assert_eq!(physical(Some(&definition(SignalKind::Number, 0.5)), 7), Value::Number(3.5));
        assert_eq!(physical(Some(&definition(SignalKind::Boolean, 1.0)), 1), Value::Boolean(true));
        assert_eq!(physical(Some(&definition(SignalKind::Boolean, 1.0)), 2), Value::Raw(2));
        let gears = definition(SignalKind::Enumeration(&["P", "R"]), 1.0);
        assert_eq!(physical(Some(&gears), 1), Value::Text("R".into()));
        assert_eq!(physical(Some(&gears), -1), Value::Raw(-1));
        assert_eq!(physical(None, -8), Value::Raw(-8));
    }

    #[test]
    fn decimals_follow_the_scale() {
        let cases = [(1.0, 0), (0.1, 1), (0.01, 2), (1e-7, 7), (0.5, 1), (0.25, 1), (100.0, 0)];
        for (scale, digits) in cases {
            assert_eq!(decimals(&definition(SignalKind::Number, scale)), digits, "{scale}");
        }
    }

    #[test]
    fn times_before_1970_stay_valid() {
        assert_eq!(timestamp_of(-1), Some(Timestamp { seconds: -1, nanos: 999_000_000 }));
        assert_eq!(timestamp_of(0), None);
    }
}
