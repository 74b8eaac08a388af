//! How fast a feed brings what is durable to NATS JetStream, with a bare publisher of the same messages beside it.
//!
//! usage: feed_figures NATS_URL ROWS
//! Prints one JSON object.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, message::PublishMessage, stream};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use remuda_eventsourcing::{Journal, ManifestPosition, MemoryJournal, Owner};
use remuda_feeds::{
    FeedMetrics, FeedSettings, FeedSpec, Feeds, Filter, Secret, SinkSpec, Source, Start, limits,
};
use remuda_lake::{Answer, Contribution, Lake, LakeSettings, RoundListener, Row, RowBody};
use remuda_model::{Incarnation, OrganizationId, SHARDS, ShardId, SignalId, VehicleId};
use remuda_webhooks::{AddressRules, Sender, SenderConfig, WebhookMetrics};

type Anything<T> = Result<T, Box<dyn Error>>;

/// Signals of a row that changed, of 18: about what a driving vehicle says a second.
const SIGNALS: u16 = 10;
/// Vehicles in a commit.
const VEHICLES: u64 = 10_000;
/// 2023-11-14T22:13:20Z.
const BEGIN_MS: i64 = 1_700_000_000_000;

struct Quiet;

impl RoundListener for Quiet {
    fn answered(&self, _: ShardId, _: ManifestPosition, _: Vec<Answer>) {}
    fn replay_floor(&self, _: ShardId) -> ManifestPosition {
        0
    }
    fn shard_lost(&self, _: ShardId) {}
}

fn row(random: &mut StdRng, vehicle: VehicleId, seq: u64) -> Row {
    let at_ms = BEGIN_MS + seq as i64 * 1_000;
    let values = (1..=SIGNALS).map(|id| (SignalId(id), random.random_range(0..20_000))).collect();
    Row {
        organization: OrganizationId::default(),
        vehicle,
        incarnation: Incarnation(7),
        seq,
        row_in_frame: 0,
        boot: 1,
        mono_ns: seq * 1_000_000_000,
        sample_time_ns: Some(at_ms * 1_000_000),
        receive_time_ms: at_ms + 300,
        commit: 0,
        body: RowBody::Samples(values),
    }
}

/// Commits of one row a vehicle each.
async fn lake(folder: &std::path::Path, rows: u64) -> Anything<(Lake, Arc<dyn Journal>)> {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let settings = LakeSettings { round_interval_ms: 3_600_000, ..LakeSettings::new(folder.join("lake")) };
    let lake = Lake::open(settings, Arc::clone(&journal)).await?;
    let shards: Vec<ShardId> = (0..SHARDS).filter_map(ShardId::new).collect();
    let owners: Vec<Owner> = journal.acquire(&shards).await?.into_iter().map(|(owner, _)| owner).collect();
    let recovery = lake.recover(&owners).await?;
    let rounds = lake.start_rounds(&owners, &recovery, Arc::new(Quiet));
    let (handle, mut random) = (rounds.handle(), StdRng::seed_from_u64(1));
    for seq in 1..=rows.div_ceil(VEHICLES) {
        for n in 0..VEHICLES {
            let vehicle = VehicleId::new(&format!("VAN{n:06}"))?;
            let rows = vec![row(&mut random, vehicle, seq)];
            let shard = ShardId::of(&vehicle);
            let contribution =
                Contribution { shard, vehicle, ticket: seq, rows, decisions: Vec::new(), bytes: 100 };
            handle.contribute(contribution).await?;
        }
        handle.flush().await?;
    }
    rounds.stop().await?;
    Ok((lake, journal))
}

/// The same number of messages, as large, from one publisher that waits for the server's word as a feed does.
async fn bare(url: &str, messages: u64, payload: bytes::Bytes) -> Anything<f64> {
    let client = async_nats::connect(url).await?;
    let jetstream = jetstream::new(client);
    let config =
        stream::Config { name: "BARE".into(), subjects: vec!["bare.>".into()], ..stream::Config::default() };
    jetstream.create_stream(config).await?;
    let begun = Instant::now();
    let mut sent = 0;
    while sent < messages {
        let mut waiting = Vec::with_capacity(limits::BATCH_ITEMS_MAX);
        for n in sent..messages.min(sent + limits::BATCH_ITEMS_MAX as u64) {
            let message = PublishMessage::build().message_id(format!("m-{n}")).payload(payload.clone());
            let subject = format!("bare.telemetry.VAN{:06}", n % VEHICLES);
            waiting.push(jetstream.send_publish(subject, message).await?);
        }
        sent += waiting.len() as u64;
        for answer in waiting {
            answer.await?;
        }
    }
    let rate = messages as f64 / begun.elapsed().as_secs_f64();
    jetstream.delete_stream("BARE").await?;
    Ok(rate)
}

async fn fed(folder: &std::path::Path, url: &str, rows: u64) -> Anything<(f64, u64, bytes::Bytes)> {
    let (lake, journal) = lake(folder, rows).await?;
    let addresses = AddressRules { allowed: vec!["127.0.0.0/8".parse().map_err(|_| "a network")?] };
    let config = SenderConfig { addresses: addresses.clone(), ..SenderConfig::default() };
    let sender = Sender::new(config, WebhookMetrics::default())?;
    let source = Source::new(&lake, vec![("vehicles", journal)], Arc::new(|_| None));
    let settings = FeedSettings::new(folder.join("feeds"), sender, addresses);
    let feeds = Feeds::open(settings, source, FeedMetrics::default()).await?;
    let organization = OrganizationId::default();
    let mut stream = feeds.follow(organization, &Filter::everything(), &Start::Earliest).await?;
    let example = stream.reader.next(1).await?.items.pop().ok_or("no rows")?.to_json();
    let sink = SinkSpec::Nats {
        url: url.into(),
        username: String::new(),
        password: Secret::default(),
        subject_prefix: "fed".into(),
        stream: "FED".into(),
    };
    let spec = FeedSpec { name: "fed".into(), filter: Filter::everything(), sink, refusals_max: 0 };
    let begun = Instant::now();
    feeds.create(organization, spec, &Start::Earliest, "bench").await?;
    loop {
        let status = feeds.get(&organization, "fed").await?.status;
        if let Some((_, error)) = status.last_error {
            return Err(error.into());
        }
        if status.delivered >= rows {
            let rate = status.delivered as f64 / begun.elapsed().as_secs_f64();
            feeds.stop().await;
            return Ok((rate, status.delivered, example.into()));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::main]
async fn main() -> Anything<()> {
    let mut args = std::env::args().skip(1);
    let (Some(url), Some(rows)) = (args.next(), args.next()) else {
        return Err("usage: feed_figures NATS_URL ROWS".into());
    };
    let rows: u64 = rows.parse()?;
    let folder = tempfile::tempdir()?;
    let (rate, delivered, example) = fed(folder.path(), &url, rows).await?;
    let bytes = example.len();
    let bare = bare(&url, delivered, example).await?;
    println!(
        "{{\"firehose_events_per_second\":{rate:.0},\"bare_per_second\":{bare:.0},\"events\":{delivered},\"bytes_per_event\":{bytes}}}"
    );
    Ok(())
}
