//! Which servers may be reached, and with which TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use remuda_webhooks::AddressRules;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;
use url::Url;

use crate::limits;
use crate::sink::SinkError;

/// Looks a server up and checks where it leads to, as webhooks do: a customer names it.
pub(crate) async fn checked(url: &Url, port: u16, rules: &AddressRules) -> Result<SocketAddr, SinkError> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port().unwrap_or(port);
    let lookup = timeout(limits::CONNECT_WITHIN, tokio::net::lookup_host((host.as_str(), port))).await;
    let found: Vec<SocketAddr> = match lookup {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => return Err(SinkError::unavailable(format!("{host} cannot be resolved: {error}"))),
        Err(_) => return Err(SinkError::unavailable(format!("{host} cannot be resolved in time"))),
    };
    for address in &found {
        if let Err(kind) = rules.check(address.ip()) {
            return Err(SinkError::unavailable(format!(
                "{host} leads to {}, which is {kind}; allow its network with feeds.allowed_networks if that is meant",
                address.ip()
            )));
        }
    }
    found.first().copied().ok_or_else(|| SinkError::unavailable(format!("{host} has no address")))
}

/// TLS that believes the system's certificate authorities.
pub(crate) fn tls() -> Result<Arc<ClientConfig>, SinkError> {
    let wrong = |reason: String| SinkError::unavailable(format!("TLS cannot be set up: {reason}"));
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
