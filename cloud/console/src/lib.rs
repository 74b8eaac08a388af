//! The people's door: gRPC services and the web map.
