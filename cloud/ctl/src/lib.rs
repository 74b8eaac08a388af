//! remudactl, the operators' command line.
