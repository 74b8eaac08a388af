//! Signed HTTP calls with a batch of CloudEvents each.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use remuda_webhooks::{AddressRules, Failure, Message, Sender, SigningKeys, Target, limits};
use sha2::{Digest, Sha256};

use super::{Sink, SinkError};
use crate::error::FeedError;
use crate::item::Item;
use crate::reader::now_ms;
use crate::spec::Secret;

/// CloudEvents 1.0, JSON batch format.
const CONTENT_TYPE: &str = "application/cloudevents-batch+json";

/// One webhook.
pub(super) struct Webhook {
    target: Target,
    keys: SigningKeys,
    sender: Sender,
}

impl Webhook {
    pub fn new(
        url: &str,
        secrets: &[Secret],
        sender: Sender,
        rules: &AddressRules,
    ) -> Result<Self, FeedError> {
        let wrong = |e: remuda_webhooks::SetupError| FeedError::setting("sink", e.to_string());
        // Without TLS only to what the operator named: a test, a neighbour in the same network.
        let plain_http = !rules.allowed.is_empty();
        let target = Target::parse(url, plain_http).map_err(wrong)?;
        let secrets: Vec<&str> = secrets.iter().map(|secret| secret.0.as_str()).collect();
        Ok(Self { target, keys: SigningKeys::parse(&secrets).map_err(wrong)?, sender })
    }

    async fn call(&self, id: &str, body: String) -> Result<(), SinkError> {
        let body = Bytes::from(body);
        let message = Message { id, timestamp_s: now_ms() / 1_000, content_type: CONTENT_TYPE, body: &body };
        match self.sender.send(&self.target, &self.keys, message).await {
            Ok(_) => Ok(()),
            Err(failure) => Err(judge(&failure)),
        }
    }
}

/// Only what is wrong about the items themselves is a refusal: a login that is not valid or a path that is not there is
/// mended by somebody, and nothing is thrown away meanwhile.
fn judge(failure: &Failure) -> SinkError {
    let text = match failure {
        Failure::Refused { excerpt, .. } if !excerpt.is_empty() => format!("{failure}: {excerpt}"),
        _ => failure.to_string(),
    };
    let refused = match failure {
        Failure::Message(_) => true,
        Failure::Refused { status, .. } => {
            matches!(status, 400 | 406 | 409 | 411..=418 | 421..=424 | 426 | 431)
        }
        _ => false,
    };
    let error = if refused { SinkError::refused(text) } else { SinkError::unavailable(text) };
    SinkError { after: failure.retry_after_s().map(Duration::from_secs), ..error }
}

/// The same items have the same id.
fn id_of(items: &[Item]) -> String {
    let mut hash = Sha256::new();
    for item in items {
        hash.update(item.id.as_bytes());
        hash.update([0]);
    }
    let hash = hash.finalize();
    hash.iter().take(16).fold(String::from("feed-"), |text, byte| format!("{text}{byte:02x}"))
}

/// Bodies that are not too large: how many items are in each, and the text.
fn bodies(items: &[Item]) -> Vec<(usize, String)> {
    let mut bodies: Vec<(usize, String)> = Vec::new();
    for item in items {
        let text = item.to_json();
        match bodies.last_mut() {
            Some((count, body)) if body.len() + text.len() + 2 <= limits::BODY_BYTES_MAX => {
                body.push(',');
                body.push_str(&text);
                *count += 1;
            }
            _ => bodies.push((1, format!("[{text}"))),
        }
    }
    bodies.iter_mut().for_each(|(_, body)| body.push(']'));
    bodies
}

#[async_trait]
impl Sink for Webhook {
    async fn send(&mut self, items: &[Item]) -> Result<(), SinkError> {
        let mut rest = items;
        for (count, body) in bodies(items) {
            let (these, others) = rest.split_at(count);
            self.call(&id_of(these), body).await?;
            rest = others;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Channel;

    fn item(n: usize, bytes: usize) -> Item {
        Item {
            id: format!("i{n}"),
            channel: Channel::Events,
            kind: "k".into(),
            source: "s".into(),
            subject: "x".into(),
            time: "t".into(),
            had_ms: 0,
            data: format!("\"{}\"", "a".repeat(bytes)),
        }
    }

    #[test]
    fn bodies_are_arrays_within_the_bound() {
        let items: Vec<Item> = (0..50).map(|n| item(n, 20_000)).collect();
        let bodies = bodies(&items);
        assert!(bodies.len() > 3 && bodies.iter().map(|(count, _)| count).sum::<usize>() == 50);
        for (count, body) in &bodies {
            let read: Vec<serde_json::Value> = serde_json::from_str(body).expect("an array");
            assert!(read.len() == *count && body.len() <= limits::BODY_BYTES_MAX);
        }
    }

    #[test]
    fn only_what_is_wrong_about_the_items_is_a_refusal() {
        let refused =
            |status| judge(&Failure::Refused { status, retry_after_s: None, excerpt: String::new() }).refused;
        for (status, expected) in [
            (400, true),
            (413, true),
            (422, true),
            (401, false),
            (403, false),
            (404, false),
            (429, false),
            (503, false),
        ] {
            assert_eq!(refused(status), expected, "{status}");
        }
        assert!(!judge(&Failure::Redirect { status: 302 }).refused);
    }

    #[test]
    fn the_same_items_have_the_same_id() {
        let two = [item(1, 1), item(2, 9)];
        assert_eq!(id_of(&two), id_of(&[item(1, 5), item(2, 0)]));
        assert_ne!(id_of(&two), id_of(&two[..1]));
    }
}
