//! The OpenAPI 3.1 document of all routes.

use std::collections::HashMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value as Json, json};

use crate::binding::Body;
use crate::comments::Comments;
use crate::mask::MASK_BYTES_MAX;
use crate::schema::{Schemas, describe};
use crate::table::{Route, Table};
use crate::template::Segment;

/// What a document says of the whole.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Its title.
    pub title: &'a str,
    /// Of the API.
    pub version: &'a str,
    /// For people, in Markdown.
    pub description: &'a str,
    /// Where a call goes that names no organization.
    pub organization: &'a str,
}

/// Messages in messages that a query may name.
const QUERY_DEPTH_MAX: usize = 3;

/// The document.
pub fn openapi(table: &Table, comments: &Comments, about: About<'_>) -> Json {
    let mut schemas = Schemas::new(comments);
    let mut paths = Map::new();
    let mut tags = Vec::new();
    let mut ways = HashMap::new();
    let mut routes: Vec<&Route> = table.routes().iter().collect();
    routes.sort_by(|a, b| (a.path(), a.verb()).cmp(&(b.path(), b.verb())));
    for route in routes {
        let service = route.method().parent_service();
        if !tags.iter().any(|tag: &Json| tag["name"] == service.name()) {
            tags.push(json!({ "name": service.name(), "description": comments.service(service) }));
        }
        let (path, parameters) = path_of(route, about.organization);
        let way = ways.entry(route.grpc_path()).and_modify(|way| *way += 1).or_insert(1usize);
        let operation = operation(route, *way, comments, &mut schemas, parameters);
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        entry[route.verb().as_str().to_ascii_lowercase()] = operation;
    }
    schemas.all.insert("Error".into(), error());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": about.title,
            "version": about.version,
            "description": about.description,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }],
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas.all,
            "responses": {
                "Error": {
                    "description": "Why not.",
                    "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
                },
            },
        },
    })
}

/// The form of errors, AIP-193.
fn error() -> Json {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": { "error": {
            "type": "object",
            "required": ["code", "status", "message"],
            "properties": {
                "code": { "type": "integer", "description": "The HTTP status." },
                "status": { "type": "string", "description": "The gRPC status, such as `NOT_FOUND`." },
                "message": { "type": "string", "description": "A sentence for people." },
                "details": {
                    "type": "array",
                    "description": "Messages of `google.rpc`, such as `ErrorInfo` with a stable `reason`.",
                    "items": { "type": "object", "required": ["@type"], "properties": { "@type": { "type": "string" } } },
                },
            },
        } },
    })
}

/// The path with one hole a part, and its parameters.
fn path_of(route: &Route, organization: &str) -> (String, Vec<Json>) {
    let mut path = String::new();
    let mut parameters: Vec<Json> = Vec::new();
    let mut before = "";
    for segment in &route.template.segments {
        path.push('/');
        match segment {
            Segment::Literal(text) => {
                path.push_str(text);
                before = text;
            }
            Segment::One | Segment::Rest => {
                let name = singular(before);
                path.push_str(&format!("{{{name}}}"));
                let mut schema =
                    json!({ "type": "string", "minLength": 1, "pattern": "^[A-Za-z0-9_-]{1,64}$" });
                if name == "organization" {
                    schema["examples"] = json!([organization]);
                }
                parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
            }
        }
    }
    if let Some(verb) = &route.template.verb {
        path.push(':');
        path.push_str(verb);
    }
    (path, parameters)
}

fn singular(collection: &str) -> String {
    if let Some(stem) = collection.strip_suffix("ies") {
        format!("{stem}y")
    } else {
        collection.strip_suffix('s').unwrap_or(collection).to_owned()
    }
}

