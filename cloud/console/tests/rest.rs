//! REST is the same API: the same permissions, the same audit log, the same errors, in the words of HTTP.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

#[path = "support/business.rs"]
mod business;
mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prost_reflect::DescriptorPool;
use remuda_access::{Account, Accounts, Permission, Rate, RateLimiter, Role, Secret};
use remuda_api::{DESCRIPTORS, METHODS};
use remuda_audit::AuditLog;
use remuda_console::{Access, Console, ConsoleSettings, Token};
use remuda_contracts::business::BusinessDesk;
use remuda_model::OrganizationId;
use remuda_transcoder::{Route, Table};
use serde_json::{Value as Json, json};
use support::FakeFleet;
use support::http::{Answer, ask, raw, reason_of};

const TOKEN: &str = "a-token-for-tests-0123456789";
const BEARER: &str = "authorization: Bearer a-token-for-tests-0123456789";
const FAST: Rate = Rate { per_second: 1e5, burst: 1e5 };

fn token_of(name: &str) -> String {
    format!("{name}-token-0123456789")
}

/// One account a role, and the administrator of another organisation.
fn accounts() -> Accounts {
    let account = |name: &str, grant: String| Account {
        name: name.into(),
        secret: Secret::of(&token_of(name)),
        grants: vec![grant.parse().unwrap()],
    };
    let roles = Role::ALL.iter().map(|role| account(role.as_str(), role.to_string()));
    Accounts::new(roles.chain([account("stranger", "another:admin".into())]).collect()).unwrap()
}

async fn console_with(fleet: &Arc<FakeFleet>, rate: Rate, audit: &Path) -> Console {
    console_of(fleet, rate, audit, None).await
}

async fn console_of(
    fleet: &Arc<FakeFleet>,
    rate: Rate,
    audit: &Path,
    business: Option<Arc<dyn BusinessDesk>>,
) -> Console {
    let access =
        Access { accounts: Arc::new(accounts()), oidc: None, rate: Arc::new(RateLimiter::new(rate)) };
    let settings = ConsoleSettings {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: Token::new(TOKEN).unwrap(),
        organization: OrganizationId::default(),
        access,
    };
    let mut sources = support::sources(fleet);
    sources.audit = Arc::new(AuditLog::open(audit).unwrap());
    sources.business = business;
    Console::bind(settings, sources).await.unwrap()
}

async fn console() -> Console {
    // The log's folder is gone at once; the open file serves as long as the log does.
    console_with(&Arc::new(FakeFleet::new(30)), FAST, tempfile::tempdir().unwrap().path()).await
}

async fn get(console: &Console, path: &str, headers: &[&str]) -> Answer {
    ask(console.local_addr(), "GET", path, &[&[BEARER], headers].concat(), None).await
}

/// A path that fits a route.
fn filled(route: &Route) -> String {
    let path = route.path().replace("organizations/*", "organizations/default").replace('*', "V000001");
    let mut out = String::new();
    let mut rest = path.as_str();
    while let Some((before, inside)) = rest.split_once('{') {
        let (variable, after) = inside.split_once('}').unwrap();
        out += before;
        out += variable.split_once('=').unwrap().1;
        rest = after;
    }
    out + rest
}

#[tokio::test]
async fn every_method_lets_in_the_same_roles_through_rest() {
    let console = console().await;
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let table = Table::new(pool, |service| service.starts_with("remuda.")).unwrap();
    for method in METHODS {
        assert!(table.routes().iter().any(|route| route.grpc_path() == method.path), "{}", method.path);
    }
    for route in table.routes() {
        let method = METHODS.iter().find(|method| method.path == route.grpc_path()).unwrap();
        let permission = Permission::named(method.permission).unwrap();
        let (verb, path) = (route.verb().as_str(), filled(route));
        let body = route.takes_body().then_some("{}");
        let call = |token: String| {
            let bearer = format!("authorization: Bearer {token}");
            let (path, addr) = (path.clone(), console.local_addr());
            async move { ask(addr, verb, &path, &[&bearer], body).await }
        };
        for role in Role::ALL {
            let answer = call(token_of(role.as_str())).await;
            let status = answer.status;
            // A stream that was let in goes on.
            let denied = status == 403 && reason_of(&answer.json().await) == "PERMISSION_MISSING";
            assert_eq!(!denied, role.permits(permission), "{verb} {path} as {role}: {status}");
            assert_ne!(status, 401, "{verb} {path} as {role}");
            assert!(
                ![404, 405].contains(&status)
                    || permission != Permission::VehiclesRead
                    || path.contains("V000001"),
                "{path}"
            );
        }
        for (token, wanted) in [(token_of("stranger"), 403), ("no-token-of-anybody".into(), 401)] {
            assert_eq!(call(token).await.status, wanted, "{verb} {path}");
        }
        assert_eq!(ask(console.local_addr(), verb, &path, &[], body).await.status, 401, "{verb} {path}");
    }
    console.stop().await.unwrap();
}

