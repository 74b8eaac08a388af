//! What stands in PEM files.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// A file that does not give what was to be read out of it: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// It cannot be read.
    #[error(
        "the file {file} cannot be read: {source}; correct its path in the configuration, or its permissions"
    )]
    Read {
        /// Which.
        file: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It does not hold what it should.
    #[error("the file {file} does not hold {what} in PEM; put the right file there")]
    Content {
        /// Which.
        file: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
}

/// The certificates of a file, at least one.
///
/// # Errors
/// The file cannot be read, or holds none.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    all(file, "certificates")
}

/// The revocation lists of a file, at least one.
///
/// # Errors
/// The file cannot be read, or holds none.
pub fn revocation_lists(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, PemError> {
    all(file, "certificate revocation lists")
}

/// The first private key of a file.
///
/// # Errors
/// The file cannot be read, or holds none.
pub fn key(file: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(&read(file)?)
        .map_err(|_| PemError::Content { file: file.into(), what: "a private key" })
}

/// The hosts that a server's certificate is for, names and addresses, as they stand in it. A name with a star is none.
pub fn hosts_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|extension| &extension.value.general_names[..]).unwrap_or_default();
    let host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()).filter(|name| !name.contains('*')),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(|four| IpAddr::from(Ipv4Addr::from(four)));
            let six = || <[u8; 16]>::try_from(*bytes).map(|six| IpAddr::from(Ipv6Addr::from(six)));
            four.or_else(|_| six()).ok().map(|address| address.to_string())
        }
        _ => None,
    };
    names.iter().filter_map(host).collect()
}

fn all<T: PemObject>(file: &Path, what: &'static str) -> Result<Vec<T>, PemError> {
    let read: Result<Vec<_>, _> = T::pem_slice_iter(&read(file)?).collect();
    read.ok().filter(|all| !all.is_empty()).ok_or_else(|| PemError::Content { file: file.into(), what })
}

fn read(file: &Path) -> Result<Vec<u8>, PemError> {
    fs::read(file).map_err(|source| PemError::Read { file: file.into(), source })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn hosts_stand_in_a_certificate_in_their_order() {
        let names = ["fleet.example", "*.example", "10.0.0.1", "::1"].map(str::to_owned);
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        assert_eq!(hosts_of(certificate.der()), ["fleet.example", "10.0.0.1", "::1"]);
        assert!(hosts_of(&CertificateDer::from(b"text".to_vec())).is_empty());
    }

    #[test]
    fn a_file_gives_what_it_holds_or_says_what_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        fs::write(at("both.pem"), certificate.pem() + &key.serialize_pem()).unwrap();
        assert_eq!(certificates(&at("both.pem")).unwrap(), [certificate.der().clone()]);
        assert!(super::key(&at("both.pem")).is_ok());
        let says = |error: PemError, sentence: &str| {
            assert!(error.to_string().contains(sentence), "{sentence}: {error}");
        };
        says(revocation_lists(&at("both.pem")).unwrap_err(), "both.pem does not hold certificate revocation");
        says(certificates(&at("none.pem")).unwrap_err(), "none.pem cannot be read");
        // Its end is missing.
        fs::write(at("half.pem"), &certificate.pem()[..100]).unwrap();
        says(certificates(&at("half.pem")).unwrap_err(), "half.pem does not hold certificates");
    }
}
