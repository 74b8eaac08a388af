//! The roads for a web map.

use std::fmt::Write;

use crate::network::{Edge, RoadNetwork, Vertex};

pub(crate) fn write(network: &RoadNetwork) -> String {
    let bounds = network.bounds();
    let mut out = String::with_capacity(network.vertices.len() * 24);
    let _ = write!(
        out,
        r#"{{"type":"FeatureCollection","bbox":[{:.6},{:.6},{:.6},{:.6}],"attribution":{},"features":["#,
        bounds.west,
        bounds.south,
        bounds.east,
        bounds.north,
        text(network.attribution())
    );
    let mut run: Vec<&Edge> = Vec::new();
    let mut first = true;
    // Edges of a way follow each other, so a run that goes on is one line.
    for edge in network.edges.iter().filter(|e| e.reverse.is_none_or(|r| e.id < r)) {
        let goes_on = run.last().is_some_and(|last| {
            last.way == edge.way && last.to == edge.from && last.reverse.is_some() == edge.reverse.is_some()
        });
        if !goes_on {
            feature(network, &run, &mut first, &mut out);
            run.clear();
        }
        run.push(edge);
    }
    feature(network, &run, &mut first, &mut out);
    out.push_str("]}");
    out
}

fn feature(network: &RoadNetwork, run: &[&Edge], first: &mut bool, out: &mut String) {
    let Some(edge) = run.first() else { return };
    if !std::mem::take(first) {
        out.push(',');
    }
    let _ = write!(out, r#"{{"type":"Feature","properties":{{"class":"{}""#, edge.class.as_str());
    if let Some(name) = network.name(edge.id) {
        let _ = write!(out, r#","name":{}"#, text(name));
    }
    if edge.reverse.is_none() {
        out.push_str(r#","oneway":1"#);
    }
    out.push_str(r#"},"geometry":{"type":"LineString","coordinates":["#);
    for (i, edge) in run.iter().enumerate() {
        // A run's edges share their ends.
        for (j, vertex) in network.vertices(edge.id).iter().enumerate().skip(usize::from(i > 0)) {
            if i + j > 0 {
                out.push(',');
            }
            coordinate(vertex, out);
        }
    }
    out.push_str("]}}");
}

/// Six decimals are 0.1 m.
fn coordinate(vertex: &Vertex, out: &mut String) {
    let _ = write!(out, "[{:.6},{:.6}]", vertex.longitude, vertex.latitude);
}

fn text(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}
