//! The register: what is decided, by whom, once.

mod support;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Barrier};

use proptest::prelude::*;
use remuda_identity::{
    Certified, EnrolmentToken, IssueError, IssuedCertificate, NewVehicle, Register, RegisterError, Serial,
};
use remuda_model::OrganizationId;
use support::*;

const HOUR_MS: i64 = 3_600_000;

fn open(folder: &Path) -> Register {
    Register::open(folder).expect("a register")
}

fn new_vehicle(id: &str) -> NewVehicle {
    NewVehicle { vehicle: vehicle(id), display_name: None }
}

fn create(register: &Register, id: &str) -> EnrolmentToken {
    let made =
        register.create(OrganizationId::default(), &[new_vehicle(id)], HOUR_MS, [7; 32], &who("a test"));
    made.expect("created").remove(0).token
}

fn new_token(register: &Register, id: &str) -> EnrolmentToken {
    let made = register.new_token(OrganizationId::default(), vehicle(id), HOUR_MS, [7; 32], &who("a test"));
    made.expect("made").token
}

fn revoke(register: &Register, id: &str) -> Result<(), RegisterError> {
    register.revoke(OrganizationId::default(), vehicle(id), "stolen", &who("a test"))
}

/// A certificate without an authority: a key is a number.
fn certificate(key: u8, serial: u8) -> Result<IssuedCertificate, IssueError> {
    Ok(IssuedCertificate {
        chain_pem: String::new(),
        not_after_ms: NOW_MS + DAY_MS,
        serial: Serial::new(&[1, serial]),
        key_sha256: [key; 32],
    })
}

fn holder(id: &str, serial: u8) -> Certified {
    Certified { identity: identity(id), serial: Serial::new(&[1, serial]), not_after_ms: NOW_MS + DAY_MS }
}

fn enroll(register: &Register, token: &EnrolmentToken, key: u8, serial: u8) -> Result<(), RegisterError> {
    let (named, _) = register.enroll(token, NOW_MS, |_| certificate(key, serial))?;
    assert_eq!(named.vehicle, token.vehicle());
    Ok(())
}

fn code<T: std::fmt::Debug>(result: Result<T, RegisterError>) -> &'static str {
    result.expect_err("refused").code()
}

#[test]
fn a_token_opens_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let register = open(folder.path());
    let token = create(&register, "VAN1");
    assert_eq!(code(register.admits(&holder("VAN2", 1))), "vehicle_unknown");
    enroll(&register, &token, 1, 1).expect("enrolled");
    assert_eq!(code(enroll(&register, &token, 2, 2)), "token_used");
    register.admits(&holder("VAN1", 1)).expect("admitted");
    // The answer was lost: the same vehicle asks again.
    enroll(&register, &token, 1, 3).expect("enrolled");
    register.admits(&holder("VAN1", 3)).expect("admitted");
    let mut foreign = holder("VAN1", 3);
    foreign.identity.organization = OrganizationId::new("north").expect("an id");
    assert_eq!(code(register.admits(&foreign)), "organization_foreign");
}

#[test]
fn tokens_that_are_expired_void_or_another_vehicles_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let register = open(folder.path());
    let (first, other) = (create(&register, "VAN1"), create(&register, "VAN2"));
    let late = register.enroll(&first, NOW_MS + HOUR_MS, |_| certificate(1, 1));
    assert_eq!(code(late), "token_expired");
    let second = new_token(&register, "VAN1");
    assert_eq!(code(enroll(&register, &first, 1, 1)), "token_unknown", "a newer one was made");
    let secret = |token: &EnrolmentToken| token.reveal().rsplit('.').next().expect("a secret").to_owned();
    let forged: EnrolmentToken =
        second.reveal().replace(&secret(&second), &secret(&other)).parse().expect("a token");
    assert_eq!(code(enroll(&register, &forged, 1, 1)), "token_unknown", "another vehicle's secret");
    let unknown: EnrolmentToken = second.reveal().replace("VAN1", "VAN9").parse().expect("a token");
    assert_eq!(code(enroll(&register, &unknown, 1, 1)), "token_unknown");
    // An authority that fails does not use it up.
    let failed = register.enroll(&second, NOW_MS, |_| Err(IssueError::Authority("busy".into())));
    assert_eq!(code(failed), "authority_failed");
    enroll(&register, &second, 1, 1).expect("enrolled");
}

