//! Folder dependencies run as the design says.

use remuda_tidy::{Member, members};

/// What the crates of a folder may depend on, by folder prefix. The first rule that matches a crate decides.
const MAY_USE: &[(&str, &[&str])] = &[
    ("protocol/", &["protocol/"]),
    ("firmware-bridge", &["protocol/"]),
    ("edge-agent/core", &["protocol/"]),
    ("edge-agent", &["protocol/", "edge-agent/core", "firmware-bridge"]),
    ("cloud/platform/roads", &[]),
    ("cloud/platform/", &["protocol/model", "cloud/platform/"]),
    ("cloud/contracts", &["protocol/"]),
    ("cloud/ingress", &["protocol/", "cloud/contracts", "cloud/platform/"]),
    // Exports are written where the person sits: the server streams columns, whatever the format. Access asks issuers, for both.
    ("cloud/ctl", &["protocol/", "cloud/platform/access", "cloud/platform/exports"]),
    ("cloud/console", &["protocol/", "cloud/contracts", "cloud/platform/"]),
    ("cloud/node", &["protocol/", "cloud/", "sim/demo"]),
    (
        "cloud/business",
        &[
            "protocol/model",
            "cloud/contracts",
            "cloud/platform/",
            "cloud/trips",
            "cloud/users",
            "cloud/billing",
            "cloud/notifications",
            "cloud/analytics",
            "cloud/vehicles",
        ],
    ),
    ("cloud/", &["protocol/", "cloud/contracts", "cloud/platform/"]),
    ("sim/world", &["protocol/model", "cloud/platform/roads"]),
    (
        "sim/proving-ground",
        &["protocol/", "edge-agent/core", "cloud/contracts", "cloud/vehicles", "cloud/platform/"],
    ),
    ("sim/", &["protocol/", "edge-agent", "edge-agent/core", "cloud/platform/roads", "sim/", "tests/ledger"]),
    ("tests/ledger", &["protocol/", "edge-agent", "edge-agent/core", "cloud/vehicles", "cloud/platform/"]),
    ("tests/", &["protocol/", "edge-agent", "edge-agent/core", "cloud/", "sim/", "tests/"]),
    ("xtask", &[]),
];

/// Libraries that only some folders may name.
const CONFINED: &[(&str, &[&str])] = &[
    (
        "rumqttc",
        // Feeds publish to customers' brokers; no vehicle is there.
        &[
            "protocol/mqtt",
            "edge-agent",
            "cloud/ingress",
            "cloud/platform/feeds",
            "sim/fleet",
            "sim/proving-ground",
            "tests/",
        ],
    ),
    ("async-nats", &["cloud/platform/feeds"]),
    ("remuda-mqtt", &["edge-agent", "cloud/ingress", "sim/fleet", "sim/proving-ground", "tests/"]),
    ("tonic", &["protocol/api", "cloud/console", "cloud/ctl", "tests/"]),
    ("axum", &["cloud/console", "tests/"]),
    ("ractor", &["cloud/vehicles", "cloud/platform/entities"]),
    ("sled", &["cloud/platform/eventsourcing", "edge-agent"]),
    // The lake's files, and those made for somebody else.
    ("parquet", &["cloud/platform/lake", "cloud/platform/exports"]),
    ("mcap", &["cloud/platform/exports"]),
    ("lettre", &["cloud/notifications"]),
    ("pdf-writer", &["cloud/billing"]),
    ("clap", &["cloud/node", "cloud/ctl", "edge-agent", "sim/", "tests/ledger", "tests/chaos", "xtask"]),
];

fn matches(folder: &str, prefix: &str) -> bool {
    folder == prefix || (prefix.ends_with('/') && folder.starts_with(prefix))
}

#[test]
fn folder_dependencies_run_one_way() {
    let all = members();
    let folder_of = |name: &str| all.iter().find(|m| m.name == name).map(|m| m.folder.clone());
    let mut wrong = Vec::new();
    for Member { folder, dependencies, .. } in &all {
        let rule = MAY_USE.iter().find(|(prefix, _)| matches(folder, prefix));
        let Some((_, allowed)) = rule else {
            wrong.push(format!("{folder} has no rule in tests/tidy/tests/folders.rs"));
            continue;
        };
        for target in dependencies.iter().filter_map(|name| folder_of(name)) {
            if !allowed.iter().any(|prefix| matches(&target, prefix)) {
                wrong.push(format!("{folder} must not depend on {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn some_libraries_are_named_in_few_places() {
    let mut wrong = Vec::new();
    for Member { folder, dependencies, .. } in members() {
        for (library, homes) in CONFINED {
            let named = dependencies.iter().any(|d| d == library);
            if named && !homes.iter().any(|home| matches(&folder, home)) {
                wrong.push(format!("{folder} must not name {library}; only {homes:?} do"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn crates_are_named_after_their_folder_and_share_the_lints() {
    // A folder's last word alone would collide or say nothing.
    const OTHERWISE: &[(&str, &str)] = &[
        ("edge-agent/core", "remuda-edge-agent-core"),
        ("tests/model", "remuda-uplink-model"),
        ("xtask", "xtask"),
    ];
    for Member { folder, name, manifest, .. } in members() {
        let last = folder.rsplit('/').next().unwrap_or_default();
        let special = OTHERWISE.iter().find(|(f, _)| *f == folder).map(|(_, n)| (*n).to_owned());
        let expected = special.unwrap_or_else(|| format!("remuda-{last}"));
        assert_eq!(name, expected, "the crate in {folder} has another name");
        let lints = manifest.get("lints").and_then(|l| l.get("workspace")).and_then(toml::Value::as_bool);
        assert_eq!(lints, Some(true), "{folder}/Cargo.toml does not take the workspace's lints");
    }
}
