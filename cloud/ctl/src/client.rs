//! The connection.

use std::error::Error;
use std::time::Duration;

use remuda_api::MESSAGE_BYTES_MAX;
use remuda_api::vehicles::v1::vehicle_service_client::VehicleServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::args::Global;
use crate::error::CtlError;

/// A call that does not even connect in this time will not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Adds the token to every call.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A connection whose calls carry the token.
pub(crate) type Service = InterceptedService<Channel, Bearer>;
pub(crate) type Client = VehicleServiceClient<Service>;

/// Splits a printed console address into the server's and the token.
pub(crate) fn address_and_token(global: &Global) -> Result<(String, String), CtlError> {
    let (address, fragment) = global.server.split_once('#').unwrap_or((&global.server, ""));
    let carried = fragment.split('&').find_map(|pair| pair.strip_prefix("token="));
    // What was said explicitly counts more.
    let token = global.token.as_deref().or(carried).filter(|t| !t.is_empty()).ok_or(CtlError::NoToken)?;
    let address = address.trim_end_matches('/');
    let address = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    Ok((address, token.to_owned()))
}

pub(crate) async fn connect(global: &Global) -> Result<Client, CtlError> {
    Ok(VehicleServiceClient::new(open(global).await?).max_decoding_message_size(MESSAGE_BYTES_MAX))
}

/// Connects, for any service.
pub(crate) async fn open(global: &Global) -> Result<Service, CtlError> {
    let (address, token) = address_and_token(global)?;
    let mut bearer: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| CtlError::Token)?;
    bearer.set_sensitive(true);
    let wrong = |_| CtlError::Address(address.clone());
    let endpoint = Endpoint::from_shared(address.clone()).map_err(wrong)?.connect_timeout(CONNECT_TIMEOUT);
    // tonic takes anything that parses, and fails much later.
    if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().host().is_none_or(str::is_empty) {
        return Err(CtlError::Address(address));
    }
    let channel =
        endpoint.connect().await.map_err(|error| CtlError::Connect { address, reason: innermost(&error) })?;
    Ok(InterceptedService::new(channel, Bearer(bearer)))
}

fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Output, OutputFormat};

    fn global(server: &str, token: Option<&str>) -> Global {
        Global {
            server: server.into(),
            token: token.map(str::to_owned),
            organization: "default".into(),
            print: Output::Table,
            output: OutputFormat::Table,
            timeout: 10,
        }
    }

    #[test]
    fn a_printed_address_is_enough() {
        let of = |server, token| address_and_token(&global(server, token));
        let pair = |a: &str, t: &str| (a.to_owned(), t.to_owned());
        assert_eq!(of("http://127.0.0.1:1/#token=abc", None).unwrap(), pair("http://127.0.0.1:1", "abc"));
        assert_eq!(of("127.0.0.1:1", Some("xyz")).unwrap(), pair("http://127.0.0.1:1", "xyz"));
        assert_eq!(of("http://h:1#token=abc", Some("xyz")).unwrap(), pair("http://h:1", "xyz"));
        assert!(matches!(of("http://h:1/#token=", None), Err(CtlError::NoToken)));
    }
}
