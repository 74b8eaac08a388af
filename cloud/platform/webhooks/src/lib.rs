//! Signed HTTP calls to customers' systems, never to private addresses unless allowed.
