//! What every service of the console does first and last: whose names a call may use, and what is counted of it.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use remuda_access::{Principal, Reach};
use remuda_api::{ChildName, OrganizationName, VehicleName};
use remuda_contracts::operations::Party;
use remuda_model::{OrganizationId, VehicleId};
use tonic::{Code, Response, Status};

use crate::metrics::ConsoleMetrics;
use crate::refusal::Refusal;
use crate::sight::{Homes, Sight};

/// Who calls, as it stands in journals. The gate let nobody through without a principal.
pub(crate) fn who<T>(request: &tonic::Request<T>) -> String {
    let principal = request.extensions().get::<Principal>();
    principal.map_or_else(|| "unknown".to_owned(), |principal| principal.subject.clone())
}

/// What they see. Without a word of the gate: nothing.
pub(crate) fn sight<T>(request: &tonic::Request<T>) -> Sight {
    let nothing = || Sight::new(Reach::NOWHERE, Arc::new(Homes::new(None, OrganizationId::default())));
    request.extensions().get::<Sight>().cloned().unwrap_or_else(nothing)
}

/// Who calls, where it matters that two are not one.
pub(crate) fn party<T>(request: &tonic::Request<T>) -> Party {
    let principal = request.extensions().get::<Principal>();
    let unknown = || Party { subject: "unknown".to_owned(), identity: "unknown".to_owned() };
    principal.map_or_else(unknown, |p| Party { subject: p.subject.clone(), identity: p.identity.clone() })
}

/// The organization that is served here, the only one there is.
#[derive(Clone)]
pub(crate) struct Scope {
    pub organization: OrganizationId,
    pub metrics: ConsoleMetrics,
}

/// A field that cannot be used, and why.
pub(crate) fn field(field: &'static str, problem: impl ToString) -> Refusal {
    Refusal::Field { field, problem: problem.to_string() }
}

/// The number in an etag; none for an empty one.
pub(crate) fn etag_of<T: FromStr>(etag: &str) -> Result<Option<T>, Refusal> {
    match etag.trim_matches('"') {
        "" => Ok(None),
        number => number.parse().map(Some).map_err(|_| field("etag", "it is not one that was given out")),
    }
}

impl Scope {
    /// Whether a name may be used here.
    pub fn check(&self, organization: &str) -> Result<(), Refusal> {
        if organization == self.organization.as_str() {
            Ok(())
        } else {
            Err(Refusal::ForeignOrganization(organization.to_owned()))
        }
    }

    /// `organizations/{organization}` in the field `parent`.
    pub fn parent(&self, parent: &str) -> Result<(), Refusal> {
        let name: OrganizationName = parent.parse().map_err(|e| field("parent", e))?;
        self.check(&name.organization)
    }

    /// `organizations/{organization}/vehicles/{vehicle}` in a field.
    pub fn vehicle(&self, name: &str, of: &'static str) -> Result<VehicleId, Refusal> {
        let parsed: VehicleName = name.parse().map_err(|e| field(of, e))?;
        self.check(&parsed.organization)?;
        VehicleId::new(&parsed.vehicle).map_err(|e| field(of, e))
    }

    /// The id in `organizations/{organization}/{collection}/{id}`, in the field `name`.
    pub fn child(&self, collection: &'static str, name: &str) -> Result<String, Refusal> {
        let parsed = ChildName::parse(collection, name).map_err(|e| field("name", e))?;
        self.check(&parsed.organization)?;
        Ok(parsed.id)
    }

    /// Counts and times a call.
    pub async fn measured<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<Response<T>, Status> {
        let begun = Instant::now();
        let answer = call.await;
        let code = answer.as_ref().map_or_else(|refusal| refusal.code_and_reason().0, |_| Code::Ok);
        self.metrics.finished(method, code);
        self.metrics.took(method, begun.elapsed());
        Ok(Response::new(answer?))
    }

    /// Counts a stream that was refused; one that begins is counted at its end.
    pub fn begun<T>(&self, method: &'static str, stream: Result<T, Refusal>) -> Result<Response<T>, Status> {
        if let Err(refusal) = &stream {
            self.metrics.finished(method, refusal.code_and_reason().0);
        }
        Ok(Response::new(stream?))
    }
}
