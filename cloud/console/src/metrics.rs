//! The console's metrics.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tonic::Code;

/// Labels of a finished call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    method: &'static str,
    code: &'static str,
}

/// Labels of a kind of call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    method: &'static str,
}

/// Labels of a refused request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// What the console counts. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct ConsoleMetrics {
    calls: Family<Call, Counter>,
    seconds: Family<Method, Histogram, fn() -> Histogram>,
    rejections: Family<Reason, Counter>,
    watchers: Gauge,
    watch_vehicles: Counter,
    watch_lagged: Counter,
}

impl Default for ConsoleMetrics {
    fn default() -> Self {
        let buckets: fn() -> Histogram = || Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0]);
        Self {
            calls: Family::default(),
            seconds: Family::new_with_constructor(buckets),
            rejections: Family::default(),
            watchers: Gauge::default(),
            watch_vehicles: Counter::default(),
            watch_lagged: Counter::default(),
        }
    }
}

impl ConsoleMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "remuda_console_rpc_calls",
            "Finished calls, by method and status",
            self.calls.clone(),
        );
        registry.register(
            "remuda_console_rpc_duration_seconds",
            "Time of unary calls, by method",
            self.seconds.clone(),
        );
        registry.register(
            "remuda_console_requests_rejected",
            "Requests turned away before a handler saw them, by reason",
            self.rejections.clone(),
        );
        registry.register("remuda_console_watch_streams", "Open watch streams", self.watchers.clone());
        registry.register(
            "remuda_console_watch_vehicles_sent",
            "Vehicle states sent to watchers",
            self.watch_vehicles.clone(),
        );
        registry.register(
            "remuda_console_watch_lagged",
            "Responses that merged changes because their reader was slow",
            self.watch_lagged.clone(),
        );
    }

    pub(crate) fn finished(&self, method: &'static str, code: Code) {
        self.calls.get_or_create(&Call { method, code: name_of(code) }).inc();
    }

    pub(crate) fn took(&self, method: &'static str, time: Duration) {
        self.seconds.get_or_create(&Method { method }).observe(time.as_secs_f64());
    }

    pub(crate) fn rejected(&self, reason: &'static str) {
        self.rejections.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn watchers(&self) -> &Gauge {
        &self.watchers
    }

    pub(crate) fn sent(&self, vehicles: usize, lagged: bool) {
        self.watch_vehicles.inc_by(vehicles as u64);
        if lagged {
            self.watch_lagged.inc();
        }
    }
}

pub(crate) fn name_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
