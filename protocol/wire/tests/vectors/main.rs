//! The golden vectors under `protocol/vectors` decode to what they say, for ever.

mod cases;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cases::{Case, cases, header};
use remuda_model::signal::{REGISTRY, SignalKind};
use remuda_wire::frame::{CommandOutcome, Event};
use remuda_wire::{
    Body, ClockQuality, CollectionLevel, CommandKind, DecodeError, Down, FarewellReason, FloorReason,
    FrameError, LinkKind, Observation, Up, WIRE_VERSION, frame,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors")
}

/// One file.
#[derive(Debug, Default)]
struct Vector {
    fields: BTreeMap<String, String>,
}

impl Vector {
    fn parse(text: &str) -> Self {
        let mut fields = BTreeMap::new();
        let mut key = String::new();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            if let Some(more) = line.strip_prefix("  ") {
                let field: &mut String = fields.entry(key.clone()).or_default();
                field.push_str(more);
                field.push('\n');
            } else {
                let (name, value) = line.split_once(':').expect("`key: value`");
                key = name.to_owned();
                fields.insert(key.clone(), value.trim().to_owned());
            }
        }
        Self { fields }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    fn bytes(&self) -> Vec<u8> {
        let hex: Vec<u8> =
            self.field("hex").expect("hex").bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let digit = |b: u8| char::from(b).to_digit(16).expect("hex digit") as u8;
        hex.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }
}

fn vectors() -> BTreeMap<String, Vector> {
    let entries = std::fs::read_dir(folder().join("v1")).expect("the vectors are checked in");
    entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, Vector::parse(&std::fs::read_to_string(&path).expect("text")))
        })
        .collect()
}

/// What bytes decode to, as a file says it: the value or the error, and the bytes it encodes to again.
fn meaning(decode: &str, bytes: &[u8]) -> Result<(String, Vec<u8>), String> {
    match decode {
        "up" => Up::decode(&Bytes::copy_from_slice(bytes))
            .map(|m| (readable(&m), m.encode()))
            .map_err(|e| readable(&e)),
        "down" => Down::decode(bytes).map(|m| (readable(&m), m.encode())).map_err(|e| readable(&e)),
        "frame" => frame::decode(bytes)
            .map(|f| (readable(&f), frame::encode(&f.header, &f.body)))
            .map_err(|e| readable(&e)),
        other => panic!("`decode: {other}`"),
    }
}

