//! The ride business over gRPC: trips, users, sagas, money, figures, messages, records of vehicles and their troubles, and the
//! readers of its journal.

mod analytics;
mod billing;
mod convert;
mod diagnostics;
mod feedback;
mod notifications;
mod reactors;
mod registry;
mod sagas;
mod sharing;
mod trips;
mod users;

use std::sync::Arc;

use remuda_api::MESSAGE_BYTES_MAX;
use remuda_api::analytics::v1::analytics_service_server::AnalyticsServiceServer;
use remuda_api::billing::v1::billing_service_server::BillingServiceServer;
use remuda_api::diagnostics::v1::diagnostics_service_server::DiagnosticsServiceServer;
use remuda_api::notifications::v1::notification_service_server::NotificationServiceServer;
use remuda_api::reactors::v1::reactor_service_server::ReactorServiceServer;
use remuda_api::registry::v1::registry_service_server::RegistryServiceServer;
use remuda_api::sagas::v1::saga_service_server::SagaServiceServer;
use remuda_api::trips::v1::feedback_service_server::FeedbackServiceServer;
use remuda_api::trips::v1::trip_service_server::TripServiceServer;
use remuda_api::users::v1::user_service_server::UserServiceServer;
use remuda_contracts::business::{Asker, BusinessDesk};
use tokio::sync::watch;
use tonic::service::Routes;
use tower::Layer as _;

use self::sharing::Following;
use crate::around::Around;
use crate::page::{next_page, next_page_for, page, page_for};
use crate::refusal::Refusal;
use crate::scope::{Scope, field};

/// All its services, over one desk.
#[derive(Clone)]
pub(crate) struct Business {
    pub desk: Arc<dyn BusinessDesk>,
    pub scope: Scope,
    pub following: Following,
}

impl Business {
    /// All of them over a desk, until the node stops.
    pub fn new(desk: Arc<dyn BusinessDesk>, scope: Scope, stopping: watch::Receiver<bool>) -> Self {
        Self { desk, scope, following: Following::new(stopping) }
    }

    /// Adds its services.
    pub fn offer(self, routes: Routes, around: &Around) -> Routes {
        let one = || self.clone();
        routes
            .add_service(around.layer(TripServiceServer::new(one())))
            .add_service(around.layer(FeedbackServiceServer::new(one())))
            .add_service(around.layer(UserServiceServer::new(one())))
            .add_service(around.layer(SagaServiceServer::new(one())))
            .add_service(around.layer(ReactorServiceServer::new(one())))
            .add_service(around.layer(AnalyticsServiceServer::new(one())))
            .add_service(around.layer(NotificationServiceServer::new(one())))
            .add_service(around.layer(RegistryServiceServer::new(one())))
            .add_service(around.layer(DiagnosticsServiceServer::new(one())))
            .add_service(around.layer(
                // A statement may be long.
                BillingServiceServer::new(one()).max_decoding_message_size(MESSAGE_BYTES_MAX),
            ))
    }
}

/// Longest name of a request.
const REQUEST_ID_BYTES: usize = 64;

/// Who asks. A request without a name gets one: repeated, it is another request.
fn asker(who: String, request_id: String) -> Result<Asker, Refusal> {
    let request_id = match request_id {
        id if id.is_empty() => format!("{:032x}", rand::random::<u128>()),
        id => id,
    };
    let permitted = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if request_id.len() > REQUEST_ID_BYTES || !request_id.bytes().all(permitted) {
        return Err(field("request_id", "it has 1 to 64 characters out of a-z, A-Z, 0-9, - and _"));
    }
    Ok(Asker { who, request_id })
}

/// As [`asker`], where the request's name is the name of what is done: it must be given.
fn named_asker(who: String, request_id: String, what: &str) -> Result<Asker, Refusal> {
    if request_id.is_empty() {
        return Err(field("request_id", format!("it is empty; name {what}")));
    }
    asker(who, request_id)
}

/// Why something is done.
fn reason(text: &str) -> Result<&str, Refusal> {
    match text.trim() {
        "" => Err(field("reason", "it is empty; say why")),
        text => Ok(text),
    }
}
