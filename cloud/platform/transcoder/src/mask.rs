//! Which fields of an answer are wanted: partial responses (AIP-157).

use prost::bytes::Buf;
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value as Json;

use crate::PARAMETER_DEPTH_MAX;
use crate::request::{Problem, is_written_as_text};

/// A mask longer than this is refused, bytes.
pub const MASK_BYTES_MAX: usize = 2_048;

/// The wanted fields of one kind of message, as `name,charge_percent` or `vehicles.name,nextPageToken` says them: names of the
/// protos or of JSON, below each other with dots, through lists into each of their elements. `*` is everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldMask {
    wanted: Wanted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    All,
    /// These only.
    Fields(Vec<Field>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    number: u32,
    json_name: String,
    below: Wanted,
}

impl FieldMask {
    /// What `text` wants of a message; `said_in` is the parameter's name in what is wrong with it.
    ///
    /// # Errors
    /// When a path names nothing, goes into what has no fields, or there are too many.
    pub fn parse(said_in: &str, text: &str, of: &MessageDescriptor) -> Result<Self, Problem> {
        if text.len() > MASK_BYTES_MAX {
            return Err(Problem::new(said_in, format!("it is longer than {MASK_BYTES_MAX} bytes")));
        }
        let mut wanted = Wanted::Fields(Vec::new());
        for path in text.split(',').map(str::trim) {
            if path.is_empty() {
                return Err(Problem::new(said_in, "a path in it is empty; say fields, such as `name,etag`"));
            }
            let parts: Vec<&str> = path.split('.').collect();
            if parts.len() > PARAMETER_DEPTH_MAX {
                return Err(Problem::new(said_in, format!("there is no field as deep as `{path}`")));
            }
            wanted.add(said_in, &parts, of)?;
        }
        Ok(Self { wanted })
    }

    /// The wanted part of an encoded message; none of what is no message.
    pub fn of_message(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut part = Vec::with_capacity(message.len() / 2);
        self.wanted.copy(message, &mut part)?;
        Some(part)
    }

    /// Takes from a message's JSON what is not wanted.
    pub fn prune(&self, json: &mut Json) {
        self.wanted.prune(json);
    }
}

impl Wanted {
    fn add(&mut self, said_in: &str, path: &[&str], of: &MessageDescriptor) -> Result<(), Problem> {
        let Some((first, rest)) = path.split_first() else {
            *self = Self::All;
            return Ok(());
        };
        if *first == "*" {
            if !rest.is_empty() {
                return Err(Problem::new(said_in, "`*` is everything, and nothing stands behind it"));
            }
            *self = Self::All;
            return Ok(());
        }
        let named = of.get_field_by_name(first).or_else(|| of.get_field_by_json_name(first));
        let field =
            named.ok_or_else(|| Problem::new(said_in, format!("{} has no field `{first}`", of.name())))?;
        let below_of = match rest.is_empty() {
            true => of.clone(),
            false => fields_of(&field).ok_or_else(|| {
                Problem::new(said_in, format!("`{first}` is taken as a whole: it has no fields of its own"))
            })?,
        };
        // A path that the mask says already, as a whole, is checked and adds nothing.
        let mut ignored = Self::All;
        let below = match self {
            Self::All => &mut ignored,
            Self::Fields(fields) => {
                let at = fields.iter().position(|known| known.number == field.number());
                let at = at.unwrap_or_else(|| {
                    let (number, json_name) = (field.number(), field.json_name().to_owned());
                    fields.push(Field { number, json_name, below: Self::Fields(Vec::new()) });
                    fields.len() - 1
                });
                &mut fields[at].below
            }
        };
        below.add(said_in, rest, &below_of)
    }

    fn copy(&self, mut message: &[u8], part: &mut Vec<u8>) -> Option<()> {
        let Self::Fields(fields) = self else {
            part.extend_from_slice(message);
            return Some(());
        };
        while message.has_remaining() {
            let whole = message;
            let (number, kind) = decode_key(&mut message).ok()?;
            let wanted = fields.iter().find(|field| field.number == number);
            match wanted.map(|field| &field.below) {
                Some(below @ Self::Fields(_)) if kind == WireType::LengthDelimited => {
                    let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
                    let (inner, rest) = message.split_at_checked(length)?;
                    message = rest;
                    let mut inside = Vec::new();
                    below.copy(inner, &mut inside)?;
                    encode_key(number, kind, part);
                    encode_varint(inside.len() as u64, part);
                    part.extend_from_slice(&inside);
                }
                Some(_) => {
                    skip_field(kind, number, &mut message, DecodeContext::default()).ok()?;
                    part.extend_from_slice(&whole[..whole.len() - message.len()]);
                }
                None => skip_field(kind, number, &mut message, DecodeContext::default()).ok()?,
            }
        }
        Some(())
    }

    fn prune(&self, json: &mut Json) {
        let Self::Fields(fields) = self else { return };
        match json {
            Json::Array(all) => all.iter_mut().for_each(|one| self.prune(one)),
            Json::Object(object) => object.retain(|name, value| {
                let wanted = fields.iter().find(|field| field.json_name == *name);
                wanted.inspect(|field| field.below.prune(value)).is_some()
            }),
            _ => {}
        }
    }
}

/// The message that a path may go on into.
fn fields_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(of) if !field.is_map() && !is_written_as_text(&of) && !is_json(&of) => Some(of),
        _ => None,
    }
}

/// Messages that JSON writes as any value.
fn is_json(of: &MessageDescriptor) -> bool {
    matches!(
        of.full_name(),
        "google.protobuf.Any"
            | "google.protobuf.Struct"
            | "google.protobuf.Value"
            | "google.protobuf.ListValue"
    )
}
