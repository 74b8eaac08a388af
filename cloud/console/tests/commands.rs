//! Commands over the console's port: given, followed, refused with stable reasons.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

#[path = "commands/alerts.rs"]
mod alerts;
mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use remuda_api::commands::v1::command_service_client::CommandServiceClient;
use remuda_api::commands::v1::{
    Action, CancelCommandRequest, Command, CreateCommandRequest, GetCommandRequest, ListCommandsRequest,
    State, WatchCommandRequest, action,
};
use remuda_console::{Access, Console, ConsoleSettings, Token};
use remuda_contracts::commands::CommandState;
use remuda_model::OrganizationId;
use support::{FakeDesk, FakeFleet};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

const TOKEN: &str = "a-token-for-tests-0123456789";
const PARENT: &str = "organizations/default/vehicles/V0001";

async fn console(desk: &Arc<FakeDesk>) -> Console {
    let settings = ConsoleSettings {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: Token::new(TOKEN).unwrap(),
        organization: OrganizationId::default(),
        access: Access::default(),
    };
    let mut sources = support::sources(&Arc::new(FakeFleet::new(3)));
    sources.commands = desk.clone();
    Console::bind(settings, sources).await.unwrap()
}

async fn channel(console: &Console) -> Channel {
    Channel::from_shared(format!("http://{}", console.local_addr())).unwrap().connect().await.unwrap()
}

fn bearer(mut request: Request<()>) -> Result<Request<()>, Status> {
    let token: MetadataValue<Ascii> = format!("Bearer {TOKEN}").parse().unwrap();
    request.metadata_mut().insert("authorization", token);
    Ok(request)
}

fn honk() -> CreateCommandRequest {
    CreateCommandRequest {
        parent: PARENT.into(),
        action: Some(Action { action: Some(action::Action::Honk(true)) }),
        reason: "where is it?".into(),
        ..CreateCommandRequest::default()
    }
}

fn reason_of(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
}

#[tokio::test]
async fn a_command_is_given_followed_and_listed() {
    let desk = Arc::new(FakeDesk::default());
    let console = console(&desk).await;
    let mut client = CommandServiceClient::with_interceptor(channel(&console).await, bearer);
    let dry = CreateCommandRequest { validate_only: true, ..honk() };
    assert_eq!(client.create_command(dry).await.unwrap().into_inner().state(), State::Queued);
    let taken = client.create_command(honk()).await.unwrap().into_inner();
    assert_eq!((taken.state(), taken.requested_by.as_str()), (State::Queued, "console"));
    assert_eq!(taken.request_id.len(), 32, "one is made when none is given");
    let waits = taken.expire_time.unwrap().seconds - taken.create_time.unwrap().seconds;
    assert_eq!(waits, 60);
    let name = taken.name.clone();
    let mut changes =
        client.watch_command(WatchCommandRequest { name: name.clone() }).await.unwrap().into_inner();
    let mut next = async || -> Option<Command> { changes.message().await.unwrap() };
    assert_eq!(next().await.unwrap().state(), State::Queued);
    desk.move_on(CommandState::Sent, "");
    assert_eq!(next().await.unwrap().state(), State::Sent);
    desk.move_on(CommandState::Failed, "the horn is broken");
    let last = next().await.unwrap();
    assert_eq!((last.state(), last.detail.as_str()), (State::Failed, "the horn is broken"));
    assert!(next().await.is_none(), "a command that has ended is not followed any further");
    let listed = client.list_commands(ListCommandsRequest { parent: PARENT.into() }).await.unwrap();
    assert_eq!(listed.into_inner().commands, std::slice::from_ref(&last), "a preview leaves nothing");
    let found = client.get_command(GetCommandRequest { name }).await.unwrap().into_inner();
    assert_eq!(found, last);
    console.stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_a_stable_reason() {
    let desk = Arc::new(FakeDesk::default());
    let console = console(&desk).await;
    let mut client = CommandServiceClient::with_interceptor(channel(&console).await, bearer);
    let cases: [(CreateCommandRequest, Code, &str); 6] = [
        (CreateCommandRequest { action: None, ..honk() }, Code::InvalidArgument, "FIELD_INVALID"),
        (
            CreateCommandRequest {
                action: Some(Action { action: Some(action::Action::Honk(false)) }),
                ..honk()
            },
            Code::InvalidArgument,
            "FIELD_INVALID",
        ),
        (CreateCommandRequest { reason: String::new(), ..honk() }, Code::InvalidArgument, "COMMAND_INVALID"),
        (
            CreateCommandRequest { parent: "organizations/default/vehicles/V0002".into(), ..honk() },
            Code::NotFound,
            "VEHICLE_NOT_FOUND",
        ),
        (
            CreateCommandRequest { parent: "organizations/other/vehicles/V0001".into(), ..honk() },
            Code::PermissionDenied,
            "ORGANIZATION_FOREIGN",
        ),
        (CreateCommandRequest { parent: "V0001".into(), ..honk() }, Code::InvalidArgument, "FIELD_INVALID"),
    ];
    for (request, code, reason) in cases {
        let status = client.create_command(request.clone()).await.expect_err("refused");
        assert_eq!(reason_of(&status), (code, reason.to_owned()), "{request:?}");
    }
    let nothing = GetCommandRequest { name: format!("{PARENT}/commands/00") };
    let status = client.get_command(nothing).await.expect_err("unknown");
    assert_eq!(reason_of(&status), (Code::NotFound, "COMMAND_NOT_FOUND".to_owned()));
    let cancel = CancelCommandRequest { name: format!("{PARENT}/commands/00"), reason: "no".into() };
    let status = client.cancel_command(cancel).await.expect_err("it was sent");
    assert_eq!(reason_of(&status), (Code::FailedPrecondition, "COMMAND_SENT".to_owned()));
    let mut stranger = CommandServiceClient::new(channel(&console).await);
    let status = stranger.create_command(honk()).await.expect_err("no token");
    assert_eq!(status.code(), Code::Unauthenticated);
    console.stop().await.unwrap();
}
