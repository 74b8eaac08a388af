//! `remuda journal tail`: events as they were written, and as they come.
//!
//! A stopped node's journal is opened; a running node has it locked and answers on a socket in the data folder, which
//! only its own user can reach. One line asks, each line of the answer is an event as JSON. Who asked keeps the connection
//! open both ways: its end says that nobody listens any more.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use remuda_entities::{Decoders, Described};
use remuda_eventsourcing::{Event, Journal, JournalError, JournalMetrics, SledJournal};
use remuda_model::ShardId;
use remuda_vehicles::event::VehicleEvent;
use remuda_vehicles::geofences::{self, GeofenceEvent};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use crate::config::Config;
use crate::journal::Which;

/// Events read at a time.
const PAGE: usize = 256;
/// Between two looks at feeds that had nothing new.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Who may look at the same time: each reads the disk that the node writes.
const READERS_MAX: usize = 8;
/// Who has connected has asked within this time, or gives its place back.
const QUESTION_TIME: Duration = Duration::from_secs(5);
/// Longest question, bytes.
const QUESTION_BYTES_MAX: u64 = 4_096;

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
pub struct Filter {
    /// Only this shard, 0 to 1023.
    #[arg(long)]
    pub shard: Option<u16>,
    /// Only after this position of it.
    #[arg(long, requires = "shard")]
    pub after: Option<u64>,
    /// Only this kind of aggregate, such as trip.
    #[arg(long = "type")]
    pub aggregate_type: Option<String>,
    /// Only this type of event, such as trip.completed.
    #[arg(long)]
    pub event: Option<String>,
    /// Only this stream: organization/type/id.
    #[arg(long)]
    pub stream: Option<String>,
    /// Go on with what comes, until interrupted.
    #[arg(long, short)]
    pub follow: bool,
}

/// What is asked of a running node.
#[derive(Serialize, Deserialize)]
struct Question {
    journal: String,
    filter: Filter,
}

impl Filter {
    fn takes(&self, event: &Event) -> bool {
        let stream = &event.event.stream;
        let whole = || format!("{}/{}/{}", stream.organization, stream.aggregate_type, stream.aggregate_id);
        self.aggregate_type.as_ref().is_none_or(|wanted| *wanted == stream.aggregate_type)
            && self.event.as_ref().is_none_or(|wanted| *wanted == event.event.event_type)
            && self.stream.as_ref().is_none_or(|wanted| *wanted == whole())
    }
}

/// Where a running node is asked.
pub fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("tail.sock")
}

/// The kinds of events that this program reads.
pub fn decoders() -> Decoders {
    Decoders::default()
        .with::<remuda_users::Users>()
        .with::<remuda_trips::Trips>()
        .with::<remuda_saga::Saga>()
        .with::<remuda_billing::quote::Quotes>()
        .with::<remuda_billing::payment::Payment>()
        .with::<remuda_billing::ledger::Ledger>()
        .with::<remuda_billing::invoices::Invoices>()
        .with::<remuda_notifications::notification::Notification>()
        .with::<remuda_vehicles::reservation::Reservations>()
        .with::<remuda_vehicles::registry::Registry>()
        .with::<remuda_vehicles::diagnostics::Diagnostics>()
        .with::<remuda_operations::groups::Groups>()
        .with::<remuda_operations::approvals::Approvals>()
        .with::<remuda_operations::assistance::Requests>()
        .with_payload::<VehicleEvent>("vehicle")
        .with_payload::<GeofenceEvent>(geofences::event::AGGREGATE)
}

