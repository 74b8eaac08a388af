//! What every request meets first, in one layer: each layer copies and boxes all that is inside it, for each request.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::gate::{self, Gate};
use crate::rest::{self, Rest};
use crate::tls::own_pages_only;

/// What stands before the routes.
pub(crate) struct Front {
    pub gate: Arc<Gate>,
    /// Around the gate: a REST request becomes a call, and passes the gate as one.
    pub rest: Rest,
}

/// Before all routes.
pub(crate) async fn pass(State(front): State<Arc<Front>>, mut request: Request, next: Next) -> Response {
    own_pages_only(&mut request);
    match rest::answer(&front.rest, request).await {
        ControlFlow::Break(response) => response,
        ControlFlow::Continue(request) => gate::pass(&front.gate, request, next).await,
    }
}

/// Before the routes that REST requests become calls of.
pub(crate) async fn behind_gate(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    gate::pass(&gate, request, next).await
}
