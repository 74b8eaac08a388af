//! Notifications as a service of sagas.

use std::collections::BTreeMap;

use async_trait::async_trait;
use remuda_contracts::booking::Booking;
use remuda_saga::{ActionSpec, Service, StepContext, StepError};
use serde_json::{Value, json};

use super::{Ask, Notifications, RequestError};

/// `notification-service`: `send-confirmation`, undone by `send-cancellation`.
///
/// An undo calls a confirmation off that has not left yet, and says that the booking was cancelled only when
/// one has.
#[derive(Clone)]
pub struct NotificationService {
    notifications: Notifications,
}

impl NotificationService {
    /// Over notifications.
    pub fn new(notifications: Notifications) -> Self {
        Self { notifications }
    }
}

const ACTIONS: &[ActionSpec] = &[
    ActionSpec::undone_by("send-confirmation", "send-cancellation"),
    ActionSpec::plain("send-cancellation"),
];

fn confirmation(saga_id: &str) -> String {
    format!("booking/{saga_id}/confirmed")
}

#[async_trait]
impl Service for NotificationService {
    fn name(&self) -> &'static str {
        "notification-service"
    }

    fn actions(&self) -> &'static [ActionSpec] {
        ACTIONS
    }

    async fn call(&self, action: &str, _: &str, context: &StepContext) -> Result<Value, StepError> {
        let booking: Booking = serde_json::from_value(context.data.clone())
            .map_err(|error| StepError::refused("bad-booking", error.to_string()))?;
        let (organization, saga_id) = (&context.organization, context.saga_id.as_str());
        let actor = format!("saga/{saga_id}");
        let ask = |key: String, kind: &str| Ask {
            key,
            recipient: booking.rider.clone(),
            kind: kind.to_owned(),
            parameters: BTreeMap::from([("booking".to_owned(), saga_id.to_owned())]),
        };
        match action {
            "send-confirmation" => {
                let ask = ask(confirmation(saga_id), "booking-confirmed");
                self.notifications.request(organization, &ask, &actor).await.map_err(request_error)?;
            }
            "send-cancellation" => {
                let key = confirmation(saga_id);
                let reason = "the booking was called off";
                let left = self.notifications.cancel(organization, &key, reason, &actor).await;
                if left.map_err(StepError::from)? {
                    let ask = ask(format!("booking/{saga_id}/cancelled"), "booking-cancelled");
                    self.notifications.request(organization, &ask, &actor).await.map_err(request_error)?;
                }
            }
            other => {
                let detail = format!("notification-service offers no {other}");
                return Err(StepError::refused("no-such-action", detail));
            }
        }
        // The same at every call, whatever the person's wishes have become in between.
        Ok(json!({}))
    }
}

fn request_error(error: RequestError) -> StepError {
    match error {
        RequestError::Ask(error) => error.into(),
        RequestError::Directory(_) => StepError::Transient(error.to_string()),
        RequestError::UnknownKind(_) => StepError::refused("unknown-template", error.to_string()),
        RequestError::MissingParameter { .. } => StepError::refused("missing-parameter", error.to_string()),
    }
}
