//! Who comes in over TLS, what they reach, and what they cannot stop.

mod secured;
mod support;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use rcgen::ExtendedKeyUsagePurpose;
use remuda_contracts::uplink::Arrival;
use remuda_identity::EmbeddedCa;
use remuda_ingress::VehicleLimits;
use remuda_model::Lane;
use remuda_mqtt::codec::{Connect, LastWill, Packet};
use remuda_wire::{Channel, Topic};
use rumqttc::mqttbytes::QoS;
use secured::*;
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::rustls::{AlertDescription, Error, HandshakeKind};

const REFUSALS: &str = "remuda_ingress_refusals_total";

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_decides_the_vehicle() {
    let mut door = secured().await;
    let (van, _other) = (door.enrolled("VAN1"), door.enrolled("VAN2"));
    for (client_id, username) in [("anything", ""), ("", ""), ("VAN1", "VAN1"), ("VAN9", "VAN1")] {
        let mut client = door.open(Some(&van)).await.expect("a handshake");
        assert!(client.login(client_id, username).await, "{client_id:?} {username:?}");
        let (generation, vehicle, _) = door.stack.connected().await;
        assert_eq!(vehicle, support::vehicle("VAN1"));
        client.say(&[Packet::Disconnect]).await.expect("said");
        assert_eq!(door.stack.disconnected().await, (generation, vehicle));
    }
    for (client_id, username, reason) in [
        ("VAN2", "", "client_id_of_another_vehicle"),
        ("VAN2", "VAN1", "client_id_of_another_vehicle"),
        ("VAN1", "VAN2", "username_not_the_certificates"),
        ("VAN2", "VAN2", "username_not_the_certificates"),
    ] {
        let before = door.stack.metric(REFUSALS, reason);
        let mut client = door.open(Some(&van)).await.expect("a handshake");
        assert!(!client.login(client_id, username).await, "{client_id:?} {username:?}");
        door.counted(REFUSALS, reason, before + 1).await;
    }
}

/// Everything that a vehicle must not reach, tried by one with a sound certificate.
#[tokio::test(flavor = "multi_thread")]
async fn a_vehicle_reaches_its_own_topics_only() {
    let mut door = secured().await;
    let (van, other) = (door.enrolled("VAN1"), door.enrolled("VAN2"));
    let mut victim = door.open(Some(&other)).await.expect("a handshake");
    assert!(victim.login("v", "").await);
    victim.say(&[subscribe("remuda/v1/VAN2/down")]).await.expect("said");
    assert!(matches!(victim.hear().await, Ok(Some(Packet::SubAck(_)))));
    let (_, _, to_victim) = door.stack.connected().await;
    let own = Topic::up(vehicle("VAN1"), Channel::Lane(Lane::Samples)).to_string();
    let foreign = [
        samples_topic("VAN2"),
        own.replace("VAN1", "VAN11"),
        own.replace("/VAN1/", "/+/"),
        "remuda/v1/VAN1/down".into(),
        "remuda/v1/VAN2/down".into(),
        "$SYS/broker".into(),
        format!("$share/g/{own}"),
        "é/x".into(),
    ];
    for topic in &foreign {
        let mut retained = publish(topic, QoS::AtMostOnce, *b"x");
        if let Packet::Publish(publish) = &mut retained {
            publish.retain = true;
        }
        for said in
            [publish(topic, QoS::AtMostOnce, *b"x"), publish(topic, QoS::AtLeastOnce, *b"x"), retained]
        {
            let mut client = door.open(Some(&van)).await.expect("a handshake");
            assert!(client.login("c", "").await);
            client.say(&[said]).await.expect("said");
            client.ended().await;
            let connected = door.stack.connected().await;
            assert_eq!(
                door.stack.disconnected().await,
                (connected.0, vehicle("VAN1")),
                "{topic}: nothing came through"
            );
        }
        let mut connect = Connect::new("c");
        connect.last_will = Some(LastWill::new(topic.clone(), "x", QoS::AtMostOnce, true));
        let mut client = door.open(Some(&van)).await.expect("a handshake");
        client.say(&[Packet::Connect(connect)]).await.expect("said");
        let let_in = matches!(client.hear().await, Ok(Some(Packet::ConnAck(ack))) if ack.code as u8 == 0);
        drop(client);
        if let_in {
            let connected = door.stack.connected().await;
            assert_eq!(door.stack.disconnected().await, (connected.0, vehicle("VAN1")), "{topic}: a will");
        }
    }
    let mut client = door.open(Some(&van)).await.expect("a handshake");
    assert!(client.login("c", "").await);
    door.stack.connected().await;
    for filter in [
        "#",
        "+/#",
        "remuda/v1/#",
        "remuda/v1/+/down",
        "remuda/v1/VAN2/down",
        "remuda/v1/VAN1/#",
        "$share/g/remuda/v1/VAN1/down",
        "$share/g/#",
        "$SYS/#",
    ] {
        client.say(&[subscribe(filter)]).await.expect("said");
        let answer = client.hear().await.expect("a packet");
        let Some(Packet::SubAck(ack)) = answer else { panic!("{filter}: {answer:?}") };
        assert_eq!(format!("{:?}", ack.return_codes), "[Failure]", "{filter}");
    }
    assert_eq!(to_victim.send(Bytes::from_static(b"yours")), Ok(()));
    let heard = victim.hear().await.expect("a packet");
    assert!(matches!(&heard, Some(Packet::Publish(p)) if p.payload == "yours"), "{heard:?}");
    // What is its own still goes through, on the same connection.
    client.say(&[publish(&own, QoS::AtLeastOnce, *b"mine")]).await.expect("said");
    assert_eq!(door.stack.payload().await, (vehicle("VAN1"), Channel::Lane(Lane::Samples), b"mine".to_vec()));
    let answer = client.hear().await.expect("a packet");
    assert!(matches!(answer, Some(Packet::PubAck(_))), "{answer:?}: and nothing else was sent to it");
}