#[tokio::test]
async fn plain_paths_show_vehicles() {
    let console = console().await;
    for prefix in ["", "/api/v1"] {
        let page = get(&console, &format!("{prefix}/vehicles?pageSize=4"), &[]).await.json().await;
        assert_eq!(page["vehicles"].as_array().unwrap().len(), 4);
        assert_eq!((&page["vehicles"][1]["id"], &page["totalSize"]), (&json!("V000001"), &json!(30)));
        let next = page["nextPageToken"].as_str().unwrap();
        let path = format!("{prefix}/vehicles?page_size=4&page_token={next}");
        assert_eq!(get(&console, &path, &[]).await.json().await["vehicles"][0]["id"], "V000004");

        let answer = get(&console, &format!("{prefix}/vehicles/V000001"), &[]).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        let vehicle = answer.json().await;
        assert!(["online", "offline"].contains(&vehicle["status"].as_str().unwrap()), "{vehicle}");
        assert!(vehicle["location"]["lat"].as_f64().unwrap() > 60.0 && vehicle["location"]["lng"].is_f64());
        assert!(!vehicle["twin"]["signals"].as_array().unwrap().is_empty());

        let status = get(&console, &format!("{prefix}/fleet/status"), &[]).await.json().await;
        assert_eq!(status["total"], 30);
        assert_eq!(status["online"].as_i64().unwrap() + status["offline"].as_i64().unwrap(), 30);
    }
    let online =
        get(&console, "/vehicles?filter=presence%20%3D%20ONLINE&pageSize=1000", &[]).await.json().await;
    assert!(online["vehicles"].as_array().unwrap().iter().all(|vehicle| vehicle["status"] == "online"));
    let nothing = get(&console, "/vehicles/V999999", &[]).await;
    assert_eq!(nothing.status, 404);
    assert_eq!(reason_of(&nothing.json().await), "VEHICLE_NOT_FOUND");
    // What has no method yet says so, to those who may ask.
    let later = get(&console, "/diagnostics", &[]).await;
    assert!([200, 501].contains(&later.status));
    assert_eq!(ask(console.local_addr(), "GET", "/diagnostics", &[], None).await.status, 401);
    console.stop().await.unwrap();
}

