//! kill -9 of a process that switches identities: what is there afterwards is one of them, whole.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rand::prelude::*;
use remuda_edge_agent::{Folder, Identity};
use support::pki::{Pki, TODAY};

const DIR: &str = "REMUDA_TEST_IDENTITY_DIR";
const ROUNDS: usize = 30;

/// The `n`th identity: every file of it says so, but for the key, which the certificate is for.
fn identity(n: usize) -> Identity {
    let (pki, key) = (Pki::new(), remuda_edge_agent::identity::new_key().expect("a key"));
    Identity {
        vehicle: remuda_model::VehicleId::new("VAN1").expect("an id"),
        organization: remuda_model::OrganizationId::default(),
        server: "https://127.0.0.1:1".parse().expect("an address"),
        command_key: None,
        door: format!("127.0.0.1:{}", n + 1),
        certificate_pem: pki.sign(&key, "VAN1", TODAY) + &format!("{n}\n"),
        key_pem: key.serialize_pem(),
        trust_pem: format!("{n}\n"),
    }
}

/// The child: switches until it is killed. Without its environment it is no test.
#[test]
fn switcher() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let folder = Folder::new(dir);
    let identities: Vec<Identity> = (0..3).map(identity).collect();
    let mut out = std::io::stdout().lock();
    for n in 0.. {
        let key = folder.pending_key().expect("a key");
        assert_eq!(key.serialize_pem(), folder.pending_key().expect("kept").serialize_pem());
        folder.replace(&identities[n % 3]).expect("switched");
        writeln!(out, "switched").and_then(|()| out.flush()).expect("the parent listens");
    }
}

fn switch_and_kill(dir: &Path, after: Duration) {
    let mut child = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "switcher", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let first = lines.map_while(Result::ok).find(|line| line == "switched");
    assert!(first.is_some(), "the child ended by itself");
    std::thread::sleep(after);
    assert!(child.try_wait().expect("asked").is_none(), "the child ended by itself");
    child.kill().expect("is alive");
    child.wait().expect("ended");
}

#[test]
fn a_crash_leaves_one_identity_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = Folder::new(dir.path());
    let mut random = StdRng::seed_from_u64(5);
    for round in 0..ROUNDS {
        // The point of a kill is its moment: this is no waiting for anything.
        switch_and_kill(dir.path(), Duration::from_micros(random.random_range(0..4_000)));
        let identity = folder.load().expect("readable").expect("one was in force");
        identity.validity().expect("certificate and key belong together");
        let n = identity.trust_pem.trim();
        assert_eq!(identity.door, format!("127.0.0.1:{}", n.parse::<usize>().expect("a number") + 1));
        assert!(identity.certificate_pem.ends_with(&format!("{n}\n")), "round {round}");
        folder.pending_key().expect("a key, old or new");
    }
    // Leftovers of crashes do not pile up.
    folder.replace(&identity(7)).expect("switched");
    let left = std::fs::read_dir(dir.path()).expect("readable").count();
    assert_eq!(left, 3, "the link, its folder and the lock");
}
