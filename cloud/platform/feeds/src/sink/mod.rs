//! Where items go.

mod mqtt;
mod nats;
mod webhook;

use std::time::Duration;

use async_trait::async_trait;
use remuda_webhooks::Sender;

use crate::error::FeedError;
use crate::item::Item;
use crate::limits;
use crate::spec::SinkSpec;

/// Why a batch was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct SinkError {
    /// For people.
    pub text: String,
    /// The other side says no to these items: asking again will not help for ever. Otherwise it is away, slow, or
    /// somebody must change a setting, and everything waits.
    pub refused: bool,
    /// How long it asks to be left alone.
    pub after: Option<Duration>,
}

impl SinkError {
    fn cut(text: impl Into<String>) -> String {
        let mut text: String = text.into();
        if text.len() > limits::ERROR_TEXT_MAX {
            let end = (0..=limits::ERROR_TEXT_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
        }
        text
    }

    /// It is away.
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self { text: Self::cut(text), refused: false, after: None }
    }

    /// It says no.
    pub fn refused(text: impl Into<String>) -> Self {
        Self { text: Self::cut(text), refused: true, after: None }
    }
}

/// Takes batches, one at a time, in order.
#[async_trait]
pub trait Sink: Send {
    /// Answers when the other side has confirmed every item. After an error, or when it was dropped, any of them may have
    /// arrived, but none without those before it: so the same batch again keeps the order.
    ///
    /// # Errors
    /// [`SinkError`].
    async fn send(&mut self, items: &[Item]) -> Result<(), SinkError>;
}

/// The sink of a description. It connects when it is first used.
///
/// # Errors
/// When an address or a secret cannot be used.
pub fn sink_of(
    spec: &SinkSpec,
    name: &str,
    sender: &Sender,
    rules: &remuda_webhooks::AddressRules,
) -> Result<Box<dyn Sink>, FeedError> {
    let unreadable = |e: url::ParseError| FeedError::setting("sink", e.to_string());
    Ok(match spec {
        SinkSpec::Webhook { url, secrets } => {
            Box::new(webhook::Webhook::new(url, secrets, sender.clone(), rules)?)
        }
        SinkSpec::Nats { url, username, password, subject_prefix, stream } => Box::new(nats::Nats::new(
            nats::NatsSettings {
                url: url.parse().map_err(unreadable)?,
                login: (!username.is_empty()).then(|| (username.clone(), password.clone())),
                subject_prefix: subject_prefix.clone(),
                stream: stream.clone(),
                client: format!("remuda-feed-{name}"),
            },
            rules.clone(),
        )),
        SinkSpec::Mqtt { url, username, password, topic_prefix } => Box::new(mqtt::Mqtt::new(
            mqtt::MqttSettings {
                url: url.parse().map_err(unreadable)?,
                login: (!username.is_empty()).then(|| (username.clone(), password.clone())),
                topic_prefix: topic_prefix.clone(),
                client: format!("remuda-feed-{name}"),
            },
            rules.clone(),
        )),
    })
}
