//! What the HTTPS port counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::metrics::ByReason;

/// Why a certificate was issued.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOccasion {
    occasion: &'static str,
}

/// Figures of the HTTPS port. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct EnrolmentMetrics {
    issued: Family<ByOccasion, Counter>,
    refusals: Family<ByReason, Counter>,
}

impl EnrolmentMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let Self { issued, refusals } = self.clone();
        registry.register("remuda_ingress_certificates_issued", "Certificates issued, by occasion", issued);
        registry.register(
            "remuda_ingress_enrolment_refusals",
            "Enrolments and renewals refused, by reason",
            refusals,
        );
    }

    pub(crate) fn issued(&self, occasion: &'static str) {
        self.issued.get_or_create(&ByOccasion { occasion }).inc();
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&ByReason { reason }).inc();
    }
}
