//! The embedded certificate authority: for one node, and for clusters without another.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::TryRngCore;
use rand::rngs::OsRng;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::certificate::{Serial, VehicleIdentity, fingerprint};
use crate::files;
use crate::issuer::{IssueError, IssuedCertificate, Issuer};
use crate::token::CaFingerprint;

/// A root lives longer than a vehicle. Its successor is put beside it in `ca.pem` long before.
const ROOT_VALID: Duration = Duration::from_secs(30 * 365 * 86_400);
/// A server's certificate is renewed when a third of this is left.
const SERVER_VALID: Duration = Duration::from_secs(365 * 86_400);
/// Another node's clock may be behind ours by so much.
const BACKDATED: Duration = Duration::from_secs(3_600);

/// Why the authority cannot be used: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file of it cannot be read or written.
    #[error("the certificate authority's file {file} cannot be used: {source}")]
    File {
        /// Which.
        file: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The files do not belong together, or are damaged.
    #[error("the certificate authority in {folder} cannot be used: {problem}")]
    Unusable {
        /// Where it is.
        folder: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
}

/// A key and its certificate chain for a server.
#[derive(Clone)]
pub struct ServerCertificate {
    /// PEM: the key, then the certificate, then the root.
    pub pem: String,
    /// When the certificate ends, Unix ms.
    pub not_after_ms: i64,
}

/// A root key and certificate in a folder: `ca.key` (mode 0600) and `ca.pem`. There may be further roots in `ca.pem`;
/// vehicles trust them all, and are known by them all. `Debug` shows no key.
pub struct EmbeddedCa {
    folder: PathBuf,
    issuer: rcgen::Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    valid: Duration,
}

impl std::fmt::Debug for EmbeddedCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedCa").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl EmbeddedCa {
    /// Opens the authority in a folder, or makes a new one when there is none. Vehicles' certificates are valid for
    /// `valid`.
    ///
    /// # Errors
    /// One sentence: a file that cannot be used, or a certificate without its key.
    pub fn open(folder: &Path, valid: Duration, now: SystemTime) -> Result<Self, CaError> {
        let (key_file, certificate_file) = (folder.join("ca.key"), folder.join("ca.pem"));
        let unusable = |problem: String| CaError::Unusable { folder: folder.into(), problem };
        let fault = |file: &Path| {
            let file = file.to_owned();
            move |source| CaError::File { file, source }
        };
        files::make_folder(folder).map_err(fault(folder))?;
        let key = match (key_file.exists(), certificate_file.exists()) {
            (false, true) => {
                return Err(unusable(
                    "ca.pem is there and ca.key is not; restore ca.key from a backup".into(),
                ));
            }
            (false, false) => {
                let key =
                    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| unusable(e.to_string()))?;
                // First the key: a certificate without a key would be of no use, a key without one gets one below.
                files::replace(&key_file, key.serialize_pem().as_bytes(), files::SECRET)
                    .map_err(fault(&key_file))?;
                key
            }
            (true, _) => {
                let pem = fs::read_to_string(&key_file).map_err(fault(&key_file))?;
                KeyPair::from_pem(&pem).map_err(|_| {
                    unusable("ca.key is not a private key in PEM; restore it from a backup".into())
                })?
            }
        };
        if !certificate_file.exists() {
            let root =
                root_params(now).and_then(|params| params.self_signed(&key).map_err(|e| e.to_string()));
            let pem = root.map_err(&unusable)?.pem();
            files::replace(&certificate_file, pem.as_bytes(), files::OPEN)
                .map_err(fault(&certificate_file))?;
        }
        let own_key = key.subject_public_key_info();
        let certificates: Result<Vec<CertificateDer<'_>>, _> =
            CertificateDer::pem_file_iter(&certificate_file).and_then(Iterator::collect);
        let certificates = certificates
            .map_err(|_| unusable("ca.pem does not hold certificates in PEM; restore it".into()))?;
        let ours = certificates.into_iter().find(|der| {
            x509_parser::parse_x509_certificate(der)
                .is_ok_and(|(_, certificate)| certificate.public_key().raw == own_key)
        });
        let certificate = ours.ok_or_else(|| {
            unusable(
                "ca.key does not belong to any certificate in ca.pem; restore both from one backup".into(),
            )
        })?;
        let issuer = rcgen::Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|_| unusable("ca.pem's certificate cannot be read; restore it".into()))?;
        Ok(Self { folder: folder.into(), issuer, certificate, valid })
    }

    /// What vehicles know it by, before they trust anything.
    pub fn fingerprint(&self) -> CaFingerprint {
        fingerprint(&self.certificate)
    }

    /// The file of roots by which vehicles are known.
    pub fn trust_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A new key and certificate for a server of these names (DNS names and IP addresses).
    ///
    /// # Errors
    /// A sentence: a name that cannot be in a certificate, or the authority's failure.
    pub fn issue_server(&self, names: &[String], now: SystemTime) -> Result<ServerCertificate, String> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| e.to_string())?;
        let mut params = CertificateParams::new(names.to_vec())
            .map_err(|_| format!("{names:?} are not all names or addresses of a server"))?;
        params.distinguished_name = named("Remuda server");
        // A vehicle's clock may start anywhere; only the end matters.
        params.not_before = OffsetDateTime::UNIX_EPOCH;
        params.not_after = OffsetDateTime::from(now + SERVER_VALID);
        params.serial_number = Some(random_serial()?);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(|e| e.to_string())?;
        let root = pem_of(&self.certificate);
        Ok(ServerCertificate {
            pem: format!("{}{}{root}", key.serialize_pem(), certificate.pem()),
            not_after_ms: unix_ms(now + SERVER_VALID),
        })
    }

    /// Keeps `server.pem` (mode 0600; key, certificate, root) in the folder: makes it when it is missing, unreadable, of
    /// other names, of another root, or has less than a third of its time left. Answers its path, and whether it is new.
    ///
    /// # Errors
    /// A sentence: a name that cannot be in a certificate, or a file that cannot be written.
    pub fn keep_server_certificate(
        &self,
        names: &[String],
        now: SystemTime,
    ) -> Result<(PathBuf, bool), String> {
        let file = self.folder.join("server.pem");
        if self.server_certificate_holds(&file, names, now) {
            return Ok((file, false));
        }
        let made = self.issue_server(names, now)?;
        files::replace(&file, made.pem.as_bytes(), files::SECRET)
            .map_err(|e| format!("the server's certificate {} cannot be written: {e}", file.display()))?;
        Ok((file, true))
    }

    fn server_certificate_holds(&self, file: &Path, names: &[String], now: SystemTime) -> bool {
        let Ok(chain) = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>)
        else {
            return false;
        };
        let [leaf, root] = &chain[..] else { return false };
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(leaf) else { return false };
        let left_s = certificate.validity().not_after.timestamp() - unix_ms(now) / 1_000;
        let Ok(wanted) = CertificateParams::new(names.to_vec()) else { return false };
        let Ok(Some(present)) = certificate.subject_alternative_name() else { return false };
        let same_names = wanted.subject_alt_names.len() == present.value.general_names.len()
            && wanted
                .subject_alt_names
                .iter()
                .zip(&present.value.general_names)
                .all(|(w, p)| same_name(w, p));
        *root == self.certificate && same_names && left_s > (SERVER_VALID / 3).as_secs() as i64
    }
}

