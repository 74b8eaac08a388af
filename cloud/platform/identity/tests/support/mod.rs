//! Keys, requests and certificates of all kinds.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, KeyPair,
    PKCS_ECDSA_P256_SHA256, SanType, SignatureAlgorithm,
};
use remuda_identity::{EmbeddedCa, VehicleIdentity, Who};
use remuda_model::{OrganizationId, VehicleId};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

pub const DAY: Duration = Duration::from_secs(86_400);
pub const DAY_MS: i64 = 86_400_000;
pub const NOW_MS: i64 = 1_800_000_000_000;

pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(NOW_MS as u64)
}

pub fn vehicle(id: &str) -> VehicleId {
    VehicleId::new(id).expect("an id")
}

pub fn identity(id: &str) -> VehicleIdentity {
    VehicleIdentity { organization: OrganizationId::default(), vehicle: vehicle(id) }
}

pub fn who(by: &str) -> Who {
    Who { by: by.into(), at_ms: NOW_MS }
}

pub fn authority(folder: &Path) -> EmbeddedCa {
    EmbeddedCa::open(folder, 90 * DAY, now()).expect("an authority")
}

/// A request with names that must not count.
pub fn request(key: &KeyPair) -> Vec<u8> {
    let mut params = CertificateParams::new(vec!["evil.example".into()]).expect("a name");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "VAN2");
    params.distinguished_name.push(DnType::OrganizationName, "VAN3");
    params.subject_alt_names.push(SanType::URI("remuda://default/vehicles/VAN4".try_into().expect("ascii")));
    params.serialize_request(key).expect("signed").der().to_vec()
}

pub fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).expect("a key")
}

pub fn p256() -> KeyPair {
    key(&PKCS_ECDSA_P256_SHA256)
}

pub fn der_of(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

/// A certificate with these names, signed by itself.
pub fn certificate(names: &[(DnType, DnValue)], alternative: Vec<SanType>) -> CertificateDer<'static> {
    certificate_with(names, alternative, |_| {})
}

pub fn certificate_with(
    names: &[(DnType, DnValue)],
    alternative: Vec<SanType>,
    change: impl FnOnce(&mut CertificateParams),
) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // rcgen keeps one value of a kind; a second one is told by its number.
    for (kind, value) in names {
        params.distinguished_name.push(kind.clone(), value.clone());
    }
    params.subject_alt_names = alternative;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    params.self_signed(&p256()).expect("signed").der().clone()
}
