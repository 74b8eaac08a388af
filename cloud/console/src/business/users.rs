//! Users.

use remuda_api::users::v1::user_service_server::UserService;
use remuda_api::users::v1::{
    AddCreditsRequest, CreateUserRequest, EraseUserRequest, GetUserRequest, ListUsersRequest,
    ListUsersResponse, User,
};
use remuda_contracts::money::{Currency, Money};
use tonic::{Request, Response, Status};

use super::{Business, asker, convert, page};
use crate::page::PageToken;
use crate::refusal::Refusal;
use crate::scope::{field, who};

/// What binds a page token to these pages.
const PAGES: &str = "users";

impl Business {
    async fn create(&self, request: CreateUserRequest, who: String) -> Result<User, Refusal> {
        self.scope.parent(&request.parent)?;
        if request.display_name.trim().is_empty() {
            return Err(field("display_name", "it is empty"));
        }
        let email = Some(request.email).filter(|email| !email.is_empty());
        let asker = asker(who, String::new())?;
        let organization = &self.scope.organization;
        let view = self
            .desk
            .register_rider(organization, &request.user_id, request.display_name, email, asker)
            .await;
        view.map(|view| convert::user(self.scope.organization, &view)).map_err(Refusal::business)
    }

    async fn user(&self, request: GetUserRequest) -> Result<User, Refusal> {
        let id = self.scope.child("users", &request.name)?;
        let view = self.desk.user(&self.scope.organization, &id).await;
        view.map(|view| convert::user(self.scope.organization, &view)).map_err(Refusal::business)
    }

    async fn users(&self, request: ListUsersRequest) -> Result<ListUsersResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let (size, after) = page(request.page_size, &request.page_token, PAGES)?;
        let found = self.desk.users(&self.scope.organization, after.as_deref(), size + 1).await;
        let mut found = found.map_err(Refusal::business)?;
        let more = found.len() > size;
        found.truncate(size);
        let next_page_token = match found.last() {
            Some(last) if more => PageToken::write_text(&last.id, PAGES),
            _ => String::new(),
        };
        let users = found.iter().map(|view| convert::user(self.scope.organization, view)).collect();
        Ok(ListUsersResponse { users, next_page_token })
    }

    async fn add(&self, request: AddCreditsRequest, who: String) -> Result<User, Refusal> {
        let id = self.scope.child("users", &request.name)?;
        if request.request_id.is_empty() {
            return Err(field("request_id", "it is empty; name the payment, so that it counts once"));
        }
        if request.amount_minor <= 0 {
            return Err(field("amount_minor", "it is not above 0"));
        }
        let currency = match request.currency.as_str() {
            "" => Currency::EUR,
            text => text.parse().map_err(|e: &str| field("currency", e))?,
        };
        let amount = Money { minor_units: request.amount_minor, currency };
        let asker = asker(who, request.request_id)?;
        let view = self.desk.top_up(&self.scope.organization, &id, amount, asker).await;
        view.map(|view| convert::user(self.scope.organization, &view)).map_err(Refusal::business)
    }

    async fn erase(&self, request: EraseUserRequest, who: String) -> Result<User, Refusal> {
        let id = self.scope.child("users", &request.name)?;
        if request.reason.trim().is_empty() {
            return Err(field("reason", "it is empty; say why the person is erased"));
        }
        let asker = asker(who, String::new())?;
        let view = self.desk.erase_user(&self.scope.organization, &id, request.forfeit_credits, asker).await;
        view.map(|view| convert::user(self.scope.organization, &view)).map_err(Refusal::business)
    }
}

#[tonic::async_trait]
impl UserService for Business {
    async fn create_user(&self, request: Request<CreateUserRequest>) -> Result<Response<User>, Status> {
        let who = who(&request);
        self.scope.measured("CreateUser", self.create(request.into_inner(), who)).await
    }

    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<User>, Status> {
        self.scope.measured("GetUser", self.user(request.into_inner())).await
    }

    async fn list_users(
        &self,
        request: Request<ListUsersRequest>,
    ) -> Result<Response<ListUsersResponse>, Status> {
        self.scope.measured("ListUsers", self.users(request.into_inner())).await
    }

    async fn add_credits(&self, request: Request<AddCreditsRequest>) -> Result<Response<User>, Status> {
        let who = who(&request);
        self.scope.measured("AddCredits", self.add(request.into_inner(), who)).await
    }

    async fn erase_user(&self, request: Request<EraseUserRequest>) -> Result<Response<User>, Status> {
        let who = who(&request);
        self.scope.measured("EraseUser", self.erase(request.into_inner(), who)).await
    }
}
