//! rumqttd on the port given as the only argument, until it is killed.

use rumqttd::{Broker, Config};

fn main() {
    let Some(port) = std::env::args().nth(1).and_then(|p| p.parse::<u16>().ok()) else {
        eprintln!("usage: remuda-baseline PORT");
        std::process::exit(2);
    };
    // The segments hold two seconds of the bench's traffic: with less, rumqttd drops silently.
    let text = format!(
        r#"
        id = 0
        [router]
        id = 0
        max_connections = 20010
        max_outgoing_packet_count = 200
        max_segment_size = 104857600
        max_segment_count = 10
        [v4.1]
        name = "v4-1"
        listen = "127.0.0.1:{port}"
        next_connection_delay_ms = 0
            [v4.1.connections]
            connection_timeout_ms = 60000
            max_payload_size = 262144
            max_inflight_count = 500
            dynamic_filters = true
        "#
    );
    let settings = config::Config::builder()
        .add_source(config::File::from_str(&text, config::FileFormat::Toml))
        .build()
        .expect("the text above is valid TOML");
    let config: Config = settings.try_deserialize().expect("the text above is a broker's configuration");
    Broker::new(config).start().expect("the broker runs until it is killed");
}
