//! Road networks: reading, generating, routing, drawing.
