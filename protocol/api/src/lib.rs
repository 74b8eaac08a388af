//! The operators' gRPC contract and its generated stubs.
//!
//! Owns: the protos under `proto/` (their comments are the contract's text), the generated types, resource names.
//! Deliberately absent: how anything is served (`remuda-console`) or shown (`remuda-ctl`, the web app).

mod name;

pub use name::{
    AlertName, ChildName, CommandName, NameError, OrganizationName, PolicyName, ShareName, VehicleName,
};

/// `remuda.alerts`.
pub mod alerts {
    /// `remuda.alerts.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.alerts.v1");
    }
}

/// `remuda.analytics`.
pub mod analytics {
    /// `remuda.analytics.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.analytics.v1");
    }
}

/// `remuda.assistance`.
pub mod assistance {
    /// `remuda.assistance.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.assistance.v1");
    }
}

/// `remuda.billing`.
pub mod billing {
    /// `remuda.billing.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.billing.v1");
    }
}

/// `remuda.diagnostics`.
pub mod diagnostics {
    /// `remuda.diagnostics.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.diagnostics.v1");
    }
}

/// `remuda.feeds`.
pub mod feeds {
    /// `remuda.feeds.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.feeds.v1");
    }
}

/// `remuda.geofences`.
pub mod geofences {
    /// `remuda.geofences.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.geofences.v1");
    }
}

/// `remuda.notifications`.
pub mod notifications {
    /// `remuda.notifications.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.notifications.v1");
    }
}

/// `remuda.reactors`.
pub mod reactors {
    /// `remuda.reactors.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.reactors.v1");
    }
}

/// `remuda.registry`.
pub mod registry {
    /// `remuda.registry.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.registry.v1");
    }
}

/// `remuda.audit`.
pub mod audit {
    /// `remuda.audit.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.audit.v1");
    }
}

/// `remuda.identity`.
pub mod identity {
    /// `remuda.identity.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.identity.v1");
    }
}

/// `remuda.commands`.
pub mod commands {
    /// `remuda.commands.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.commands.v1");
    }
}

/// `remuda.policies`.
pub mod policies {
    /// `remuda.policies.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.policies.v1");
    }
}

/// `remuda.system`.
pub mod system {
    /// `remuda.system.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.system.v1");
    }
}

/// `remuda.telemetry`.
pub mod telemetry {
    /// `remuda.telemetry.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.telemetry.v1");
    }
}

/// `remuda.sagas`.
pub mod sagas {
    /// `remuda.sagas.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.sagas.v1");
    }
}

/// `remuda.trips`.
pub mod trips {
    /// `remuda.trips.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.trips.v1");
    }
}

/// `remuda.users`.
pub mod users {
    /// `remuda.users.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.users.v1");
    }
}

/// `remuda.vehicles`.
pub mod vehicles {
    /// `remuda.vehicles.v1`.
    #[allow(missing_docs, unused_qualifications, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("remuda.vehicles.v1");
    }
}

/// A method of the API and what it says of itself (`remuda.options.v1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// `/{package}.{service}/{method}`.
    pub path: &'static str,
    /// What a role must hold to call it.
    pub permission: &'static str,
    /// Each call stands in the audit log.
    pub audited: bool,
    /// Whoever shows the token of a share link may call it as well.
    pub shared: bool,
    /// A role on a fleet or a depot is enough.
    pub parts: bool,
    /// Its answer is a stream.
    pub streams: bool,
    /// Full name of its request message.
    pub request: &'static str,
}

/// Every method there is. One that does not say who may call it does not build.
pub const METHODS: &[Method] = include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// An encoded `google.protobuf.FileDescriptorSet` of all protos and what they import, with comments.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));

/// The largest message either side accepts, bytes.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Domain of the `google.rpc.ErrorInfo` in errors.
pub const ERROR_DOMAIN: &str = "remuda.dev";