/// `Debug`, broken into lines at the outer fields.
fn readable(value: &dyn std::fmt::Debug) -> String {
    let mut out = String::new();
    let mut depth = 0_usize;
    let mut quoted = false;
    for c in format!("{value:?}").chars() {
        quoted ^= c == '"';
        match c {
            _ if quoted => {}
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        out.push(c);
        if c == ',' && !quoted && depth <= 3 {
            out.push('\n');
        }
    }
    out.lines().map(|line| format!("{}\n", line.trim())).collect()
}

#[test]
fn every_file_means_what_it_says() {
    for (name, vector) in vectors() {
        let bytes = vector.bytes();
        let decode = vector.field("decode").expect("decode");
        match (vector.field("value"), vector.field("error"), meaning(decode, &bytes)) {
            (Some(value), None, Ok((decoded, again))) => {
                assert_eq!(decoded, value, "{name}");
                let same = vector.field("reencodes") != Some("no");
                assert_eq!(again == bytes, same, "{name} encodes to {again:02x?}");
                assert_eq!(meaning(decode, &again).map(|m| m.0), Ok(decoded), "{name}");
            }
            (None, Some(error), Err(refused)) => assert_eq!(refused, error, "{name}"),
            (_, _, meaning) => panic!("{name}: {meaning:?}"),
        }
    }
}

#[test]
fn every_case_has_a_file_and_every_file_a_case() {
    // What is missing is written on request; what is there is never touched.
    let write = std::env::var_os("REMUDA_WRITE_VECTORS").is_some();
    let mut names = BTreeSet::new();
    for (name, says, case) in cases() {
        assert!(names.insert(name.to_owned()), "{name} stands twice");
        let (text, bytes) = text_of(says, &case);
        let path = folder().join("v1").join(format!("{name}.txt"));
        if write && !path.exists() {
            std::fs::write(&path, &text).expect("the vectors can be written");
        }
        let file = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{name} has no vector"));
        assert_eq!(Vector::parse(&file).bytes(), bytes, "{name}");
    }
    assert_eq!(names, vectors().into_keys().collect());
}

fn text_of(says: &str, case: &Case) -> (String, Vec<u8>) {
    let (decode, bytes, value) = match case {
        Case::Up(message) => ("up", message.encode(), Some(readable(message))),
        Case::Down(message) => ("down", message.encode(), Some(readable(message))),
        Case::Frame(f) => ("frame", frame::encode(&f.header, &f.body), Some(readable(f))),
        Case::Longer(f, bytes) => ("frame", bytes.clone(), Some(readable(f))),
        Case::BadUp(bytes) => ("up", bytes.clone(), None),
        Case::BadDown(bytes) => ("down", bytes.clone(), None),
        Case::BadFrame(bytes) => ("frame", bytes.clone(), None),
    };
    let mut text = format!("# {says}\ndecode: {decode}\n");
    match (value, meaning(decode, &bytes)) {
        (Some(value), Ok((decoded, _))) => {
            assert_eq!(decoded, value, "{says}");
            if matches!(case, Case::Longer(..)) {
                text.push_str("reencodes: no\n");
            }
            text.push_str("value:\n");
            value.lines().for_each(|line| writeln!(text, "  {line}").expect("a String grows"));
        }
        (None, Err(error)) => {
            text.push_str("error:\n");
            error.lines().for_each(|line| writeln!(text, "  {line}").expect("a String grows"));
        }
        (_, meaning) => panic!("{says} {bytes:02x?}: {meaning:?}"),
    }
    text.push_str("hex:\n");
    for row in bytes.chunks(32) {
        let hex: Vec<String> = row.iter().map(|b| format!("{b:02x}")).collect();
        writeln!(text, "  {}", hex.join(" ")).expect("a String grows");
    }
    (text, bytes)
}

#[test]
fn every_kind_has_a_vector() {
    let vectors = vectors();
    let good = |decode| {
        vectors.values().filter(move |v| v.field("decode") == Some(decode) && v.field("value").is_some())
    };
    let up: BTreeSet<u8> = good("up").map(|v| v.bytes()[1]).collect();
    let down: BTreeSet<u8> = good("down").map(|v| v.bytes()[1]).collect();
    let bodies: BTreeSet<u8> = cases()
        .iter()
        .filter_map(|(_, _, case)| match case {
            Case::Frame(f) => Some(body_kind(&f.body)),
            _ => None,
        })
        .collect();
    for kind in 0..=u8::MAX {
        let payload = [WIRE_VERSION, kind];
        let is_up = Up::decode(&Bytes::copy_from_slice(&payload)) != Err(DecodeError::Kind(kind));
        assert_eq!(up.contains(&kind), is_up, "message kind {kind}, up");
        let is_down = Down::decode(&payload) != Err(DecodeError::Kind(kind));
        assert_eq!(down.contains(&kind), is_down, "message kind {kind}, down");
        assert_eq!(bodies.contains(&kind), is_body_kind(kind), "body kind {kind}");
    }
}

/// The kind byte: what stands where a `damaged` frame of the same header has its last byte before the CRC.
fn body_kind(body: &Body) -> u8 {
    let at = frame::encode(&header(1), &Body::Damaged).len() - 5;
    frame::encode(&header(1), body)[at]
}

fn is_body_kind(kind: u8) -> bool {
    let mut bytes = frame::encode(&header(1), &Body::Damaged);
    bytes.truncate(bytes.len() - 5);
    bytes.push(kind);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    !matches!(frame::decode(&bytes), Err(FrameError::Unusable { reason: "body_kind", .. }))
}

#[test]
fn every_variant_has_a_vector() {
    let mut used: BTreeMap<&str, BTreeSet<u8>> = BTreeMap::new();
    let mut note = |of, value: Vec<u8>| used.entry(of).or_default().insert(value[0]);
    for (_, _, case) in cases() {
        match case {
            Case::Up(Up::Hello(m)) => note("clock", variant(&m.clock)),
            Case::Up(Up::Frames(m)) => note("floor", variant(&m.floor_reason)),
            Case::Up(Up::Status(m)) => note("link", variant(&m.link)) | note("level", variant(&m.collection)),
            Case::Up(Up::Farewell(m)) => note("farewell", variant(&m.reason)),
            Case::Down(Down::Command(m)) => note("command", variant(&m.kind)),
            Case::Frame(f) => {
                note("clock", variant(&f.header.clock));
                if let Body::Event(Event::CommandResult { outcome, .. }) = &f.body {
                    note("outcome", variant(outcome));
                }
                if let Body::Event(Event::TripMarked(mark)) = &f.body {
                    note("observation", variant(&mark.observation));
                }
                matches!(&f.body, Body::Event(event) if note("event", variant(event)))
            }
            _ => false,
        };
    }
    assert_eq!(used["clock"], known::<ClockQuality>());
    assert_eq!(used["floor"], known::<FloorReason>());
    assert_eq!(used["link"], known::<LinkKind>());
    assert_eq!(used["level"], known::<CollectionLevel>());
    assert_eq!(used["farewell"], known::<FarewellReason>());
    assert_eq!(used["command"], known::<CommandKind>());
    assert_eq!(used["outcome"], known::<CommandOutcome>());
    assert_eq!(used["observation"], known::<Observation>());
    assert_eq!(used["event"], known::<Event>());
}

fn variant<T: serde::Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).expect("a value of ours")
}

/// Numbers of the variants that decode from zeros.
fn known<T: serde::de::DeserializeOwned>() -> BTreeSet<u8> {
    let decodes = |number: &u8| {
        let mut bytes = [0; 64];
        bytes[0] = *number;
        postcard::take_from_bytes::<T>(&bytes).is_ok()
    };
    (0..0x80).filter(decodes).collect()
}

#[test]
fn the_registry_only_grows() {
    let mut lines: Vec<String> = Vec::new();
    for def in REGISTRY {
        let kind = match def.kind {
            SignalKind::Number => "number".to_owned(),
            SignalKind::Boolean => "boolean".to_owned(),
            SignalKind::Enumeration(names) => names.join("|"),
        };
        lines.push(format!("{} {} {kind} {:?} {}", def.id.0, def.path, def.unit, def.scale));
    }
    let path = folder().join("registry.txt");
    if std::env::var_os("REMUDA_WRITE_VECTORS").is_some() && !path.exists() {
        std::fs::write(&path, lines.join("\n") + "\n").expect("the registry can be written");
    }
    let pinned = std::fs::read_to_string(path).expect("the registry is checked in");
    let pinned: Vec<&str> = pinned.lines().collect();
    assert_eq!(pinned, lines, "a line changed, or a new one is not in protocol/vectors/registry.txt");
}
