//! Which certificates name a vehicle.

mod support;

use proptest::prelude::*;
use rcgen::{BasicConstraints, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, SanType};
use remuda_identity::{CertificateRefusal as No, Issuer, Serial, vehicle_of};
use rustls_pki_types::CertificateDer;
use support::*;

fn cn(text: &str) -> (DnType, DnValue) {
    (DnType::CommonName, text.into())
}

fn o(text: &str) -> (DnType, DnValue) {
    (DnType::OrganizationName, text.into())
}

fn second_cn(text: &str) -> (DnType, DnValue) {
    (DnType::CustomDnType(vec![2, 5, 4, 3]), text.into())
}

fn second_o(text: &str) -> (DnType, DnValue) {
    (DnType::CustomDnType(vec![2, 5, 4, 10]), text.into())
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ascii"))
}

const VAN1: &str = "remuda://default/vehicles/VAN1";

fn refusal(der: &CertificateDer<'_>) -> Option<No> {
    vehicle_of(der).err()
}

#[test]
fn a_certificate_names_its_vehicle() {
    let der = certificate(&[cn("VAN1"), o("VAN1")], vec![uri(VAN1)]);
    assert_eq!(vehicle_of(&der).expect("a vehicle").identity, identity("VAN1"));
    let more = [cn("VAN1"), (DnType::CountryName, "FI".into()), o("VAN1")];
    assert_eq!(refusal(&certificate(&more, vec![uri(VAN1)])), None, "other attributes do not matter");
    let other = certificate(&[cn("VAN1"), o("VAN1")], vec![uri("remuda://north-1/vehicles/VAN1")]);
    assert_eq!(vehicle_of(&other).expect("a vehicle").identity.organization.as_str(), "north-1");
}

#[test]
fn names_that_are_missing_twice_or_in_disagreement_are_refused() {
    let cases = vec![
        (vec![], vec![uri(VAN1)], No::NoCommonName),
        (vec![o("VAN1")], vec![uri(VAN1)], No::NoCommonName),
        (vec![cn("VAN1")], vec![uri(VAN1)], No::NoOrganization),
        (vec![cn("VAN1"), second_cn("VAN2"), o("VAN1")], vec![uri(VAN1)], No::TwoCommonNames),
        (vec![cn("VAN1"), second_cn("VAN1"), o("VAN1")], vec![uri(VAN1)], No::TwoCommonNames),
        (vec![cn("VAN1"), o("VAN1"), second_o("VAN2")], vec![uri(VAN1)], No::TwoOrganizations),
        (vec![cn("VAN1"), o("VAN2")], vec![uri(VAN1)], No::Disagree),
        (vec![cn("VAN2"), o("VAN2")], vec![uri(VAN1)], No::Disagree),
        (vec![cn("VAN1"), o("VAN1")], vec![], No::NoUri),
        (vec![cn("VAN1"), o("VAN1")], vec![uri(VAN1), uri(VAN1)], No::TwoUris),
        (vec![cn("VAN1"), o("VAN1")], vec![uri(VAN1), uri("remuda://default/vehicles/VAN2")], No::TwoUris),
        (
            vec![cn("VAN1"), o("VAN1")],
            vec![uri(VAN1), SanType::DnsName("VAN1".try_into().expect("ascii"))],
            No::TwoUris,
        ),
        (vec![cn("VAN1"), o("VAN1")], vec![SanType::DnsName("VAN1".try_into().expect("ascii"))], No::OddUri),
    ];
    for (names, alternative, expected) in cases {
        let shown = format!("{names:?} {alternative:?}");
        assert_eq!(refusal(&certificate(&names, alternative)), Some(expected), "{shown}");
    }
}

