//! Who signs vehicles' certificates.

use std::time::SystemTime;

use crate::certificate::{Serial, VehicleIdentity};

/// A certificate authority as the enrolment port needs it. The embedded one serves one node; a cluster puts another
/// behind this trait.
pub trait Issuer: Send + Sync + 'static {
    /// A certificate for this vehicle and the public key of the request. The request's own names count for nothing.
    /// May take as long as a signature; does no I/O in the embedded authority.
    ///
    /// # Errors
    /// When the request cannot be used, or the authority fails.
    fn issue(
        &self,
        request_der: &[u8],
        identity: &VehicleIdentity,
        now: SystemTime,
    ) -> Result<IssuedCertificate, IssueError>;

    /// The certificates that vehicles trust, and by which they are known: PEM, one or more.
    fn trust_anchors_pem(&self) -> String;
}

/// A certificate, ready to be handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// PEM, the vehicle's certificate first; without the root.
    pub chain_pem: String,
    /// When it ends, Unix ms.
    pub not_after_ms: i64,
    /// Its number.
    pub serial: Serial,
    /// SHA-256 of the public key (its SubjectPublicKeyInfo) that it certifies.
    pub key_sha256: [u8; 32],
}

/// Why no certificate was issued. The codes are stable.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// Not a PKCS#10 request.
    #[error("the certificate request cannot be read; send a PKCS#10 request")]
    Unreadable,
    /// The request's signature does not match its key.
    #[error("the certificate request is not signed by the key it carries")]
    Signature,
    /// A kind of key that vehicles do not have.
    #[error("the certificate request's key is of another kind; use ECDSA P-256 or Ed25519")]
    Key,
    /// The authority failed.
    #[error("the certificate authority failed: {0}")]
    Authority(String),
}

impl IssueError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable => "csr_unreadable",
            Self::Signature => "csr_signature",
            Self::Key => "csr_key",
            Self::Authority(_) => "authority_failed",
        }
    }
}
