//! Right inputs, from which wrong ones are made: golden vectors, and what our own encoders write.

use std::path::Path;

use remuda_edge_agent::outbox::{Profile, Store};
use remuda_edge_agent_core::SavedState;
use remuda_eventsourcing::ManifestEntry;
use remuda_identity::Issuer;
use remuda_lake::{Row, RowBody, file};
use remuda_model::{Incarnation, Lane, OrganizationId, ShardId, VehicleId, signal};

use crate::files::folder;
use crate::identity::{authority, now, who};

/// The golden vectors of the wire, good and bad.
pub(crate) fn wire() -> Vec<Vec<u8>> {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../protocol/vectors/v1");
    let mut files: Vec<_> = std::fs::read_dir(vectors)
        .expect("the vectors are in the tree")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    files.iter().map(|file| hex_of(&std::fs::read_to_string(file).unwrap_or_default())).collect()
}

fn hex_of(text: &str) -> Vec<u8> {
    let hex = text.split_once("hex:").map_or("", |(_, hex)| hex);
    hex.split_whitespace().map_while(|byte| u8::from_str_radix(byte, 16).ok()).collect()
}

fn bytes(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(crate) fn topics() -> Vec<Vec<u8>> {
    bytes(&[
        "remuda/v1/VAN1/up/17/samples",
        "remuda/v1/VAN1/down",
        "remuda/v1/VAN1/up/1023/session",
        "$share/g/#",
    ])
}

pub(crate) fn filters() -> Vec<Vec<u8>> {
    bytes(&[
        "presence = ONLINE AND charge_percent < 20",
        "NOT (open_alerts > 0 OR speed_kmh >= 130.5) AND vehicle = \"VAN*\"",
        "last_seen_age > 5m",
        "((((presence = OFFLINE))))",
    ])
}

pub(crate) fn templates() -> Vec<Vec<u8>> {
    bytes(&[
        "/v1/{name=organizations/*/vehicles/*}:watch\n/v1/organizations/default/vehicles/V1:watch",
        "/v1/{a.b}/x/{rest=files/**}\n/v1/1/x/files/p%20q/r",
        "/fleet/status\n/fleet/status",
    ])
}

pub(crate) fn rest_requests() -> Vec<Vec<u8>> {
    bytes(&[
        "GET /api/v1/organizations/default/vehicles?pageSize=5&filter=presence%20%3D%20ONLINE\n",
        "POST /api/v1/organizations/default/vehicles/V1/commands\n{\"action\":{\"speedLimitKmh\":30},\"reason\":\"x\",\"timeToLive\":\"90.5s\"}",
        "GET /api/v1/organizations/default/history?signals=Vehicle.Speed&startTime=2026-11-30T00:00:00Z&plot.points=9&vehicles=a&vehicles=b\n",
        "PUT /api/v1/organizations/default/policies/p\n{\"document\":\"{}\",\"etag\":\"\\\"5\\\"\",\"validateOnly\":true}",
        "POST /api/v1/organizations/default/trips\n{\"rider\":\"r\",\"stops\":[{\"latitude\":60.1,\"longitude\":\"NaN\"}]}",
    ])
}

pub(crate) fn page_tokens() -> Vec<Vec<u8>> {
    bytes(&["1.cbf29ce484222325.V7\n", "1.0000000000000000.V7\nopen_alerts > 0", "\n"])
}

pub(crate) fn resume_tokens() -> Vec<Vec<u8>> {
    bytes(&["18a2b3c4d5e6f708.12", "ffffffffffffffff.18446744073709551615", "."])
}

pub(crate) fn policies() -> Vec<Vec<u8>> {
    bytes(&[
        r#"{"version":1,"signals":[{"path":"Vehicle.Speed","min_interval_ms":100,"on_change":{"deadband":0.5},"heartbeat_ms":5000}]}"#,
        r#"{"rules":[{"signals":["Vehicle.Speed","Vehicle.*"],"min_interval_ms":0}],"budget":{"bytes_per_day":1000000}}"#,
        "{}",
        "[]",
    ])
}

pub(crate) fn agent_states() -> Vec<Vec<u8>> {
    let state = SavedState { boot: 7, ..SavedState::default() };
    vec![state.encode(), br#"{"policy":null,"highest_epoch":3,"commands":[],"boot":1}"#.to_vec()]
}

pub(crate) fn tokens() -> Vec<Vec<u8>> {
    let (a, b) = ("ab".repeat(32), "01".repeat(32));
    bytes(&[&format!("remuda1.VAN1.{a}.{b}"), "remuda1.VAN1..", " remuda1.A.b.c "])
}

fn signing_request() -> Vec<u8> {
    let key = rcgen::KeyPair::generate().expect("a key can be made");
    let request = rcgen::CertificateParams::default().serialize_request(&key);
    request.expect("a request can be written").der().to_vec()
}

pub(crate) fn requests() -> Vec<Vec<u8>> {
    vec![signing_request(), signing_request()]
}

pub(crate) fn certificates() -> Vec<Vec<u8>> {
    let issued = authority().issue(&signing_request(), &who(), now()).expect("a certificate is issued");
    let ours = der_of(&issued.chain_pem);
    let key = rcgen::KeyPair::generate().expect("a key can be made");
    let named = rcgen::CertificateParams::new(vec!["remuda.example".to_owned()]).expect("a name");
    let other = named.self_signed(&key).expect("a certificate can be made").der().to_vec();
    vec![ours, other, der_of(&authority().trust_anchors_pem())]
}

fn der_of(pem: &str) -> Vec<u8> {
    use rustls_pki_types::pem::PemObject;
    rustls_pki_types::CertificateDer::from_pem_slice(pem.as_bytes())
        .map(|der| der.to_vec())
        .unwrap_or_default()
}

/// Streams of both versions, behind the four bytes that say how they are cut.
pub(crate) fn mqtt() -> Vec<Vec<u8>> {
    let connect = |level: u8, properties: &[u8]| {
        let mut body = b"\0\x04MQTT".to_vec();
        body.extend([level, 0b1100_0010, 0, 30]);
        body.extend(properties);
        body.extend(b"\0\x04VAN1\0\x04VAN1\0\x06secret");
        [&[0x10, body.len() as u8][..], &body].concat()
    };
    let packet = |first: u8, body: &[u8]| [&[first, body.len() as u8][..], body].concat();
    let topic = b"\0\x1cremuda/v1/VAN1/up/17/samples";
    let three = [
        connect(4, &[]),
        packet(0x82, b"\0\x01\0\x13remuda/v1/VAN1/down\0"),
        packet(0x30, &[&topic[..], b"payload"].concat()),
        packet(0x32, &[&topic[..], b"\0\x07payload"].concat()),
        vec![0xc0, 0],
        packet(0xa2, b"\0\x02\0\x13remuda/v1/VAN1/down"),
        vec![0xe0, 0],
    ]
    .concat();
    let properties =
        [&[0x11, 0, 0, 0, 60, 0x21, 0, 20, 0x22, 0, 10][..], &[0x26, 0, 1, b'a', 0, 1, b'b']].concat();
    let properties = [&[properties.len() as u8][..], &properties].concat();
    let five = [
        connect(5, &properties),
        packet(0x82, b"\0\x01\0\0\x13remuda/v1/VAN1/down\0"),
        packet(0x30, &[&topic[..], &[3, 0x23, 0, 1], b"payload"].concat()),
        packet(0x30, &[&[0, 0, 3, 0x23, 0, 1][..], b"aliased"].concat()),
        packet(0x32, &[&topic[..], b"\0\x07\0payload"].concat()),
        vec![0xc0, 0],
        packet(0xe0, &[0x04, 0]),
    ]
    .concat();
    let will =
        [b"\x10\x2a\0\x04MQTT\x04\x06\0\x1e\0\x04VAN1\0\x14remuda/v1/VAN1/up/17\0\0".to_vec(), three.clone()]
            .concat();
    [three, five, will].iter().map(|stream| [&[60, 3, 7, 1][..], stream].concat()).collect()
}

/// A segment with frames of two lanes, a shed range, a trim, a state, a floor.
pub(crate) fn outbox() -> Vec<Vec<u8>> {
    let folder = folder();
    let vehicle = VehicleId::new("VAN1").expect("a vehicle's id");
    let store = Store::open(folder.path(), Profile::vehicle()).expect("an outbox can be made");
    let opened = store.vehicle(vehicle, Incarnation(7)).expect("a vehicle is taken");
    let frames: Vec<bytes::Bytes> = wire().into_iter().take(12).map(bytes::Bytes::from).collect();
    for lane in Lane::ALL {
        opened.outbox.append(lane, 1, &frames, true).expect("appended");
    }
    opened.outbox.save_state(b"{\"boot\":3}".to_vec()).expect("saved");
    opened.outbox.trim(Lane::Events, Incarnation(7), 4);
    store.close().expect("written");
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for entry in std::fs::read_dir(folder.path()).expect("listed").flatten() {
        if entry.path().extension().is_some_and(|e| e == "seg") {
            segments.push(std::fs::read(entry.path()).expect("read"));
        }
    }
    segments
}

pub(crate) fn dbc() -> Vec<Vec<u8>> {
    let message = |signal: &str, plus: &str| {
        format!(
            "VERSION \"\"\n\nNS_ :\n\nBS_:\n\nBU_: X\n\nBO_ 170 M: 8 X\n SG_ S : {signal}\n SG_ P : {plus}\n\n"
        )
    };
    [
        message("0|16@1+ (0.01,-67.67) [0|250] \"kph\" X", "16|8@1- (1,0) [0|0] \"\" X"),
        message("7|16@0+ (0.01,-67.67) [0|250] \"kph\" X", "23|16@0- (0.5,1) [0|0] \"\" X"),
        message("0|4000000000@1+ (1,0) [0|0] \"\" X", "7|4000000000@0+ (1,0) [0|0] \"\" X"),
        message("7|18446744073709551615@0+ (1,0) [0|0] \"\" X", "63|64@0+ (1e308,1e308) [0|0] \"\" X"),
    ]
    .map(String::into_bytes)
    .to_vec()
}

pub(crate) fn osm() -> Vec<Vec<u8>> {
    let xml = r#"<?xml version="1.0"?><osm version="0.6">
<node id="1" lat="52.0" lon="13.0"/><node id="2" lat="52.001" lon="13.001"><tag k="highway" v="traffic_signals"/></node>
<node id="3" lat="52.002" lon="13.0"/><way id="9"><nd ref="1"/><nd ref="2"/><nd ref="3"/><nd ref="1"/>
<tag k="highway" v="residential"/><tag k="maxspeed" v="30 mph"/><tag k="oneway" v="-1"/><tag k="name" v="A &amp; B"/></way>
<way id="10"><nd ref="1"/><nd ref="3"/><tag k="highway" v="primary"/></way>
<relation id="5"><member type="way" ref="9" role="from"/><member type="node" ref="1" role="via"/>
<member type="way" ref="10" role="to"/><tag k="type" v="restriction"/><tag k="restriction" v="no_u_turn"/></relation></osm>"#;
    vec![xml.as_bytes().to_vec(), pbf()]
}

/// Protobuf, as far as an OpenStreetMap file of one way needs it.
fn pbf() -> Vec<u8> {
    let field = |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8][..], content].concat();
    let blob = |kind: &str, content: &[u8]| {
        let raw = field(1, content);
        let header = [field(1, kind.as_bytes()), vec![0x18, raw.len() as u8]].concat();
        [&(header.len() as u32).to_be_bytes()[..], &header, &raw].concat()
    };
    let strings = ["", "highway", "residential"].map(|s| field(1, s.as_bytes())).concat();
    // Ids, latitudes and longitudes as differences, zigzag.
    let dense = [field(1, &[2, 2, 2]), field(8, &[20, 20, 20]), field(9, &[20, 20, 19])].concat();
    let way = [&[0x08, 9][..], &field(2, &[1]), &field(3, &[2]), &field(8, &[2, 2, 2])].concat();
    let group = [field(2, &dense), field(3, &way)].concat();
    let block = [field(1, &strings), field(2, &group)].concat();
    [blob("OSMHeader", &field(4, b"OsmSchema-V0.6")), blob("OSMData", &block)].concat()
}

