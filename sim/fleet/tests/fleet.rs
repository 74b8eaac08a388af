//! A fleet and a load against a door that is as small as one can be: it keeps what it is sent and acks it.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use remuda_edge_agent::outbox::offline;
use remuda_fleet::{
    BacklogSettings, Figures, Fleet, FleetError, FleetSettings, LoadKind, LoadSettings, backlog, ingest,
    reconnect,
};
use remuda_model::{Epoch, Incarnation, Lane, Seq, VehicleId};
use remuda_roads::RoadNetwork;
use remuda_wire::{Ack, Body, Down, LaneAck, Topic, Up, Welcome, frame};
use remuda_world::World;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, Publish};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

type Stream = (VehicleId, Lane, Incarnation);

#[derive(Default)]
struct Kept {
    frames: HashMap<Stream, Vec<Bytes>>,
    farewells: usize,
}

struct Door {
    address: String,
    kept: Arc<Mutex<Kept>>,
    connections: Arc<Mutex<JoinSet<io::Result<()>>>>,
    task: JoinHandle<()>,
}

impl Door {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let kept = Arc::new(Mutex::new(Kept::default()));
        let shared = Arc::clone(&kept);
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let open = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                open.lock().spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, kept, connections, task }
    }

    /// Ends every connection there is.
    fn hang_up(&self) {
        self.connections.lock().abort_all();
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
        self.hang_up();
    }
}

