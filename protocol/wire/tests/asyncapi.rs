//! The AsyncAPI document says what the code does: the same topics, and on each the same messages.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use remuda_model::{Lane, VehicleId};
use remuda_wire::{Channel, Down, Topic, Up};

const DOCUMENT: &str = include_str!("../../../docs/api/asyncapi.yaml");

/// Addresses and the messages of each. The document is written so that lines say enough.
fn channels() -> BTreeMap<String, BTreeSet<String>> {
    let section = DOCUMENT.split("\nchannels:\n").nth(1).unwrap().split("\noperations:").next().unwrap();
    let mut channels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut address = String::new();
    for line in section.lines() {
        if let Some(found) = line.trim().strip_prefix("address: ") {
            address = found.to_owned();
        } else if let Some((name, _)) = line.trim().split_once(": { $ref: \"#/components/messages/") {
            channels.entry(address.clone()).or_default().insert(name.to_owned());
        }
    }
    channels
}

/// On which topic a message goes; the compiler asks for a line when one is added.
fn up(message: &Up) -> (&'static str, Vec<Channel>) {
    match message {
        Up::Hello(_) => ("Hello", vec![Channel::Session]),
        Up::Farewell(_) => ("Farewell", vec![Channel::Session]),
        Up::Status(_) => ("Status", vec![Channel::Session]),
        Up::Watching(_) => ("Watching", vec![Channel::Session]),
        Up::Frames(_) => ("Frames", vec![Channel::Lane(Lane::Events), Channel::Lane(Lane::Samples)]),
        Up::Live(_) => ("Live", vec![Channel::Live]),
    }
}

fn down(message: &Down) -> &'static str {
    match message {
        Down::Welcome(_) => "Welcome",
        Down::Ack(_) => "Ack",
        Down::Command(_) => "Command",
        Down::Policy(_) => "Policy",
        Down::Ask(_) => "Ask",
        Down::HandOver(_) => "HandOver",
        Down::Watch(_) => "Watch",
    }
}

/// A topic with its holes.
fn address(topic: Topic) -> String {
    let text = topic.to_string();
    let mut levels: Vec<&str> = text.split('/').collect();
    levels[2] = "{vehicle}";
    if levels[3] == "up" {
        levels[4] = "{shard}";
    }
    levels.join("/")
}

#[test]
fn every_topic_and_every_message_is_in_the_document_and_no_other() {
    let vehicle = VehicleId::new("CAR1").unwrap();
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // The golden vectors have each message, in every version.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/v1");
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let hex = text.split_once("hex:").map_or("", |(_, hex)| hex);
        let bytes: Bytes =
            hex.split_whitespace().map_while(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        if let Ok(message) = Up::decode(&bytes) {
            let (name, channels) = up(&message);
            for channel in channels {
                wanted.entry(address(Topic::up(vehicle, channel))).or_default().insert(name.to_owned());
            }
        }
        if let Ok(message) = Down::decode(&bytes) {
            wanted.entry(address(Topic::Down { vehicle })).or_default().insert(down(&message).to_owned());
        }
    }
    assert_eq!(channels(), wanted);
}

#[test]
fn every_reference_leads_somewhere() {
    let messages = DOCUMENT.split("\n  messages:\n").last().unwrap();
    for name in channels().into_values().flatten() {
        assert!(messages.contains(&format!("    {name}: {{ summary:")), "{name}");
    }
    for channel in DOCUMENT.split("#/channels/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(DOCUMENT.contains(&format!("\n  {channel}:\n    address:")), "{channel}");
    }
}