fn rows() -> Vec<Row> {
    let row = |seq, body| Row {
        organization: OrganizationId::default(),
        vehicle: VehicleId::new("VAN1").expect("a vehicle's id"),
        incarnation: Incarnation(u64::MAX - 1),
        seq,
        row_in_frame: 0,
        boot: 1,
        mono_ns: seq * 1_000_000_000,
        sample_time_ns: Some(1_790_000_000_000_000_000),
        receive_time_ms: 1_790_000_000_000,
        commit: 0,
        body,
    };
    vec![
        row(1, RowBody::Samples(vec![(signal::SPEED, 5_000), (signal::CHARGE, 120)])),
        row(2, RowBody::Marker),
        row(3, RowBody::Gap { to: 7, reason: "shed".into() }),
        row(8, RowBody::Quarantine { reason: "body".into(), raw: vec![1, 2, 3] }),
    ]
}

fn entry() -> ManifestEntry {
    ManifestEntry {
        path: "fresh/date=2026-09-21/hour=13/0123456789abcdef-1-1.parquet".into(),
        schema: 1,
        checksum: 7,
        bytes: 4_096,
        rows: ShardId::new(17).into_iter().map(|shard| (shard, 4)).collect(),
        sample_time_ns: (0, 1),
        receive_time_ms: (0, 1),
    }
}

pub(crate) fn lake() -> Vec<Vec<u8>> {
    vec![file::encode(&rows(), "{\"writer\":\"x\"}".into()).expect("rows encode")]
}

pub(crate) fn manifest() -> Vec<Vec<u8>> {
    postcard::to_allocvec(&entry()).into_iter().collect()
}