fn operation(
    route: &Route,
    way: usize,
    comments: &Comments,
    schemas: &mut Schemas<'_>,
    mut parameters: Vec<Json>,
) -> Json {
    let method = route.method();
    let input = method.input();
    let bound: Vec<&str> = route.template.variables.iter().map(|variable| variable.field.as_str()).collect();
    match &route.body {
        Body::None => in_query(&input, "", &bound, comments, schemas, 0, &mut parameters),
        Body::Field(field) => {
            let more = [bound.as_slice(), &[field.name()]].concat();
            in_query(&input, "", &more, comments, schemas, 0, &mut parameters);
        }
        Body::All => {}
    }
    if text_field(&input, "etag") {
        parameters.push(header(
            "If-Match",
            "The `etag` that was read before: nothing is done when it has changed (412).",
        ));
    }
    if text_field(&input, "request_id") {
        parameters.push(header("Idempotency-Key", "The request's own name, instead of `requestId`."));
    }
    parameters.push(json!({
        "name": "fields", "in": "query", "required": false, "schema": { "type": "string", "maxLength": MASK_BYTES_MAX },
        "description": "The fields of the answer that are wanted, such as `name,etag`: with dots into what is below, also \
            through lists. All without it.",
    }));
    let text = comments.method(method);
    let summary = text.split_once(". ").map_or(text, |(first, _)| first).replace('\n', " ");
    let answer = schemas.message(&method.output());
    let content = if method.is_server_streaming() {
        json!({
            "application/x-ndjson": { "schema": answer },
            "text/event-stream": { "schema": { "type": "string" } },
        })
    } else {
        json!({ "application/json": { "schema": answer } })
    };
    let service = method.parent_service();
    // One method, several ways: each way has a name of its own.
    let way = if way == 1 { String::new() } else { format!("_{way}") };
    let mut operation = json!({
        "operationId": format!("{}_{}{way}", service.name(), method.name()),
        "tags": [service.name()],
        "summary": summary.trim_end_matches('.'),
        "parameters": parameters,
        "responses": {
            "200": { "description": "Done.", "content": content },
            "default": { "$ref": "#/components/responses/Error" },
        },
        "x-grpc-method": route.grpc_path(),
    });
    describe(&mut operation, text);
    let body = match &route.body {
        Body::None => return operation,
        Body::All => schemas.object(&input, &bound),
        Body::Field(field) => schemas.field(field),
    };
    operation["requestBody"] =
        json!({ "required": true, "content": { "application/json": { "schema": body } } });
    operation
}

fn text_field(input: &MessageDescriptor, name: &str) -> bool {
    input.get_field_by_name(name).is_some_and(|field| field.kind() == Kind::String && !field.is_list())
}

fn header(name: &str, text: &str) -> Json {
    json!({ "name": name, "in": "header", "required": false, "schema": { "type": "string" }, "description": text })
}

/// The leaves of a message as parameters.
fn in_query(
    of: &MessageDescriptor,
    prefix: &str,
    bound: &[&str],
    comments: &Comments,
    schemas: &mut Schemas<'_>,
    depth: usize,
    parameters: &mut Vec<Json>,
) {
    for field in of.fields().filter(|field| depth > 0 || !bound.contains(&field.name())) {
        let name = format!("{prefix}{}", field.json_name());
        match field.kind() {
            Kind::Message(below) if !below.full_name().starts_with("google.protobuf.") => {
                if !field.is_list() && !field.is_map() && depth < QUERY_DEPTH_MAX {
                    in_query(&below, &format!("{name}."), bound, comments, schemas, depth + 1, parameters);
                }
            }
            _ => parameters.push(parameter(&field, name, depth, comments, schemas)),
        }
    }
}

fn parameter(
    field: &FieldDescriptor,
    name: String,
    depth: usize,
    comments: &Comments,
    schemas: &mut Schemas<'_>,
) -> Json {
    let mut parameter = json!({
        "name": name,
        "in": "query",
        // What a message below needs is needed only when there is one.
        "required": depth == 0 && comments.required(field),
        "schema": schemas.field(field),
    });
    if field.is_list() {
        parameter["explode"] = Json::Bool(true);
        parameter["style"] = Json::from("form");
    }
    describe(&mut parameter, comments.field(field));
    parameter
}
