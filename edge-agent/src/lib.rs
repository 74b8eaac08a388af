//! The vehicle agent: outbox, MQTT, sources around the sans-IO core.
