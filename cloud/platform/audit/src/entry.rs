//! What stands in the log.

use serde::{Deserialize, Serialize};

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// It is about to be carried out. Written, and synced, before it is.
    Begun,
    /// It was carried out, or refused: the name of the gRPC status, `OK` among them.
    Ended {
        /// Number of the entry that says that it began.
        begun: u64,
        /// Such as `OK` or `FAILED_PRECONDITION`.
        status: String,
    },
    /// It was not let through: the caller lacks the permission.
    Denied {
        /// What is missing.
        permission: String,
    },
}

/// What somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct What {
    /// Who: the principal's subject.
    pub who: String,
    /// From where: address and port of the connection.
    pub from: String,
    /// How they proved who they are.
    pub via: String,
    /// The method, `/{package}.{service}/{method}`.
    pub method: String,
    /// The request's own `reason`, where it has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What the request names: its `name` or `parent`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// The request as JSON, without what is secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// From 1, without gaps.
    pub number: u64,
    /// ms since 1970 UTC.
    pub time_ms: i64,
    /// What was done.
    #[serde(flatten)]
    pub what: What,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
}
