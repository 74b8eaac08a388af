//! Users: riders, drivers and staff, their credits and their privacy.
