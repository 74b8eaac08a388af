//! Riders' credits as a way to pay: billing asks a provider, and the provider is the users' domain.

use async_trait::async_trait;
use remuda_billing::payment::OperationKind;
use remuda_billing::provider::{
    PaymentProvider, ProviderAnswer, ProviderError, ProviderRequest, StatementLine,
};
use remuda_entities::AskError;
use remuda_eventsourcing::Context;
use remuda_model::OrganizationId;
use remuda_users::{UserCommand, UserService};

/// Takes what is charged from the hold that the booking made.
pub(crate) struct CreditsProvider {
    pub users: UserService,
    pub organization: OrganizationId,
}

fn declined(code: &str) -> ProviderAnswer {
    ProviderAnswer::Declined { code: code.to_owned() }
}

#[async_trait]
impl PaymentProvider for CreditsProvider {
    async fn call(&self, request: &ProviderRequest) -> Result<ProviderAnswer, ProviderError> {
        // The hold is named by the booking; captures and refunds act on it by the same name.
        let Some(hold) = request.reference.as_ref().or(request.on_key.as_ref()) else {
            return Ok(declined("no-hold"));
        };
        let context = Context {
            now_ms: request.now_ms,
            command_id: format!("pay/{}", request.key),
            actor: "policy/billing".to_owned(),
            correlation_id: request.payment.clone(),
        };
        let amount = request.amount.map_or(0, |amount| amount.minor_units);
        let (organization, payer) = (&self.organization, request.payer.as_str());
        let asked = match request.kind {
            // Holds are made by bookings, and only there.
            OperationKind::Hold => return Ok(declined("hold-elsewhere")),
            OperationKind::Capture => self.users.capture(organization, payer, hold, amount, context).await,
            OperationKind::Refund => {
                self.users.refund(organization, payer, hold, amount, &request.key, context).await
            }
            OperationKind::Void => {
                let release = UserCommand::Release { key: hold.clone() };
                self.users.entities().ask(organization, payer, release, context).await
            }
        };
        match asked {
            Ok(_) => Ok(ProviderAnswer::Done { reference: hold.clone() }),
            Err(AskError::Refused { code, .. }) => Ok(ProviderAnswer::Declined { code }),
            // It will never be anything else: asking again would hold up whoever waits behind it.
            Err(AskError::Invalid { .. }) => Ok(declined("invalid")),
            Err(error @ AskError::Overloaded { .. }) => Err(ProviderError::Unavailable(error.to_string())),
            Err(error) => Err(ProviderError::Lost(error.to_string())),
        }
    }

    async fn statement(&self, _from_ms: i64, _to_ms: i64) -> Result<Vec<StatementLine>, ProviderError> {
        // Credits are in the same journal as the payments: there is nobody else's statement to compare with.
        Ok(Vec::new())
    }
}
