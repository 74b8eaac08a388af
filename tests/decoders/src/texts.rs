//! What is written as text.

use std::str::FromStr;

use remuda_console::Filter;
use remuda_contracts::fleet::{Position, Presence, VehicleSummary};
use remuda_edge_agent_core::SavedState;
use remuda_model::{OrganizationId, VehicleId};
use remuda_policy::Policy;
use remuda_wire::Topic;

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

pub(crate) fn topic(bytes: &[u8]) {
    let text = text(bytes);
    if let Some(topic) = Topic::parse(&text) {
        assert_eq!(topic.to_string(), text, "a topic has one spelling");
    }
}

pub(crate) fn filter(bytes: &[u8]) {
    let Ok(filter) = Filter::parse(&text(bytes)) else { return };
    let Ok(vehicle) = VehicleId::from_str("VAN1") else { return };
    let summary = VehicleSummary {
        organization: OrganizationId::default(),
        vehicle,
        presence: Presence::Online,
        last_seen_ms: 1_790_000_000_000,
        position: Some(Position::default()),
        charge_percent: None,
        open_alerts: 1,
        revision: 1,
    };
    for now_ms in [0, i64::MAX, i64::MIN] {
        filter.matches(&summary, now_ms);
    }
    let _ = (filter.is_all(), filter.depends_on_time());
}

pub(crate) fn policy(bytes: &[u8]) {
    let _ = Policy::parse(&text(bytes));
}

pub(crate) fn agent_state(bytes: &[u8]) {
    if let Ok(state) = SavedState::decode(bytes) {
        let again = SavedState::decode(&state.encode()).ok();
        assert_eq!(again.as_ref(), Some(&state), "what was decoded encodes to something else");
    }
}