#[test]
fn of_many_at_once_exactly_one_wins() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = create(&open(folder.path()), "VAN1");
    const TRIES: u8 = 16;
    let barrier = Arc::new(Barrier::new(usize::from(TRIES)));
    // Half of them in other processes, as far as the file can tell: each has its own handle.
    let shared = Arc::new(open(folder.path()));
    let racers: Vec<_> = (0..TRIES)
        .map(|key| {
            let (barrier, token) = (Arc::clone(&barrier), token.clone());
            let register = if key % 2 == 0 { Arc::clone(&shared) } else { Arc::new(open(folder.path())) };
            std::thread::spawn(move || {
                barrier.wait();
                enroll(&register, &token, key, key).map_err(|refused| refused.code())
            })
        })
        .collect();
    let results: Vec<_> = racers.into_iter().map(|racer| racer.join().expect("joined")).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert!(results.iter().filter_map(|r| r.err()).all(|code| code == "token_used"), "{results:?}");
    let won = results.iter().position(Result::is_ok).expect("one") as u8;
    open(folder.path()).admits(&holder("VAN1", won)).expect("the winner is admitted");
}

#[test]
fn the_revoked_stay_out_until_a_new_token_and_their_old_certificates_for_ever() {
    let folder = tempfile::tempdir().expect("a folder");
    let register = open(folder.path());
    let mut refusals = register.refusals();
    let token = create(&register, "VAN1");
    enroll(&register, &token, 1, 1).expect("enrolled");
    register.renew(&holder("VAN1", 1), NOW_MS, |_| certificate(1, 2)).expect("renewed");
    register.admits(&holder("VAN1", 1)).expect("until it ends");
    assert!(refusals.try_recv().is_err(), "nobody was refused so far");
    revoke(&register, "VAN1").expect("revoked");
    assert_eq!(refusals.try_recv(), Ok(vehicle("VAN1")));
    for serial in [1, 2, 77] {
        assert_eq!(code(register.admits(&holder("VAN1", serial))), "vehicle_revoked");
    }
    assert_eq!(code(register.renew(&holder("VAN1", 2), NOW_MS, |_| certificate(1, 3))), "vehicle_revoked");
    assert_eq!(code(enroll(&register, &token, 1, 3)), "token_unknown", "its token is void");
    assert_eq!(code(revoke(&register, "VAN1")), "already_revoked");
    assert_eq!(code(revoke(&register, "VAN9")), "vehicle_unknown");
    let north = OrganizationId::new("north").expect("an id");
    assert_eq!(code(register.revoke(north, vehicle("VAN1"), "x", &who("x"))), "vehicle_unknown");
    let again = new_token(&register, "VAN1");
    assert_eq!(code(register.admits(&holder("VAN1", 2))), "vehicle_revoked", "until it is used");
    drop(register);
    let register = open(folder.path());
    enroll(&register, &again, 2, 4).expect("enrolled again");
    register.admits(&holder("VAN1", 4)).expect("admitted");
    for serial in [1, 2] {
        assert_eq!(code(register.admits(&holder("VAN1", serial))), "certificate_revoked");
    }
    let shown = register.get(OrganizationId::default(), vehicle("VAN1")).expect("there");
    assert_eq!((shown.revocation, shown.token_expires_ms), (None, None));
    let kept = fs::read_to_string(folder.path().join("register.jsonl")).expect("read");
    assert!(kept.contains("stolen") && kept.contains("\"by\":\"a test\""), "who and why are kept");
    assert!(!kept.contains(again.reveal().rsplit('.').next().expect("a secret")), "no secret is kept");
}

#[test]
fn a_token_made_for_a_revoked_vehicle_can_be_taken_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let register = open(folder.path());
    create(&register, "VAN1");
    revoke(&register, "VAN1").expect("revoked");
    let again = new_token(&register, "VAN1");
    revoke(&register, "VAN1").expect("revoked again");
    assert_eq!(code(enroll(&register, &again, 1, 1)), "token_unknown");
}

