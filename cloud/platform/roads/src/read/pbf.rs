//! OpenStreetMap PBF.

use std::io::Read;

use osmpbf::{Element, ElementReader, RelMemberType};

use super::{Collector, Member};
use crate::tags::Tags;

pub(super) fn read(input: impl Read + Send, collector: &mut Collector<'_>) -> Result<(), String> {
    let result = ElementReader::new(input).for_each(|element| match element {
        Element::Node(node) => {
            let tags: Vec<_> = node.tags().collect();
            collector.node(node.id(), node.lat(), node.lon(), &Tags(&tags));
        }
        Element::DenseNode(node) => {
            let tags: Vec<_> = node.tags().collect();
            collector.node(node.id(), node.lat(), node.lon(), &Tags(&tags));
        }
        Element::Way(way) => {
            let tags: Vec<_> = way.tags().collect();
            collector.way(way.id(), way.refs(), &Tags(&tags));
        }
        Element::Relation(relation) => {
            let tags: Vec<_> = relation.tags().collect();
            let members: Vec<_> = relation
                .members()
                .map(|m| Member {
                    role: m.role().unwrap_or_default(),
                    way: m.member_type == RelMemberType::Way,
                    node: m.member_type == RelMemberType::Node,
                    id: m.member_id,
                })
                .collect();
            collector.relation(&Tags(&tags), &members);
        }
    });
    result.map_err(|error| error.to_string())
}
