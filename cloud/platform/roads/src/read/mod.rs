//! Reading OpenStreetMap files: PBF and XML, plain or in gzip, told apart by content.

mod pbf;
mod xml;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::MapError;
use crate::limits::NODES_MAX;
use crate::raw::{RawMap, RawNode, RawRestriction, RawWay};
use crate::tags::{Tags, drivable, is_road, node_is_blocked, restriction_kind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Pbf,
    Xml,
}

/// What a reader hands over, whatever the format.
struct Collector<'a> {
    map: &'a mut RawMap,
    /// Empty in the first pass, which looks at ways and relations only.
    wanted: Option<&'a BTreeSet<i64>>,
    limits_in_miles: usize,
    limits_metric: usize,
}

/// Member of a relation, as far as restrictions need it.
struct Member<'a> {
    role: &'a str,
    way: bool,
    node: bool,
    id: i64,
}

impl Collector<'_> {
    fn node(&mut self, id: i64, latitude: f64, longitude: f64, tags: &Tags<'_>) {
        let Some(wanted) = self.wanted else { return };
        let signal = tags.get("highway") == Some("traffic_signals");
        self.map.signals_seen += usize::from(signal);
        let on_earth = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        if on_earth && wanted.contains(&id) {
            let blocked = node_is_blocked(tags);
            self.map.nodes.insert(id, RawNode { latitude, longitude, signal, blocked });
        }
    }

    fn way(&mut self, id: i64, nodes: impl Iterator<Item = i64>, tags: &Tags<'_>) {
        if self.wanted.is_some() {
            return;
        }
        self.map.roads_seen += usize::from(is_road(tags));
        let Some(road) = drivable(tags) else { return };
        for limit in [road.limit_along, road.limit_against].into_iter().flatten() {
            if limit.in_miles {
                self.limits_in_miles += 1;
            } else {
                self.limits_metric += 1;
            }
        }
        self.map.ways.push(RawWay { id, nodes: nodes.collect(), road });
    }

    fn relation(&mut self, tags: &Tags<'_>, members: &[Member<'_>]) {
        if self.wanted.is_some() || tags.get("type") != Some("restriction") {
            return;
        }
        self.map.restrictions_seen += 1;
        let Some(kind) = restriction_kind(tags) else { return };
        let ways = |role: &str| -> Vec<i64> {
            members.iter().filter(|m| m.way && m.role == role).map(|m| m.id).collect()
        };
        let via: Vec<i64> = members.iter().filter(|m| m.node && m.role == "via").map(|m| m.id).collect();
        let via_way = members.iter().any(|m| !m.node && m.role == "via");
        let (from, to) = (ways("from"), ways("to"));
        if let ([via], false, false, false) = (via.as_slice(), via_way, from.is_empty(), to.is_empty()) {
            self.map.restrictions.push(RawRestriction { kind, from, via: *via, to });
        }
    }
}

/// Reads a file in two passes, ways first, so that only the nodes of drivable ways are ever held.
pub(crate) fn read(path: &Path) -> Result<RawMap, MapError> {
    let mut map = RawMap { attribution: crate::OSM_ATTRIBUTION, ..RawMap::default() };
    pass(path, &mut map, None)?;
    let wanted = map.nodes_used();
    if wanted.len() > NODES_MAX {
        return Err(MapError::TooLarge { name: path.display().to_string() });
    }
    if !wanted.is_empty() {
        pass(path, &mut map, Some(&wanted))?;
    }
    map.ways.sort_by_key(|way| way.id);
    map.ways.dedup_by_key(|way| way.id);
    Ok(map)
}

fn pass(path: &Path, map: &mut RawMap, wanted: Option<&BTreeSet<i64>>) -> Result<(), MapError> {
    let read_error = |source| MapError::Read { path: path.to_owned(), source };
    let file = BufReader::with_capacity(1 << 16, File::open(path).map_err(read_error)?);
    let (format, input) = open(file).map_err(|source| match source.kind() {
        // A broken gzip header or body.
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            MapError::Damaged { path: path.to_owned(), detail: source.to_string() }
        }
        _ => read_error(source),
    })?;
    let first = wanted.is_none();
    let mut collector = Collector { map, wanted, limits_in_miles: 0, limits_metric: 0 };
    let result = match format {
        Some(Format::Pbf) => pbf::read(input, &mut collector),
        Some(Format::Xml) => xml::read(input, &mut collector),
        None => return Err(MapError::NotOsm { path: path.to_owned() }),
    };
    let miles = collector.limits_in_miles > collector.limits_metric;
    if first {
        map.miles = miles;
    }
    result.map_err(|detail| MapError::Damaged { path: path.to_owned(), detail })
}

type Input = Box<dyn BufRead + Send>;

fn open(mut file: BufReader<File>) -> io::Result<(Option<Format>, Input)> {
    let zipped = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let mut input: Input = if zipped {
        Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    };
    // A reader may hand out little at a time, so the first bytes are collected and put back in front.
    let mut head = Vec::new();
    input.by_ref().take(1024).read_to_end(&mut head)?;
    let format = sniff(&head);
    Ok((format, Box::new(BufReader::new(io::Cursor::new(head).chain(input)))))
}

fn sniff(head: &[u8]) -> Option<Format> {
    // A blob header: length (4 bytes, big endian), then field 1, a string of 9 bytes.
    if head.get(4..15) == Some(b"\x0a\x09OSMHeader") {
        return Some(Format::Pbf);
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let is_xml = text.starts_with(b"<") && text.windows(4).any(|w| w == b"<osm");
    is_xml.then_some(Format::Xml)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart_by_content() {
        assert_eq!(sniff(b"\0\0\0\x0e\x0a\x09OSMHeader\x18\x7c"), Some(Format::Pbf));
        assert_eq!(sniff(b"\xef\xbb\xbf<?xml version='1.0'?>\n<osm version=\"0.6\">"), Some(Format::Xml));
        assert_eq!(sniff(b"  <osm>"), Some(Format::Xml));
        assert_eq!(sniff(b"<html><body>404</body></html>"), None);
        assert_eq!(sniff(b""), None);
        assert_eq!(sniff(b"PK\x03\x04"), None);
    }
}
