//! What a vehicle must know of a certificate: whose it is, for which key, and until when.

use remuda_model::VehicleId;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

/// From when to when a certificate is valid, s since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: i64,
    /// Last second.
    pub not_after: i64,
}

impl Validity {
    /// When two thirds of it are over: time to renew, s since 1970 UTC.
    pub fn renew_at(&self) -> i64 {
        self.not_after - (self.not_after - self.not_before) / 3
    }

    /// Seconds from `now` to the end; 0 and less: it has expired.
    pub fn left(&self, now: i64) -> i64 {
        self.not_after.saturating_sub(now)
    }
}

/// Why a certificate cannot be a vehicle's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// No certificate in PEM.
    #[error("there is no certificate in it")]
    Unreadable,
    /// It was made for another key.
    #[error("it is for another key")]
    OtherKey,
    /// It was made for another vehicle.
    #[error("it is for {0}")]
    OtherVehicle(String),
}

/// Certificates in PEM text, in its order; at least one.
pub(super) fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or(CertificateError::Unreadable)
}

/// Checks that a certificate is for this vehicle and this key; answers its validity.
pub(super) fn check(
    leaf: &CertificateDer<'_>,
    vehicle: VehicleId,
    public_key: &[u8],
) -> Result<Validity, CertificateError> {
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::Unreadable)?;
    if certificate.public_key().raw != public_key {
        return Err(CertificateError::OtherKey);
    }
    let mut names = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let name = names.next().unwrap_or("nobody");
    if name != vehicle.as_str() || names.next().is_some() {
        return Err(CertificateError::OtherVehicle(name.chars().take(64).collect()));
    }
    let validity = certificate.validity();
    Ok(Validity { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() })
}
