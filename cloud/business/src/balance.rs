//! All ledgers together, read off their events: what must sum to zero.

use remuda_billing::ledger::{Ledger, TrialBalance};
use remuda_entities::projection::{Poisoned, Projection, View, fact, key};
use remuda_eventsourcing::Event;
use remuda_model::OrganizationId;

/// The projection: one trial balance per organisation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Balances;

/// Where an organisation's stands.
pub(crate) fn place(organization: &OrganizationId) -> Vec<u8> {
    key(&["balance", organization.as_str()])
}

impl Projection for Balances {
    const NAME: &'static str = "trial-balance";
    const VERSION: u32 = 1;
    const READS: &'static [&'static str] = &["ledger"];

    fn apply(&self, event: &Event, view: &mut View<'_>) -> Result<(), Poisoned> {
        let Some(fact) = fact::<Ledger>(event)? else { return Ok(()) };
        let place = place(&event.event.stream.organization);
        let mut balance: TrialBalance = view.get(&place)?.unwrap_or_default();
        balance.apply(&fact);
        view.put(&place, &balance)
    }
}
