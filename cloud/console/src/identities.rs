//! `remuda.identity.v1.IdentityService`.

use std::sync::Arc;

use prost_types::Duration;
use remuda_api::VehicleName;
use remuda_api::identity::v1::identity_service_server::IdentityService;
use remuda_api::identity::v1::{
    CreateEnrolmentTokenRequest, CreateVehiclesRequest, CreateVehiclesResponse, EnrolmentToken,
    GetRegistrationRequest, ListRegistrationsRequest, ListRegistrationsResponse, Registration,
    RevokeVehicleRequest, Standing,
};
use remuda_identity::{CaFingerprint, NewToken, NewVehicle, Register, RegisterError, Registered, Who};
use remuda_model::{OrganizationId, VehicleId};
use tonic::{Code, Request, Response, Status};

use crate::convert::timestamp_of;
use crate::page::{PageToken, page_size};
use crate::refusal::Refusal;
use crate::scope::{Scope, field, sight, who};
use crate::sight::Sight;
use crate::time::now_ms;

/// Where vehicles are registered.
#[derive(Clone)]
pub struct Identities {
    /// The register.
    pub register: Arc<Register>,
    /// By what a vehicle knows the server to which it shows its token.
    pub fingerprint: CaFingerprint,
    /// How long a token is valid unless a call says otherwise, ms.
    pub token_valid_ms: i64,
}

/// The service, over the register.
pub(crate) struct IdentityDesk {
    pub identities: Identities,
    pub scope: Scope,
}

impl IdentityDesk {
    /// The register waits for a disk.
    async fn decide<T: Send + 'static>(
        &self,
        by: String,
        work: impl FnOnce(&Identities, OrganizationId, &Who) -> Result<T, RegisterError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (identities, organization) = (self.identities.clone(), self.scope.organization);
        let who = Who { by, at_ms: now_ms() };
        let done = tokio::task::spawn_blocking(move || work(&identities, organization, &who)).await;
        // It panicked, which was reported, or the node is stopping.
        done.map_err(|_| Refusal::Stopping)?.map_err(refusal_of)
    }

    async fn create(
        &self,
        request: CreateVehiclesRequest,
        who: String,
    ) -> Result<CreateVehiclesResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        if request.vehicles.is_empty() {
            return Err(field("vehicles", "it is empty"));
        }
        let vehicles: Result<Vec<NewVehicle>, Refusal> = request
            .vehicles
            .into_iter()
            .enumerate()
            .map(|(at, new)| {
                let vehicle = VehicleId::new(&new.vehicle)
                    .map_err(|e| field("vehicles", format!("at {at}, `{}`: {e}", new.vehicle)))?;
                let display_name = Some(new.display_name).filter(|name| !name.is_empty());
                Ok(NewVehicle { vehicle, display_name })
            })
            .collect();
        let (vehicles, valid) = (vehicles?, self.token_valid_ms(request.token_valid)?);
        let tokens = self
            .decide(who, move |to, organization, who| {
                to.register.create(organization, &vehicles, valid, to.fingerprint, who)
            })
            .await?;
        let tokens = tokens.iter().map(|token| self.token_of(token)).collect();
        Ok(CreateVehiclesResponse { tokens })
    }

    async fn new_token(
        &self,
        request: CreateEnrolmentTokenRequest,
        who: String,
    ) -> Result<EnrolmentToken, Refusal> {
        let vehicle = self.scope.vehicle(&request.name, "name")?;
        let valid = self.token_valid_ms(request.token_valid)?;
        let token = self
            .decide(who, move |to, organization, who| {
                to.register.new_token(organization, vehicle, valid, to.fingerprint, who)
            })
            .await?;
        Ok(self.token_of(&token))
    }

    async fn revoke(&self, request: RevokeVehicleRequest, who: String) -> Result<Registration, Refusal> {
        let vehicle = self.scope.vehicle(&request.name, "name")?;
        if request.reason.trim().is_empty() {
            return Err(field("reason", "it is empty; say why the vehicle is revoked"));
        }
        let registered = self
            .decide(who, move |to, organization, who| {
                to.register.revoke(organization, vehicle, request.reason.trim(), who)?;
                to.register.get(organization, vehicle).ok_or(RegisterError::NoSuchVehicle(vehicle))
            })
            .await?;
        tracing::info!(vehicle_id = %vehicle, "a vehicle was revoked");
        Ok(registration_of(&registered))
    }

    fn get(&self, request: &GetRegistrationRequest) -> Result<Registration, Refusal> {
        let vehicle = self.scope.vehicle(&request.name, "name")?;
        let found = self.identities.register.get(self.scope.organization, vehicle);
        let found = found.ok_or_else(|| Refusal::NoSuchVehicle(vehicle.to_string()))?;
        Ok(registration_of(&found))
    }

    fn list(
        &self,
        request: &ListRegistrationsRequest,
        sight: &Sight,
    ) -> Result<ListRegistrationsResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let size = page_size(request.page_size)?;
        let after =
            PageToken::read_for(sight, &request.page_token, PAGES).map_err(|e| field("page_token", e))?;
        let after =
            after.map(|vehicle| VehicleId::new(&vehicle).map_err(|e| field("page_token", e))).transpose()?;
        // One more than wanted tells whether there is another page.
        let mut found = self.identities.register.list(self.scope.organization, after, size + 1);
        let more = found.len() > size;
        found.truncate(size);
        let next_page_token = match found.last() {
            Some(last) if more => PageToken::write_for(sight, last.identity.vehicle.as_str(), PAGES),
            _ => String::new(),
        };
        // A page may be shorter for it; the next one goes on behind what was left out.
        let seen = sight.seen()?;
        found.retain(|known| seen.has(&known.identity.vehicle));
        let registrations = found.iter().map(registration_of).collect();
        Ok(ListRegistrationsResponse { registrations, next_page_token })
    }

    fn token_valid_ms(&self, asked: Option<Duration>) -> Result<i64, Refusal> {
        let Some(asked) = asked else { return Ok(self.identities.token_valid_ms) };
        let ms = asked.seconds.saturating_mul(1_000).saturating_add(i64::from(asked.nanos) / 1_000_000);
        if ms > 0 { Ok(ms) } else { Err(field("token_valid", "it is not above 0")) }
    }

    fn token_of(&self, new: &NewToken) -> EnrolmentToken {
        EnrolmentToken {
            name: name_of(self.scope.organization, new.token.vehicle()),
            token: new.token.reveal(),
            expire_time: timestamp_of(new.expires_ms),
        }
    }
}

