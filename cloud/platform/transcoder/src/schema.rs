//! JSON Schemas of messages, as the JSON mapping writes and reads them.

use std::collections::BTreeMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value as Json, json};

use crate::comments::Comments;

/// Schemas by full name, gathered while they are named.
pub(crate) struct Schemas<'a> {
    comments: &'a Comments,
    pub all: BTreeMap<String, Json>,
}

impl<'a> Schemas<'a> {
    pub fn new(comments: &'a Comments) -> Self {
        Self { comments, all: BTreeMap::new() }
    }

    /// A reference to a message's schema, which is made if it is not there.
    pub fn message(&mut self, of: &MessageDescriptor) -> Json {
        let name = of.full_name().to_owned();
        if !self.all.contains_key(&name) {
            // There first, for messages that contain themselves.
            self.all.insert(name.clone(), Json::Null);
            let schema = self.object(of, &[]);
            self.all.insert(name.clone(), schema);
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    /// A message without the fields that stand elsewhere.
    pub fn object(&mut self, of: &MessageDescriptor, without: &[&str]) -> Json {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in of.fields().filter(|field| !without.contains(&field.name())) {
            let needed = self.comments.required(&field);
            let mut schema = self.field(&field);
            if needed {
                required.push(Json::from(field.json_name()));
            } else {
                schema = or_null(schema);
            }
            describe(&mut schema, self.comments.field(&field));
            properties.insert(field.json_name().to_owned(), schema);
        }
        let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        if !required.is_empty() {
            schema["required"] = Json::Array(required);
        }
        describe(&mut schema, self.comments.message(of));
        schema
    }

    /// The schema of a field's value.
    pub fn field(&mut self, field: &FieldDescriptor) -> Json {
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else { return json!({}) };
            let value = entry.map_entry_value_field();
            return json!({ "type": "object", "additionalProperties": self.kind(&value.kind()) });
        }
        let one = self.kind(&field.kind());
        if field.is_list() { json!({ "type": "array", "items": one }) } else { one }
    }

    fn kind(&mut self, kind: &Kind) -> Json {
        match kind {
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX })
            }
            Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            // A double holds no 64 bits: they are written as text, and read as both.
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({ "anyOf": [
                { "type": "string", "pattern": "^-?[0-9]{1,18}$" },
                { "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX },
            ]}),
            Kind::Uint64 | Kind::Fixed64 => json!({ "anyOf": [
                { "type": "string", "pattern": "^[0-9]{1,19}$" },
                { "type": "integer", "minimum": 0, "maximum": u64::MAX },
            ]}),
            Kind::Float | Kind::Double => json!({ "anyOf": [
                { "type": "number" },
                { "type": "string", "enum": ["NaN", "Infinity", "-Infinity"] },
            ]}),
            Kind::Enum(of) => self.enumeration(of),
            Kind::Message(of) => match of.full_name() {
                "google.protobuf.Timestamp" => json!({ "type": "string", "format": "date-time" }),
                "google.protobuf.Duration" => {
                    json!({ "type": "string", "pattern": "^-?[0-9]{1,11}(\\.[0-9]{1,9})?s$", "examples": ["90s"] })
                }
                "google.protobuf.FieldMask" => json!({ "type": "string", "examples": ["displayName,email"] }),
                _ => self.message(of),
            },
        }
    }

    fn enumeration(&mut self, of: &EnumDescriptor) -> Json {
        let name = of.full_name().to_owned();
        if !self.all.contains_key(&name) {
            let names: Vec<String> = of.values().map(|value| value.name().to_owned()).collect();
            let said =
                of.values().map(|value| format!("- `{}`: {}", value.name(), self.comments.value(&value)));
            let text = format!("{}\n{}", self.comments.enumeration(of), said.collect::<Vec<_>>().join("\n"));
            let schema = json!({
                "anyOf": [{ "type": "string", "enum": names }, { "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX }],
                "description": text,
            });
            self.all.insert(name.clone(), schema);
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }
}

/// JSON writes no value as null, too.
fn or_null(mut schema: Json) -> Json {
    if let Some(kind) = schema.get("type").and_then(Json::as_str) {
        schema["type"] = json!([kind, "null"]);
        return schema;
    }
    if let Some(any) = schema.get_mut("anyOf").and_then(Json::as_array_mut) {
        any.push(json!({ "type": "null" }));
        return schema;
    }
    json!({ "anyOf": [schema, { "type": "null" }] })
}

pub(crate) fn describe(schema: &mut Json, text: &str) {
    if !text.is_empty() {
        schema["description"] = Json::from(text);
    }
}
