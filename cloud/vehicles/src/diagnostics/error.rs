//! What the diagnostics of a vehicle refuse. Refusals are expected; each has a stable code.

use remuda_eventsourcing::Refusal;

/// Why a report was not believed, or a wish not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiagnosticsRefusal {
    /// A value that cannot be.
    #[error("{0}")]
    BadValue(&'static str),
    /// Nobody has reported it.
    #[error("the vehicle has not reported this trouble code; list its codes to see which there are")]
    NoSuchDtc,
    /// It is gone.
    #[error("the trouble code is gone already; there is nothing to acknowledge")]
    DtcCleared,
    /// Too many are there.
    #[error("{0} trouble codes are active already, as many as are kept; look at the vehicle's bus")]
    TooManyDtcs(usize),
    /// A vehicle's clock is wrong.
    #[error("the report's time lies ahead of now; check the vehicle's clock")]
    InTheFuture,
}

impl Refusal for DiagnosticsRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::BadValue(_) => "bad-value",
            Self::NoSuchDtc => "no-such-dtc",
            Self::DtcCleared => "dtc-cleared",
            Self::TooManyDtcs(_) => "too-many-dtcs",
            Self::InTheFuture => "report-in-the-future",
        }
    }
}
