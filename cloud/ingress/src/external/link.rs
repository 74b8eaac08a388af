//! One connection to the broker, and why it ended.

use remuda_wire::limits::PAYLOAD_BYTES_MAX;
use rumqttc::mqttbytes;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, EventLoop, MqttOptions, NetworkOptions, StateError,
    TlsConfiguration, Transport,
};
use std::io;

use super::settings::BrokerSettings;

/// Longest time for connecting and logging in, and for the broker to take what is written, s.
const CONNECT_S: u64 = 10;
/// Largest packet we write: a payload with its topic.
const PACKET_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 1024;
/// Largest packet we read, bytes. Above what a vehicle may say, since a larger one costs the connection of all; the
/// broker's own limit keeps it away.
pub(crate) const RECEIVED_BYTES_MAX: usize = 1024 * 1024;

/// Ready to connect.
pub(crate) struct Options(MqttOptions);

/// A connection of this name.
pub(crate) fn options(settings: &BrokerSettings, client_id: &str) -> Options {
    let mut options = MqttOptions::new(client_id, settings.host.as_str(), settings.port);
    options
        .set_clean_session(true)
        .set_keep_alive(settings.keep_alive)
        .set_max_packet_size(RECEIVED_BYTES_MAX, PACKET_BYTES_MAX);
    if let Some(login) = &settings.login {
        options.set_credentials(login.username.as_str(), login.password.as_str());
    }
    if let Some(tls) = &settings.tls {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls.clone())));
    }
    Options(options)
}

impl Options {
    /// Connects when it is polled. `requests_max` bounds what waits between us and the socket.
    pub fn open(self, requests_max: usize) -> (AsyncClient, EventLoop) {
        let (client, mut events) = AsyncClient::new(self.0, requests_max);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_S);
        events.set_network_options(network);
        (client, events)
    }
}

/// Why a connection ended, or did not begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Stable, for counting.
    pub code: &'static str,
    /// For people, and what to do.
    pub sentence: String,
    /// Trying again does not help: somebody must change something.
    pub definite: bool,
}

impl Lost {
    fn passing(code: &'static str, sentence: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into(), definite: false }
    }

    fn definite(code: &'static str, sentence: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into(), definite: true }
    }

    pub fn stuck() -> Self {
        Self::passing("stuck", "the broker neither takes nor says anything")
    }

    pub fn queue_closed() -> Self {
        Self::passing("closed", "the connection's queue is closed")
    }

    pub fn subscription_refused(filter: &str) -> Self {
        let sentence = format!(
            "the broker refuses the subscription to {filter}: permit the cloud's user to read remuda/v1/+/up/+/+ and remuda/v1/_probe/down"
        );
        Self::definite("subscription_refused", sentence)
    }
}

impl From<ConnectionError> for Lost {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ConnectionRefused(code) => refused(code),
            ConnectionError::NetworkTimeout => Self::passing("timeout", "the broker does not answer"),
            ConnectionError::FlushTimeout => Self::stuck(),
            ConnectionError::Io(error)
            | ConnectionError::MqttState(
                StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)),
            ) => failed(&error),
            ConnectionError::Tls(rumqttc::TlsError::Io(error)) => failed(&error),
            ConnectionError::Tls(error) => Self::definite(
                "tls",
                format!("TLS to the broker cannot begin: {error}; check broker.ca_file"),
            ),
            ConnectionError::MqttState(StateError::Deserialization(
                mqttbytes::Error::PayloadSizeLimitExceeded(bytes),
            )) => Self::passing(
                "oversized",
                format!(
                    "the broker passed on a packet of {bytes} bytes, more than any vehicle may send; set the broker's limit of a packet to at most {RECEIVED_BYTES_MAX}"
                ),
            ),
            ConnectionError::MqttState(StateError::ConnectionAborted) => {
                Self::passing("closed", "the broker closed the connection")
            }
            ConnectionError::MqttState(StateError::AwaitPingResp) => {
                Self::passing("silent", "the broker does not answer pings")
            }
            other => Self::passing("protocol", format!("the broker says something unexpected: {other}")),
        }
    }
}

fn refused(code: ConnectReturnCode) -> Lost {
    match code {
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => Lost::definite(
            "login_refused",
            "the broker refuses the node's login; check broker.username, broker.password_file or the node's certificate, and the broker's list of users",
        ),
        ConnectReturnCode::BadClientId => Lost::definite(
            "login_refused",
            "the broker refuses the node's client id; choose another with broker.client_id",
        ),
        ConnectReturnCode::RefusedProtocolVersion => {
            Lost::definite("login_refused", "the broker does not speak MQTT 3.1.1")
        }
        other => Lost::passing("login_refused", format!("the broker takes no connections now ({other:?})")),
    }
}

fn failed(error: &io::Error) -> Lost {
    match error.kind() {
        // Where rustls puts what it does not like, and what it was told.
        io::ErrorKind::InvalidData => Lost::definite(
            "tls",
            format!(
                "TLS to the broker fails: {error}; check broker.ca_file, broker.cert_file, broker.key_file and that the broker's certificate names the host of broker.address"
            ),
        ),
        io::ErrorKind::ConnectionRefused => {
            Lost::passing("unreachable", "nobody listens there; is the broker running?")
        }
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionAborted => Lost::passing("closed", "the broker closed the connection"),
        _ => Lost::passing("unreachable", format!("the broker cannot be reached: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_must_change_is_told_apart_from_what_passes() {
        let lost = |error: ConnectionError| Lost::from(error);
        let login = lost(ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized));
        assert!(login.definite && login.sentence.contains("broker.password_file"), "{login:?}");
        let full = lost(ConnectionError::ConnectionRefused(ConnectReturnCode::ServiceUnavailable));
        assert!(!full.definite, "{full:?}");
        let gone = lost(ConnectionError::Io(io::ErrorKind::ConnectionRefused.into()));
        assert_eq!((gone.code, gone.definite), ("unreachable", false));
        let tls = lost(ConnectionError::Io(io::Error::new(io::ErrorKind::InvalidData, "UnknownIssuer")));
        assert!(tls.definite && tls.sentence.contains("UnknownIssuer"), "{tls:?}");
        let large = StateError::Deserialization(mqttbytes::Error::PayloadSizeLimitExceeded(2_000_000));
        assert_eq!(lost(ConnectionError::MqttState(large)).code, "oversized");
    }
}
