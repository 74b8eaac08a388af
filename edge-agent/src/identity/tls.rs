//! The TLS settings of a vehicle's connections: TLS 1.3, its certificate, whom it trusts, at what time.

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue, WebPkiServerVerifier,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{
    CertificateError as TlsCertificateError, ClientConfig, DigitallySignedStruct, NamedGroup, OtherError,
    RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};

use super::certificate::{self, CertificateError, Validity};
use super::folder::Identity;

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

/// Why an identity cannot be used: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Its certificate.
    #[error("this vehicle's certificate cannot be used: {0}; enrol again with remuda-agent enroll")]
    Certificate(#[from] CertificateError),
    /// Its key.
    #[error("this vehicle's key cannot be used: {0}; enrol again with remuda-agent enroll")]
    Key(String),
    /// Whom it trusts.
    #[error(
        "the certificates that this vehicle trusts cannot be used: {0}; enrol again with remuda-agent enroll"
    )]
    Trust(String),
}

/// Whose servers a vehicle talks to. Shared by the vehicles of a simulator.
#[derive(Debug, Clone)]
pub struct TrustAnchors(Arc<dyn ServerCertVerifier>);

impl TrustAnchors {
    /// From certificates in PEM.
    pub fn from_pem(pem: &str) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        for root in certificate::chain(pem).map_err(|e| IdentityError::Trust(e.to_string()))? {
            roots.add(root).map_err(|e| IdentityError::Trust(e.to_string()))?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&PROVIDER));
        Ok(Self(verifier.build().map_err(|e| IdentityError::Trust(e.to_string()))?))
    }

    /// The one CA whose certificate has this SHA-256; a server must send that certificate with its chain.
    pub(super) fn pinned(ca_sha256: [u8; 32]) -> Self {
        Self(Arc::new(PinnedCa { ca_sha256 }))
    }

    /// A client without a certificate.
    pub(super) fn anonymous(&self) -> Arc<ClientConfig> {
        Arc::new(self.builder(0).with_no_client_auth())
    }

    fn builder(
        &self,
        clock_floor: i64,
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let clock = Arc::new(FlooredClock(u64::try_from(clock_floor).unwrap_or(0)));
        ClientConfig::builder_with_details(Arc::clone(&PROVIDER), clock)
            .with_protocol_versions(&[&TLS13])
            // The provider has the suites of TLS 1.3: a test would not get this far without.
            .expect("aws-lc-rs speaks TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&self.0))
    }
}

/// A vehicle's certificate and key as its connections use them. A renewed one serves from the next connection on.
pub struct Credentials {
    present: RwLock<(Arc<ClientConfig>, Validity)>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("validity", &self.validity()).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Those of an identity, with its own trust anchors.
    pub fn new(identity: &Identity) -> Result<Self, IdentityError> {
        Self::trusting(identity, &TrustAnchors::from_pem(&identity.trust_pem)?)
    }

    /// Those of an identity, with trust anchors that others share.
    pub fn trusting(identity: &Identity, anchors: &TrustAnchors) -> Result<Self, IdentityError> {
        Ok(Self { present: RwLock::new(build(identity, anchors)?) })
    }

    /// Takes a renewed identity over.
    pub fn replace(&self, identity: &Identity) -> Result<(), IdentityError> {
        let built = build(identity, &TrustAnchors::from_pem(&identity.trust_pem)?)?;
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = built;
        Ok(())
    }

    /// For the next connection.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.present.read().unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Of the present certificate.
    pub fn validity(&self) -> Validity {
        self.present.read().unwrap_or_else(PoisonError::into_inner).1
    }
}

fn build(
    identity: &Identity,
    anchors: &TrustAnchors,
) -> Result<(Arc<ClientConfig>, Validity), IdentityError> {
    let validity = identity.validity()?;
    let chain = certificate::chain(&identity.certificate_pem)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())
        .map_err(|e| IdentityError::Key(e.to_string()))?;
    let mut config = anchors
        .builder(validity.not_before)
        .with_client_auth_cert(chain, key)
        .map_err(|e| IdentityError::Key(e.to_string()))?;
    config.resumption = Resumption::store(Arc::new(LastTicket::default()));
    Ok((Arc::new(config), validity))
}

/// A clock that cannot say a time before the vehicle's own certificate began: one without a battery wakes up in 1970,
/// and would find every server's certificate not valid yet.
#[derive(Debug)]
struct FlooredClock(u64);

impl TimeProvider for FlooredClock {
    fn current_time(&self) -> Option<UnixTime> {
        let floor = UnixTime::since_unix_epoch(Duration::from_secs(self.0));
        Some(UnixTime::now().max(floor))
    }
}

/// Seconds since 1970 UTC, by the vehicle's clock, and never before `floor`.
pub(super) fn now(floor: i64) -> i64 {
    i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX).max(floor)
}

/// One ticket: a vehicle has one door. The library's own store keeps eight a server.
#[derive(Debug, Default)]
struct LastTicket(Mutex<Option<Tls13ClientSessionValue>>);

impl ClientSessionStore for LastTicket {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'_>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'_>) -> Option<Tls13ClientSessionValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The server's chain does not have the CA that the token names.
#[derive(Debug, thiserror::Error)]
#[error("the server's chain does not end in the CA that the token names")]
pub(super) struct OtherCa;

/// Trusts one CA, of which only the fingerprint is known; names, validity and purpose are checked as usual.
#[derive(Debug)]
struct PinnedCa {
    ca_sha256: [u8; 32],
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let ca = intermediates.iter().find(|der| Sha256::digest(der).as_slice() == self.ca_sha256);
        let ca = ca.ok_or_else(|| TlsCertificateError::Other(OtherError(Arc::new(OtherCa))))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&PROVIDER));
        let verifier = verifier.build().map_err(|e| rustls::Error::General(e.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &PROVIDER.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}
