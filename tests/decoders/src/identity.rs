//! What vehicles show to be let in.

use std::str::FromStr;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use remuda_access::{CertificateName, ClientCertificate};
use remuda_identity::{EmbeddedCa, EnrolmentToken, Issuer, VehicleIdentity, vehicle_of};
use remuda_model::{OrganizationId, VehicleId};
use rustls_pki_types::CertificateDer;

/// Far from the epoch's and the calendar's edges.
pub(crate) const NOW: Duration = Duration::from_secs(1_790_000_000);

pub(crate) fn token(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(token) = EnrolmentToken::from_str(&text) {
        let again = EnrolmentToken::from_str(&token.reveal());
        assert!(again.is_ok_and(|again| again.reveal() == token.reveal()), "a token is what it reveals");
    }
}

pub(crate) fn certificate(bytes: &[u8]) {
    let _ = vehicle_of(&CertificateDer::from(bytes));
    // A person's; the names that are read must be ones that an account can have.
    if let Some(read) = ClientCertificate::read(&CertificateDer::from(bytes)) {
        for name in read.names().iter().filter(|name| !name.to_string().ends_with(':')) {
            let again: Result<CertificateName, _> = name.to_string().parse();
            assert!(again.is_ok_and(|again| again == *name) || name.to_string().len() > 2_048, "{name}");
        }
    }
}

pub(crate) fn authority() -> &'static EmbeddedCa {
    static AUTHORITY: OnceLock<EmbeddedCa> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        EmbeddedCa::open(folder.path(), Duration::from_secs(86_400), now()).expect("an authority can be made")
    })
}

pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + NOW
}

pub(crate) fn who() -> VehicleIdentity {
    let vehicle = VehicleId::new("VAN1").expect("a vehicle's id");
    VehicleIdentity { organization: OrganizationId::default(), vehicle }
}

pub(crate) fn request(bytes: &[u8]) {
    if let Ok(issued) = authority().issue(bytes, &who(), now()) {
        assert!(issued.chain_pem.contains("BEGIN CERTIFICATE"), "a certificate was issued");
    }
}
