//! Who may call what: every method with every role, strangers, callers in a hurry, and what the audit log says of them.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use remuda_access::{Account, Accounts, Rate, RateLimiter, Role, Secret};
use remuda_api::METHODS;
use remuda_api::audit::v1::audit_service_client::AuditServiceClient;
use remuda_api::audit::v1::{Entry, ListEntriesRequest, Outcome, VerifyLogRequest};
use remuda_api::commands::v1::command_service_client::CommandServiceClient;
use remuda_api::commands::v1::{Action, CancelCommandRequest, CreateCommandRequest, action};
use remuda_api::vehicles::v1::ListVehiclesRequest;
use remuda_api::vehicles::v1::vehicle_service_client::VehicleServiceClient;
use remuda_audit::AuditLog;
use remuda_console::{Access, Console, ConsoleSettings, Token};
use remuda_model::OrganizationId;
use support::FakeFleet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

const TOKEN: &str = "a-token-for-tests-0123456789";
const PARENT: &str = "organizations/default";

/// Messages as bytes, so that any method can be called with an empty request.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = ();
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = ();
    type Error = Status;

    fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        let left = bytes::Buf::remaining(buffer);
        bytes::Buf::advance(buffer, left);
        Ok(Some(()))
    }
}

/// One account a role, `{role}-token-0123456789`, and the administrator of another organisation.
fn accounts() -> Accounts {
    let account = |name: &str, grant: String| Account {
        name: name.into(),
        secret: Secret::of(&token_of(name)),
        grants: vec![grant.parse().unwrap()],
    };
    let mut all: Vec<Account> =
        Role::ALL.iter().map(|role| account(role.as_str(), role.to_string())).collect();
    all.push(account("stranger", "another:admin".into()));
    all.push(account("north", "default/fleets/north:admin".into()));
    Accounts::new(all).unwrap()
}

fn token_of(name: &str) -> String {
    format!("{name}-token-0123456789")
}

async fn console(rate: Rate, audit: &Path) -> Console {
    let access =
        Access { accounts: Arc::new(accounts()), oidc: None, rate: Arc::new(RateLimiter::new(rate)) };
    let settings = ConsoleSettings {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: Token::new(TOKEN).unwrap(),
        organization: OrganizationId::default(),
        access,
    };
    let mut sources = support::sources(&Arc::new(FakeFleet::new(3)));
    sources.audit = Arc::new(AuditLog::open(audit).unwrap());
    Console::bind(settings, sources).await.unwrap()
}

const FAST: Rate = Rate { per_second: 1e5, burst: 1e5 };

async fn channel(console: &Console) -> Channel {
    Channel::from_shared(format!("http://{}", console.local_addr())).unwrap().connect().await.unwrap()
}

#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

fn bearer(token: &str) -> Bearer {
    Bearer(format!("Bearer {token}").parse().unwrap())
}

async fn called_as(console: &Console, token: &str) -> InterceptedService<Channel, Bearer> {
    InterceptedService::new(channel(console).await, bearer(token))
}

