//! Who may finish a TLS handshake: a certificate of ours, of a vehicle, that is not refused.

use std::sync::Arc;

use remuda_identity::{Register, RegisterError, vehicle_of};
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

/// The TLS library's checks of chain, times, purpose and signature, then ours.
#[derive(Debug)]
pub(crate) struct VehicleVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    register: Admission,
}

struct Admission(Arc<Register>);

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Admission")
    }
}

/// Our reason, on its way through the TLS library.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(&'static str);

impl VehicleVerifier {
    pub fn new(inner: Arc<dyn ClientCertVerifier>, register: Arc<Register>) -> Self {
        Self { inner, register: Admission(register) }
    }
}

impl ClientCertVerifier for VehicleVerifier {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        let refused = |code| CertificateError::Other(OtherError(Arc::new(Refused(code))));
        let holder = vehicle_of(end_entity).map_err(|no| refused(no.code()))?;
        self.register.0.admits(&holder).map_err(|no| match no {
            // Its own alert, by which a vehicle knows that no retry will help.
            RegisterError::Revoked | RegisterError::CertificateRevoked => CertificateError::Revoked,
            other => refused(other.code()),
        })?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The stable reason why a handshake failed.
pub(crate) fn reason_of(error: &std::io::Error) -> &'static str {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return "tls_gone";
    };
    match error {
        Error::NoCertificatesPresented => "certificate_missing",
        Error::InvalidCertificate(problem) => match problem {
            CertificateError::Revoked => "certificate_revoked",
            CertificateError::UnknownIssuer => "certificate_foreign",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate_expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "certificate_not_yet_valid"
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "certificate_not_for_clients"
            }
            CertificateError::Other(OtherError(other)) => {
                other.downcast_ref::<Refused>().map_or("certificate_bad", |Refused(code)| code)
            }
            _ => "certificate_bad",
        },
        Error::AlertReceived(_) => "tls_alert",
        _ => "tls_failed",
    }
}
