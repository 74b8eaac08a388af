//! What a feed is: a name, what it tells, and to whom.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::FeedError;
use crate::filter::Filter;
use crate::limits;

/// A text that is never shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "***" })
    }
}

/// Where a new feed begins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// With what comes from now on.
    #[default]
    Now,
    /// With the first that is still there.
    Earliest,
    /// After this cursor.
    After(String),
}

/// To whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SinkSpec {
    /// Signed HTTP calls, each with a batch.
    Webhook {
        /// `https://...`.
        url: String,
        /// `whsec_...`, the newest first, up to three.
        secrets: Vec<Secret>,
    },
    /// NATS JetStream.
    Nats {
        /// `nats://host:port`, or `tls://host:port`.
        url: String,
        /// Name to log in with; empty: none.
        username: String,
        /// Password to it.
        password: Secret,
        /// Subjects are `{prefix}.{events|telemetry}.{id}`.
        subject_prefix: String,
        /// A stream to make if it is not there, which takes `{prefix}.>`; empty: there is one.
        stream: String,
    },
    /// An MQTT broker, QoS 1.
    Mqtt {
        /// `mqtt://host:port`, or `mqtts://host:port`.
        url: String,
        /// Name to log in with; empty: none.
        username: String,
        /// Password to it.
        password: Secret,
        /// Topics are `{prefix}/{events|telemetry}/{id}`.
        topic_prefix: String,
    },
}

/// A feed as it is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedSpec {
    /// 1 to 63 lower-case letters, digits and hyphens.
    pub name: String,
    /// What it tells.
    pub filter: Filter,
    /// To whom.
    pub sink: SinkSpec,
    /// Refusals of a batch before it goes to the dead letters; 0: the usual number.
    pub refusals_max: u32,
}

impl SinkSpec {
    /// A stable name of the kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Nats { .. } => "nats",
            Self::Mqtt { .. } => "mqtt",
        }
    }

    /// Where it goes, without what may be secret.
    pub fn target(&self) -> &str {
        let (Self::Webhook { url, .. } | Self::Nats { url, .. } | Self::Mqtt { url, .. }) = self;
        url.split(['?', '#']).next().unwrap_or_default()
    }

    /// Items in a batch.
    pub(crate) const fn items_max(&self) -> usize {
        match self {
            Self::Webhook { .. } => limits::WEBHOOK_ITEMS_MAX,
            Self::Nats { .. } => limits::BATCH_ITEMS_MAX,
            Self::Mqtt { .. } => limits::MQTT_ITEMS_MAX,
        }
    }

    fn check(&self) -> Result<(), FeedError> {
        let wrong = |problem: &str| Err(FeedError::setting("sink", problem));
        let server = |url: &str, plain: &str, tls: &str| match Url::parse(url) {
            Ok(url) if url.scheme() != plain && url.scheme() != tls => {
                wrong(&format!("the address must begin with {plain}:// or {tls}://"))
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                wrong("the address names a user; give name and password apart, so that they are never shown")
            }
            Ok(url) if url.host_str().is_none_or(str::is_empty) => wrong("the address names no host"),
            Ok(_) => Ok(()),
            Err(error) => wrong(&format!("the address cannot be read: {error}")),
        };
        match self {
            // The sender checks address and secrets, when it is made.
            Self::Webhook { .. } => Ok(()),
            Self::Nats { url, subject_prefix, stream, .. } => {
                server(url, "nats", "tls")?;
                let token = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
                let parts = subject_prefix.split('.');
                if subject_prefix.len() > 200 || !parts.clone().all(|p| !p.is_empty() && p.chars().all(token))
                {
                    return wrong(
                        "subject_prefix: write letters, digits, - and _, with dots between, such as remuda.fleet",
                    );
                }
                if stream.len() > 100 || !stream.chars().all(token) {
                    return wrong("stream: write letters, digits, - and _");
                }
                Ok(())
            }
            Self::Mqtt { url, topic_prefix, .. } => {
                server(url, "mqtt", "mqtts")?;
                let plain = |c: char| !c.is_control() && !"+#$ ".contains(c);
                let whole = !topic_prefix.is_empty()
                    && !topic_prefix.starts_with('/')
                    && !topic_prefix.ends_with('/');
                if !whole || topic_prefix.len() > 200 || !topic_prefix.chars().all(plain) {
                    return wrong("topic_prefix: write a topic without + and #, such as remuda/fleet");
                }
                Ok(())
            }
        }
    }
}

impl FeedSpec {
    /// Checks what can be checked without asking anybody.
    ///
    /// # Errors
    /// A setting and what to write instead.
    pub fn check(&self) -> Result<(), FeedError> {
        let permitted = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.name.is_empty() || self.name.len() > 63 || !self.name.bytes().all(permitted) {
            return Err(FeedError::setting("name", "write 1 to 63 lower-case letters, digits and hyphens"));
        }
        if self.refusals_max > 1_000 {
            return Err(FeedError::setting("refusals_max", "write 1 to 1000, or 0 for the usual number"));
        }
        self.filter.check()?;
        self.sink.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nats(url: &str, subject_prefix: &str) -> FeedSpec {
        FeedSpec {
            name: "to-nats".into(),
            filter: Filter::everything(),
            sink: SinkSpec::Nats {
                url: url.into(),
                username: "u".into(),
                password: Secret("hush".into()),
                subject_prefix: subject_prefix.into(),
                stream: String::new(),
            },
            refusals_max: 0,
        }
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        assert!(nats("nats://example.com:4222", "remuda.fleet").check().is_ok());
        for (url, prefix, told) in [
            ("http://example.com", "a", "nats:// or tls://"),
            ("nats://me:it@example.com", "a", "names a user"),
            ("nats://example.com", "a..b", "subject_prefix"),
            ("nats://example.com", "a.*", "subject_prefix"),
        ] {
            let error = nats(url, prefix).check().expect_err(url).to_string();
            assert!(error.contains(told), "{error}");
        }
        let named = FeedSpec { name: "Not This".into(), ..nats("nats://example.com", "a") };
        assert!(named.check().expect_err("a name").to_string().contains("lower-case"));
    }

    #[test]
    fn secrets_are_never_shown() {
        assert!(!format!("{:?}", nats("nats://example.com", "a")).contains("hush"));
    }
}
