//! Billing as a service of sagas.

use async_trait::async_trait;
use remuda_saga::{ActionSpec, Service, StepContext, StepError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Billing, DriveError, Driven};
use crate::money::{Currency, Money};
use crate::payment::{Method, Status};

/// `billing-service`: `hold-payment`, undone by `void-payment`. The payment's id is the saga's.
///
/// Input, below `payment` in the saga's data: `payer`, `method` (`card` where absent), `amount_minor`,
/// `currency`.
#[derive(Clone)]
pub struct BillingService {
    billing: Billing,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    payer: String,
    #[serde(default)]
    method: Method,
    amount_minor: i64,
    currency: Currency,
}

impl BillingService {
    /// Over billing.
    pub fn new(billing: Billing) -> Self {
        Self { billing }
    }
}

const ACTIONS: &[ActionSpec] =
    &[ActionSpec::undone_by("hold-payment", "void-payment"), ActionSpec::plain("void-payment")];

#[async_trait]
impl Service for BillingService {
    fn name(&self) -> &'static str {
        "billing-service"
    }

    fn actions(&self) -> &'static [ActionSpec] {
        ACTIONS
    }

    async fn call(&self, action: &str, key: &str, context: &StepContext) -> Result<Value, StepError> {
        let (organization, payment) = (&context.organization, context.saga_id.as_str());
        match action {
            "hold-payment" => {
                let wanted = context.data.get("payment").cloned().unwrap_or_default();
                let Wanted { payer, method, amount_minor, currency } = Wanted::deserialize(wanted)
                    .map_err(|e| StepError::refused("invalid-input", format!("payment: {e}")))?;
                let amount = Money { minor_units: amount_minor, currency };
                let driven = self.billing.hold(organization, payment, &payer, method, amount, key).await;
                settled(driven)?;
                let seen =
                    self.billing.payments().read(organization, payment).await.map_err(StepError::from)?;
                match seen.state.status {
                    Status::HoldDeclined => {
                        let code = seen.state.last_decline.unwrap_or_default();
                        Err(StepError::refused("payment-declined", code))
                    }
                    Status::Voiding | Status::Voided => {
                        Err(StepError::refused("payment-voided", "the payment was voided"))
                    }
                    _ => Ok(
                        json!({ "payment": payment, "held_minor": amount_minor, "currency": currency.as_str() }),
                    ),
                }
            }
            "void-payment" => {
                let driven = self.billing.void(organization, payment, "the booking was undone", key).await;
                settled(driven).map(|()| json!({}))
            }
            other => Err(StepError::refused("unknown-action", other)),
        }
    }
}

fn settled(driven: Result<Driven, DriveError>) -> Result<(), StepError> {
    match driven {
        Ok(Driven::AtRest | Driven::NeedsAttention) => Ok(()),
        // Requested durably: whether the provider has done it is not known yet.
        Ok(Driven::Waiting(error)) => Err(StepError::Unknown(error.to_string())),
        Err(DriveError::Ask(error)) => Err(error.into()),
        Err(error) => Err(StepError::refused("billing-fault", error.to_string())),
    }
}