fn reason_of(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

async fn call(channel: &Channel, path: &'static str, token: &str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(InterceptedService::new(channel.clone(), bearer(token)));
    client.ready().await.unwrap();
    let request = Request::new(tokio_stream::once(()));
    let mut answer =
        client.streaming(request, axum::http::uri::PathAndQuery::from_static(path), Raw).await?.into_inner();
    // A stream may go on for ever; its first message, or its end, says that it was let through.
    match tokio::time::timeout(Duration::from_secs(5), answer.message()).await {
        Ok(first) => first.map(|_| ()),
        Err(_) => Ok(()),
    }
}

/// Who may call what, as people wrote it down.
fn table() -> Vec<(&'static str, Vec<&'static str>)> {
    let lines = include_str!("roles.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let row = |line: &'static str| {
        let mut words = line.split(' ');
        (words.next().unwrap_or_default(), words.collect())
    };
    lines.map(row).collect()
}

#[tokio::test]
async fn every_method_lets_in_the_roles_of_the_table_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let console = console(FAST, folder.path()).await;
    let channel = channel(&console).await;
    let table = table();
    let listed: Vec<&str> = table.iter().map(|(path, _)| *path).collect();
    let mut there: Vec<&str> = METHODS.iter().map(|method| method.path).collect();
    there.sort_unstable();
    assert_eq!(listed, there, "tests/roles.txt lists every method, in order, and no other");
    for (method, (_, roles)) in listed.iter().zip(&table) {
        let method = METHODS.iter().find(|known| known.path == *method).unwrap();
        for role in Role::ALL {
            let answer = call(&channel, method.path, &token_of(role.as_str())).await;
            let denied = answer.as_ref().err().filter(|status| reason_of(status) == "PERMISSION_MISSING");
            assert_eq!(
                denied.is_none(),
                roles.contains(&role.as_str()),
                "{} as {role}: {answer:?}",
                method.path
            );
            if let Some(status) = denied {
                assert_eq!(status.code(), Code::PermissionDenied);
                assert!(status.message().contains(method.permission), "{status:?}");
            }
            let open = answer.as_ref().err().is_some_and(|status| status.code() == Code::Unauthenticated);
            assert!(!open, "{} as {role}: {answer:?}", method.path);
        }
        // A role on a fleet opens what says so, and nothing else, whatever the role.
        let answer = call(&channel, method.path, &token_of("north")).await;
        let narrow = answer.as_ref().err().is_some_and(|status| reason_of(status) == "GRANT_TOO_NARROW");
        assert_eq!(narrow, !method.parts, "{} on a fleet: {answer:?}", method.path);
        for token in [token_of("stranger"), "no-token-of-anybody".into()] {
            let status = call(&channel, method.path, &token).await.unwrap_err();
            let wanted =
                if token.starts_with("stranger") { Code::PermissionDenied } else { Code::Unauthenticated };
            assert_eq!(status.code(), wanted, "{} with {token}", method.path);
        }
    }
    console.stop().await.unwrap();
}

#[tokio::test]
async fn a_stranger_sees_neither_the_map_nor_the_methods() {
    let folder = tempfile::tempdir().unwrap();
    let console = console(FAST, folder.path()).await;
    for (path, token, wanted) in [
        ("/map/roads.geojson", token_of("viewer"), "200"),
        ("/map/roads.geojson", token_of("stranger"), "403"),
        ("/console.json", token_of("stranger"), "403"),
        ("/console.json", "nobody".into(), "401"),
        ("/health", "nobody".into(), "200"),
    ] {
        let mut stream = TcpStream::connect(console.local_addr()).await.unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let status = String::from_utf8_lossy(&answer[9..12]).into_owned();
        assert_eq!(status, wanted, "{path} with {token}");
    }
    console.stop().await.unwrap();
}

fn honk() -> CreateCommandRequest {
    CreateCommandRequest {
        parent: format!("{PARENT}/vehicles/V0001"),
        action: Some(Action { action: Some(action::Action::Honk(true)) }),
        reason: "where is it?".into(),
        request_id: "once".into(),
        ..CreateCommandRequest::default()
    }
}

async fn entries(console: &Console) -> Vec<Entry> {
    let mut client = AuditServiceClient::new(called_as(console, &token_of("admin")).await);
    let request = ListEntriesRequest { parent: PARENT.into(), ..ListEntriesRequest::default() };
    client.list_entries(request).await.unwrap().into_inner().entries
}