/// Reads feeds from where the filter says; ends at the end unless it follows, or when nobody listens.
async fn read(
    journal: &dyn Journal,
    filter: &Filter,
    decoders: &Decoders,
    lines: mpsc::Sender<Described>,
) -> Result<(), JournalError> {
    let shards: Vec<ShardId> = match filter.shard {
        Some(number) => ShardId::new(number).into_iter().collect(),
        None => journal.epochs().await?.into_iter().map(|owner| owner.shard).collect(),
    };
    let mut cursors: Vec<(ShardId, u64)> =
        shards.into_iter().map(|shard| (shard, filter.after.unwrap_or_default())).collect();
    loop {
        let mut nothing = true;
        for (shard, after) in &mut cursors {
            loop {
                let events = journal.read_feed(*shard, *after, PAGE).await?;
                let Some(last) = events.last() else { break };
                (*after, nothing) = (last.position, false);
                for event in events.iter().filter(|event| filter.takes(event)) {
                    if lines.send(decoders.describe(event)).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        if nothing && !filter.follow {
            return Ok(());
        }
        if nothing {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = lines.closed() => return Ok(()),
            }
        }
    }
}

/// Answers who asks a running node: journals by the name of their folder.
///
/// # Errors
/// When the socket cannot be made.
pub fn serve(
    data_dir: &Path,
    journals: Vec<(Which, Arc<dyn Journal>)>,
    decoders: Decoders,
) -> std::io::Result<Serving> {
    let path = socket(data_dir);
    // The journals' locks say that no other node runs here: a socket that is left is of one that was killed.
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    let places = Arc::new(Semaphore::new(READERS_MAX));
    let (journals, decoders) = (Arc::new(journals), Arc::new(decoders));
    let task = tokio::spawn(async move {
        // They end with this task.
        let mut readers = JoinSet::new();
        loop {
            while readers.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (journals, decoders) = (Arc::clone(&journals), Arc::clone(&decoders));
                    readers.spawn(async move {
                        let _place = place;
                        if let Err(error) = answer(stream, &journals, &decoders).await {
                            tracing::debug!(%error, "who looked at a journal went away");
                        }
                    });
                }
                // Out of file handles, most likely: not at once again.
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    });
    Ok(Serving { task, path })
}

/// The answering.
pub struct Serving {
    task: JoinHandle<()>,
    path: PathBuf,
}

impl Serving {
    /// Ends it: who still reads is cut off.
    pub async fn stop(self) {
        let _ = fs::remove_file(&self.path);
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn answer(
    stream: tokio::net::UnixStream,
    journals: &[(Which, Arc<dyn Journal>)],
    decoders: &Arc<Decoders>,
) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut question = String::new();
    let mut reader = tokio::io::BufReader::new(reader).take(QUESTION_BYTES_MAX);
    tokio::time::timeout(QUESTION_TIME, reader.read_line(&mut question)).await??;
    let mut reader = reader.into_inner();
    let Question { journal: name, filter } = serde_json::from_str(&question)?;
    let Some((_, journal)) = journals.iter().find(|(which, _)| which.folder() == name) else {
        let said = serde_json::json!({ "error": format!("this node has no journal {name:?}") });
        return writer.write_all(format!("{said}\n").as_bytes()).await;
    };
    let (lines, mut told) = mpsc::channel(PAGE);
    let (journal, decoders) = (Arc::clone(journal), Arc::clone(decoders));
    let reading = tokio::spawn(async move { read(&*journal, &filter, &decoders, lines).await });
    let telling = async {
        while let Some(described) = told.recv().await {
            let mut line = serde_json::to_vec(&described)?;
            line.push(b'\n');
            writer.write_all(&line).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let mut nowhere = tokio::io::sink();
    tokio::select! {
        written = telling => written?,
        // What else is sent is not looked at.
        hung_up = tokio::io::copy(&mut reader, &mut nowhere) => {
            reading.abort();
            return hung_up.map(|_| ());
        }
    }
    if let Ok(Err(error)) = reading.await {
        let said = serde_json::json!({ "error": error.to_string() });
        writer.write_all(format!("{said}\n").as_bytes()).await?;
    }
    Ok(())
}

/// Prints what the filter lets through: of the running node, or of the journal itself when none runs.
pub fn run(config: &Config, which: Which, filter: &Filter, json: bool) -> Result<(), String> {
    if filter.shard.is_some_and(|number| ShardId::new(number).is_none()) {
        return Err("a shard is 0 to 1023".into());
    }
    if let Ok(stream) = UnixStream::connect(socket(&config.data_dir)) {
        return of_node(stream, which, filter, json);
    }
    let folder = config.data_dir.join(which.folder());
    if !folder.join("db").exists() {
        return Err(format!("there is no journal in {}", folder.display()));
    }
    let journal = SledJournal::open(&folder, JournalMetrics::default()).map_err(|e| e.to_string())?;
    crate::cli::runtime()?.block_on(async {
        let (lines, mut told) = mpsc::channel(PAGE);
        let filter = filter.clone();
        let reading = tokio::spawn(async move { read(&journal, &filter, &decoders(), lines).await });
        while let Some(described) = told.recv().await {
            if print(&described, json).is_err() {
                // A closed pipe is the reader's choice.
                return Ok(());
            }
        }
        reading.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    })
}

fn of_node(mut stream: UnixStream, which: Which, filter: &Filter, json: bool) -> Result<(), String> {
    let question = Question { journal: which.folder().into(), filter: filter.clone() };
    let text = serde_json::to_string(&question).map_err(|e| e.to_string())?;
    stream.write_all(format!("{text}\n").as_bytes()).map_err(|e| format!("the node does not listen: {e}"))?;
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(|e| format!("the node stopped answering: {e}"))?;
        let Ok(described) = serde_json::from_str::<Described>(&line) else { return Err(line) };
        if print(&described, json).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn print(event: &Described, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, event)?;
        return writeln!(out);
    }
    let Described { shard, position, organization, aggregate_type, aggregate_id, version, .. } = event;
    let time = chrono::DateTime::from_timestamp_millis(event.time_ms)
        .map_or_else(|| event.time_ms.to_string(), |time| time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
    let said = event.fact.as_deref().or(event.payload.as_deref()).unwrap_or_default();
    writeln!(
        out,
        "{shard:>4}/{position:<6} {time} {organization}/{aggregate_type}/{aggregate_id} v{version} {} {said} \
         (by {}, cause {}, of {})",
        event.event_type, event.actor, event.causation_id, event.correlation_id
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use remuda_eventsourcing::MemoryJournal;
    use remuda_eventsourcing::testing::{event, shard};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_running_node_tells_what_it_wrote_and_what_it_writes() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
        let owner = journal.acquire(&[shard(7)]).await.expect("acquired")[0].0;
        journal.append(owner, 0, vec![event("a", 1), event("b", 1), event("a", 2)]).await.expect("written");
        let journals = vec![(Which::Business, Arc::clone(&journal))];
        let serving = serve(folder.path(), journals, decoders()).expect("listens");
        let filter = Filter { stream: Some("default/thing/a".into()), follow: true, ..Filter::default() };
        let stream = UnixStream::connect(socket(folder.path())).expect("connected");
        let (lines, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let question = Question { journal: "business".into(), filter };
            let text = serde_json::to_string(&question).expect("encoded");
            (&stream).write_all(format!("{text}\n").as_bytes()).expect("asked");
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let _ = lines.send(serde_json::from_str::<Described>(&line).expect("an event"));
            }
        });
        let next = || told.recv_timeout(Duration::from_secs(60)).expect("told");
        for version in [1, 2] {
            let event = next();
            assert_eq!((event.version, event.aggregate_id.as_str(), event.shard), (version, "a", 7));
        }
        journal.append(owner, 3, vec![event("b", 2), event("a", 3)]).await.expect("written");
        assert_eq!(next().version, 3);
        serving.stop().await;
        assert!(!socket(folder.path()).exists());
        assert!(UnixStream::connect(socket(folder.path())).is_err(), "nobody listens any more");
    }

    /// As many as may look, and one more that looks when one of them has gone.
    async fn one_more(folder: &Path) -> (tokio::net::UnixStream, String) {
        let question = Question { journal: "business".into(), filter: Filter::default() };
        let mut stream = tokio::net::UnixStream::connect(socket(folder)).await.expect("connected");
        let text = serde_json::to_string(&question).expect("encoded");
        stream.write_all(format!("{text}\n").as_bytes()).await.expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        (stream, answer)
    }

    async fn with_one_event(folder: &Path) -> Serving {
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
        let owner = journal.acquire(&[shard(7)]).await.expect("acquired")[0].0;
        journal.append(owner, 0, vec![event("a", 1)]).await.expect("written");
        serve(folder, vec![(Which::Business, journal)], decoders()).expect("listens")
    }

    #[tokio::test]
    async fn who_hung_up_gives_its_place_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let serving = with_one_event(folder.path()).await;
        let filter = Filter { follow: true, ..Filter::default() };
        let question = Question { journal: "business".into(), filter };
        let text = serde_json::to_string(&question).expect("encoded");
        for _ in 0..2 * READERS_MAX {
            let stream = tokio::net::UnixStream::connect(socket(folder.path())).await.expect("connected");
            let (reader, mut writer) = stream.into_split();
            writer.write_all(format!("{text}\n").as_bytes()).await.expect("asked");
            let mut first = String::new();
            tokio::io::BufReader::new(reader).read_line(&mut first).await.expect("told");
            assert!(first.contains("\"version\":1"), "{first}");
        }
        assert!(one_more(folder.path()).await.1.contains("\"version\":1"));
        serving.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_nothing_gives_its_place_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let serving = with_one_event(folder.path()).await;
        let mut silent = Vec::new();
        for _ in 0..READERS_MAX {
            silent.push(tokio::net::UnixStream::connect(socket(folder.path())).await.expect("connected"));
        }
        assert!(one_more(folder.path()).await.1.contains("\"version\":1"));
        serving.stop().await;
    }
}
