//! Messages of requests, and JSON of answers.

use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions, Value};
use serde_json::{Map, Value as Json};

use crate::PARAMETER_DEPTH_MAX;
use crate::binding::Body;
use crate::table::Route;

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Problem {
    /// The field, or `body` or `query`.
    pub field: String,
    /// Why it cannot be used.
    pub problem: String,
}

impl Problem {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

impl Route {
    /// The message of a request: `fields` from the path, `query` as pairs, `body` as JSON (nothing is an empty message).
    ///
    /// # Errors
    /// When a part of it is not what the message has.
    pub fn message(
        &self,
        fields: &[(&str, String)],
        query: &[(String, String)],
        body: &[u8],
    ) -> Result<DynamicMessage, Problem> {
        let input = self.method.input();
        let mut message = match &self.body {
            Body::All if !query.is_empty() => {
                let (name, _) = &query[0];
                return Err(Problem::new(
                    name,
                    "this method takes everything in its body, and nothing in the query",
                ));
            }
            Body::All => of_json(&input, "body", body)?,
            Body::Field(field) => {
                let mut message = DynamicMessage::new(input.clone());
                let Kind::Message(of) = field.kind() else { return Ok(message) };
                if !blank(body) {
                    message.set_field(field, Value::Message(of_json(&of, field.name(), body)?));
                }
                message
            }
            Body::None if !blank(body) => {
                return Err(Problem::new("body", "this method takes none; use the query"));
            }
            Body::None => DynamicMessage::new(input.clone()),
        };
        for (name, value) in query {
            if fields.iter().any(|(field, _)| same(field, name)) {
                return Err(Problem::new(name, "the path says it already"));
            }
            let Body::Field(field) = &self.body else { continue };
            let first = name.split('.').next().unwrap_or_default();
            if first == field.name() || first == field.json_name() {
                return Err(Problem::new(
                    name,
                    format!("it belongs into the body, not `{value}` into the query"),
                ));
            }
        }
        merge(&mut message, &input, query)?;
        for (field, value) in fields {
            let before = text_at(&message, field);
            if before.is_some_and(|before| !before.is_empty() && before != *value) {
                return Err(Problem::new(*field, "the body says something else than the path"));
            }
            merge(&mut message, &input, &[((*field).to_owned(), value.clone())])?;
        }
        Ok(message)
    }
}

impl Route {
    /// Sets a text field of the request from a header; false when the request has no such field.
    ///
    /// # Errors
    /// When the request itself said something else.
    pub fn fill(&self, message: &mut DynamicMessage, name: &str, value: &str) -> Result<bool, Problem> {
        let Some(field) = self.method.input().get_field_by_name(name) else { return Ok(false) };
        if field.kind() != Kind::String || field.is_list() {
            return Ok(false);
        }
        let now = message.get_field(&field).as_str().unwrap_or_default().to_owned();
        if !now.is_empty() && now != value {
            return Err(Problem::new(name, "the header says something else than the request"));
        }
        message.set_field(&field, Value::String(value.to_owned()));
        Ok(true)
    }
}

/// A message as JSON, fields that have their default included.
///
/// # Errors
/// When it has none: a time out of range.
pub fn json(message: &DynamicMessage) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::Serializer::new(Vec::with_capacity(256));
    message.serialize_with_options(&mut text, &SerializeOptions::new().skip_default_fields(false))?;
    Ok(text.into_inner())
}

fn blank(body: &[u8]) -> bool {
    body.iter().all(u8::is_ascii_whitespace)
}

fn same(field: &str, name: &str) -> bool {
    let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
    plain(field) == plain(name)
}

fn of_json(of: &MessageDescriptor, field: &str, body: &[u8]) -> Result<DynamicMessage, Problem> {
    if blank(body) {
        return Ok(DynamicMessage::new(of.clone()));
    }
    let wrong = |error: serde_json::Error| Problem::new(field, error.to_string());
    let mut text = serde_json::Deserializer::from_slice(body);
    let message = DynamicMessage::deserialize(of.clone(), &mut text).map_err(wrong)?;
    text.end().map_err(wrong)?;
    Ok(message)
}