#[tokio::test]
async fn fields_say_what_of_an_answer_is_wanted() {
    let console = console().await;
    let all = "/api/v1/organizations/default/vehicles";
    for name in ["fields", "%24fields"] {
        let path = format!("{all}?pageSize=2&{name}=vehicles.name,vehicles.open_alerts,totalSize");
        let page = get(&console, &path, &[]).await.json().await;
        let vehicle = |id: &str| {
            let name = format!("organizations/default/vehicles/{id}");
            json!({ "name": name, "openAlerts": 0 })
        };
        let wanted = [vehicle("V000000"), vehicle("V000001")];
        assert_eq!(page, json!({ "vehicles": wanted, "totalSize": 30 }));
    }
    let answer = get(&console, &format!("{all}/V000001?fields=etag"), &[]).await;
    let etag = answer.header("etag").unwrap().to_owned();
    assert_eq!(answer.json().await, json!({ "etag": etag }));
    let watched = format!("{all}:watch?intervalMs=100&fields=full_state");
    let line = get(&console, &watched, &[]).await.line().await;
    assert_eq!(serde_json::from_str::<Json>(&line).unwrap(), json!({ "fullState": true }));

    for wrong in ["wheels", "", "vehicles.name.first", "etag&fields=etag"] {
        let refused = get(&console, &format!("{all}?fields={wrong}"), &[]).await;
        assert_eq!(refused.status, 400, "{wrong}");
        assert_eq!(reason_of(&refused.json().await), "FIELD_INVALID", "{wrong}");
    }
    let stranger = ask(console.local_addr(), "GET", &format!("{all}?fields=wheels"), &[], None).await;
    assert_eq!(stranger.status, 401);
    // A path with a shape of its own has no fields of the method's.
    for shaped in ["/vehicles?fields=vehicles.id", "/gbfs/vehicle_status.json?fields=vehicles"] {
        assert_eq!(get(&console, shaped, &[]).await.status, 400, "{shaped}");
    }
    console.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_is_said_in_the_words_of_http() {
    let console = console().await;
    let addr = console.local_addr();
    let list = "/api/v1/organizations/default/vehicles";
    for (path, status, reason) in [
        (format!("{list}?pageSize=x"), 400, "FIELD_INVALID"),
        (format!("{list}?pageSize=-1"), 400, "FIELD_INVALID"),
        (format!("{list}?filter=nonsense"), 400, "FIELD_INVALID"),
        (format!("{list}?nothing=1"), 400, "FIELD_INVALID"),
        ("/api/v1/organizations/other/vehicles".into(), 403, "ORGANIZATION_FOREIGN"),
        ("/api/v1/organizations/default/starships".into(), 404, "PATH_UNKNOWN"),
        ("/api/v1/organizations/default/vehicles/V1/commands/1".into(), 404, "COMMAND_NOT_FOUND"),
    ] {
        let answer = get(&console, &path, &[]).await;
        assert_eq!(answer.status, status, "{path}");
        let error = answer.json().await;
        assert_eq!((reason_of(&error), &error["error"]["code"]), (reason, &json!(status)), "{path}: {error}");
    }
    let field = get(&console, &format!("{list}?pageSize=x"), &[]).await.json().await;
    assert!(field.to_string().contains("\"field\":\"pageSize\""), "{field}");

    let commands = format!("{list}/V0001/commands");
    let post = |headers: Vec<&'static str>, body: String| {
        let commands = commands.clone();
        async move { ask(addr, "POST", &commands, &[&[BEARER], headers.as_slice()].concat(), Some(&body)).await }
    };
    for (headers, body, status) in [
        (vec![], "{".to_owned(), 400),
        (vec![], r#"{"colour":"red"}"#.to_owned(), 400),
        (vec![], r#"{"parent":"organizations/default/vehicles/V0002"}"#.to_owned(), 400),
        (vec!["content-type: application/x-www-form-urlencoded"], "reason=x".to_owned(), 415),
        (vec!["content-type: text/plain"], "{}".to_owned(), 415),
        (vec!["content-encoding: gzip"], "{}".to_owned(), 415),
        (vec!["x-server-timeout: soon"], "{}".to_owned(), 400),
    ] {
        assert_eq!(post(headers.clone(), body.clone()).await.status, status, "{headers:?} {body}");
    }
    let large = format!("{{\"reason\":\"{}\"}}", "x".repeat(5 << 20));
    assert_eq!(post(vec![], large).await.status, 413);

    let other = ask(addr, "DELETE", list, &[BEARER], None).await;
    assert_eq!((other.status, other.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    let options = ask(addr, "OPTIONS", list, &[], None).await;
    assert_eq!((options.status, options.header("allow")), (204, Some("GET, HEAD, OPTIONS")));
    let head = ask(addr, "HEAD", list, &[BEARER], None).await;
    assert_eq!((head.status, head.text().await.as_str()), (200, ""));
    console.stop().await.unwrap();
}

#[tokio::test]
async fn a_stranger_is_turned_away_before_their_body_is_read() {
    let console = console().await;
    // The body never comes.
    let head = "POST /api/v1/organizations/default/vehicles/V0001/commands HTTP/1.1\r\nhost: x\r\n\
        content-type: application/json\r\ncontent-length: 1000000\r\n";
    assert_eq!(raw(console.local_addr(), format!("{head}\r\n").as_bytes()).await.status, 401);
    let viewer = format!("{head}authorization: Bearer {}\r\n\r\n", token_of("viewer"));
    assert_eq!(raw(console.local_addr(), viewer.as_bytes()).await.status, 403);
    // A browser's cookies are nobody's token.
    let cookie = format!("cookie: token={TOKEN}; authorization=Bearer {TOKEN}");
    let answer = ask(console.local_addr(), "GET", "/vehicles", &[&cookie], None).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(
        ask(console.local_addr(), "GET", &format!("/vehicles?access_token={TOKEN}"), &[], None).await.status,
        401
    );
    console.stop().await.unwrap();
}

#[tokio::test]
async fn changes_stand_in_the_audit_log_as_through_grpc() {
    let folder = tempfile::tempdir().unwrap();
    let console = console_with(&Arc::new(FakeFleet::new(3)), FAST, folder.path()).await;
    let addr = console.local_addr();
    let commands = "/api/v1/organizations/default/vehicles/V0001/commands";
    let operator = format!("authorization: Bearer {}", token_of("operator"));
    let viewer = format!("authorization: Bearer {}", token_of("viewer"));
    let honk = r#"{"action":{"honk":true},"reason":"where is it?","timeToLive":"60s"}"#;
    let given = ask(
        addr,
        "POST",
        commands,
        &[&operator, "idempotency-key: once", "x-request-id: of-a-proxy"],
        Some(honk),
    )
    .await;
    assert_eq!(given.status, 200);
    let given = given.json().await;
    assert_eq!((&given["requestedBy"], &given["requestId"]), (&json!("account/operator"), &json!("once")));
    assert_eq!(ask(addr, "POST", commands, &[&viewer], Some(honk)).await.status, 403);
    // Broken, so never begun.
    assert_eq!(ask(addr, "POST", commands, &[&operator], Some("{")).await.status, 400);

    let entries = get(&console, "/api/v1/organizations/default/auditEntries", &[]).await.json().await;
    let told: Vec<(&str, &str)> = entries["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["outcome"].as_str().unwrap(), entry["status"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("OUTCOME_DENIED", "commands.give"), ("OUTCOME_ENDED", "OK"), ("OUTCOME_BEGUN", "")]);
    let begun = &entries["entries"][2];
    assert_eq!((&begun["who"], &begun["reason"]), (&json!("account/operator"), &json!("where is it?")));
    assert_eq!(begun["resource"], "organizations/default/vehicles/V0001");
    assert!(begun["from"].as_str().unwrap().starts_with("127.0.0.1:"), "{begun}");
    console.stop().await.unwrap();
}

#[tokio::test]
async fn etags_make_reads_and_changes_conditional() {
    let console = console().await;
    let answer = get(&console, "/vehicles/V000001", &[]).await;
    let etag = answer.header("etag").unwrap().to_owned();
    assert_eq!(answer.json().await["etag"], etag.as_str());
    let unchanged = get(&console, "/vehicles/V000001", &[&format!("if-none-match: {etag}")]).await;
    assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some(etag.as_str())));
    assert_eq!(get(&console, "/vehicles/V000001", &["if-none-match: \"other\""]).await.status, 200);

    let put = |headers: Vec<&'static str>, body: &'static str| {
        let addr = console.local_addr();
        async move {
            ask(
                addr,
                "PUT",
                "/api/v1/organizations/default/policies/p",
                &[&[BEARER], headers.as_slice()].concat(),
                Some(body),
            )
            .await
        }
    };
    let stale = put(vec!["if-match: \"5\""], r#"{"document":"{}"}"#).await;
    assert_eq!(stale.status, 412);
    assert_eq!(reason_of(&stale.json().await), "ETAG_MISMATCH");
    assert_eq!(put(vec![], r#"{"document":"{}","etag":"\"5\""}"#).await.status, 409);
    assert_eq!(put(vec!["if-match: \"5\""], r#"{"document":"{}","etag":"\"6\""}"#).await.status, 400);
    assert_eq!(put(vec!["if-match: *"], r#"{"document":"{}"}"#).await.status, 200);
    console.stop().await.unwrap();
}

#[tokio::test]
async fn a_deadline_ends_a_call() {
    let fleet = Arc::new(FakeFleet::new(3));
    fleet.answer_twins_after(Some(Duration::from_secs(60)));
    let console = console_with(&fleet, FAST, tempfile::tempdir().unwrap().path()).await;
    let late = get(&console, "/vehicles/V000001", &["x-server-timeout: 0.05"]).await;
    assert_eq!(late.status, 504);
    assert_eq!(reason_of(&late.json().await), "DEADLINE_PASSED");
    console.stop().await.unwrap();
}

#[tokio::test]
async fn a_caller_in_a_hurry_is_told_when_to_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let rate = Rate { per_second: 0.001, burst: 2.0 };
    let console = console_with(&Arc::new(FakeFleet::new(3)), rate, folder.path()).await;
    for _ in 0..2 {
        assert_eq!(get(&console, "/vehicles", &[]).await.status, 200);
    }
    let hasty = get(&console, "/vehicles", &[]).await;
    assert_eq!(hasty.status, 429);
    assert!(hasty.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    console.stop().await.unwrap();
}

#[tokio::test]
async fn streams_are_lines_or_events_and_go_on_where_they_ended() {
    let fleet = Arc::new(FakeFleet::new(5));
    let console = console_with(&fleet, FAST, tempfile::tempdir().unwrap().path()).await;
    let watch = "/api/v1/organizations/default/vehicles:watch?intervalMs=100";
    let mut lines = get(&console, watch, &[]).await;
    assert_eq!((lines.status, lines.header("content-type")), (200, Some("application/x-ndjson")));
    let first: Json = serde_json::from_str(&lines.line().await).unwrap();
    assert_eq!((first["vehicles"].as_array().unwrap().len(), &first["fullState"]), (5, &json!(true)));
    drop(lines);

    let mut events = get(&console, watch, &["accept: text/event-stream"]).await;
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    let id = events.line().await.strip_prefix("id: ").unwrap().to_owned();
    let data: Json = serde_json::from_str(events.line().await.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((events.line().await.as_str(), &data["resumeToken"]), ("", &json!(id)));
    drop(events);

    fleet.change("V000002", |summary| summary.open_alerts = 7);
    let resumed = format!("last-event-id: {id}");
    let mut events = get(&console, watch, &["accept: text/event-stream", &resumed]).await;
    // What changed between is there, and nothing else.
    loop {
        let line = events.line().await;
        let Some(data) = line.strip_prefix("data: ") else { continue };
        let data: Json = serde_json::from_str(data).unwrap();
        assert_eq!(data["fullState"], false, "{data}");
        let changed = data["vehicles"].as_array().unwrap();
        if let [vehicle] = changed.as_slice() {
            assert_eq!(
                (&vehicle["name"], &vehicle["openAlerts"]),
                (&json!("organizations/default/vehicles/V000002"), &json!(7))
            );
            break;
        }
        assert!(changed.is_empty(), "{data}");
    }
    let refused = get(&console, "/api/v1/organizations/default/vehicles:watch?intervalMs=5", &[]).await;
    assert_eq!(refused.status, 400, "a stream that is refused is an error, not an empty stream");
    // A node that stops says so in the last line.
    let mut lines = get(&console, watch, &[]).await;
    lines.line().await;
    console.stop().await.unwrap();
    let mut last = lines.line().await;
    while !last.contains("\"error\"") {
        assert!(!last.is_empty(), "the stream ended without a word");
        last = lines.line().await;
    }
    assert_eq!(reason_of(&serde_json::from_str(&last).unwrap()), "NODE_STOPPING");
}

#[tokio::test]
async fn exports_have_every_vehicle() {
    let fleet = Arc::new(FakeFleet::new(2_300));
    let console = console_with(&fleet, FAST, tempfile::tempdir().unwrap().path()).await;
    let status = get(&console, "/gbfs/vehicle_status.json", &[]).await;
    assert_eq!(status.status, 200);
    let status = status.json().await;
    assert_eq!(
        (status["data"]["vehicles"].as_array().unwrap().len(), &status["version"]),
        (2_300, &json!("3.0"))
    );

    let (mut seen, mut path) = (0, "/rfms/vehiclepositions?latestOnly=true".to_owned());
    loop {
        let answer = get(&console, &path, &[]).await;
        assert_eq!(answer.header("content-type"), Some("application/json; rfms=vehiclepositions.v4.0"));
        let page = answer.json().await;
        seen += page["vehiclePositionResponse"]["vehiclePositions"].as_array().unwrap().len();
        match page["moreDataAvailableLink"].as_str() {
            Some(more) => path = more.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, 2_300);
    assert_eq!(get(&console, "/rfms/vehiclestatuses", &[]).await.status, 400);
    let one = get(&console, "/rfms/vehiclestatuses?latestOnly=true&vin=V000007", &[]).await.json().await;
    assert_eq!(one["vehicleStatusResponse"]["vehicleStatuses"][0]["vin"], "V000007");
    assert_eq!(one["moreDataAvailable"], false);
    console.stop().await.unwrap();
}

#[tokio::test]
async fn the_reference_needs_no_token_and_nothing_from_elsewhere() {
    let console = console().await;
    for (path, kind) in [
        ("/openapi.json", "application/json"),
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/docs.js", "text/javascript; charset=utf-8"),
        ("/docs/docs.css", "text/css; charset=utf-8"),
    ] {
        let answer = ask(console.local_addr(), "GET", path, &[], None).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let known = format!("if-none-match: {}", answer.header("etag").unwrap());
        assert_eq!(ask(console.local_addr(), "GET", path, &[&known], None).await.status, 304);
    }
    assert_eq!(ask(console.local_addr(), "POST", "/docs", &[], Some("{}")).await.status, 405);
    console.stop().await.unwrap();
}

#[tokio::test]
async fn examples_of_the_reference_reach_their_methods() {
    let console = console().await;
    let page = ask(console.local_addr(), "GET", "/docs", &[], None).await.text().await;
    let plain = |text: &str| {
        text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    };
    let mut tried = 0;
    for example in page.split("<figcaption>curl</figcaption><pre><code>").skip(1) {
        let example = plain(example.split("</code>").next().unwrap());
        let verb = match example.split_once("-X ") {
            Some((_, rest)) => rest.split(' ').next().unwrap(),
            None => "GET",
        };
        let path = example.split("$REMUDA_URL").nth(1).unwrap().trim_end_matches('"');
        let body = example.split_once("-d '").map(|(_, rest)| rest.split('\'').next().unwrap());
        let answer = ask(console.local_addr(), verb, path, &[BEARER], body).await;
        tried += 1;
        match answer.status {
            // Streams go on.
            200 => {}
            status => {
                let error = answer.json().await;
                assert!(
                    ![405, 415].contains(&status) && reason_of(&error) != "PATH_UNKNOWN",
                    "{example}: {error}"
                );
                // A name that nobody has, or a value that is only an example; never a form that the method does not take.
                let text = error["error"]["message"].as_str().unwrap();
                assert!(!text.contains("unrecognized") && !text.starts_with("body: "), "{example}: {error}");
            }
        }
    }
    assert_eq!(tried, METHODS.len());
    console.stop().await.unwrap();
}

/// The next event of a stream of server-sent events: its name, and what it says.
async fn event(stream: &mut Answer) -> (String, Json) {
    let mut name = String::new();
    loop {
        let line = stream.line().await;
        if let Some(text) = line.strip_prefix("event: ") {
            text.clone_into(&mut name);
        } else if let Some(data) = line.strip_prefix("data: ") {
            return (name, serde_json::from_str(data).unwrap());
        }
    }
}

/// Reads on until a trip is in a state.
async fn until_state(stream: &mut Answer, state: &str) -> Json {
    loop {
        let (name, seen) = event(stream).await;
        assert_eq!(name, "", "{seen}");
        assert!(!seen.to_string().to_lowercase().contains("rita"), "nobody's name is told: {seen}");
        if seen["state"] == state {
            return seen;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_follows_one_trip_with_a_link_and_learns_nothing_else() {
    let (folder, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let fleet = Arc::new(FakeFleet::new(2));
    for vehicle in ["V000000", "V000001"] {
        fleet.change(vehicle, |line| line.presence = remuda_contracts::fleet::Presence::Online);
        business::put(&fleet, vehicle, 0, 0.0);
    }
    let business = business::start(folder.path(), &fleet).await;
    let desk = business.desk();
    for (n, vehicle) in ["V000000", "V000001"].into_iter().enumerate() {
        business::rider(&desk, &format!("rita-{n}")).await;
        business::vehicle(&desk, vehicle, None, None).await;
        business::book(&desk, &format!("b-{n}"), &format!("rita-{n}"), vehicle).await;
    }
    let console = console_of(&fleet, FAST, log.path(), Some(Arc::clone(&desk))).await;
    let addr = console.local_addr();
    let as_role = |role: &str| format!("authorization: Bearer {}", token_of(role));
    let share = "/api/v1/organizations/default/trips/b-1:share";
    let denied = ask(addr, "POST", share, &[&as_role("viewer")], Some("{}")).await;
    assert_eq!(denied.status, 403);
    for (body, status) in [("{\"timeToLive\":\"90000s\"}", 400), ("{\"timeToLive\":\"-1s\"}", 400)] {
        assert_eq!(ask(addr, "POST", share, &[&as_role("operator")], Some(body)).await.status, status);
    }
    let made = ask(addr, "POST", share, &[&as_role("dispatcher")], Some("{}")).await.json().await;
    let (token, path) = (made["token"].as_str().unwrap(), made["path"].as_str().unwrap());
    assert_eq!((token.len(), path), (46, format!("/tracking/b-1?share_token={token}").as_str()));
    let listed = get(&console, "/api/v1/organizations/default/trips/b-1/shares", &[]).await.json().await;
    assert_eq!(listed["shares"], json!([made["share"]]));
    assert!(!listed.to_string().contains(token), "a token is told once");

    let mut stream = ask(addr, "GET", path, &[], None).await;
    assert_eq!((stream.status, stream.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(stream.header("referrer-policy"), Some("no-referrer"));
    let seen = until_state(&mut stream, "assigned").await;
    assert_eq!(seen["vehicle"]["plate"], "PL V000001");
    assert!(seen["position"].is_null(), "it has not set out: {seen}");
    business::put(&fleet, "V000001", 1, 30.0);
    let seen = until_state(&mut stream, "arriving").await;
    let latitude = seen["position"]["latitude"].as_f64().unwrap();
    assert!((latitude - 60.170_899_3).abs() < 1e-9, "exactly: {seen}");
    assert_eq!(seen["nextStop"], "pick-up");
    let metres: u64 = seen["remainingM"].as_str().unwrap().parse().unwrap();
    assert!((195..=205).contains(&metres) && seen["arrivalTime"].is_string(), "{seen}");
    assert_eq!(seen["position"]["speedKmh"], 30.0, "{seen}");

    // Everything that is not this link for this trip is told the same.
    let refusal = async |path: &str, headers: &[&str]| {
        let answer = ask(addr, "GET", path, headers, None).await;
        (answer.status, answer.json().await)
    };
    let nobody = refusal("/tracking/b-1", &[]).await;
    assert_eq!((nobody.0, reason_of(&nobody.1)), (401, "TOKEN_INVALID"));
    let other = format!("share-{}", "0".repeat(40));
    for path in [
        format!("/tracking/b-1?share_token={other}"),
        format!("/tracking/b-0?share_token={token}"),
        format!("/tracking/b-9?share_token={token}"),
        format!("/tracking/b-1?share_token={token}0"),
        "/tracking/b-1?share_token=share-".to_owned(),
        "/tracking/b-1?share_token=x".to_owned(),
        // Tokens of accounts and the node's own count in headers only.
        format!("/tracking/b-1?share_token={}", token_of("dispatcher")),
        format!("/tracking/b-1?share_token={TOKEN}"),
        format!("/api/v1/organizations/default/trips/b-9:track?share_token={token}"),
        format!("/api/v1/organizations/another/trips/b-1:track?share_token={token}"),
    ] {
        assert_eq!(refusal(&path, &[]).await, nobody, "{path}");
    }
    // It opens no other method.
    let bearer = format!("authorization: Bearer {token}");
    for path in
        ["/trips/b-1", "/trips", "/vehicles/V000001", "/api/v1/organizations/default/trips/b-1/shares"]
    {
        assert_eq!(refusal(path, &[&bearer]).await, nobody, "{path}");
    }
    let also = ask(addr, "GET", "/api/v1/tracking/b-1", &[&bearer], None).await;
    assert_eq!(also.status, 200, "the token may stand in the header as well");
    // Somebody with an account may follow as well, a viewer coarsely.
    let mut viewer = ask(addr, "GET", "/tracking/b-1", &[&as_role("viewer")], None).await;
    let seen = until_state(&mut viewer, "arriving").await;
    assert_eq!((&seen["position"]["latitude"], &seen["remainingM"]), (&json!(60.175), &Json::Null), "{seen}");
    // How fast it goes and when it arrives, to the second, would say how far it has to go.
    let arrival = seen["arrivalTime"].as_str().unwrap();
    assert!(arrival.ends_with(":00Z"), "{seen}");
    assert_eq!(seen["position"]["speedKmh"].as_f64().unwrap_or_default(), 0.0, "{seen}");
    let strange = ask(addr, "GET", "/tracking/b-1", &[&as_role("stranger")], None).await;
    assert_eq!(strange.status, 403);

    // Taken back, it opens nothing, and whoever follows is cut off.
    let name = made["share"]["name"].as_str().unwrap();
    let revoke = format!("/api/v1/{name}:revoke");
    assert_eq!(ask(addr, "POST", &revoke, &[&as_role("viewer")], Some("{}")).await.status, 403);
    assert_eq!(ask(addr, "POST", &revoke, &[&as_role("operator")], Some("{}")).await.status, 200);
    assert_eq!(ask(addr, "POST", &revoke, &[&as_role("operator")], Some("{}")).await.status, 404);
    assert_eq!(refusal(path, &[]).await, nobody);
    loop {
        let (name, seen) = event(&mut stream).await;
        if name == "error" {
            assert_eq!(seen, nobody.1);
            break;
        }
    }
    // One address that tries and tries is told to wait; others are not in its way.
    let mut tried = 0;
    while ask(addr, "GET", &format!("/tracking/b-1?share_token={other}"), &[], None).await.status == 401 {
        tried += 1;
        assert!(tried < 1_000);
    }
    assert_eq!(get(&console, "/trips/b-1", &[]).await.status, 200);
    console.stop().await.unwrap();
    business.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feedback_is_given_listed_and_kept_out_of_the_audit_log() {
    let (folder, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let fleet = Arc::new(FakeFleet::new(1));
    fleet.change("V000000", |line| line.presence = remuda_contracts::fleet::Presence::Online);
    business::put(&fleet, "V000000", 0, 0.0);
    let business = business::start(folder.path(), &fleet).await;
    let desk = business.desk();
    business::rider(&desk, "rita").await;
    business::vehicle(&desk, "V000000", None, None).await;
    business::book(&desk, "b-1", "rita", "V000000").await;
    let console = console_of(&fleet, FAST, log.path(), Some(Arc::clone(&desk))).await;
    let addr = console.local_addr();
    let give = async |body: Json, role: &str| {
        let bearer = format!("authorization: Bearer {}", token_of(role));
        let answer = ask(addr, "POST", "/feedback", &[&bearer], Some(&body.to_string())).await;
        (answer.status, answer.json().await)
    };
    let said = json!({ "trip": "b-1", "rider": "rita", "stars": 4, "comment": "a smooth ride" });
    let (status, early) = give(said.clone(), "dispatcher").await;
    assert_eq!((status, reason_of(&early)), (400, "NOT_COMPLETED"), "{early}");
    let mut stream = get(&console, "/tracking/b-1", &[]).await;
    for (hundreds, kmh, state) in
        [(1, 30.0, "arriving"), (3, 0.0, "boarding"), (8, 50.0, "under-way"), (23, 0.0, "completed")]
    {
        business::put(&fleet, "V000000", hundreds, kmh);
        until_state(&mut stream, state).await;
    }
    assert_eq!(stream.text().await.trim(), "", "the stream ends with the trip");
    assert_eq!(give(said.clone(), "viewer").await.0, 403);
    for (wrong, status) in
        [(json!({ "stars": 0 }), 400), (json!({ "rider": "rob" }), 400), (json!({ "trip": "b-9" }), 404)]
    {
        let mut body = said.clone();
        body.as_object_mut().unwrap().append(&mut wrong.as_object().unwrap().clone());
        assert_eq!(give(body, "dispatcher").await.0, status, "{wrong}");
    }
    let (status, given) = give(said, "dispatcher").await;
    assert_eq!((status, &given["id"], &given["stars"]), (200, &json!("b-1"), &json!(4)), "{given}");
    business.settle(Duration::from_secs(60)).await.unwrap();
    let listed = get(&console, "/api/v1/feedback?stars=4", &[]).await.json().await;
    assert_eq!(listed["feedback"], json!([given]));
    assert_eq!(get(&console, "/feedback?stars=3", &[]).await.json().await["feedback"], json!([]));
    let viewer = format!("authorization: Bearer {}", token_of("viewer"));
    assert_eq!(ask(addr, "GET", "/feedback", &[&viewer], None).await.status, 403);
    console.stop().await.unwrap();
    business.stop().await;
    let written: String = std::fs::read_dir(log.path())
        .unwrap()
        .map(|file| String::from_utf8(std::fs::read(file.unwrap().path()).unwrap()).unwrap())
        .collect();
    assert!(written.contains("CreateFeedback") && !written.contains("smooth"), "{written}");
}
