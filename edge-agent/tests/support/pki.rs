//! A certificate authority for tests, with certificates that the product would not issue.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, PublicKeyData,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};

/// Seconds from now: from when to when a certificate is valid.
pub type Span = (i64, i64);
/// A day around now.
pub const TODAY: Span = (-3_600, 86_400);

/// A root.
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    pub root: CertificateDer<'static>,
    pub root_pem: String,
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn time(seconds: i64) -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc() + time::Duration::seconds(seconds)
}

fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key")
}

impl Pki {
    pub fn new() -> Self {
        let key = key();
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a test");
        let root = params.self_signed(&key).expect("signed");
        let (der, root_pem) = (root.der().clone(), root.pem());
        Self { issuer: Issuer::new(params, key), root: der, root_pem }
    }

    /// A token for a vehicle, with this root's fingerprint.
    pub fn token(&self, vehicle: &str, secret: u8) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        format!("remuda1.{vehicle}.{}.{}", hex(&Sha256::digest(&self.root)), hex(&[secret; 32]))
    }

    /// A vehicle's certificate, PEM, for the key of a request.
    pub fn issue(&self, csr_pem: &str, vehicle: &str, span: Span) -> String {
        let request = CertificateSigningRequestParams::from_pem(csr_pem).expect("a request");
        self.sign(&request.public_key, vehicle, span)
    }

    /// The same for any key.
    pub fn sign(&self, key: &impl PublicKeyData, vehicle: &str, span: Span) -> String {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, vehicle);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (time(span.0), time(span.1));
        params.signed_by(key, &self.issuer).expect("signed").pem()
    }

    fn server_chain(
        &self,
        names: &[&str],
        span: Span,
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = key();
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (params.not_before, params.not_after) = (time(span.0), time(span.1));
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("a key");
        (vec![certificate.der().clone(), self.root.clone()], key)
    }

    /// A server that asks for a vehicle's certificate; `required`, or else optional.
    pub fn server(&self, names: &[&str], span: Span, required: bool) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("a root");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
        let (chain, key) = self.server_chain(names, span);
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_client_cert_verifier(verifier.build().expect("a verifier"))
            .with_single_cert(chain, key)
            .expect("a certificate");
        Arc::new(config)
    }
}
