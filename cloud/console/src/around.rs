//! What stands around each service.

use std::sync::Arc;

use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::Layer;

use crate::audit::{Audited, Auditing};
use crate::partial::Partial;

/// gRPC-Web, the audit log in it, partial responses in that. Around one service: around the whole, gRPC-Web would refuse every
/// plain request.
#[derive(Clone)]
pub(crate) struct Around {
    pub auditing: Arc<Auditing>,
}

impl<S> Layer<S> for Around {
    type Service = GrpcWebService<Audited<Partial<S>>>;

    fn layer(&self, service: S) -> Self::Service {
        let auditing = Arc::clone(&self.auditing);
        GrpcWebLayer::new().layer(Audited { inner: Partial { inner: service }, auditing })
    }
}
