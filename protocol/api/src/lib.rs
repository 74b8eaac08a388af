//! The operators' gRPC contract and its generated stubs.
