//! OpenStreetMap XML.

use std::io::BufRead;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::{Collector, Member};
use crate::tags::Tags;

/// The element whose children are being read.
#[derive(Default)]
struct Open {
    kind: Kind,
    id: i64,
    position: (f64, f64),
    tags: Vec<(String, String)>,
    refs: Vec<i64>,
    members: Vec<(String, String, i64)>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[default]
    None,
    Node,
    Way,
    Relation,
}

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            "node" => Self::Node,
            "way" => Self::Way,
            "relation" => Self::Relation,
            _ => Self::None,
        }
    }
}

pub(super) fn read(input: impl BufRead, collector: &mut Collector<'_>) -> Result<(), String> {
    let mut reader = Reader::from_reader(input);
    let mut buffer = Vec::new();
    let mut open = Open::default();
    let mut finished = false;
    loop {
        buffer.clear();
        let event = reader.read_event_into(&mut buffer).map_err(|error| error.to_string())?;
        match event {
            Event::Start(start) => begin(&start, &mut open)?,
            Event::Empty(start) => {
                begin(&start, &mut open)?;
                end(start.name().as_ref(), &mut open, collector);
            }
            Event::End(name) => {
                finished |= name.name().as_ref() == "osm";
                end(name.name().as_ref(), &mut open, collector);
            }
            // quick-xml does not mind a file that was cut off between two elements.
            Event::Eof if !finished => return Err("it ends before </osm>".to_owned()),
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

fn begin(start: &BytesStart<'_>, open: &mut Open) -> Result<(), String> {
    let name = start.name();
    let kind = Kind::of(name.as_ref());
    if kind != Kind::None {
        let number = |key: &str| attribute(start, key).map(|v| v.and_then(|v| v.parse::<f64>().ok()));
        let position = (number("lat")?.unwrap_or(f64::NAN), number("lon")?.unwrap_or(f64::NAN));
        *open = Open { kind, id: id(start, "id")?, position, ..Open::default() };
        return Ok(());
    }
    match name.as_ref() {
        "tag" if open.kind != Kind::None => {
            if let (Some(key), Some(value)) = (attribute(start, "k")?, attribute(start, "v")?) {
                open.tags.push((key, value));
            }
        }
        "nd" if open.kind == Kind::Way => open.refs.push(id(start, "ref")?),
        "member" if open.kind == Kind::Relation => {
            let kind = attribute(start, "type")?.unwrap_or_default();
            let role = attribute(start, "role")?.unwrap_or_default();
            open.members.push((role, kind, id(start, "ref")?));
        }
        _ => {}
    }
    Ok(())
}

fn end(name: &str, open: &mut Open, collector: &mut Collector<'_>) {
    if Kind::of(name) == Kind::None {
        return;
    }
    let element = std::mem::take(open);
    let tags: Vec<(&str, &str)> = element.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let tags = Tags(&tags);
    match element.kind {
        Kind::Node => collector.node(element.id, element.position.0, element.position.1, &tags),
        Kind::Way => collector.way(element.id, element.refs.into_iter(), &tags),
        Kind::Relation => {
            let members: Vec<Member<'_>> = element
                .members
                .iter()
                .map(|(role, kind, id)| Member { role, way: kind == "way", node: kind == "node", id: *id })
                .collect();
            collector.relation(&tags, &members);
        }
        Kind::None => {}
    }
}

fn attribute(start: &BytesStart<'_>, key: &str) -> Result<Option<String>, String> {
    let found = start.try_get_attribute(key).map_err(|error| error.to_string())?;
    let Some(found) = found else { return Ok(None) };
    let value = found.normalized_value(XmlVersion::Implicit1_0).map_err(|error| error.to_string())?;
    Ok(Some(value.into_owned()))
}

fn id(start: &BytesStart<'_>, key: &str) -> Result<i64, String> {
    let text = attribute(start, key)?;
    text.and_then(|t| t.parse().ok()).ok_or_else(|| format!("an element without a usable `{key}`"))
}
