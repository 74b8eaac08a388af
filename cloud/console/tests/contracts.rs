//! What each consumer expects, as data (`contracts/*.json`), replayed against the real console.
//!
//! An expectation names what its consumer reads and nothing else: more may be there. `<string>`, `<number>`, `<boolean>`, `<array>`
//! and `<any>` stand for anything of that kind; a list of one describes every element, of which there is at least one.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use remuda_api::DESCRIPTORS;
use remuda_audit::AuditLog;
use remuda_console::{Access, Console, ConsoleSettings, Token};
use remuda_model::OrganizationId;
use serde_json::Value as Json;
use support::FakeFleet;
use support::http::ask;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

const TOKEN: &str = "a-token-for-tests-0123456789";

/// Messages as bytes: contracts know no generated code.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
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
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put(buffer, item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let left = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(left)))
    }
}

/// What of an expectation is not so.
fn differences(expected: &Json, actual: &Json, at: &str) -> Vec<String> {
    let is = |right: bool| {
        if right { Vec::new() } else { vec![format!("{at}: {expected} is expected, it is {actual}")] }
    };
    match expected {
        Json::String(kind) if kind.starts_with('<') => match kind.as_str() {
            "<string>" => is(actual.is_string()),
            "<number>" => is(actual.is_number()),
            "<boolean>" => is(actual.is_boolean()),
            "<array>" => is(actual.is_array()),
            "<any>" => is(!actual.is_null()),
            other => panic!("{at}: there is no kind {other}"),
        },
        Json::Object(fields) => fields
            .iter()
            .flat_map(|(name, field)| differences(field, &actual[name], &format!("{at}.{name}")))
            .collect(),
        Json::Array(each) if each.len() == 1 => match actual.as_array() {
            Some(all) if !all.is_empty() => all
                .iter()
                .enumerate()
                .flat_map(|(n, one)| differences(&each[0], one, &format!("{at}[{n}]")))
                .collect(),
            _ => is(false),
        },
        _ => is(expected == actual),
    }
}

#[test]
fn expectations_can_be_missed() {
    let expected = serde_json::json!({ "a": "<string>", "b": [{ "c": "<number>" }], "d": null });
    assert!(
        differences(&expected, &serde_json::json!({ "a": "", "b": [{ "c": 1 }], "e": 2 }), "").is_empty()
    );
    for wrong in [
        r#"{"a":1,"b":[{"c":1}]}"#,
        r#"{"a":"","b":[]}"#,
        r#"{"a":"","b":[{"c":1},{"c":"1"}]}"#,
        r#"{"a":"","b":[{"c":1}],"d":0}"#,
    ] {
        assert!(!differences(&expected, &serde_json::from_str(wrong).unwrap(), "").is_empty(), "{wrong}");
    }
}

async fn over_http(addr: SocketAddr, http: &Json, expect: &Json) -> Vec<String> {
    let bearer = format!("authorization: Bearer {TOKEN}");
    let anonymous = http["anonymous"] == true;
    let more = http["headers"].as_object().into_iter().flatten();
    let more: Vec<String> =
        more.map(|(name, value)| format!("{name}: {}", value.as_str().unwrap())).collect();
    let headers: Vec<&str> =
        more.iter().map(String::as_str).chain((!anonymous).then_some(bearer.as_str())).collect();
    let body = http.get("body").map(Json::to_string);
    let (method, path) = (http["method"].as_str().unwrap(), http["path"].as_str().unwrap());
    let answer = ask(addr, method, path, &headers, body.as_deref()).await;
    let mut wrong = differences(&expect["status"], &Json::from(answer.status), "status");
    for (name, value) in expect["headers"].as_object().into_iter().flatten() {
        wrong.extend(differences(value, &answer.header(name).into(), name));
    }
    wrong.extend(differences(&expect["body"], &answer.json().await, "body"));
    wrong
}

async fn over_grpc(channel: &Channel, pool: &DescriptorPool, interaction: &Json) -> Vec<String> {
    let (path, expect) = (interaction["rpc"].as_str().unwrap(), &interaction["expect"]);
    let (service, method) = path.trim_start_matches('/').split_once('/').unwrap();
    let method =
        pool.get_service_by_name(service).unwrap().methods().find(|known| known.name() == method).unwrap();
    let request = DynamicMessage::deserialize(method.input(), interaction["request"].clone()).unwrap();
    let mut request = Request::new(tokio_stream::once(Bytes::from(request.encode_to_vec())));
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let answer = client.streaming(request, path.parse().unwrap(), Raw).await;
    let first = match answer {
        // Of a stream its first message.
        Ok(answer) => answer.into_inner().message().await,
        Err(status) => Err(status),
    };
    match first {
        Ok(first) => {
            let message = DynamicMessage::decode(method.output(), first.unwrap()).unwrap();
            let options = SerializeOptions::new().skip_default_fields(false);
            let json = message.serialize_with_options(serde_json::value::Serializer, &options).unwrap();
            let code = differences(&expect["code"], &Json::from("OK"), "code");
            code.into_iter().chain(differences(&expect["response"], &json, "response")).collect()
        }
        Err(status) => {
            let code = match status.code() {
                Code::InvalidArgument => "INVALID_ARGUMENT",
                Code::NotFound => "NOT_FOUND",
                Code::PermissionDenied => "PERMISSION_DENIED",
                Code::Aborted => "ABORTED",
                _ => "another one",
            };
            let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
            let code = differences(&expect["code"], &Json::from(code), "code");
            code.into_iter().chain(differences(&expect["reason"], &Json::from(reason), "reason")).collect()
        }
    }
}

#[tokio::test]
async fn every_consumer_finds_what_it_reads() {
    let audit = tempfile::tempdir().unwrap();
    let settings = ConsoleSettings {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: Token::new(TOKEN).unwrap(),
        organization: OrganizationId::default(),
        access: Access::default(),
    };
    let mut sources = support::sources(&Arc::new(FakeFleet::new(30)));
    sources.audit = Arc::new(AuditLog::open(audit.path()).unwrap());
    let console = Console::bind(settings, sources).await.unwrap();
    let addr = console.local_addr();
    let channel = Channel::from_shared(format!("http://{addr}")).unwrap().connect().await.unwrap();
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let (mut wrong, mut replayed) = (Vec::new(), 0);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contracts");
    for entry in std::fs::read_dir(folder).unwrap() {
        let contract: Json =
            serde_json::from_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        for interaction in contract["interactions"].as_array().unwrap() {
            let found = match interaction.get("http") {
                Some(http) => over_http(addr, http, &interaction["expect"]).await,
                None => over_grpc(&channel, &pool, interaction).await,
            };
            replayed += 1;
            let name = format!("{}, {}", contract["consumer"], interaction["name"]);
            wrong.extend(found.into_iter().map(|difference| format!("{name}: {difference}")));
        }
    }
    assert!(replayed >= 19, "only {replayed} interactions were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    console.stop().await.unwrap();
}
