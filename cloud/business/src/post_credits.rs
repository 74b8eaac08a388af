//! Credits that were bought or given up stand in the ledger: what riders may still ride for is owed to them.

use async_trait::async_trait;
use remuda_billing::Billing;
use remuda_billing::desk::DriveError;
use remuda_billing::ledger::Posting;
use remuda_contracts::money::Money;
use remuda_entities::Entities;
use remuda_entities::projection::fact;
use remuda_entities::reactor::{ReactError, Reactor, command_id};
use remuda_eventsourcing::Event;
use remuda_users::{UserEvent, Users};

/// The reactor.
pub(crate) struct PostCredits {
    pub users: Entities<Users>,
    pub billing: Billing,
}

#[async_trait]
impl Reactor for PostCredits {
    const NAME: &'static str = "post-credits";
    const READS: &'static [&'static str] = &["user"];

    async fn react(&self, event: &Event) -> Result<(), ReactError> {
        let stream = &event.event.stream;
        let (minor_units, bought) = match fact::<Users>(event)? {
            Some(UserEvent::CreditsToppedUp(e)) => (e.amount, Some(e.reference)),
            Some(UserEvent::ErasureOrdered(e)) if e.forfeited > 0 => (e.forfeited, None),
            _ => return Ok(()),
        };
        let (organization, user) = (&stream.organization, stream.aggregate_id.as_str());
        let seen = self.users.read(organization, user).await?;
        // Set at registration, and kept for ever.
        let currency = seen.state.credits.currency;
        let currency = currency.ok_or_else(|| ReactError::Poisoned("credits without a currency".into()))?;
        let amount = Money { minor_units, currency };
        let (what, reference) = match bought {
            Some(reference) => (Posting::CreditsBought(amount), Some(reference)),
            None => (Posting::CreditsForfeited(amount), None),
        };
        // The key of a transaction is the event: it stands once, however often this is tried.
        let key = command_id(event, "credits");
        match self.billing.post_credits(organization, user, &key, what, reference).await {
            Ok(()) => Ok(()),
            Err(DriveError::Ask(error)) => Err(error.into()),
            Err(error) => Err(ReactError::Poisoned(error.to_string())),
        }
    }
}
