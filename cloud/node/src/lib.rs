//! One node of the cloud: configuration, wiring, health, shutdown.