/// The handshake, and with TLS 1.3 the answer to it, which comes when something is read.
async fn refused(door: &Secured, shown: Option<&Shown>) -> String {
    match door.open(shown).await {
        Err(error) => error.to_string(),
        Ok(mut client) => {
            assert!(!client.login("c", "").await, "let in");
            client.hear().await.err().map_or_else(|| "closed".into(), |error| error.to_string())
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_certificates_are_refused_each_with_its_reason() {
    let mut door = secured().await;
    let van = door.enrolled("VAN1");
    let authority = door.folder.path().to_path_buf();
    const URI: (&str, &str) = ("URI", "remuda://default/vehicles/VAN1");
    let names = [("CN", "VAN1"), ("O", "VAN1"), URI];
    let sign = |names: &[(&str, &str)]| signed(&authority, names, |_| {});
    // The names are sound: with them, a vehicle comes in.
    let mut sound = door.open(Some(&sign(&names))).await.expect("a handshake");
    assert!(sound.login("c", "").await);
    door.stack.connected().await;
    let elsewhere = tempfile::tempdir().expect("a folder");
    EmbeddedCa::open(elsewhere.path(), DAY, SystemTime::now()).expect("an authority");
    let cases: Vec<(Option<Shown>, &str)> = vec![
        (None, "certificate_missing"),
        (Some(sign(&[URI])), "certificate_no_cn"),
        (Some(sign(&[("O", "VAN1"), URI])), "certificate_no_cn"),
        (Some(sign(&[("CN", "VAN1"), URI])), "certificate_no_o"),
        (Some(sign(&[("CN", "VAN1"), ("CN2", "VAN2"), ("O", "VAN1"), URI])), "certificate_two_cn"),
        (Some(sign(&[("CN", "VAN1"), ("O", "VAN1"), ("O2", "VAN2"), URI])), "certificate_two_o"),
        (Some(sign(&[("CN", "VAN1"), ("O", "VAN2"), URI])), "certificate_names_disagree"),
        (Some(sign(&[("CN", "VAN2"), ("O", "VAN2"), URI])), "certificate_names_disagree"),
        (Some(sign(&[("CN", "véhA"), ("O", "véhA"), URI])), "certificate_odd_name"),
        (Some(sign(&[("CN", "VAN1/up"), ("O", "VAN1/up"), URI])), "certificate_odd_name"),
        (Some(sign(&[("CN", "+"), ("O", "+"), URI])), "certificate_odd_name"),
        (Some(sign(&[("CN", "VAN1"), ("O", "VAN1")])), "certificate_no_uri"),
        (Some(sign(&[("CN", "VAN1"), ("O", "VAN1"), URI, URI])), "certificate_two_uris"),
        (
            Some(sign(&[("CN", "VAN1"), ("O", "VAN1"), ("URI", "remuda://default/vehicles/#")])),
            "certificate_odd_uri",
        ),
        (
            Some(sign(&[("CN", "VAN1"), ("O", "VAN1"), ("URI", "remuda://north/vehicles/VAN1")])),
            "organization_foreign",
        ),
        (
            Some(sign(&[("CN", "VAN7"), ("O", "VAN7"), ("URI", "remuda://default/vehicles/VAN7")])),
            "vehicle_unknown",
        ),
        (Some(signed(elsewhere.path(), &names, |_| {})), "certificate_foreign"),
        (
            Some(signed(&authority, &names, |params| params.not_after = (SystemTime::now() - DAY).into())),
            "certificate_expired",
        ),
        (
            Some(signed(&authority, &names, |params| {
                params.not_before = (SystemTime::now() + DAY / 2).into()
            })),
            "certificate_not_yet_valid",
        ),
        (
            Some(signed(&authority, &names, |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            })),
            "certificate_not_for_clients",
        ),
        // Somebody else's certificate without its key.
        (Some(Shown { chain: van.chain.clone(), key: Arc::new(p256()) }), "certificate_bad"),
    ];
    for (shown, reason) in cases {
        let before = door.stack.metric(REFUSALS, reason);
        refused(&door, shown.as_ref()).await;
        door.counted(REFUSALS, reason, before + 1).await;
    }
    assert_eq!(door.stack.metric("remuda_ingress_connections", ""), 1, "the sound one is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_vehicle_is_kicked_at_once_and_stays_out_until_it_enrols_again() {
    let mut door = secured().await;
    let (van, other) = (door.enrolled("VAN1"), door.enrolled("VAN2"));
    let mut client = door.open(Some(&van)).await.expect("a handshake");
    assert!(client.login("c", "").await);
    let (generation, vehicle, _) = door.stack.connected().await;
    let mut beside = door.open(Some(&other)).await.expect("a handshake");
    assert!(beside.login("c", "").await);
    door.stack.connected().await;
    let begun = Instant::now();
    door.revoke("VAN1");
    client.ended().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(door.stack.disconnected().await, (generation, vehicle));
    assert_eq!(door.stack.metric("remuda_ingress_closes_total", "vehicle_revoked"), 1);
    let mut again = door.open(Some(&van)).await.expect("TLS 1.3 says it later");
    let said = again.hear().await.expect_err("an alert");
    let alert = said.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    assert_eq!(alert, Some(&Error::AlertReceived(AlertDescription::CertificateRevoked)));
    door.counted(REFUSALS, "certificate_revoked", 1).await;
    // Over plain TCP it is not let in either.
    let mut plain = Raw::open(door.stack.door.plain_addr().expect("it listens")).await;
    plain.say(&[connect("VAN1")]).await;
    assert!(matches!(plain.hear().await, Some(Packet::ConnAck(ack)) if ack.code as u8 != 0));
    let new = door.enrolled("VAN1");
    let mut back = door.open(Some(&new)).await.expect("a handshake");
    assert!(back.login("c", "").await, "with a new key");
    assert_eq!(door.stack.connected().await.1, vehicle);
    refused(&door, Some(&van)).await;
    door.counted(REFUSALS, "certificate_revoked", 2).await;
    beside.say(&[Packet::PingReq]).await.expect("said");
    assert!(matches!(beside.hear().await, Ok(Some(Packet::PingResp))), "nobody else noticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_by_another_process_is_heard() {
    let mut door = secured().await;
    let van = door.enrolled("VAN1");
    let mut client = door.open(Some(&van)).await.expect("a handshake");
    assert!(client.login("c", "").await);
    door.stack.connected().await;
    let there = remuda_identity::Register::open(door.folder.path()).expect("a register");
    let who = remuda_identity::Who { by: "another process".into(), at_ms: now_ms() };
    there.revoke(remuda_model::OrganizationId::default(), vehicle("VAN1"), "stolen", &who).expect("revoked");
    client.ended().await;
    door.stack.disconnected().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_resumed_but_not_by_who_was_revoked() {
    let mut door = secured().await;
    let van = door.enrolled("VAN1");
    let config = Arc::new(client_config(door.folder.path(), Some(&van)));
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut client = Tls::open_shared(door.address, Arc::clone(&config)).await.expect("a handshake");
        assert!(client.login("c", "").await);
        assert_eq!(client.stream.get_ref().1.handshake_kind(), Some(kind));
        door.stack.connected().await;
        client.say(&[Packet::Disconnect]).await.expect("said");
        client.ended().await;
        door.stack.disconnected().await;
    }
    door.revoke("VAN1");
    let new = door.enrolled("VAN1");
    let mut rightful = door.open(Some(&new)).await.expect("a handshake");
    assert!(rightful.login("c", "").await);
    door.stack.connected().await;
    let mut client = Tls::open_shared(door.address, Arc::clone(&config)).await.expect("a handshake");
    let kind = client.stream.get_ref().1.handshake_kind();
    assert_eq!(kind, Some(HandshakeKind::Resumed), "no certificate is looked at");
    assert!(!client.login("c", "").await);
    door.counted(REFUSALS, "certificate_revoked", 1).await;
    rightful.say(&[Packet::PingReq]).await.expect("said");
    assert!(matches!(rightful.hear().await, Ok(Some(Packet::PingResp))), "it did not take the place over");
}

fn server_serial(client: &Tls) -> Vec<u8> {
    client.stream.get_ref().1.peer_certificates().expect("a server")[0].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_change_without_a_restart_and_open_connections_stay() {
    let mut door = secured().await;
    let van = door.enrolled("VAN1");
    let mut client = door.open(Some(&van)).await.expect("a handshake");
    assert!(client.login("c", "").await);
    door.stack.connected().await;
    let first = server_serial(&client);
    // A new certificate of the server, and beside ours the root of another authority.
    let next = tempfile::tempdir().expect("a folder");
    let next_authority = EmbeddedCa::open(next.path(), DAY, SystemTime::now()).expect("an authority");
    let names = [("CN", "VAN2"), ("O", "VAN2"), ("URI", "remuda://default/vehicles/VAN2")];
    door.token("VAN2");
    let theirs = signed(next.path(), &names, |_| {});
    refused(&door, Some(&theirs)).await;
    door.counted(REFUSALS, "certificate_foreign", 1).await;
    let server = door.authority.issue_server(&["localhost".into()], SystemTime::now()).expect("issued");
    let file = door.folder.path().join("server.pem");
    replace(&file, &server.pem);
    let both = format!("{}{}", fs::read_to_string(door.authority.trust_file()).expect("read"), {
        use remuda_identity::Issuer;
        next_authority.trust_anchors_pem()
    });
    replace(&door.authority.trust_file(), &both);
    let changed = soon("the new certificate", async {
        loop {
            let client = door.open(Some(&van)).await.expect("a handshake");
            let seen = server_serial(&client);
            if seen != first {
                break seen;
            }
            drop(client);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let mut newcomer = door.open(Some(&theirs)).await.expect("a handshake");
    assert!(newcomer.login("c", "").await, "known by the other root");
    let connected = loop {
        if let Arrival::Connected { vehicle: who, .. } = door.stack.next().await
            && who == vehicle("VAN2")
        {
            break who;
        }
    };
    assert_eq!(connected, vehicle("VAN2"));
    // What cannot be used is not taken.
    replace(&file, "-----BEGIN CERTIFICATE-----\nbroken\n");
    assert!(
        soon("a complaint", async {
            // The follower may have been first; then there is nothing new.
            door.tls.reload().is_err() || {
                tokio::time::sleep(Duration::from_millis(10)).await;
                true
            }
        })
        .await
    );
    let still = door.open(Some(&van)).await.expect("a handshake");
    assert_eq!(server_serial(&still), changed);
    client.say(&[Packet::PingReq]).await.expect("said");
    assert!(matches!(client.hear().await, Ok(Some(Packet::PingResp))), "the first one is still there");
}

fn replace(file: &std::path::Path, text: &str) {
    let draft = file.with_extension("draft");
    fs::write(&draft, text).expect("written");
    fs::rename(draft, file).expect("renamed");
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_and_half_spoken_handshakes_disturb_nobody() {
    const EACH: usize = 300;
    let mut door = secured_with(|settings| remuda_ingress::DoorSettings {
        tls_within: Duration::from_secs(3),
        vehicle: VehicleLimits { failures_per_minute: 100_000, ..VehicleLimits::default() },
        ..settings
    })
    .await;
    let van = door.enrolled("VAN1");
    let mut healthy = door.open(Some(&van)).await.expect("a handshake");
    assert!(healthy.login("c", "").await);
    door.stack.connected().await;
    let mut sockets = Vec::new();
    for number in 0..2 * EACH {
        let mut socket = TcpStream::connect(door.address).await.expect("connected");
        if number % 2 == 1 {
            // The head of a ClientHello that never comes.
            socket.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await.expect("written");
        }
        sockets.push(socket);
    }
    let begun = Instant::now();
    healthy.say(&[publish(&samples_topic("VAN1"), QoS::AtLeastOnce, *b"here")]).await.expect("said");
    assert!(matches!(healthy.hear().await, Ok(Some(Packet::PubAck(_)))));
    let other = door.enrolled("VAN2");
    let mut newcomer = door.open(Some(&other)).await.expect("a handshake");
    assert!(newcomer.login("c", "").await, "a newcomer is let in beside them");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    // They are gone by themselves.
    door.counted(REFUSALS, "tls_timeout", 2 * EACH as u64).await;
    drop(sockets);
}
