//! `/docs`: the API's reference, made of the descriptors. One page, no script but the one that copies, nothing from elsewhere.

use std::fmt::Write as _;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use remuda_transcoder::{Comments, Route, Table};
use serde_json::{Map, Value as Json};

use crate::audit::method as facts;

/// The page's style.
pub(crate) const STYLE: &str = include_str!("docs.css");
/// Copies an example.
pub(crate) const SCRIPT: &str = include_str!("docs.js");

/// Commands of `remudactl` by method: lines of both, with a tab between. A test of `remudactl` parses each.
const COMMANDS: &str = include_str!("commands.txt");

/// The page.
pub(crate) fn page(table: &Table, comments: &Comments, organization: &str) -> String {
    let mut methods: Vec<&MethodDescriptor> = Vec::new();
    for route in table.routes() {
        if !methods.iter().any(|known| known.full_name() == route.method().full_name()) {
            methods.push(route.method());
        }
    }
    methods.sort_by_key(|method| method.full_name());
    let (mut menu, mut body) = (String::new(), String::new());
    let mut service = "";
    for method in methods {
        let of = method.parent_service();
        if of.full_name() != service {
            service = method.parent_service().full_name();
            let _ = write!(menu, "<h2>{}</h2>", escaped(of.name()));
            let _ = write!(body, "<h2 id=\"{service}\">{service}</h2>{}", text(comments.service(of)));
        }
        let _ = write!(menu, "<a href=\"#{0}\">{1}</a>", method.full_name(), escaped(method.name()));
        let ways: Vec<&Route> =
            table.routes().iter().filter(|route| route.method().full_name() == method.full_name()).collect();
        body.push_str(&section(method, &ways, comments, organization));
    }
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Remuda API</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><link rel=\"stylesheet\" href=\"/docs/docs.css\">\
         <script src=\"/docs/docs.js\" defer></script></head><body><nav><h1>Remuda API</h1>\
         <a href=\"/openapi.json\">OpenAPI document</a>{menu}</nav><main>{INTRODUCTION}{body}</main></body></html>"
    )
}

const INTRODUCTION: &str = "<h1>Remuda API</h1><p>gRPC, gRPC-Web and REST/JSON on one port, from the same handlers. Every call \
    carries a token: <code>authorization: Bearer TOKEN</code>. The examples read <code>REMUDA_URL</code> (such as \
    <code>http://127.0.0.1:8080</code>) and <code>REMUDA_TOKEN</code>.</p>";

fn section(method: &MethodDescriptor, ways: &[&Route], comments: &Comments, organization: &str) -> String {
    let mut html = format!(
        "<section><h3 id=\"{0}\">{1}</h3>{2}",
        method.full_name(),
        escaped(method.name()),
        text(comments.method(method))
    );
    for route in ways {
        let _ = write!(
            html,
            "<p class=\"way\"><b>{}</b> <code>{}</code></p>",
            route.verb().as_str(),
            escaped(route.path())
        );
    }
    if let Some(facts) = ways.first().and_then(|route| facts(&route.grpc_path())) {
        let audited = if facts.audited { "; each call stands in the audit log" } else { "" };
        let _ = write!(html, "<p>Needs the permission <code>{}</code>{audited}.</p>", facts.permission);
    }
    html.push_str(&fields("Request", &method.input(), comments));
    let kind = if method.is_server_streaming() { "Response, a stream" } else { "Response" };
    html.push_str(&fields(kind, &method.output(), comments));
    if let Some(route) = ways.first() {
        for (name, code) in examples(method, route, comments, organization) {
            let _ = write!(
                html,
                "<figure><figcaption>{name}</figcaption><pre><code>{}</code></pre></figure>",
                escaped(&code)
            );
        }
    }
    html.push_str("</section>");
    html
}

fn fields(title: &str, of: &MessageDescriptor, comments: &Comments) -> String {
    let mut html = format!("<details><summary>{title}: <code>{}</code></summary><table>", of.name());
    for field in of.fields() {
        let _ = write!(
            html,
            "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
            field.json_name(),
            kind(&field),
            text(comments.field(&field))
        );
    }
    html.push_str("</table></details>");
    html
}

fn kind(field: &FieldDescriptor) -> String {
    let one = match field.kind() {
        Kind::Message(of) => of.name().to_owned(),
        Kind::Enum(of) => of.name().to_owned(),
        other => format!("{other:?}").to_ascii_lowercase(),
    };
    if field.is_list() { format!("list of {one}") } else { one }
}

/// What stands for a name in examples.
fn sample_name(route: &Route, organization: &str) -> (String, String) {
    let path = route.path();
    let mut filled = path.replace("organizations/*", &format!("organizations/{organization}"));
    for (collection, id) in [
        ("vehicles", "CAR1"),
        ("alerts", "ALERT"),
        ("commands", "COMMAND"),
        ("geofences", "yard"),
        ("policies", "everyday"),
        ("trips", "TRIP"),
        ("users", "USER"),
        ("sagas", "SAGA"),
    ] {
        filled = filled.replace(&format!("{collection}/*"), &format!("{collection}/{id}"));
    }
    let name = filled
        .split_once('=')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map_or("", |(name, _)| name)
        .to_owned();
    let start = filled.split('{').next().unwrap_or_default().to_owned();
    let end = filled.split('}').nth(1).unwrap_or_default().replace('*', "ID");
    (format!("{start}{name}{end}"), name)
}