#[test]
fn odd_names_are_refused() {
    let long = "A".repeat(49);
    for odd in
        ["", "véhA", "VAN 1", "VAN/1", "VAN1/", "+", "#", "VAN*", "*", "VAN1\0", "ＶＡＮ１", "$SYS", &long]
    {
        for names in [[cn(odd), o(odd)], [cn(odd), o("VAN1")], [cn("VAN1"), o(odd)]] {
            assert_eq!(refusal(&certificate(&names, vec![uri(VAN1)])), Some(No::OddName), "{odd:?}");
        }
    }
    let wide: DnValue = DnValue::BmpString("VAN1".try_into().expect("encoded"));
    let names = [(DnType::CommonName, wide), o("VAN1")];
    assert_eq!(refusal(&certificate(&names, vec![uri(VAN1)])), Some(No::OddName), "16-bit characters");
    for odd in [
        "remuda://default/vehicles/",
        "remuda:///vehicles/VAN1",
        "remuda://default/vehicles/VAN1/",
        "remuda://default/vehicles/VAN1?x",
        "remuda://default/vehicles/VAN%31",
        "remuda://default/VAN1",
        "remuda://Default/vehicles/VAN1",
        "REMUDA://default/vehicles/VAN1",
        "https://default/vehicles/VAN1",
        "remuda://default/vehicles/+",
        "",
    ] {
        assert_eq!(
            refusal(&certificate(&[cn("VAN1"), o("VAN1")], vec![uri(odd)])),
            Some(No::OddUri),
            "{odd:?}"
        );
    }
}

#[test]
fn authorities_servers_and_garbage_are_refused() {
    let names = [cn("VAN1"), o("VAN1")];
    let root = certificate_with(&names, vec![uri(VAN1)], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    assert_eq!(refusal(&root), Some(No::NotForClients));
    let server = certificate_with(&names, vec![uri(VAN1)], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert_eq!(refusal(&server), Some(No::NotForClients));
    assert_eq!(refusal(&CertificateDer::from(vec![])), Some(No::Unreadable));
    let mut longer = certificate(&names, vec![uri(VAN1)]).to_vec();
    longer.push(0);
    assert_eq!(refusal(&longer.into()), Some(No::Unreadable));
    let folder = tempfile::tempdir().expect("a folder");
    let server = authority(folder.path()).issue_server(&["localhost".into()], now()).expect("issued");
    assert_eq!(refusal(&der_of(&server.pem)), Some(No::NotForClients));
}

proptest! {
    #[test]
    fn what_is_issued_is_read(id in "[A-Za-z0-9]{1,48}") {
        let folder = tempfile::tempdir().expect("a folder");
        let issued = authority(folder.path()).issue(&request(&p256()), &identity(&id), now()).expect("issued");
        let read = vehicle_of(&der_of(&issued.chain_pem)).expect("a vehicle");
        prop_assert_eq!(read.identity, identity(&id));
        prop_assert_eq!((read.serial, read.not_after_ms), (issued.serial, issued.not_after_ms));
    }

    /// Whatever is in CN, O and URI: if a vehicle comes out, all three name it.
    #[test]
    fn no_other_vehicle_comes_out(
        common in "VAN[12]|\\PC{0,6}", organization in "VAN[12]|\\PC{0,6}", uri_text in "remuda://default/vehicles/(VAN[12]|[ -~]{0,6})"
    ) {
        let der = certificate(&[cn(&common), o(&organization)], vec![uri(&uri_text)]);
        if let Ok(read) = vehicle_of(&der) {
            let id = read.identity.vehicle.to_string();
            prop_assert_eq!((&id, &id), (&common, &organization));
            prop_assert_eq!(read.identity.uri(), uri_text);
        }
    }

    #[test]
    fn changed_bytes_do_no_harm(at in 0usize..600, to: u8) {
        let mut der = certificate(&[cn("VAN1"), o("VAN1")], vec![uri(VAN1)]).to_vec();
        let at = at % der.len();
        der[at] = to;
        // Its signature would not hold; here it must only not panic.
        let _ = vehicle_of(&der.into());
    }

    #[test]
    fn a_serial_is_its_text(bytes: [u8; 16]) {
        let serial = Serial::new(&bytes);
        let text = serde_json::to_string(&serial).expect("written");
        prop_assert_eq!(serde_json::from_str::<Serial>(&text).expect("read"), serial);
    }
}
