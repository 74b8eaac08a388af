//! The connection.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use remuda_api::MESSAGE_BYTES_MAX;
use remuda_api::vehicles::v1::vehicle_service_client::VehicleServiceClient;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use crate::args::Global;
use crate::error::CtlError;
use crate::target::{Target, in_plain_text};

/// A call that does not even connect in this time will not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Adds the token to every call, where there is one.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(bearer) = &self.0 {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}

/// A connection whose calls say who makes them.
pub(crate) type Service = InterceptedService<Channel, Bearer>;
pub(crate) type Client = VehicleServiceClient<Service>;

pub(crate) async fn connect(global: &Global) -> Result<Client, CtlError> {
    Ok(VehicleServiceClient::new(open(global).await?).max_decoding_message_size(MESSAGE_BYTES_MAX))
}

/// Connects, for any service.
pub(crate) async fn open(global: &Global) -> Result<Service, CtlError> {
    let target = &global.target;
    let address = target.address.clone();
    if target.token.is_none() && target.certificate.is_none() {
        return Err(CtlError::NoToken);
    }
    let bearer = |token: &crate::target::Secret| {
        let mut bearer: MetadataValue<Ascii> =
            format!("Bearer {}", token.reveal()).parse().map_err(|_| CtlError::Token)?;
        bearer.set_sensitive(true);
        Ok::<_, CtlError>(bearer)
    };
    let bearer = target.token.as_ref().map(bearer).transpose()?;
    if in_plain_text(&address) {
        eprintln!(
            "remudactl: warning: the token travels to {address} in plain text; use an https:// address"
        );
    }
    let endpoint = Endpoint::from_shared(address.clone()).map_err(|_| CtlError::Address(address.clone()))?;
    let mut endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT);
    if address.starts_with("https://") {
        let tls = tls(target)?;
        endpoint = endpoint.tls_config(tls).map_err(|error| unreachable_at(&address, &error))?;
    }
    let channel = endpoint.connect().await.map_err(|error| unreachable_at(&address, &error))?;
    Ok(InterceptedService::new(channel, Bearer(bearer)))
}

/// What the target's files say.
fn tls(target: &Target) -> Result<ClientTlsConfig, CtlError> {
    let pem = |file: &Path, what: &'static str, holds: fn(&[u8]) -> bool| {
        let shown = || file.display().to_string();
        let text = fs::read(file).map_err(|source| CtlError::File { file: shown(), source })?;
        if holds(&text) { Ok(text) } else { Err(CtlError::Pem { file: shown(), what }) }
    };
    let certificates = |text: &[u8]| {
        CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>().is_ok_and(|all| !all.is_empty())
    };
    let tls = match &target.ca {
        Some(file) => {
            let text = pem(file, "certificates", certificates)?;
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(text))
        }
        None => ClientTlsConfig::new().with_native_roots(),
    };
    let Some((cert, key)) = &target.certificate else { return Ok(tls) };
    let cert = pem(cert, "certificates", certificates)?;
    let key = pem(key, "a private key", |text| PrivateKeyDer::from_pem_slice(text).is_ok())?;
    Ok(tls.identity(Identity::from_pem(cert, key)))
}

fn unreachable_at(address: &str, error: &dyn Error) -> CtlError {
    const FOREIGN: &str = "; --ca names the file of the authority that vouches for this server";
    let mut reason = innermost(error);
    for (part, hint) in [
        ("UnknownIssuer", FOREIGN),
        // An authority of the same name, with another key.
        ("BadSignature", FOREIGN),
        ("InvalidContentType", "; does it speak TLS? If not, its address begins with http://"),
    ] {
        if reason.contains(part) {
            reason.push_str(hint);
        }
    }
    CtlError::Connect { address: address.to_owned(), reason }
}

/// The cause behind all others.
pub(crate) fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
