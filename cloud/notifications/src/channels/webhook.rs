//! A signed call to a person's or a company's own system.

use bytes::Bytes;
use remuda_webhooks::{Message, Sender, SigningKeys, Target};
use serde_json::json;

use super::Undelivered;
use crate::notification::Request;
use crate::templates::Rendered;

/// Where the calls of somebody go.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The address.
    pub target: Target,
    /// What they are signed with.
    pub keys: SigningKeys,
}

/// One attempt: a JSON object with `id`, `type`, `timestamp` (s) and `data`.
///
/// # Errors
/// [`Undelivered`].
pub async fn send(
    sender: &Sender,
    endpoint: &Endpoint,
    message_id: &str,
    now_ms: i64,
    request: &Request,
    text: &Rendered,
) -> Result<String, Undelivered> {
    let timestamp_s = now_ms.div_euclid(1_000);
    let body = json!({
        "id": message_id,
        "type": request.kind,
        "timestamp": timestamp_s,
        "data": {
            "recipient": request.recipient,
            "parameters": request.parameters,
            "locale": text.locale,
            "subject": text.subject,
            "body": text.body,
        },
    });
    let body = Bytes::from(body.to_string());
    let message = Message { id: message_id, timestamp_s, content_type: "application/json", body: &body };
    match sender.send(&endpoint.target, &endpoint.keys, message).await {
        Ok(delivered) => Ok(delivered.status.to_string()),
        Err(failure) => Err(Undelivered {
            reason: failure.to_string(),
            worth_a_retry: failure.is_worth_a_retry(),
            retry_after_s: failure.retry_after_s(),
        }),
    }
}
