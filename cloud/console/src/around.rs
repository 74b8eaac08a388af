//! What stands around each service.

use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::Layer;

use crate::audit::{AuditLayer, Audited};
use crate::partial::Partial;

/// gRPC-Web, the audit log in it, partial responses in that. Around one service: around the whole, gRPC-Web would refuse every
/// plain request.
#[derive(Clone)]
pub(crate) struct Around {
    pub audited: AuditLayer,
}

impl<S> Layer<S> for Around {
    type Service = GrpcWebService<Audited<Partial<S>>>;

    fn layer(&self, service: S) -> Self::Service {
        GrpcWebLayer::new().layer(self.audited.layer(Partial { inner: service }))
    }
}
