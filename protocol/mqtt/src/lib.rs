//! A sans-IO MQTT server session.
