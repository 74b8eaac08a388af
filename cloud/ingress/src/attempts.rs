//! Who came how often.

use std::net::IpAddr;
use std::time::Instant;

use parking_lot::Mutex;
use remuda_contracts::uplink::DoorRefusal;
use remuda_model::VehicleId;

use crate::pace::{PerMinute, VehicleLimits, subscriber};
use crate::registry::{DENIED, STOPPING};

/// Vehicles whose logins of the last minute are known.
const LOGIN_KEYS_MAX: usize = 100_000;
/// Addresses whose failures of the last minute are known.
const FAILURE_KEYS_MAX: usize = 65_536;

/// Why a connection may come to no login without anybody having done wrong: a storm must not lock itself out. The last
/// two are vehicles that have shown who they are.
const BLAMELESS: &[&str] = &[
    "tls_gone",
    "tls_timeout",
    "gone_before_connect",
    "connect_timeout",
    STOPPING,
    DENIED,
    DoorRefusal::ConnectRate.code(),
];

/// Who came how often.
#[derive(Debug)]
pub(crate) struct Attempts {
    limits: VehicleLimits,
    begun: Instant,
    logins: Mutex<PerMinute<VehicleId>>,
    failures: Mutex<PerMinute<IpAddr>>,
}

impl Attempts {
    pub fn new(limits: VehicleLimits) -> Self {
        Self {
            limits,
            begun: Instant::now(),
            logins: Mutex::new(PerMinute::new(LOGIN_KEYS_MAX)),
            failures: Mutex::new(PerMinute::new(FAILURE_KEYS_MAX)),
        }
    }

    /// Whether a vehicle that has shown who it is may come in now. Who is turned away is not counted, so that it comes
    /// in as soon as its minute has passed, however often it asks.
    pub fn may_login(&self, vehicle: VehicleId) -> bool {
        let (mut logins, now) = (self.logins.lock(), self.begun.elapsed());
        let may = logins.count(&vehicle, now) < self.limits.logins_per_minute;
        if may {
            logins.add(vehicle, now);
        }
        may
    }

    /// Counts a connection that came to no login, unless that may have been the network's fault or ours.
    pub fn failed(&self, peer: IpAddr, reason: &str) {
        if !BLAMELESS.contains(&reason) {
            self.failures.lock().add(subscriber(peer), self.begun.elapsed());
        }
    }

    /// Whether an address may try.
    pub fn may_try(&self, peer: IpAddr) -> bool {
        let mut failures = self.failures.lock();
        failures.count(&subscriber(peer), self.begun.elapsed()) < self.limits.failures_per_minute
    }
}