#[test]
fn a_batch_is_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let register = open(folder.path());
    let create = |ids: &[&str]| {
        let vehicles: Vec<_> = ids.iter().map(|id| new_vehicle(id)).collect();
        register.create(OrganizationId::default(), &vehicles, HOUR_MS, [7; 32], &who("a test"))
    };
    let tokens = create(&["VAN1", "VAN2"]).expect("created");
    assert_eq!(
        tokens.iter().map(|made| made.token.vehicle()).collect::<Vec<_>>(),
        [vehicle("VAN1"), vehicle("VAN2")]
    );
    assert_eq!(code(create(&["VAN3", "VAN2"])), "vehicle_exists");
    assert_eq!(code(create(&["VAN3", "VAN3"])), "vehicle_twice");
    assert_eq!(register.len(), 2);
    let long = NewVehicle { vehicle: vehicle("VAN3"), display_name: Some("x".repeat(201)) };
    let refused = register.create(OrganizationId::default(), &[long], HOUR_MS, [7; 32], &who("x"));
    assert_eq!(code(refused), "argument");
    assert_eq!(open(folder.path()).len(), 2);
    let listed = register.list(OrganizationId::default(), Some(vehicle("VAN1")), 10);
    assert_eq!(listed.iter().map(|r| r.identity.vehicle).collect::<Vec<_>>(), [vehicle("VAN2")]);
    assert!(register.list(OrganizationId::new("north").expect("an id"), None, 10).is_empty());
}

#[test]
fn another_process_is_heard() {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, there) = (open(folder.path()), open(folder.path()));
    let token = create(&there, "VAN1");
    enroll(&here, &token, 1, 1).expect("a token of another process is known at once");
    let mut refusals = here.refusals();
    here.admits(&holder("VAN1", 1)).expect("admitted");
    revoke(&there, "VAN1").expect("revoked");
    here.refresh().expect("read");
    assert_eq!(code(here.admits(&holder("VAN1", 1))), "vehicle_revoked");
    assert_eq!(refusals.try_recv(), Ok(vehicle("VAN1")));
    let mode = fs::metadata(folder.path().join("register.jsonl")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn damage_in_the_middle_is_named_and_a_torn_end_is_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("register.jsonl");
    create(&open(folder.path()), "VAN1");
    let one = fs::read(&file).expect("read");
    create(&open(folder.path()), "VAN2");
    let two = fs::read(&file).expect("read");
    for torn in one.len()..two.len() {
        fs::write(&file, &two[..torn]).expect("written");
        let register = open(folder.path());
        assert_eq!(register.len(), 1, "cut at {torn}");
        create(&register, "VAN3");
        assert_eq!(open(folder.path()).len(), 2, "and what follows is whole");
    }
    // The pages of the last line came to the disk, but not all of them.
    let mut holed = two.clone();
    let middle = (one.len() + two.len()) / 2;
    holed[middle] = 0;
    fs::write(&file, &holed).expect("written");
    assert_eq!(open(folder.path()).len(), 1);
    let mut damaged = two;
    damaged[one.len() / 2] ^= 1;
    fs::write(&file, &damaged).expect("written");
    let sentence = Register::open(folder.path()).err().expect("refused").to_string();
    assert!(sentence.contains("damaged at byte 0") && sentence.contains("restore"), "{sentence}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever was decided, another process, and this one after a crash at any byte of the last line, agree on who is
    /// admitted; a crash only ever takes back what was not answered yet.
    #[test]
    fn what_was_answered_holds(steps in proptest::collection::vec((0u8..4, 0u8..3), 1..24), garbage in ".{0,40}") {
        let folder = tempfile::tempdir().expect("a folder");
        let register = open(folder.path());
        let ids = ["A", "B", "C"];
        let mut tokens: [Option<EnrolmentToken>; 3] = [None, None, None];
        for (number, (step, which)) in steps.into_iter().enumerate() {
            let (id, token, serial) = (ids[usize::from(which)], &mut tokens[usize::from(which)], number as u8);
            match step {
                0 if token.is_none() => *token = Some(create(&register, id)),
                1 if token.is_some() => *token = Some(new_token(&register, id)),
                2 => if let Some(token) = token { let _ = enroll(&register, token, serial, serial); },
                _ => { let _ = revoke(&register, id); }
            }
        }
        let view = |register: &Register| {
            let admitted: Vec<bool> = ids
                .iter()
                .flat_map(|id| (0..24).map(|serial| register.admits(&holder(id, serial)).is_ok()))
                .collect();
            (admitted, register.list(OrganizationId::default(), None, 10))
        };
        let before = view(&register);
        drop(register);
        prop_assert_eq!(&view(&open(folder.path())), &before);
        let mut file = OpenOptions::new().append(true).open(folder.path().join("register.jsonl")).expect("there");
        file.write_all(garbage.replace('\n', "").as_bytes()).expect("written");
        prop_assert_eq!(&view(&open(folder.path())), &before);
    }
}