async fn serve(mut stream: TcpStream, kept: Arc<Mutex<Kept>>) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        while let Ok(packet) = Packet::read(&mut buffer, 1 << 20) {
            match packet {
                Packet::Connect(_) => stream.write_all(&[0x20, 2, 0, 0]).await?,
                Packet::Subscribe(_) => stream.write_all(&[0x90, 3, 0, 1, 0]).await?,
                Packet::PingReq => stream.write_all(&[0xd0, 0]).await?,
                Packet::Publish(publish) => {
                    let Some(Topic::Up { vehicle, .. }) = Topic::parse(&publish.topic) else {
                        panic!("a topic of ours")
                    };
                    if let Some(down) = answer(&kept, vehicle, &publish.payload) {
                        let mut out = BytesMut::new();
                        let topic = Topic::Down { vehicle }.to_string();
                        Publish::new(topic, QoS::AtMostOnce, down.encode()).write(&mut out).expect("written");
                        stream.write_all(&out).await?;
                    }
                }
                _ => {}
            }
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

fn answer(kept: &Mutex<Kept>, vehicle: VehicleId, payload: &Bytes) -> Option<Down> {
    let mut kept = kept.lock();
    let ack = |lane, incarnation, durable: Seq| LaneAck {
        lane,
        incarnation,
        received: durable,
        durable,
        credit: 1 << 18,
    };
    match Up::decode(payload).expect("a message of ours") {
        Up::Hello(hello) => {
            let known = |s: &remuda_wire::LaneState| {
                let durable =
                    kept.frames.get(&(vehicle, s.lane, s.incarnation)).map_or(0, |f| f.len() as Seq);
                ack(s.lane, s.incarnation, durable)
            };
            let acks = hello.lanes.iter().map(known).collect();
            let (connection, epoch, server_time_ms) = (hello.connection, Epoch(1), 1_700_000_000_000);
            Some(Down::Welcome(Welcome { connection, wire: 1, epoch, server_time_ms, acks, resync: false }))
        }
        Up::Frames(frames) => {
            let held = kept.frames.entry((vehicle, frames.lane, frames.incarnation)).or_default();
            let mut missing = false;
            for (seq, bytes) in (frames.first_seq..).zip(frames.frames) {
                if seq == held.len() as Seq + 1 {
                    held.push(bytes);
                } else {
                    missing |= seq > held.len() as Seq;
                }
            }
            let ack = ack(frames.lane, frames.incarnation, held.len() as Seq);
            let (epoch, server_time_ms) = (Epoch(1), 1_700_000_000_000);
            Some(Down::Ack(Ack { ack, epoch, server_time_ms, missing, greet: false }))
        }
        Up::Live(_) | Up::Status(_) | Up::Watching(_) => None,
        Up::Farewell(_) => {
            kept.farewells += 1;
            None
        }
    }
}

fn world(vehicles: usize) -> World {
    World::new(Arc::new(RoadNetwork::generate(1).expect("a town")), vehicles, 1)
}

fn frames_kept(kept: &Kept) -> u64 {
    kept.frames.values().map(|frames| frames.len() as u64).sum()
}

/// Frames made by every start, from the log on disk.
fn made_on_disk(data: &std::path::Path) -> u64 {
    offline::open(data).expect("the log").iter().map(|stream| stream.made).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_fleet_makes_arrives_and_a_second_run_goes_on() {
    let door = Door::open().await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = FleetSettings {
        door: door.address.clone(),
        data: folder.path().join("v"),
        rate_hz: 20.0,
        certificates: None,
    };
    let mut made = 0;
    for run in 1..=2 {
        let fleet = Fleet::start(settings.clone(), world(12)).await.expect("started");
        // Every vehicle: what it says at its start, and two frames of samples.
        while fleet.figures().frames_acked < 12 * 3 {
            assert!(!fleet.has_failed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let figures = fleet.stop().await.expect("stopped");
        assert_eq!((figures.backlog, figures.frames_shed, figures.connected), (0, 0, 0), "{figures:?}");
        assert!(figures.samples > 12 * 10 && figures.tcp_bytes > figures.wire_bytes, "{figures:?}");
        assert!(figures.ack_p50_ms > 0.0 && figures.ack_p95_ms >= figures.ack_p50_ms, "{figures:?}");
        made += figures.frames_made;
        assert_eq!(made_on_disk(&settings.data), made);
        let kept = door.kept.lock();
        assert_eq!((frames_kept(&kept), kept.farewells), (made, 12 * run), "{figures:?}");
    }
    for (stream, frames) in &door.kept.lock().frames {
        let boots: Vec<u32> = frames.iter().map(|f| frame::decode(f).expect("a frame").header.boot).collect();
        assert!(boots.iter().all(|boot| *boot == boots[0]), "{stream:?} mixes starts: {boots:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cloud_everything_stays_in_the_outboxes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let nobody = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let folder = tempfile::tempdir().expect("a folder");
    let settings =
        FleetSettings { door: nobody, data: folder.path().to_owned(), rate_hz: 20.0, certificates: None };
    let fleet = Fleet::start(settings.clone(), world(5)).await.expect("started");
    while fleet.figures().frames_made < 5 * 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let figures = fleet.stop().await.expect("stopped");
    assert_eq!((figures.frames_acked, figures.backlog), (0, figures.frames_made), "{figures:?}");
    // Another run finds them and sends them.
    let door = Door::open().await;
    let fleet = Fleet::start(FleetSettings { door: door.address.clone(), ..settings }, world(5))
        .await
        .expect("started");
    let second = fleet.stop().await.expect("stopped");
    assert_eq!(second.backlog, 0, "{second:?}");
    assert_eq!(frames_kept(&door.kept.lock()), figures.frames_made + second.frames_made);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_makes_the_frames_it_was_asked_for() {
    let door = Door::open().await;
    let folder = tempfile::tempdir().expect("a folder");
    let load = LoadSettings {
        door: door.address.clone(),
        data: folder.path().to_owned(),
        first: 0,
        vehicles: 10,
        rate: 200.0,
        kind: LoadKind::Samples,
        signals: 10,
        duration: Duration::from_secs(2),
        certificates: None,
    };
    let (_stop, stopped) = watch::channel(false);
    let figures = ingest(&load, stopped, |_| {}).await.expect("a load");
    assert_eq!(figures.backlog, 0, "{figures:?}");
    // 400 and the ten starts; a busy machine may be late.
    assert!((200..=420).contains(&figures.frames_made), "{figures:?}");
    let kept = door.kept.lock();
    assert_eq!(frames_kept(&kept), figures.frames_made);
    for ((_, lane, _), frames) in &kept.frames {
        for bytes in frames.iter().filter(|_| *lane == Lane::Samples) {
            let Body::Samples(block) = frame::decode(bytes).expect("a frame").body else { panic!("samples") };
            assert_eq!((block.rows(), block.samples()), (1, 10), "a row of ten signals is a frame");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_made_out_of_reach_and_then_drained() {
    let door = Door::open().await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = BacklogSettings {
        door: door.address.clone(),
        data: folder.path().to_owned(),
        vehicles: 3,
        frames: 500,
        signals: 4,
        patience: Duration::from_secs(60),
        certificates: None,
    };
    let (_stop, stopped) = watch::channel(false);
    let drained = backlog(&settings, stopped, |_| {}).await.expect("drained");
    // The rows, and what each vehicle says at its start.
    assert!(drained.frames >= 1_500 && drained.frames_left == 0, "{drained:?}");
    assert!(drained.hours_per_minute > 0.0, "{drained:?}");
    let kept = door.kept.lock();
    let rows = kept.frames.iter().filter(|((_, lane, _), _)| *lane == Lane::Samples);
    assert_eq!(rows.map(|(_, frames)| frames.len()).sum::<usize>(), 1_500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_ends_when_everybody_is_back() {
    let door = Door::open().await;
    let folder = tempfile::tempdir().expect("a folder");
    let load = LoadSettings {
        door: door.address.clone(),
        data: folder.path().to_owned(),
        first: 0,
        vehicles: 20,
        rate: 50.0,
        kind: LoadKind::Events,
        signals: 4,
        duration: Duration::from_secs(60),
        certificates: None,
    };
    let (_stop, stopped) = watch::channel(false);
    // Its first progress line comes when everybody is connected.
    let (tell, mut told) = watch::channel(0);
    let storm = tokio::spawn(async move {
        let progress = |figures: &Figures| {
            tell.send_replace(figures.connected);
        };
        reconnect(&load, stopped, progress).await
    });
    told.wait_for(|connected| *connected == 20).await.expect("it goes on");
    door.hang_up();
    let storm = storm.await.expect("no panic").expect("a storm");
    assert!(storm.all_back_unix_ms > 0 && storm.outage_seconds > 0.0, "{storm:?}");
    assert_eq!((storm.frames_left, frames_kept(&door.kept.lock())), (0, storm.frames_made), "{storm:?}");
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = |rate_hz| FleetSettings {
        door: "127.0.0.1:1".to_owned(),
        data: folder.path().to_owned(),
        rate_hz,
        certificates: None,
    };
    let refused = Fleet::start(settings(0.0), world(1)).await.expect_err("no rate");
    assert!(matches!(refused, FleetError::Rate { .. }));
    let refused = Fleet::start(settings(1.0), world(0)).await.expect_err("no vehicles");
    assert!(refused.to_string().contains("0 vehicles are not possible"), "{refused}");
    let running = Fleet::start(settings(1.0), world(1)).await.expect("started");
    let refused = Fleet::start(settings(1.0), world(1)).await.expect_err("the folder is in use");
    assert!(refused.to_string().contains("in use by another process"), "{refused}");
    running.stop().await.expect("stopped");
}
