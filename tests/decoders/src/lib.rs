//! Every decoder that meets the outside, each as a function of bytes that must come back, whatever the bytes are.
//!
//! Two users: `fuzz/` hands them to libFuzzer (`cargo xtask soak`), and this crate's test runs seeds, kept findings and
//! seeded mutations through them in the ordinary test run. What decodes must also encode to the same meaning.

mod files;
mod identity;
mod mutate;
mod rest;
mod seeds;
mod sessions;
mod texts;
mod wire;

pub use mutate::Mutator;

/// A decoder under test.
pub struct Target {
    /// Its name: the fuzz target's, and its folder's below `fuzz/corpus`.
    pub name: &'static str,
    /// Panics, or takes all memory, when the decoder has a fault.
    pub run: fn(&[u8]),
    /// Where mutations begin.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Mutations in the ordinary test run.
    pub mutations: u64,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "wire_up", run: wire::up, seeds: seeds::wire, mutations: 40_000 },
    Target { name: "wire_down", run: wire::down, seeds: seeds::wire, mutations: 40_000 },
    Target { name: "wire_frame", run: wire::frame, seeds: seeds::wire, mutations: 40_000 },
    Target { name: "topic", run: texts::topic, seeds: seeds::topics, mutations: 20_000 },
    Target { name: "mqtt_session", run: sessions::session, seeds: seeds::mqtt, mutations: 20_000 },
    Target { name: "outbox", run: files::outbox, seeds: seeds::outbox, mutations: 300 },
    Target { name: "dbc", run: files::dbc, seeds: seeds::dbc, mutations: 1_500 },
    Target { name: "osm", run: files::osm, seeds: seeds::osm, mutations: 1_500 },
    Target { name: "lake_file", run: files::lake, seeds: seeds::lake, mutations: 1_000 },
    Target { name: "manifest_entry", run: files::manifest, seeds: seeds::manifest, mutations: 20_000 },
    Target { name: "filter", run: texts::filter, seeds: seeds::filters, mutations: 20_000 },
    Target { name: "rest_template", run: rest::template, seeds: seeds::templates, mutations: 20_000 },
    Target { name: "rest_request", run: rest::request, seeds: seeds::rest_requests, mutations: 20_000 },
    Target { name: "page_token", run: rest::page_token, seeds: seeds::page_tokens, mutations: 20_000 },
    Target { name: "resume_token", run: rest::resume_token, seeds: seeds::resume_tokens, mutations: 20_000 },
    Target { name: "policy", run: texts::policy, seeds: seeds::policies, mutations: 10_000 },
    Target { name: "agent_state", run: texts::agent_state, seeds: seeds::agent_states, mutations: 10_000 },
    Target { name: "enrolment_token", run: identity::token, seeds: seeds::tokens, mutations: 20_000 },
    Target { name: "certificate", run: identity::certificate, seeds: seeds::certificates, mutations: 5_000 },
    Target { name: "certificate_request", run: identity::request, seeds: seeds::requests, mutations: 500 },
];

/// The target with this name.
///
/// # Panics
/// When there is none.
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("fuzz/ names targets of this list")
}