#[tokio::test]
async fn a_change_stands_in_the_log_with_who_why_and_how_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let console = console(FAST, folder.path()).await;
    let mut operator = CommandServiceClient::new(called_as(&console, &token_of("operator")).await);
    let command = operator.create_command(honk()).await.unwrap().into_inner();
    assert_eq!(command.requested_by, "account/operator");
    let wrong = CancelCommandRequest { name: command.name.clone(), reason: String::new() };
    let refused = operator.cancel_command(wrong).await;
    let mut viewer = CommandServiceClient::new(called_as(&console, &token_of("viewer")).await);
    assert_eq!(viewer.create_command(honk()).await.unwrap_err().code(), Code::PermissionDenied);
    let mut reads = VehicleServiceClient::new(called_as(&console, &token_of("viewer")).await);
    let list = ListVehiclesRequest { parent: PARENT.into(), ..ListVehiclesRequest::default() };
    reads.list_vehicles(list).await.unwrap();

    // Newest first: the denial, the cancellation's end and beginning, the command's end and beginning.
    let entries = entries(&console).await;
    let told: Vec<_> = entries.iter().map(|e| (e.number, e.outcome(), e.status.as_str())).collect();
    assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition, "it was sent meanwhile");
    let wanted = [
        (5, Outcome::Denied, "commands.give"),
        (4, Outcome::Ended, "FAILED_PRECONDITION"),
        (3, Outcome::Begun, ""),
        (2, Outcome::Ended, "OK"),
        (1, Outcome::Begun, ""),
    ];
    assert_eq!(told, wanted);
    let begun = &entries[4];
    assert_eq!((begun.who.as_str(), begun.via.as_str()), ("account/operator", "account"));
    assert_eq!((begun.resource.as_str(), begun.reason.as_str()), (honk().parent.as_str(), "where is it?"));
    assert!(begun.from.starts_with("127.0.0.1:") && begun.detail.contains("\"honk\":true"), "{begun:?}");
    assert_eq!((entries[3].begun, entries[0].who.as_str()), (1, "account/viewer"));

    let mut admin = AuditServiceClient::new(called_as(&console, &token_of("admin")).await);
    let verify = VerifyLogRequest { parent: PARENT.into(), ..VerifyLogRequest::default() };
    let checked = admin.verify_log(verify.clone()).await.unwrap().into_inner();
    assert_eq!((checked.entries, checked.head.len()), (5, 64));
    let against = |hash: &str| VerifyLogRequest { kept_hash: hash.into(), ..verify.clone() };
    let kept = admin.verify_log(against(&checked.head)).await.unwrap().into_inner();
    assert_eq!(kept.kept_entry, 5);
    let other = admin.verify_log(against(&"a5".repeat(32))).await.unwrap_err();
    assert_eq!(reason_of(&other), "AUDIT_BROKEN", "{other:?}");
    // Somebody edits a line behind the node's back.
    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("account/viewer", "account/nobody")).unwrap();
    let broken = admin.verify_log(verify).await.unwrap_err();
    assert_eq!((broken.code(), reason_of(&broken).as_str()), (Code::DataLoss, "AUDIT_BROKEN"));
    assert!(broken.message().contains("line 5"), "{broken:?}");
    console.stop().await.unwrap();
}

#[tokio::test]
async fn a_caller_in_a_hurry_is_told_when_to_come_back_and_nobody_else_waits() {
    let folder = tempfile::tempdir().unwrap();
    let console = console(Rate { per_second: 0.001, burst: 3.0 }, folder.path()).await;
    let list = || ListVehiclesRequest { parent: PARENT.into(), ..ListVehiclesRequest::default() };
    let mut hasty = VehicleServiceClient::new(called_as(&console, &token_of("viewer")).await);
    for _ in 0..3 {
        hasty.list_vehicles(list()).await.unwrap();
    }
    let status = hasty.list_vehicles(list()).await.unwrap_err();
    assert_eq!((status.code(), reason_of(&status).as_str()), (Code::ResourceExhausted, "CALLS_EXHAUSTED"));
    assert!(status.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some()));
    let mut other = VehicleServiceClient::new(called_as(&console, &token_of("operator")).await);
    other.list_vehicles(list()).await.unwrap();
    console.stop().await.unwrap();
}
