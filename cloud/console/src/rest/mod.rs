//! REST/JSON on the port of gRPC: a request becomes a gRPC call in this process and passes the same gate, audit log and
//! handlers. Nothing here decides who may do what, and nothing is implemented a second time.

mod answer;
mod call;
mod docs;
mod document;
mod errors;
mod feeds;
mod files;
mod shapes;
mod sharing;
mod stream;
mod views;

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::ALLOW;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use prost_reflect::DescriptorPool;
use remuda_api::DESCRIPTORS;
use remuda_model::OrganizationId;
use remuda_transcoder::{Found, Path, Route, Table, TableError, Verb};

use crate::gate::is_grpc;
use crate::rest::call::Call;
use crate::rest::errors::Errors;
use crate::rest::files::Files;
use crate::rest::views::{Show, Views};

/// Everything that answers REST.
#[derive(Clone)]
pub(crate) struct Rest(Arc<Inner>);

struct Inner {
    table: Table,
    views: Views,
    errors: Errors,
    files: Files,
    /// The console behind its gate.
    guarded: Router,
}

/// The routes of the API.
///
/// # Errors
/// When a method has none.
pub(crate) fn table() -> Result<Table, TableError> {
    Table::new(DescriptorPool::decode(DESCRIPTORS)?, |service| service.starts_with("remuda."))
}

impl Rest {
    /// REST over a console that is behind its gate already.
    ///
    /// # Errors
    /// When the protos' routes are not one table: a test fails before that is ever shipped.
    pub fn new(organization: OrganizationId, guarded: Router) -> Result<Self, TableError> {
        let table = table()?;
        let files = Files::new(&table, organization.as_str());
        let views = Views::new(organization);
        Ok(Self(Arc::new(Inner { table, views, errors: Errors::new(), files, guarded })))
    }
}

/// Answers what is REST, and gives back what is not.
pub(crate) async fn answer(Rest(rest): &Rest, request: Request) -> ControlFlow<Response, Request> {
    if is_grpc(request.headers()) {
        return ControlFlow::Continue(request);
    }
    let verb = Verb::named(request.method().as_str());
    let path = request.uri().path().to_owned();
    let allowed = match rest.table.find(verb, &path) {
        Found::Route(route, fields) => {
            let request = sharing::with_token(&route.grpc_path(), request);
            let fields = fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect();
            let call = Call {
                grpc_path: route.grpc_path(),
                route: Some(route.clone()),
                fields,
                show: Show::AS_IT_IS,
                page: None,
            };
            return ControlFlow::Break(call.answer(&rest.guarded, &rest.errors, request).await);
        }
        Found::OtherVerbs(verbs) => verbs.into_iter().collect(),
        Found::Nothing => match Path::parse(&path).map(|path| rest.views.find(verb, &path)) {
            Some(views::Found::View(view, fields)) => {
                let request = sharing::with_token(view.rpc, request);
                let route = rest.route_of(view.rpc);
                let call =
                    Call { grpc_path: view.rpc.to_owned(), route, fields, show: view.show, page: None };
                return ControlFlow::Break(call.answer(&rest.guarded, &rest.errors, request).await);
            }
            Some(views::Found::OtherVerbs(verbs)) => verbs,
            _ if rest.files.has(&path) => {
                return ControlFlow::Break(rest.files.answer(&rest.errors, &request));
            }
            _ if path.starts_with("/api/") || Views::begins(&path) => {
                return ControlFlow::Break(rest.errors.no_such_path(&path));
            }
            _ => return ControlFlow::Continue(request),
        },
    };
    ControlFlow::Break(other_verbs(&rest.errors, &allowed, request.method()))
}

impl Inner {
    /// The first way to a method; none for one that is not there.
    fn route_of(&self, rpc: &str) -> Option<Route> {
        self.table.routes().iter().find(|route| route.grpc_path() == rpc).cloned()
    }
}

pub(crate) fn other_verbs(errors: &Errors, verbs: &[Verb], method: &Method) -> Response {
    let mut names: Vec<&str> = verbs.iter().map(|verb| verb.as_str()).collect();
    if verbs.contains(&Verb::Get) {
        names.push("HEAD");
    }
    names.push("OPTIONS");
    let allow = names.join(", ");
    let mut response = if *method == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        errors.other_verb(method.as_str(), &allow)
    };
    if let Ok(allow) = HeaderValue::from_str(&allow) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}
