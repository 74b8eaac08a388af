//! What was decided about vehicles' identities: the lines of the register.

use remuda_model::{OrganizationId, VehicleId};
use serde::{Deserialize, Serialize};

use crate::certificate::Serial;
use crate::token::TokenHash;

/// Who decided, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Such as `console` or `command line`; free text, at most 200 bytes.
    pub by: String,
    /// When, Unix ms.
    pub at_ms: i64,
}

/// One line of the register. Append only: a variant never changes its meaning, fields are only added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Decision {
    /// A vehicle exists.
    VehicleCreated {
        /// Which.
        vehicle: VehicleId,
        /// Whose.
        organization: OrganizationId,
        /// For people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        display_name: Option<String>,
        /// Who said so.
        #[serde(flatten)]
        who: Who,
    },
    /// A token was handed out; those before it are void.
    TokenMade {
        /// For whom.
        vehicle: VehicleId,
        /// SHA-256 of its secret.
        hash: TokenHash,
        /// When it ends, Unix ms.
        expires_ms: i64,
        /// Who asked for it.
        #[serde(flatten)]
        who: Who,
    },
    /// A token was used: the vehicle has a certificate, and is admitted again if it was revoked.
    Enrolled {
        /// Who.
        vehicle: VehicleId,
        /// The token.
        hash: TokenHash,
        /// SHA-256 of the public key.
        key: TokenHash,
        /// The certificate.
        serial: Serial,
        /// When it ends, Unix ms.
        not_after_ms: i64,
        /// When, Unix ms.
        at_ms: i64,
    },
    /// A vehicle got a further certificate.
    Renewed {
        /// Who.
        vehicle: VehicleId,
        /// The certificate.
        serial: Serial,
        /// When it ends, Unix ms.
        not_after_ms: i64,
        /// When, Unix ms.
        at_ms: i64,
    },
    /// A vehicle is refused, with every certificate and token that it has.
    VehicleRevoked {
        /// Which.
        vehicle: VehicleId,
        /// Why, for people.
        reason: String,
        /// Who said so.
        #[serde(flatten)]
        who: Who,
    },
}
