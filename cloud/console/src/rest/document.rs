//! `/openapi.json`: every route of the descriptors, and the plain paths beside them.

use std::collections::HashMap;

use remuda_transcoder::{About, Comments, Table, openapi};
use serde_json::{Value as Json, json};

use crate::rest::sharing::TRACK;
use crate::rest::views::{Line, VIEWS};

/// What the document says of the whole.
const ABOUT: &str = "The operators' API as REST/JSON, from the same handlers as gRPC. Field names are read as `pageSize` and as \
    `page_size`, and written as `pageSize`. 64-bit integers are written as text. Errors are of the form that AIP-193 describes; \
    `details` has a `google.rpc.ErrorInfo` with a stable `reason`. Answers with an `etag` carry it as `ETag`, too; `If-Match` makes \
    a change conditional, `If-None-Match` a read. `X-Server-Timeout: 2.5` is a deadline in seconds. `?fields=` says which fields of an answer are wanted. Streams are lines of JSON, or \
    server-sent events for `Accept: text/event-stream`; an event's `id` is where `Last-Event-ID` goes on. The paths without an \
    organization are views of the organization that the node serves, and stand below `/api/v1`, too.";

/// The document of the node that serves `organization`.
pub(crate) fn document(table: &Table, comments: &Comments, organization: &str) -> Json {
    let about =
        About { title: "Remuda", version: env!("CARGO_PKG_VERSION"), description: ABOUT, organization };
    let mut document = openapi(table, comments, about);
    let ways = operations(&document);
    // What is not there yet is not described either.
    let there = VIEWS.iter().filter_map(|line| ways.get(line.2).map(|way| (line, way)));
    let views: Vec<(String, &'static str, Json)> = there.map(|(line, way)| view(line, way)).collect();
    if let Some(tags) = document["tags"].as_array_mut() {
        tags.push(json!({ "name": "Views", "description": "Plain paths, and exports in forms of others." }));
    }
    for (path, verb, operation) in views {
        document["paths"][&path][verb] = operation;
    }
    document
}

/// The first operation of each method.
fn operations(document: &Json) -> HashMap<String, Json> {
    let mut ways = HashMap::new();
    let paths = document["paths"].as_object().into_iter().flat_map(|paths| paths.values());
    for operation in paths.filter_map(Json::as_object).flat_map(|path| path.values()) {
        let Some(rpc) = operation["x-grpc-method"].as_str() else { continue };
        // The one with a body, where there are two: a view takes what that takes.
        let known = ways.entry(rpc.to_owned()).or_insert_with(|| operation.clone());
        if known["requestBody"].is_null() && !operation["requestBody"].is_null() {
            *known = operation.clone();
        }
    }
    ways
}

fn view(line: &Line, way: &Json) -> (String, &'static str, Json) {
    let (verb, path, rpc, _, _, show) = line;
    let id = json!({ "name": "id", "in": "path", "required": true,
        "schema": { "type": "string", "minLength": 1, "pattern": "^[A-Za-z0-9_-]{1,64}$" } });
    let in_path = path.contains("{id}").then_some(id);
    let rfms = path.starts_with("/rfms");
    let inherited = way["parameters"].as_array().cloned().unwrap_or_default();
    let inherited = inherited.into_iter().filter(|one| one["in"] != "path" && !rfms);
    let inherited = inherited.filter(|one| one["name"] != "fields" || show.masks);
    // A view asks for what its method needs when the caller does not.
    let optional = inherited.map(|mut one| {
        one["required"] = Json::Bool(false);
        one
    });
    let text = |name: &str, kind: &str, required: bool| json!({ "name": name, "in": "query", "required": required, "schema": { "type": kind } });
    let of_rfms =
        [text("latestOnly", "boolean", true), text("vin", "string", false), text("lastVin", "string", false)];
    let token = (*rpc == TRACK).then(|| text("share_token", "string", false));
    let parameters: Vec<Json> = in_path
        .into_iter()
        .chain(optional)
        .chain(of_rfms.into_iter().filter(|_| rfms))
        .chain(token)
        .collect();
    let schema = match rpc.rsplit('/').next() {
        Some("GetVehicle") => vehicle(),
        Some("ListVehicles") if *path == "/vehicles" => json!({ "type": "object", "properties": {
            "vehicles": { "type": "array", "items": vehicle() },
            "nextPageToken": { "type": "string" },
            "totalSize": { "type": "integer" },
        } }),
        Some("GetFleetStatus") => way["responses"]["200"]["content"]["application/json"]["schema"].clone(),
        _ => json!({ "type": "object" }),
    };
    let kind = if show.events { "text/event-stream" } else { show.kind };
    let words: Vec<&str> =
        path.split(['/', '{', '}', ':', '.', '_']).filter(|word| !word.is_empty()).collect();
    let mut operation = json!({
        "operationId": format!("View_{}_{}", verb.as_str(), words.join("_")),
        "tags": ["Views"],
        "summary": way["summary"],
        "description": format!("A view of `{rpc}`."),
        "parameters": parameters,
        "responses": {
            "200": { "description": "Done.", "content": { kind: { "schema": schema } } },
            "default": { "$ref": "#/components/responses/Error" },
        },
    });
    if !way["requestBody"].is_null() {
        operation["requestBody"] = way["requestBody"].clone();
    }
    ((*path).to_owned(), lower(verb.as_str()), operation)
}

fn lower(verb: &str) -> &'static str {
    match verb {
        "POST" => "post",
        _ => "get",
    }
}

fn vehicle() -> Json {
    let degrees = |most: i32| json!({ "type": "number", "minimum": -most, "maximum": most });
    json!({
        "type": "object",
        "required": ["id", "status", "location"],
        "properties": {
            "id": { "type": "string" },
            "status": { "type": "string", "enum": ["online", "offline", "unknown"] },
            "location": {
                "type": ["object", "null"],
                "required": ["lat", "lng"],
                "properties": { "lat": degrees(90), "lng": degrees(180) },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_and_every_view_that_is_there_is_described() {
        let table = crate::rest::table().expect("the protos are a table");
        let document = document(&table, &Comments::new(table.pool()), "default");
        let text = document.to_string();
        for method in remuda_api::METHODS {
            assert!(text.contains(method.path), "{} is not described", method.path);
        }
        assert!(document["paths"]["/vehicles/{id}"]["get"]["operationId"] == "View_GET_vehicles_id");
        let ids: Vec<&str> =
            text.split("\"operationId\":\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let once: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(once.len(), ids.len(), "{ids:?}");
    }
}
