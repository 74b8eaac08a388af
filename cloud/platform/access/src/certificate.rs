//! Client certificates: what they say of their holder, and which account that is.

use std::fmt;
use std::str::FromStr;

use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::limits;
use crate::principal::Grant;

/// A name in a certificate, by which an account is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CertificateName {
    /// The subject's common name, where it is the only one.
    CommonName(String),
    /// A subject alternative name that is a URI, such as a SPIFFE id.
    Uri(String),
    /// A subject alternative name that is a host's; lower case.
    Dns(String),
    /// A subject alternative name that is an e-mail address.
    Email(String),
}

/// Why a text names no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no name in a certificate; write cn:NAME, uri:URI, dns:HOST or email:ADDRESS, such as uri:spiffe://example.com/ci"
)]
pub struct CertificateNameError(String);

impl FromStr for CertificateName {
    type Err = CertificateNameError;

    fn from_str(text: &str) -> Result<Self, CertificateNameError> {
        let wrong = || CertificateNameError(text.to_owned());
        let (kind, name) = text.split_once(':').ok_or_else(wrong)?;
        if name.is_empty() || name.len() > limits::CERTIFICATE_NAME_BYTES_MAX {
            return Err(wrong());
        }
        match kind {
            "cn" => Ok(Self::CommonName(name.to_owned())),
            "uri" => Ok(Self::Uri(name.to_owned())),
            "dns" => Ok(Self::Dns(name.to_ascii_lowercase())),
            "email" => Ok(Self::Email(name.to_owned())),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommonName(name) => write!(f, "cn:{name}"),
            Self::Uri(name) => write!(f, "uri:{name}"),
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Email(name) => write!(f, "email:{name}"),
        }
    }
}

/// An account that is known by certificates.
#[derive(Debug, Clone)]
pub struct CertifiedAccount {
    /// Its name, as of an account with a token; one account may have both.
    pub name: String,
    /// Its certificates have one of these names.
    pub certificates: Vec<CertificateName>,
    /// What it may do.
    pub grants: Vec<Grant>,
}

/// Why a certificate opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefusal {
    /// No account has one of its names.
    #[error(
        "no account has a name of this client certificate; ask your administrator to add one, or send a token"
    )]
    Unknown,
    /// Its names belong to several accounts.
    #[error("the names in this client certificate belong to more than one account; use another certificate")]
    Ambiguous,
    /// Its time is over.
    #[error("the client certificate has expired; get a new one")]
    Expired,
    /// Its authority took it back.
    #[error("the client certificate was revoked; get a new one")]
    Revoked,
    /// It was believed once, and is not any more.
    #[error("the client certificate is not of an authority that is trusted here; get another one")]
    Foreign,
}

/// What a client certificate says. Whether it may be believed is the TLS library's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    names: Vec<CertificateName>,
    not_after_s: i64,
}

impl ClientCertificate {
    /// Reads one; none when it cannot be read, or has more than [`limits::CERTIFICATE_NAMES_MAX`] names.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let Ok(([], certificate)) = X509Certificate::from_der(certificate) else { return None };
        let mut names = Vec::new();
        // Of several common names nobody knows which is meant.
        let mut common = certificate.subject().iter_common_name();
        if let (Some(name), None) = (common.next(), common.next()) {
            names.extend(name.as_str().ok().map(|name| CertificateName::CommonName(name.to_owned())));
        }
        let alternative = certificate.subject_alternative_name().ok()?;
        let alternative = alternative.map(|extension| &extension.value.general_names[..]).unwrap_or_default();
        names.extend(alternative.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(CertificateName::Uri((*uri).to_owned())),
            GeneralName::DNSName(host) => Some(CertificateName::Dns(host.to_ascii_lowercase())),
            GeneralName::RFC822Name(address) => Some(CertificateName::Email((*address).to_owned())),
            _ => None,
        }));
        let not_after_s = certificate.validity().not_after.timestamp();
        (names.len() <= limits::CERTIFICATE_NAMES_MAX).then_some(Self { names, not_after_s })
    }

    /// Its names.
    pub fn names(&self) -> &[CertificateName] {
        &self.names
    }

    /// Whether its time is over.
    pub fn expired(&self, now: UnixTime) -> bool {
        i64::try_from(now.as_secs()).is_ok_and(|now_s| now_s > self.not_after_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for text in ["cn:night-shift", "uri:spiffe://example.com/ci", "dns:ci.example.com", "email:a@b.c"] {
            assert_eq!(text.parse::<CertificateName>().unwrap().to_string(), text);
        }
        assert_eq!("dns:CI.Example".parse(), Ok(CertificateName::Dns("ci.example".into())));
        let long = format!("cn:{}", "x".repeat(limits::CERTIFICATE_NAME_BYTES_MAX + 1));
        for wrong in ["", "night-shift", "cn:", "ip:10.0.0.1", "CN=x", &long] {
            let error = wrong.parse::<CertificateName>().unwrap_err().to_string();
            assert!(error.contains("cn:NAME"), "{error}");
        }
    }

    #[test]
    fn bytes_that_are_no_certificate_say_nothing() {
        for bytes in [&b""[..], b"certificate", &[0x30, 0x80, 0, 0]] {
            assert_eq!(ClientCertificate::read(&CertificateDer::from(bytes)), None);
        }
    }
}
