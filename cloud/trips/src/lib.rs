//! Trips: booked rides, moved on by what the vehicle reports.
