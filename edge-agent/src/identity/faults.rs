//! What went wrong with a TLS connection, in a sentence that says what to do.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

use super::tls::{self, OtherCa};

/// A failed connection: why, and whether it takes a person to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The sentence.
    pub sentence: String,
    /// Trying again will not help.
    pub lasting: bool,
}

/// Says what `error`, or anything that caused it, means for a connection to `peer` (`host:port`).
pub fn explain(error: &(dyn Error + 'static), peer: &str) -> Fault {
    let passing = |sentence: String| Fault { sentence, lasting: false };
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return explain_tls(tls, peer);
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            // What an I/O error wraps is not its source.
            if let Some(tls) = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                return explain_tls(tls, peer);
            }
            match io.kind() {
                io::ErrorKind::ConnectionRefused => return passing(format!("nobody listens on {peer}")),
                io::ErrorKind::TimedOut => return passing(format!("{peer} does not answer")),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                    return passing(format!("{peer} closed the connection"));
                }
                _ => {}
            }
        }
        cause = error.source();
    }
    passing(format!("{peer} cannot be reached: {error}"))
}

fn explain_tls(error: &rustls::Error, peer: &str) -> Fault {
    let lasting = |sentence: String| Fault { sentence, lasting: true };
    match error {
        rustls::Error::InvalidCertificate(invalid) => lasting(explain_certificate(invalid, peer)),
        rustls::Error::AlertReceived(alert) => explain_alert(*alert, peer),
        rustls::Error::InvalidMessage(_) => {
            lasting(format!("{peer} does not speak TLS; check the address and the port"))
        }
        rustls::Error::PeerIncompatible(_) => {
            lasting(format!("{peer} does not speak TLS 1.3; check the address and the port"))
        }
        other => Fault { sentence: format!("the TLS connection to {peer} failed: {other}"), lasting: false },
    }
}

fn explain_certificate(invalid: &CertificateError, peer: &str) -> String {
    match invalid {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "the certificate of {peer} has expired; renew it there, or set this vehicle's clock, which says {}",
            clock()
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "the certificate of {peer} is not valid yet; set this vehicle's clock, which says {}",
            clock()
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
            "the certificate of {peer} is for other names; use one of those, or add this one to server_names of the node"
        ),
        CertificateError::Other(other) if other.0.downcast_ref::<OtherCa>().is_some() => format!(
            "{peer} is not the server that the token is for: its certificate chain does not have the token's CA; check \
             the address, or ask for a new token"
        ),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the certificate of {peer} comes from a CA that this vehicle does not trust; check the address, or enrol \
             again with remuda-agent enroll"
        ),
        other => format!("the certificate of {peer} cannot be accepted: {other}; renew it there"),
    }
}

fn explain_alert(alert: AlertDescription, peer: &str) -> Fault {
    let enrol = "enrol again with remuda-agent enroll and a new token";
    let lasting = |sentence: String| Fault { sentence, lasting: true };
    match alert {
        AlertDescription::CertificateExpired => {
            // Also said of one that is not valid yet.
            lasting(format!(
                "{peer} refuses this vehicle: by the clock there, its certificate has expired; {enrol}"
            ))
        }
        AlertDescription::CertificateRevoked | AlertDescription::AccessDenied => {
            lasting(format!("{peer} refuses this vehicle: it was revoked; if that was a mistake, {enrol}"))
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::DecryptError => {
            lasting(format!("{peer} does not accept this vehicle's certificate ({alert:?}); {enrol}"))
        }
        AlertDescription::CertificateRequired => {
            lasting(format!("{peer} wants a certificate and this vehicle has none; {enrol}"))
        }
        AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
            lasting(format!("{peer} does not speak TLS 1.3; check the address and the port"))
        }
        other => Fault { sentence: format!("{peer} ended the TLS connection: {other:?}"), lasting: false },
    }
}

fn clock() -> String {
    date(tls::now(0))
}

/// A time in s since 1970 UTC, for people.
pub(super) fn date(seconds: i64) -> String {
    let time = x509_parser::time::ASN1Time::from_timestamp(seconds).ok();
    time.and_then(|time| time.to_rfc2822().ok()).unwrap_or_else(|| format!("{seconds} s since 1970"))
}
