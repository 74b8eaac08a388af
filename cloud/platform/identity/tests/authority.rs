//! The embedded authority: what it signs, and what it finds on its disk.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData};
use remuda_identity::{EmbeddedCa, IssueError, Issuer, vehicle_of};
use support::*;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer, X509Certificate};

#[test]
fn only_the_key_of_a_request_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = authority(folder.path());
    for key in [key(&PKCS_ECDSA_P256_SHA256), key(&PKCS_ED25519)] {
        let issued = ca.issue(&request(&key), &identity("VAN1"), now()).expect("issued");
        let der = der_of(&issued.chain_pem);
        assert_eq!(vehicle_of(&der).expect("a vehicle").identity, identity("VAN1"));
        let (_, certificate) = X509Certificate::from_der(&der).expect("read");
        assert_eq!(certificate.public_key().raw, key.subject_public_key_info());
        let text = String::from_utf8_lossy(&der).into_owned();
        for foreign in ["VAN2", "VAN3", "VAN4", "evil"] {
            assert!(!text.contains(foreign), "{foreign} came from the request");
        }
        assert_eq!(issued.not_after_ms, NOW_MS + 90 * DAY_MS);
        let root = der_of(&ca.trust_anchors_pem());
        let (_, root) = X509Certificate::from_der(&root).expect("read");
        certificate.verify_signature(Some(root.public_key())).expect("signed by the root");
    }
    let serial = |()| ca.issue(&request(&p256()), &identity("VAN1"), now()).expect("issued").serial;
    assert_ne!(serial(()), serial(()));
}

#[test]
fn other_keys_broken_signatures_and_garbage_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = authority(folder.path());
    let issue = |der: &[u8]| ca.issue(der, &identity("VAN1"), now());
    let code = |der: &[u8]| issue(der).expect_err("refused").code();
    for other in [&PKCS_RSA_SHA256, &PKCS_ECDSA_P384_SHA384] {
        assert_eq!(code(&request(&key(other))), "csr_key");
    }
    let good = request(&p256());
    let last = good.len() - 1;
    let (_, parsed) = X509CertificationRequest::from_der(&good).expect("read");
    let signed = parsed.certification_request_info.raw;
    let begin = good.windows(signed.len()).position(|window| window == signed).expect("its place");
    for at in begin..begin + signed.len() {
        let mut broken = good.clone();
        broken[at] ^= 1;
        assert!(issue(&broken).is_err(), "byte {at} can be changed");
    }
    let mut broken = good.clone();
    broken[last] ^= 1;
    assert!(matches!(issue(&broken), Err(IssueError::Signature | IssueError::Unreadable)));
    // Somebody else's key under one's own signature.
    let spki = p256().subject_public_key_info();
    let mut stolen = good.clone();
    let at = good.windows(spki.len()).position(|w| w[..26] == spki[..26]).expect("the key's place");
    stolen[at..at + spki.len()].copy_from_slice(&spki);
    assert_eq!(code(&stolen), "csr_signature");
    for garbage in [&[][..], b"garbage", &good[..last], &[&good[..], &[0]].concat()] {
        assert_eq!(code(garbage), "csr_unreadable");
    }
}

#[test]
fn the_authority_is_the_same_after_a_restart_and_its_key_is_private() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("data/identity");
    let first = authority(&place).fingerprint();
    assert_eq!(authority(&place).fingerprint(), first);
    let mode = |name: &str| fs::metadata(place.join(name)).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode("ca.key"), mode("ca.pem")), (0o600, 0o644));
    let (server, new) =
        authority(&place).keep_server_certificate(&names(&["localhost"]), now()).expect("kept");
    assert!(new);
    assert_eq!(fs::metadata(server).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(!format!("{:?}", authority(&place)).to_lowercase().contains("private"));
}

#[test]
fn a_crash_between_any_two_steps_leaves_an_authority_that_opens() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("identity");
    authority(&place);
    // Died after the key, before the certificate.
    fs::remove_file(place.join("ca.pem")).expect("removed");
    let again = authority(&place);
    again.issue(&request(&p256()), &identity("VAN1"), now()).expect("issued");
    // Died before a draft was put in its place.
    fs::write(place.join(".ca.pem.new"), "half").expect("written");
    fs::remove_file(place.join("ca.pem")).expect("removed");
    authority(&place);
    // Somebody lost the key: no new one may take its place in silence.
    fs::remove_file(place.join("ca.key")).expect("removed");
    let sentence = EmbeddedCa::open(&place, DAY, now()).expect_err("refused").to_string();
    assert!(sentence.contains("restore ca.key"), "{sentence}");
    fs::write(place.join("ca.key"), p256().serialize_pem()).expect("written");
    let sentence = EmbeddedCa::open(&place, DAY, now()).expect_err("refused").to_string();
    assert!(sentence.contains("does not belong"), "{sentence}");
    fs::write(place.join("ca.key"), "nothing").expect("written");
    let sentence = EmbeddedCa::open(&place, DAY, now()).expect_err("refused").to_string();
    assert!(sentence.contains("PEM"), "{sentence}");
}

#[test]
fn a_second_root_in_the_bundle_is_trusted_and_the_own_one_signs() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let old_root = authority(&old).trust_anchors_pem();
    let ca = authority(&new);
    let bundle = format!("{old_root}{}", ca.trust_anchors_pem());
    fs::write(ca.trust_file(), &bundle).expect("written");
    assert_eq!(ca.trust_anchors_pem(), bundle, "without a restart");
    assert_eq!(authority(&new).fingerprint(), ca.fingerprint(), "also when it is not the first");
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn a_servers_certificate_is_kept_until_it_no_longer_fits() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = authority(folder.path());
    let is_new = |names: &[String], at| ca.keep_server_certificate(names, at).expect("kept").1;
    let local = names(&["localhost", "127.0.0.1", "::1"]);
    assert!(is_new(&local, now()));
    assert!(!is_new(&local, now() + 200 * DAY));
    assert!(is_new(&local, now() + 250 * DAY), "less than a third is left");
    assert!(is_new(&names(&["fleet.example"]), now() + 250 * DAY), "other names");
    assert!(!is_new(&names(&["fleet.example"]), now() + 250 * DAY));
    fs::write(folder.path().join("server.pem"), "broken").expect("written");
    assert!(is_new(&names(&["fleet.example"]), now() + 250 * DAY), "unreadable");
    assert!(ca.keep_server_certificate(&names(&["é"]), now()).is_err());
}