fn same_name(wanted: &SanType, present: &x509_parser::extensions::GeneralName<'_>) -> bool {
    use x509_parser::extensions::GeneralName;
    match (wanted, present) {
        (SanType::DnsName(wanted), GeneralName::DNSName(present)) => wanted.as_str() == *present,
        (SanType::IpAddress(std::net::IpAddr::V4(wanted)), GeneralName::IPAddress(present)) => {
            wanted.octets() == *present
        }
        (SanType::IpAddress(std::net::IpAddr::V6(wanted)), GeneralName::IPAddress(present)) => {
            wanted.octets() == *present
        }
        _ => false,
    }
}

impl Issuer for EmbeddedCa {
    fn issue(
        &self,
        request_der: &[u8],
        identity: &VehicleIdentity,
        now: SystemTime,
    ) -> Result<IssuedCertificate, IssueError> {
        let key = key_of_request(request_der)?;
        let mut params = CertificateParams::default();
        let mut name = named(identity.vehicle.as_str());
        name.push(DnType::OrganizationName, identity.vehicle.as_str());
        params.distinguished_name = name;
        let uri = identity.uri().try_into().map_err(authority)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        let serial = random_serial().map_err(IssueError::Authority)?;
        params.serial_number = Some(serial.clone());
        params.not_before = OffsetDateTime::from(now.checked_sub(BACKDATED).unwrap_or(UNIX_EPOCH));
        let not_after = now + self.valid;
        params.not_after = OffsetDateTime::from(not_after);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(authority)?;
        Ok(IssuedCertificate {
            chain_pem: certificate.pem(),
            // A certificate counts whole seconds.
            not_after_ms: unix_ms(not_after) / 1_000 * 1_000,
            serial: Serial::new(serial.as_ref()),
            key_sha256: Sha256::digest(key.subject_public_key_info()).into(),
        })
    }

    fn trust_anchors_pem(&self) -> String {
        // Read anew: roots are added without a restart.
        fs::read_to_string(self.trust_file()).unwrap_or_else(|_| pem_of(&self.certificate))
    }
}

/// The public key of a request whose signature holds.
fn key_of_request(der: &[u8]) -> Result<SubjectPublicKeyInfo, IssueError> {
    let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
        return Err(IssueError::Unreadable);
    };
    let info = &request.certification_request_info.subject_pki;
    let key = SubjectPublicKeyInfo::from_der(info.raw).map_err(|_| IssueError::Key)?;
    let algorithm = key.algorithm();
    if algorithm != &PKCS_ECDSA_P256_SHA256 && algorithm != &rcgen::PKCS_ED25519 {
        return Err(IssueError::Key);
    }
    request.verify_signature().map_err(|_| IssueError::Signature)?;
    Ok(key)
}

fn authority(error: rcgen::Error) -> IssueError {
    IssueError::Authority(error.to_string())
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn root_params(now: SystemTime) -> Result<CertificateParams, String> {
    let serial = random_serial()?;
    let mut params = CertificateParams::default();
    // A name of its own: two roots in one bundle must not be taken for each other.
    params.distinguished_name =
        named(&format!("Remuda vehicles root {}", crate::token::hex(&serial.as_ref()[..4])));
    params.serial_number = Some(serial);
    // A vehicle's clock may start anywhere; only the end matters.
    params.not_before = OffsetDateTime::UNIX_EPOCH;
    params.not_after = OffsetDateTime::from(now + ROOT_VALID);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// 16 random bytes of a positive number without leading zeros.
fn random_serial() -> Result<SerialNumber, String> {
    let mut bytes = [0; 16];
    OsRng.try_fill_bytes(&mut bytes).map_err(|e| format!("the system gives no random numbers: {e}"))?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn pem_of(certificate: &CertificateDer<'_>) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", certificate.to_vec()), config)
}

fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
