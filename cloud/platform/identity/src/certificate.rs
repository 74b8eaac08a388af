//! What a certificate says about its holder.

use std::fmt;

use remuda_model::{OrganizationId, VehicleId};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::x509::AttributeTypeAndValue;

/// A vehicle, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VehicleIdentity {
    /// Whose it is.
    pub organization: OrganizationId,
    /// Which it is.
    pub vehicle: VehicleId,
}

impl VehicleIdentity {
    /// The URI in the certificate's subject alternative name.
    pub fn uri(&self) -> String {
        format!("remuda://{}/vehicles/{}", self.organization, self.vehicle)
    }

    fn from_uri(uri: &str) -> Option<Self> {
        let (organization, vehicle) = uri.strip_prefix("remuda://")?.split_once("/vehicles/")?;
        Some(Self {
            organization: OrganizationId::new(organization).ok()?,
            vehicle: VehicleId::new(vehicle).ok()?,
        })
    }
}

/// A certificate's serial number: at most 20 bytes, without leading zeros; written in hex.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Serial(Box<[u8]>);

impl Serial {
    /// From the bytes of a certificate.
    pub fn new(bytes: &[u8]) -> Self {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Self(bytes[zeros..].into())
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Serial> for String {
    fn from(serial: Serial) -> Self {
        serial.to_string()
    }
}

impl TryFrom<String> for Serial {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        crate::token::bytes_of_hex(&text).map(|bytes| Self::new(&bytes)).ok_or("a serial number is hex")
    }
}

/// What the door needs of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// Whose certificate it is.
    pub identity: VehicleIdentity,
    /// Which certificate it is.
    pub serial: Serial,
    /// When it ends, Unix ms.
    pub not_after_ms: i64,
}

/// Why a certificate names no vehicle. The codes are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefusal {
    /// Not an X.509 v3 certificate.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// No common name.
    #[error("the certificate has no common name (CN)")]
    NoCommonName,
    /// More than one common name.
    #[error("the certificate has more than one common name (CN)")]
    TwoCommonNames,
    /// No organization name.
    #[error("the certificate has no organization (O)")]
    NoOrganization,
    /// More than one organization name.
    #[error("the certificate has more than one organization (O)")]
    TwoOrganizations,
    /// A name that is not a vehicle's id.
    #[error("a name in the certificate is not a vehicle id (1 to 48 letters and digits)")]
    OddName,
    /// No URI of ours.
    #[error("the certificate has no subject alternative name such as remuda://default/vehicles/VAN1")]
    NoUri,
    /// More names than the one URI.
    #[error("the certificate has more than the one subject alternative name of its vehicle")]
    TwoUris,
    /// A subject alternative name of another kind or form.
    #[error("the certificate's subject alternative name is not of the form remuda://default/vehicles/VAN1")]
    OddUri,
    /// CN, O and URI do not name the same vehicle.
    #[error("the names in the certificate do not agree")]
    Disagree,
    /// A certificate of an authority, or of a server only.
    #[error("the certificate is not one for clients")]
    NotForClients,
}

impl CertificateRefusal {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unreadable => "certificate_unreadable",
            Self::NoCommonName => "certificate_no_cn",
            Self::TwoCommonNames => "certificate_two_cn",
            Self::NoOrganization => "certificate_no_o",
            Self::TwoOrganizations => "certificate_two_o",
            Self::OddName => "certificate_odd_name",
            Self::NoUri => "certificate_no_uri",
            Self::TwoUris => "certificate_two_uris",
            Self::OddUri => "certificate_odd_uri",
            Self::Disagree => "certificate_names_disagree",
            Self::NotForClients => "certificate_not_for_clients",
        }
    }
}

/// The vehicle that a certificate names: exactly one CN and one O, both the vehicle's id, and exactly one subject
/// alternative name, the URI `remuda://{organization}/vehicles/{vehicle}`. Whether its chain and its times hold is the
/// TLS library's business.
///
/// # Errors
/// Whatever is missing, twice, odd or in disagreement.
pub fn vehicle_of(certificate: &CertificateDer<'_>) -> Result<Certified, CertificateRefusal> {
    use CertificateRefusal as No;
    let Ok(([], certificate)) = X509Certificate::from_der(certificate) else { return Err(No::Unreadable) };
    if certificate.is_ca() {
        return Err(No::NotForClients);
    }
    match certificate.extended_key_usage() {
        Err(_) => return Err(No::Unreadable),
        Ok(Some(usage)) if !usage.value.client_auth => return Err(No::NotForClients),
        Ok(_) => {}
    }
    let subject = certificate.subject();
    let common_name = only(subject.iter_common_name(), No::NoCommonName, No::TwoCommonNames)?;
    let organization = only(subject.iter_organization(), No::NoOrganization, No::TwoOrganizations)?;
    let identity = uri_of(&certificate)?;
    if common_name != organization || common_name != identity.vehicle {
        return Err(No::Disagree);
    }
    let not_after_ms = certificate.validity().not_after.timestamp().saturating_mul(1_000);
    Ok(Certified { identity, serial: Serial::new(certificate.raw_serial()), not_after_ms })
}

fn only<'a>(
    mut names: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
    none: CertificateRefusal,
    two: CertificateRefusal,
) -> Result<VehicleId, CertificateRefusal> {
    let name = names.next().ok_or(none)?;
    if names.next().is_some() {
        return Err(two);
    }
    let text = name.as_str().map_err(|_| CertificateRefusal::OddName)?;
    VehicleId::new(text).map_err(|_| CertificateRefusal::OddName)
}

fn uri_of(certificate: &X509Certificate<'_>) -> Result<VehicleIdentity, CertificateRefusal> {
    // Answers an error when the extension is there twice.
    let names = certificate.subject_alternative_name().map_err(|_| CertificateRefusal::TwoUris)?;
    let names = names.map(|extension| &extension.value.general_names[..]).unwrap_or_default();
    match names {
        [] => Err(CertificateRefusal::NoUri),
        [GeneralName::URI(uri)] => VehicleIdentity::from_uri(uri).ok_or(CertificateRefusal::OddUri),
        [_] => Err(CertificateRefusal::OddUri),
        [_, _, ..] => Err(CertificateRefusal::TwoUris),
    }
}

/// The SHA-256 of a certificate's bytes.
pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(certificate).into()
}
