//! `remudactl reactors`.

use std::io::Write;

use clap::Subcommand;
use remuda_api::reactors::v1::reactor_service_client::ReactorServiceClient;
use remuda_api::reactors::v1::{
    GetReactorRequest, ListReactorsRequest, Reactor, RetryReactorRequest, SkipEventRequest,
};
use serde_json::{Value, json};

use super::Session;
use crate::args::{Global, OutputFormat};
use crate::error::CtlError;
use crate::table::{Cell, Tint, cell};
use crate::text::id;

/// What can be done with readers of the business journal.
#[derive(Debug, Subcommand)]
pub enum ReactorsCommand {
    /// Lists readers: how far behind they are, and at which events they stopped.
    List {
        /// Only those that stopped somewhere.
        #[arg(long)]
        stopped: bool,
    },
    /// Shows one reader, with what it was let pass over.
    Get {
        /// Its name.
        reactor: String,
    },
    /// Tries again the events at which it stopped.
    Retry {
        /// Its name.
        reactor: String,
        /// Only in this shard.
        #[arg(long)]
        shard: Option<u32>,
        /// Why; it stands in the audit log.
        #[arg(long)]
        reason: String,
    },
    /// Passes over the event at which it stopped, for good: what should follow from it does not.
    Skip {
        /// Its name.
        reactor: String,
        /// Shard of the event, as the list says it.
        shard: u32,
        /// Its position there, as the list says it.
        position: u64,
        /// Why; it is kept beside the event.
        #[arg(long)]
        reason: String,
    },
}

fn document(reactor: &Reactor) -> Value {
    let stops = reactor.stops.iter().map(|stop| {
        json!({
            "shard": stop.shard, "position": stop.position,
            "eventType": stop.event_type, "reason": stop.reason,
        })
    });
    let skips = reactor
        .skips
        .iter()
        .map(|skip| json!({ "shard": skip.shard, "position": skip.position, "reason": skip.reason }));
    json!({
        "name": reactor.name,
        "kind": reactor.kind,
        "lagEvents": reactor.lag_events,
        "stops": stops.collect::<Vec<_>>(),
        "retryingShards": reactor.retrying_shards,
        "detail": reactor.detail,
        "skips": skips.collect::<Vec<_>>(),
    })
}

fn rows(reactor: &Reactor) -> Vec<Vec<Cell>> {
    let first = |state: &str, tint, place: String, detail: String| {
        vec![
            cell(id(&reactor.name)),
            cell(reactor.kind.clone()),
            cell(reactor.lag_events.to_string()).right(),
            cell(state).tint(tint),
            cell(place),
            cell(detail),
        ]
    };
    let stops = reactor.stops.iter().map(|stop| {
        let place = format!("{} {}", stop.shard, stop.position);
        first("stopped", Tint::Warn, place, format!("{}: {}", stop.event_type, stop.reason))
    });
    let skips = reactor.skips.iter().map(|skip| {
        first("skipped", Tint::Faint, format!("{} {}", skip.shard, skip.position), skip.reason.clone())
    });
    let mut rows: Vec<Vec<Cell>> = stops.chain(skips).collect();
    if reactor.stops.is_empty() {
        let (state, tint) =
            if reactor.retrying_shards > 0 { ("retrying", Tint::Warn) } else { ("follows", Tint::Good) };
        rows.insert(0, first(state, tint, String::new(), reactor.detail.clone()));
    }
    rows
}

/// Runs a command about readers.
pub(crate) async fn run(
    command: ReactorsCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let mut session = Session::open(global, out, colours).await?;
    let mut client = ReactorServiceClient::new(session.service.clone());
    let (reactors, wanted) = match command {
        ReactorsCommand::List { stopped } => {
            let request = session.request(ListReactorsRequest { parent: session.parent() });
            let mut reactors = client.list_reactors(request).await?.into_inner().reactors;
            reactors.retain(|reactor| !stopped || !reactor.stops.is_empty());
            (reactors, None)
        }
        ReactorsCommand::Get { reactor } => {
            let request = session.request(GetReactorRequest { name: session.name("reactors", &reactor) });
            (vec![client.get_reactor(request).await?.into_inner()], None)
        }
        ReactorsCommand::Retry { reactor, shard, reason } => {
            let name = session.name("reactors", &reactor);
            let request = session.request(RetryReactorRequest { name, shard, reason });
            (vec![client.retry_reactor(request).await?.into_inner()], Some("tries again"))
        }
        ReactorsCommand::Skip { reactor, shard, position, reason } => {
            let name = session.name("reactors", &reactor);
            let request = session.request(SkipEventRequest { name, shard, position, reason });
            (vec![client.skip_event(request).await?.into_inner()], Some("passed the event over"))
        }
    };
    if let (Some(done), Some(reactor)) = (wanted, reactors.first()) {
        eprintln!("{} {done}", id(&reactor.name));
    }
    let names: Vec<&str> = reactors.iter().map(|reactor| reactor.name.as_str()).collect();
    let documents = match session.global.output {
        OutputFormat::Json => reactors.iter().map(document).collect(),
        _ => Vec::new(),
    };
    let rows: Vec<Vec<Cell>> = reactors.iter().flat_map(rows).collect();
    let heads = ["REACTOR", "KIND", "BEHIND", "STATE", "SHARD POSITION", "DETAIL"];
    session.print(("reactors", &heads), &names, documents, &rows)
}