/// What binds a page token to these pages.
const PAGES: &str = "registrations";

fn name_of(organization: OrganizationId, vehicle: VehicleId) -> String {
    VehicleName { organization: organization.to_string(), vehicle: vehicle.to_string() }.to_string()
}

fn registration_of(known: &Registered) -> Registration {
    let standing = match known {
        Registered { revocation: Some(_), .. } => Standing::Revoked,
        Registered { certificate_not_after_ms: Some(_), .. } => Standing::Enrolled,
        _ => Standing::Waiting,
    };
    let revocation = known.revocation.as_ref();
    Registration {
        name: name_of(known.identity.organization, known.identity.vehicle),
        display_name: known.display_name.clone().unwrap_or_default(),
        standing: standing.into(),
        create_time: timestamp_of(known.created.at_ms),
        created_by: known.created.by.clone(),
        token_expire_time: known.token_expires_ms.and_then(timestamp_of),
        certificate_expire_time: known.certificate_not_after_ms.and_then(timestamp_of),
        revoke_time: revocation.and_then(|revoked| timestamp_of(revoked.who.at_ms)),
        revoked_by: revocation.map(|revoked| revoked.who.by.clone()).unwrap_or_default(),
        revoke_reason: revocation.map(|revoked| revoked.reason.clone()).unwrap_or_default(),
    }
}

/// Refusals of the register in the console's words; a fault is logged here, and its words stay here.
fn refusal_of(error: RegisterError) -> Refusal {
    use RegisterError as E;
    let (code, reason) = match &error {
        E::VehicleExists(_) => (Code::AlreadyExists, "VEHICLE_EXISTS"),
        E::VehicleTwice(_) => (Code::InvalidArgument, "VEHICLE_TWICE"),
        E::NoSuchVehicle(_) => (Code::NotFound, "VEHICLE_NOT_FOUND"),
        E::AlreadyRevoked(_) => (Code::FailedPrecondition, "VEHICLE_REVOKED"),
        E::Argument(_) => (Code::InvalidArgument, "FIELD_INVALID"),
        other => {
            tracing::error!(error = %other, "the register of vehicles failed");
            return Refusal::Identity {
                code: Code::Internal,
                reason: "REGISTER_FAILED",
                problem: "the register of vehicles cannot be written; see the node's log".into(),
            };
        }
    };
    Refusal::Identity { code, reason, problem: error.to_string() }
}

#[tonic::async_trait]
impl IdentityService for IdentityDesk {
    async fn create_vehicles(
        &self,
        request: Request<CreateVehiclesRequest>,
    ) -> Result<Response<CreateVehiclesResponse>, Status> {
        let who = who(&request);
        self.scope.measured("CreateVehicles", self.create(request.into_inner(), who)).await
    }

    async fn create_enrolment_token(
        &self,
        request: Request<CreateEnrolmentTokenRequest>,
    ) -> Result<Response<EnrolmentToken>, Status> {
        let who = who(&request);
        self.scope.measured("CreateEnrolmentToken", self.new_token(request.into_inner(), who)).await
    }

    async fn revoke_vehicle(
        &self,
        request: Request<RevokeVehicleRequest>,
    ) -> Result<Response<Registration>, Status> {
        let who = who(&request);
        self.scope.measured("RevokeVehicle", self.revoke(request.into_inner(), who)).await
    }

    async fn get_registration(
        &self,
        request: Request<GetRegistrationRequest>,
    ) -> Result<Response<Registration>, Status> {
        let request = request.into_inner();
        self.scope.measured("GetRegistration", async { self.get(&request) }).await
    }

    async fn list_registrations(
        &self,
        request: Request<ListRegistrationsRequest>,
    ) -> Result<Response<ListRegistrationsResponse>, Status> {
        let (sight, request) = (sight(&request), request.into_inner());
        self.scope.measured("ListRegistrations", async { self.list(&request, &sight) }).await
    }
}
