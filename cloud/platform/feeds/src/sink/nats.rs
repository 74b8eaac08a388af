//! NATS JetStream, with `Nats-Msg-Id`, so that the server drops what it has already.
//!
//! A connection that ends is not taken up again by the client: it would go on with later messages and leave out those that
//! were on their way. The batch is sent again on a new one, from its first message.

use std::time::Duration;

use async_nats::jetstream::{self, context::PublishErrorKind, message::PublishMessage, stream};
use async_nats::{Client, ConnectOptions, Event, HeaderMap};
use async_trait::async_trait;
use remuda_webhooks::AddressRules;
use tokio::sync::watch;
use url::Url;

use super::{Sink, SinkError};
use crate::address;
use crate::item::Item;
use crate::limits;
use crate::spec::Secret;

/// Longer than anybody waits for an answer: until then the connection was given up.
const NEVER: Duration = Duration::from_secs(120);
/// How long the server may take to confirm a message.
const ACK_WITHIN: Duration = Duration::from_secs(10);

/// Where and how.
pub(super) struct NatsSettings {
    pub url: Url,
    pub login: Option<(String, Secret)>,
    pub subject_prefix: String,
    pub stream: String,
    pub client: String,
}

struct Connection {
    jetstream: jetstream::Context,
    /// Turns true when it ended.
    ended: watch::Receiver<bool>,
    _client: Client,
}

/// One JetStream.
pub(super) struct Nats {
    settings: NatsSettings,
    rules: AddressRules,
    connection: Option<Connection>,
}

impl Nats {
    pub const fn new(settings: NatsSettings, rules: AddressRules) -> Self {
        Self { settings, rules, connection: None }
    }

    async fn connect(&self) -> Result<Connection, SinkError> {
        let NatsSettings { url, login, stream, subject_prefix, client } = &self.settings;
        address::checked(url, 4222, &self.rules).await?;
        let (told, ended) = watch::channel(false);
        let (up, was_up) = watch::channel(false);
        let mut options = ConnectOptions::new()
            .name(client)
            .connection_timeout(limits::CONNECT_WITHIN)
            .client_capacity(limits::BATCH_ITEMS_MAX)
            // Others that the server names were not checked.
            .ignore_discovered_servers()
            .reconnect_delay_callback(move |_| if *was_up.borrow() { NEVER } else { Duration::ZERO })
            .event_callback(move |event| {
                if matches!(event, Event::Disconnected | Event::Closed) {
                    told.send_replace(true);
                }
                async {}
            });
        if let Some((username, password)) = login {
            options = options.user_and_password(username.clone(), password.0.clone());
        }
        if url.scheme() == "tls" {
            let tls = address::tls()?;
            options = options.require_tls(true).tls_client_config((*tls).clone());
        }
        let away =
            |e: async_nats::ConnectError| SinkError::unavailable(format!("cannot connect to {url}: {e}"));
        let client = options.connect(url.as_str()).await.map_err(away)?;
        up.send_replace(true);
        let jetstream = jetstream::ContextBuilder::new()
            .timeout(ACK_WITHIN)
            .ack_timeout(ACK_WITHIN)
            .max_ack_inflight(limits::BATCH_ITEMS_MAX)
            .backpressure_on_inflight(true)
            .build(client.clone());
        if !stream.is_empty() {
            let wanted = stream::Config {
                name: stream.clone(),
                subjects: vec![format!("{subject_prefix}.>")],
                ..stream::Config::default()
            };
            let made = jetstream.get_or_create_stream(wanted).await;
            made.map_err(|e| SinkError::unavailable(format!("the stream {stream} cannot be made: {e}")))?;
        }
        Ok(Connection { jetstream, ended, _client: client })
    }

    async fn publish(&self, connection: &Connection, items: &[Item]) -> Result<(), SinkError> {
        let prefix = &self.settings.subject_prefix;
        let mut waiting = Vec::with_capacity(items.len());
        for (n, item) in items.iter().enumerate() {
            let subject = format!("{prefix}.{}.{}", item.channel.as_str(), item.subject_part());
            let mut headers = HeaderMap::new();
            headers.insert("Content-Type", "application/cloudevents+json");
            let message =
                PublishMessage::build().headers(headers).message_id(&item.id).payload(item.to_json().into());
            let sent = connection.jetstream.send_publish(subject, message).await;
            let answer = sent.map_err(|e| judge(&e, prefix))?;
            if n == 0 {
                // A stream that appears while a batch is sent must not begin with the batch's middle.
                answer.await.map_err(|e| judge(&e, prefix))?;
            } else {
                waiting.push(answer);
            }
        }
        for answer in waiting {
            answer.await.map_err(|e| judge(&e, prefix))?;
        }
        Ok(())
    }
}

fn judge(error: &jetstream::context::PublishError, prefix: &str) -> SinkError {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => SinkError::refused(error.to_string()),
        PublishErrorKind::StreamNotFound => SinkError::unavailable(format!(
            "no stream of the server takes {prefix}.>; make one, or name one with --stream and it is made"
        )),
        _ => SinkError::unavailable(error.to_string()),
    }
}

#[async_trait]
impl Sink for Nats {
    async fn send(&mut self, items: &[Item]) -> Result<(), SinkError> {
        // Taken out: whatever ends this call early, the connection is not used again.
        let connection = match self.connection.take().filter(|connection| !*connection.ended.borrow()) {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let mut ended = connection.ended.clone();
        tokio::select! {
            sent = self.publish(&connection, items) => sent?,
            _ = ended.wait_for(|ended| *ended) => {
                return Err(SinkError::unavailable("the server closed the connection"));
            }
        }
        self.connection = Some(connection);
        Ok(())
    }
}