/// Sets fields by name. What one of them says is taken or refused on its own, so that the refusal can name it.
fn merge(
    message: &mut DynamicMessage,
    input: &MessageDescriptor,
    pairs: &[(String, String)],
) -> Result<(), Problem> {
    let mut object = Map::new();
    for (name, value) in pairs {
        place(&mut object, input, name, value)?;
    }
    if object.is_empty() {
        return Ok(());
    }
    let read = |object: Map<String, Json>| DynamicMessage::deserialize(input.clone(), Json::Object(object));
    let said = match read(object) {
        Ok(said) => said,
        Err(whole) => {
            for (name, value) in pairs {
                let mut alone = Map::new();
                place(&mut alone, input, name, value)?;
                read(alone).map_err(|e| Problem::new(name, e.to_string()))?;
            }
            return Err(Problem::new("query", whole.to_string()));
        }
    };
    // Both are of one descriptor.
    message.merge(said.encode_to_vec().as_slice()).map_err(|e| Problem::new("query", e.to_string()))
}

/// Puts a value where the name says, as its field's kind writes it.
fn place(
    object: &mut Map<String, Json>,
    input: &MessageDescriptor,
    name: &str,
    value: &str,
) -> Result<(), Problem> {
    if name.split('.').count() > PARAMETER_DEPTH_MAX {
        return Err(Problem::new(name, "there is no field so deep"));
    }
    let mut object = object;
    let mut of = input.clone();
    let mut parts = name.split('.').peekable();
    while let Some(part) = parts.next() {
        let unknown = || Problem::new(name, format!("{} has no field `{part}`", of.name()));
        let field =
            of.get_field_by_name(part).or_else(|| of.get_field_by_json_name(part)).ok_or_else(unknown)?;
        let key = field.json_name().to_owned();
        if parts.peek().is_some() {
            let Kind::Message(below) = field.kind() else {
                return Err(Problem::new(name, format!("`{part}` has no fields")));
            };
            if field.is_list() || field.is_map() || is_written_as_text(&below) {
                return Err(Problem::new(name, format!("`{part}` cannot be taken apart; use a body")));
            }
            let entry = object.entry(key).or_insert_with(|| Json::Object(Map::new()));
            object = match entry {
                Json::Object(inner) => inner,
                _ => return Err(Problem::new(name, "it is given as a whole and in parts")),
            };
            of = below;
        } else {
            let value = leaf(&field, name, value)?;
            if field.is_list() {
                match object.entry(key).or_insert_with(|| Json::Array(Vec::new())) {
                    Json::Array(all) => all.push(value),
                    _ => return Err(Problem::new(name, "it is given as a whole and in parts")),
                }
            } else if object.insert(key, value).is_some() {
                return Err(Problem::new(name, "it is given twice"));
            }
        }
    }
    Ok(())
}

fn leaf(field: &FieldDescriptor, name: &str, value: &str) -> Result<Json, Problem> {
    if field.is_map() {
        return Err(Problem::new(name, "a map cannot be given in a query; use a body"));
    }
    let truth = |value: &str| match value {
        "true" => Ok(Json::Bool(true)),
        "false" => Ok(Json::Bool(false)),
        _ => Err(Problem::new(name, "it is true or false")),
    };
    match field.kind() {
        Kind::Bool => truth(value),
        Kind::Message(of) if of.full_name() == "google.protobuf.BoolValue" => truth(value),
        Kind::Message(of) if !is_written_as_text(&of) => Err(Problem::new(
            name,
            format!("it is a message: give its fields, such as `{name}.{}`", first_field(&of)),
        )),
        Kind::Enum(_) => Ok(value.parse::<i32>().map_or_else(|_| Json::from(value), Json::from)),
        _ => Ok(Json::from(value)),
    }
}

fn first_field(of: &MessageDescriptor) -> String {
    of.fields().next().map(|field| field.name().to_owned()).unwrap_or_default()
}

/// Messages that JSON writes as one text or number.
pub(crate) fn is_written_as_text(of: &MessageDescriptor) -> bool {
    let Some(name) = of.full_name().strip_prefix("google.protobuf.") else { return false };
    let wraps = name.ends_with("Value") && name != "Value" && name != "ListValue";
    wraps || matches!(name, "Timestamp" | "Duration" | "FieldMask")
}

fn text_at(message: &DynamicMessage, path: &str) -> Option<String> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let value = message.get_field_by_name(first)?;
    match rest {
        Some(rest) => text_at(value.as_message()?, rest),
        None => value.as_str().map(str::to_owned),
    }
}
