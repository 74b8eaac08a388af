//! Feeds out: the customer's own systems hear what happens, at least once.