fn sample(field: &FieldDescriptor) -> Json {
    let one = match field.kind() {
        Kind::Bool => Json::Bool(true),
        Kind::String => Json::from(match field.name() {
            "signals" => "Vehicle.Speed",
            "reason" => "why",
            name => name,
        }),
        Kind::Message(of) if of.full_name() == "google.protobuf.Timestamp" => {
            Json::from("2026-11-30T00:00:00Z")
        }
        Kind::Message(of) if of.full_name() == "google.protobuf.Duration" => Json::from("60s"),
        Kind::Message(of) => {
            let first = of.fields().next().map(|field| (field.json_name().to_owned(), sample(&field)));
            Json::Object(first.into_iter().collect::<Map<_, _>>())
        }
        Kind::Enum(of) => {
            Json::from(of.values().nth(1).map(|value| value.name().to_owned()).unwrap_or_default())
        }
        _ => Json::from(1),
    };
    if field.is_list() { Json::Array(vec![one]) } else { one }
}

fn examples(
    method: &MethodDescriptor,
    route: &Route,
    comments: &Comments,
    organization: &str,
) -> Vec<(&'static str, String)> {
    let (path, name) = sample_name(route, organization);
    let bound = |field: &FieldDescriptor| matches!(field.name(), "name" | "parent");
    let needed: Vec<FieldDescriptor> =
        route.body_message().fields().filter(|field| !bound(field) && comments.required(field)).collect();
    let json: Map<String, Json> =
        needed.iter().map(|field| (field.json_name().to_owned(), sample(field))).collect();
    let verb = route.verb().as_str();
    let body = Json::Object(json).to_string();
    let curl = if route.takes_body() {
        format!(
            "curl -X {verb} -H \"authorization: Bearer $REMUDA_TOKEN\" -H 'content-type: application/json' \\\n  \
             -d '{body}' \"$REMUDA_URL{path}\""
        )
    } else {
        let more = if method.is_server_streaming() { " -N" } else { "" };
        let verb = if verb == "GET" { String::new() } else { format!(" -X {verb}") };
        format!("curl{more}{verb} -H \"authorization: Bearer $REMUDA_TOKEN\" \"$REMUDA_URL{path}\"")
    };
    let data = if route.takes_body() { format!(", json={}", python(&body)) } else { String::new() };
    let called =
        format!("{}(\n    os.environ[\"REMUDA_URL\"] + \"{path}\"{data},\n", verb.to_ascii_lowercase());
    let python = format!(
        "import os, requests\n\nanswer = requests.{called}    headers={{\"authorization\": \"Bearer \" + os.environ[\"REMUDA_TOKEN\"]}},\n    \
         timeout=30,\n)\nanswer.raise_for_status()\nprint(answer.text)"
    );
    let field = if method.input().get_field_by_name("parent").is_some() { "parent" } else { "name" };
    let package = method.parent_service().full_name().split('.').nth(1).unwrap_or_default().to_owned();
    let service = method.parent_service().name().to_owned();
    let rust = format!(
        "use remuda_api::{package}::v1::{client}_client::{service}Client;\nuse remuda_api::{package}::v1::{request};\n\n\
         let mut client = {service}Client::with_interceptor(channel, bearer);\n\
         let request = {request} {{ {field}: \"{name}\".into(), ..Default::default() }};\n\
         let answer = client.{call}(request).await?.into_inner();",
        client = snake(&service),
        request = method.input().name(),
        call = snake(method.name()),
    );
    let mut commands = COMMANDS.lines().filter_map(|line| line.split_once('\t'));
    let command = commands.find(|(rpc, _)| *rpc == method.name());
    let command = command.map(|(_, command)| ("remudactl", command.to_owned()));
    command.into_iter().chain([("curl", curl), ("Python", python), ("Rust", rust)]).collect()
}

fn python(json: &str) -> String {
    json.replace(":true", ": True").replace(":false", ": False")
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A comment as paragraphs; what stands between back-quotes is code.
fn text(comment: &str) -> String {
    let mut html = String::new();
    for paragraph in comment.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        html.push_str("<p>");
        for (n, part) in paragraph.split('`').enumerate() {
            let part = escaped(part);
            let _ = if n % 2 == 1 { write!(html, "<code>{part}</code>") } else { write!(html, "{part}") };
        }
        html.push_str("</p>");
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_method_and_nothing_inline() {
        let table = crate::rest::table().expect("the protos are a table");
        let page = page(&table, &Comments::new(table.pool()), "default");
        for method in remuda_api::METHODS {
            let name = method.path.trim_start_matches('/').replace('/', ".");
            assert!(page.contains(&format!("id=\"{name}\"")), "{name}");
        }
        for inline in ["style=", "onclick", "<style", "javascript:", "http://cdn", "https://"] {
            assert!(!page.contains(inline), "{inline}");
        }
        assert_eq!(page.matches("<script").count(), 1);
        assert!(page.contains("/api/v1/organizations/default/vehicles/CAR1"), "examples are filled in");
        assert!(!page.contains("organizations/*&quot;"), "no example has a hole");
    }

    #[test]
    fn comments_cannot_become_markup() {
        assert_eq!(text("a <b> `x<y>`\n\nc"), "<p>a &lt;b&gt; <code>x&lt;y&gt;</code></p><p>c</p>");
    }
}
