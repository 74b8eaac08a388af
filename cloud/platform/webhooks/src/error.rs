//! What can go wrong.

/// A setting or a target that cannot be used. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// Not a URL we call.
    #[error("{url:?} cannot be a webhook's address: {reason}")]
    Target {
        /// What was given, shortened.
        url: String,
        /// Why, and what to write instead.
        reason: &'static str,
    },
    /// Not a secret. It is not shown.
    #[error("a webhook's secret cannot be used: {reason}")]
    Secret {
        /// Why, and what to write instead.
        reason: &'static str,
    },
    /// No certificate authority of the system could be read.
    #[error("the system's certificate authorities cannot be read: {reason}; install ca-certificates")]
    Roots {
        /// Why.
        reason: String,
    },
}

/// Why one attempt did not deliver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The message itself cannot be sent.
    #[error("the message cannot be sent: {0}")]
    Message(&'static str),
    /// The name cannot be resolved.
    #[error("{host} cannot be resolved: {reason}")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        reason: String,
    },
    /// The name leads to an address that must not be reached.
    #[error("{host} leads to {address}, which is {kind}; allow its network in the settings if that is meant")]
    Forbidden {
        /// The name.
        host: String,
        /// Where it leads.
        address: std::net::IpAddr,
        /// What kind of address that is.
        kind: &'static str,
    },
    /// No connection.
    #[error("cannot connect to {host}: {reason}")]
    Connect {
        /// The name.
        host: String,
        /// Why.
        reason: String,
    },
    /// Connected, but no whole answer.
    #[error("{host} did not answer: {reason}")]
    Exchange {
        /// The name.
        host: String,
        /// Why.
        reason: String,
    },
    /// Not within the time of an attempt.
    #[error("no answer within {seconds} s")]
    Timeout {
        /// The bound.
        seconds: u64,
    },
    /// A redirect, which is never followed: its target is not the one that was checked.
    #[error("answered {status}, a redirect; redirects are not followed: register the final address")]
    Redirect {
        /// HTTP status.
        status: u16,
    },
    /// An answer that is not 2xx.
    #[error("answered {status}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// How long the receiver asks us to wait, s.
        retry_after_s: Option<u64>,
        /// The beginning of its answer, printable characters only.
        excerpt: String,
    },
}

impl Failure {
    /// Would the same message have a chance later?
    pub fn is_worth_a_retry(&self) -> bool {
        match self {
            Self::Message(_) | Self::Forbidden { .. } | Self::Redirect { .. } => false,
            Self::Resolve { .. } | Self::Connect { .. } | Self::Exchange { .. } | Self::Timeout { .. } => {
                true
            }
            // Too early, too many and time-outs pass; a 4xx of another kind says that the message is not
            // wanted.
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
        }
    }

    /// How long the receiver asks us to wait, s.
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Refused { retry_after_s, .. } => *retry_after_s,
            _ => None,
        }
    }

    /// A stable name of the kind, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Message(_) => "message",
            Self::Resolve { .. } => "resolve",
            Self::Forbidden { .. } => "forbidden",
            Self::Connect { .. } => "connect",
            Self::Exchange { .. } => "exchange",
            Self::Timeout { .. } => "timeout",
            Self::Redirect { .. } => "redirect",
            Self::Refused { .. } => "refused",
        }
    }
}
