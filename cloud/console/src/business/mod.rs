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
use crate::limits;
use crate::page::PageToken;
use crate::refusal::Refusal;
use crate::scope::{Scope, field};
use crate::sight::Sight;

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

/// The token of the next page: what was asked for is one more than the page holds.
fn next_page<T>(found: &mut Vec<T>, size: usize, of: &str, id: impl Fn(&T) -> &str) -> String {
    last_of_page(found, size, id).map(|last| PageToken::write_text(last, of)).unwrap_or_default()
}

/// As [`next_page`], where a caller may see a part of the page only.
fn next_page_for<T>(
    sight: &Sight,
    found: &mut Vec<T>,
    size: usize,
    of: &str,
    id: impl Fn(&T) -> &str,
) -> String {
    last_of_page(found, size, id).map(|last| PageToken::write_for(sight, last, of)).unwrap_or_default()
}

fn last_of_page<T>(found: &mut Vec<T>, size: usize, id: impl Fn(&T) -> &str) -> Option<&str> {
    let more = found.len() > size;
    found.truncate(size);
    found.last().filter(|_| more).map(id)
}

/// How many, and after which: what a page's fields say.
fn page(size: i32, token: &str, of: &str) -> Result<(usize, Option<String>), Refusal> {
    Ok((page_size(size)?, PageToken::read_text(token, of).map_err(|e| field("page_token", e))?))
}

/// As [`page`], where a caller may see a part of the page only.
fn page_for(sight: &Sight, size: i32, token: &str, of: &str) -> Result<(usize, Option<String>), Refusal> {
    let after = PageToken::read_for(sight, token, of).map_err(|e| field("page_token", e))?;
    Ok((page_size(size)?, after))
}

fn page_size(size: i32) -> Result<usize, Refusal> {
    match usize::try_from(size) {
        Ok(0) => Ok(limits::PAGE_DEFAULT),
        Ok(size) => Ok(size.min(limits::PAGE_MAX)),
        Err(_) => Err(field("page_size", "it is below 0")),
    }
}
