//! `remudactl feeds`.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use remuda_api::feeds::v1::feed_service_client::FeedServiceClient;
use remuda_api::feeds::v1::{
    CreateFeedRequest, DeadLetter, DeleteDeadLetterRequest, DeleteFeedRequest, Feed, FeedFilter, FeedStart,
    FeedState, FollowFeedRequest, GetFeedRequest, ListDeadLettersRequest, ListFeedsRequest, MqttSink,
    NatsSink, PauseFeedRequest, ReplayDeadLetterRequest, ResumeFeedRequest, WebhookSink, feed, feed_start,
};
use remuda_api::{MESSAGE_BYTES_MAX, OrganizationName};
use serde_json::{Value, json};
use tonic::Request;

use crate::args::{Global, OutputFormat};
use crate::client::{Service, open};
use crate::error::CtlError;
use crate::table::{Cell, Tint, cell, write};
use crate::text::{age_of, id, now_ms, rfc3339};

/// What can be done with feeds to customers' systems.
#[derive(Debug, Subcommand)]
pub enum FeedsCommand {
    /// Lists feeds, and how far behind each is.
    List,
    /// Shows one feed.
    Get {
        /// Its name.
        feed: String,
    },
    /// Registers a feed and starts it.
    Create(Box<CreateArgs>),
    /// Stops a feed and forgets it, with its cursor and its dead letters.
    Delete {
        /// Its name.
        feed: String,
    },
    /// Holds a feed at its cursor.
    Pause {
        /// Its name.
        feed: String,
    },
    /// Lets a feed go on.
    Resume {
        /// Its name.
        feed: String,
    },
    /// Lists the batches that the other side refused for good.
    #[command(name = "dead-letters")]
    DeadLetters {
        /// The feed's name.
        feed: String,
    },
    /// Sends a dead letter again, read anew from where it lies.
    Replay {
        /// The feed's name.
        feed: String,
        /// The dead letter's number.
        number: u64,
    },
    /// Gives a dead letter up.
    Drop {
        /// The feed's name.
        feed: String,
        /// The dead letter's number.
        number: u64,
    },
    /// Follows everything until Ctrl-C, a JSON object a line: a CloudEvent, or where to go on.
    Follow {
        /// What.
        #[command(flatten)]
        what: WhatArgs,
        /// Where to begin.
        #[command(flatten)]
        from: FromArgs,
        /// End after so many items.
        #[arg(long)]
        items: Option<u64>,
    },
}

/// What a feed tells.
#[derive(Debug, Clone, Args)]
pub struct WhatArgs {
    /// Events, telemetry or both.
    #[arg(long, value_enum, default_value_t = What::All)]
    what: What,
    /// Only these vehicles: ids, or beginnings of ids with a * behind; may be repeated, or separated by commas.
    #[arg(long, value_delimiter = ',')]
    vehicle: Vec<String>,
    /// Only events whose type begins so, such as vehicle. or trip.completed.
    #[arg(long, value_delimiter = ',')]
    event: Vec<String>,
    /// Only these signals: VSS paths, or beginnings with a * behind.
    #[arg(long, value_delimiter = ',')]
    signal: Vec<String>,
}

/// What a feed tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Events and telemetry.
    All,
    /// What happened and was decided.
    Events,
    /// What was measured.
    Telemetry,
}

/// Where to begin; none: now.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub struct FromArgs {
    /// With the first that is still there.
    #[arg(long)]
    earliest: bool,
    /// After this cursor.
    #[arg(long)]
    cursor: Option<String>,
}

/// A new feed. Secrets are read from a file, so that they stand in no list of processes.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// Its name: lower-case letters, digits and hyphens.
    feed: String,
    /// To whom.
    #[command(flatten)]
    to: ToArgs,
    /// File with the webhook's secrets (whsec_..., a line each, the newest first) or the password; `-` reads standard input.
    #[arg(long)]
    secret_file: Option<PathBuf>,
    /// Name to log in with at the NATS server or the broker.
    #[arg(long, default_value = "")]
    username: String,
    /// What subjects or topics begin with.
    #[arg(long, default_value = "remuda")]
    prefix: String,
    /// JetStream stream to make if it is not there; none: there is one.
    #[arg(long, default_value = "")]
    stream: String,
    /// Refusals of a batch before it goes to the dead letters; 0: 5.
    #[arg(long, default_value_t = 0)]
    refusals_max: u32,
    /// What.
    #[command(flatten)]
    what: WhatArgs,
    /// Where to begin.
    #[command(flatten)]
    from: FromArgs,
}

/// To whom.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct ToArgs {
    /// A webhook: https://...
    #[arg(long)]
    webhook: Option<String>,
    /// NATS JetStream: nats://host:port or tls://host:port
    #[arg(long)]
    nats: Option<String>,
    /// An MQTT broker: mqtt://host:port or mqtts://host:port
    #[arg(long)]
    mqtt: Option<String>,
}

impl WhatArgs {
    fn message(self) -> FeedFilter {
        FeedFilter {
            events: self.what != What::Telemetry,
            telemetry: self.what != What::Events,
            vehicles: self.vehicle,
            event_types: self.event,
            signals: self.signal,
        }
    }
}

impl FromArgs {
    fn message(self) -> Option<FeedStart> {
        let start = match self.cursor {
            Some(cursor) => Some(feed_start::Start::Cursor(cursor)),
            None => self.earliest.then_some(feed_start::Start::Earliest(true)),
        };
        start.map(|start| FeedStart { start: Some(start) })
    }
}

impl CreateArgs {
    fn message(self, parent: String) -> Result<CreateFeedRequest, CtlError> {
        let secrets = self.secret_file.as_deref().map(read).transpose()?.unwrap_or_default();
        let mut lines = secrets.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned);
        let Self { feed: feed_id, to, username, prefix, stream, refusals_max, what, from, .. } = self;
        let sink = match (to.webhook, to.nats, to.mqtt) {
            (Some(url), ..) => feed::Sink::Webhook(WebhookSink { url, secrets: lines.collect() }),
            (_, Some(url), _) => feed::Sink::Nats(NatsSink {
                url,
                username,
                password: lines.next().unwrap_or_default(),
                subject_prefix: prefix,
                stream,
            }),
            (.., url) => feed::Sink::Mqtt(MqttSink {
                url: url.unwrap_or_default(),
                username,
                password: lines.next().unwrap_or_default(),
                topic_prefix: prefix,
            }),
        };
        let feed = Feed { filter: Some(what.message()), sink: Some(sink), refusals_max, ..Feed::default() };
        Ok(CreateFeedRequest { parent, feed_id, feed: Some(feed), start: from.message() })
    }
}

fn read(path: &std::path::Path) -> Result<String, CtlError> {
    let unreadable = |source| CtlError::File { file: path.display().to_string(), source };
    if path.as_os_str() != "-" {
        return std::fs::read_to_string(path).map_err(unreadable);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

/// Runs one command.
///
/// # Errors
/// When the console says no or cannot be reached.
pub(crate) async fn run(
    command: FeedsCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let client = FeedServiceClient::new(open(&global).await?).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut session = Session { client, global, out, colours };
    match command {
        FeedsCommand::List => session.list().await,
        FeedsCommand::Get { feed } => session.get(&feed).await,
        FeedsCommand::Create(args) => session.create(*args).await,
        FeedsCommand::Delete { feed } => session.delete(&feed).await,
        FeedsCommand::Pause { feed } => session.pause(&feed).await,
        FeedsCommand::Resume { feed } => session.resume(&feed).await,
        FeedsCommand::DeadLetters { feed } => session.dead_letters(&feed).await,
        FeedsCommand::Replay { feed, number } => session.replay(&feed, number).await,
        FeedsCommand::Drop { feed, number } => session.drop_letter(&feed, number).await,
        FeedsCommand::Follow { what, from, items } => session.follow(what, from, items).await,
    }?;
    session.out.flush()?;
    Ok(())
}

struct Session<'a> {
    client: FeedServiceClient<Service>,
    global: Global,
    out: &'a mut dyn Write,
    colours: bool,
}

impl Session<'_> {
    fn parent(&self) -> String {
        OrganizationName { organization: self.global.organization.clone() }.to_string()
    }

    /// A feed's resource name.
    fn named(&self, feed: &str) -> String {
        if feed.contains('/') { feed.to_owned() } else { format!("{}/feeds/{feed}", self.parent()) }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_secs(self.global.timeout));
        request
    }

    async fn list(&mut self) -> Result<(), CtlError> {
        let request = self.request(ListFeedsRequest { parent: self.parent() });
        let feeds = self.client.list_feeds(request).await?.into_inner().feeds;
        self.show(&feeds)
    }

    async fn get(&mut self, feed: &str) -> Result<(), CtlError> {
        let request = self.request(GetFeedRequest { name: self.named(feed) });
        let feed = self.client.get_feed(request).await?.into_inner();
        self.show_one(&feed)
    }

    async fn create(&mut self, args: CreateArgs) -> Result<(), CtlError> {
        let request = self.request(args.message(self.parent())?);
        let feed = self.client.create_feed(request).await?.into_inner();
        self.show_one(&feed)
    }

    async fn pause(&mut self, feed: &str) -> Result<(), CtlError> {
        let request = self.request(PauseFeedRequest { name: self.named(feed) });
        let feed = self.client.pause_feed(request).await?.into_inner();
        self.show_one(&feed)
    }

    async fn resume(&mut self, feed: &str) -> Result<(), CtlError> {
        let request = self.request(ResumeFeedRequest { name: self.named(feed) });
        let feed = self.client.resume_feed(request).await?.into_inner();
        self.show_one(&feed)
    }

    async fn delete(&mut self, feed: &str) -> Result<(), CtlError> {
        let name = self.named(feed);
        self.client.delete_feed(self.request(DeleteFeedRequest { name: name.clone() })).await?;
        self.done(&json!({ "deleted": name }), &format!("the feed {feed} is deleted"))
    }

    async fn dead_letters(&mut self, feed: &str) -> Result<(), CtlError> {
        let request = self.request(ListDeadLettersRequest { parent: self.named(feed) });
        let letters = self.client.list_dead_letters(request).await?.into_inner().dead_letters;
        match self.global.output {
            OutputFormat::Json => {
                let documents: Vec<Value> = letters.iter().map(letter_document).collect();
                writeln!(self.out, "{:#}", json!({ "dead_letters": documents }))?;
            }
            OutputFormat::Name => {
                for letter in &letters {
                    writeln!(self.out, "{}", letter.name)?;
                }
            }
            OutputFormat::Table | OutputFormat::Wide => {
                let heads = ["NUMBER", "GIVEN UP", "ITEMS", "TRIES", "FIRST", "LAST", "ERROR"];
                let rows: Vec<Vec<Cell>> = letters.iter().map(letter_row).collect();
                write(self.out, Some(&heads), &rows, &mut Vec::new(), self.colours)?;
            }
        }
        Ok(())
    }

    async fn replay(&mut self, feed: &str, number: u64) -> Result<(), CtlError> {
        let name = format!("{}/deadLetters/{number}", self.named(feed));
        let request = self.request(ReplayDeadLetterRequest { name });
        let items = self.client.replay_dead_letter(request).await?.into_inner().items;
        self.done(&json!({ "items": items }), &format!("{items} items were sent and confirmed"))
    }

    async fn drop_letter(&mut self, feed: &str, number: u64) -> Result<(), CtlError> {
        let name = format!("{}/deadLetters/{number}", self.named(feed));
        self.client.delete_dead_letter(self.request(DeleteDeadLetterRequest { name: name.clone() })).await?;
        self.done(&json!({ "deleted": name }), "the dead letter is dropped")
    }

    async fn follow(&mut self, what: WhatArgs, from: FromArgs, items: Option<u64>) -> Result<(), CtlError> {
        let request = FollowFeedRequest {
            parent: self.parent(),
            filter: Some(what.message()),
            start: from.message(),
            items_max: 0,
        };
        let mut stream = self.client.follow_feed(Request::new(request)).await?.into_inner();
        let mut left = items.unwrap_or(u64::MAX);
        while let Some(response) = stream.message().await? {
            for item in &response.items {
                if left == 0 {
                    break;
                }
                left -= 1;
                // Its data is JSON already; a text that is not would be a fault of the other side.
                let data: Value =
                    serde_json::from_str(&item.data).unwrap_or_else(|_| item.data.clone().into());
                let document = json!({
                    "specversion": "1.0", "id": item.id, "source": item.source, "type": item.r#type,
                    "time": item.time, "datacontenttype": "application/json", "data": data,
                });
                writeln!(self.out, "{document}")?;
            }
            // Half a response has no cursor: its items would be missed.
            if left > 0 {
                let (positions, seconds) = (response.lag_positions, response.lag_seconds);
                let place = json!({
                    "cursor": response.cursor, "lag_positions": positions, "lag_seconds": seconds,
                });
                writeln!(self.out, "{place}")?;
            }
            self.out.flush()?;
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    fn done(&mut self, document: &Value, sentence: &str) -> Result<(), CtlError> {
        match self.global.output {
            OutputFormat::Json => writeln!(self.out, "{document:#}")?,
            _ => writeln!(self.out, "{sentence}")?,
        }
        Ok(())
    }

    fn show(&mut self, feeds: &[Feed]) -> Result<(), CtlError> {
        match self.global.output {
            OutputFormat::Json => {
                let documents: Vec<Value> = feeds.iter().map(document).collect();
                writeln!(self.out, "{:#}", json!({ "feeds": documents }))?;
            }
            OutputFormat::Name => {
                for feed in feeds {
                    writeln!(self.out, "{}", feed.name)?;
                }
            }
            OutputFormat::Table | OutputFormat::Wide => {
                let wide = self.global.output == OutputFormat::Wide;
                let mut heads = vec![
                    "FEED",
                    "TO",
                    "STATE",
                    "BEHIND",
                    "SECONDS",
                    "DELIVERED",
                    "RETRIED",
                    "DEAD",
                    "MISSED",
                ];
                if wide {
                    heads.extend(["CONFIRMED", "LAST ERROR"]);
                }
                let rows: Vec<Vec<Cell>> = feeds.iter().map(|feed| row(feed, wide)).collect();
                write(self.out, Some(&heads), &rows, &mut Vec::new(), self.colours)?;
            }
        }
        Ok(())
    }

    fn show_one(&mut self, feed: &Feed) -> Result<(), CtlError> {
        if self.global.output == OutputFormat::Json {
            writeln!(self.out, "{:#}", document(feed))?;
            return Ok(());
        }
        self.show(std::slice::from_ref(feed))?;
        if self.global.output == OutputFormat::Table && !feed.last_error.is_empty() {
            let when = feed.last_error_time.as_ref().map(rfc3339).unwrap_or_default();
            writeln!(self.out, "last error, {when}: {}", cell(feed.last_error.as_str()).text)?;
        }
        Ok(())
    }
}

fn state(feed: &Feed) -> (&'static str, Tint) {
    match feed.state() {
        FeedState::Running => ("running", Tint::Good),
        FeedState::Retrying => ("retrying", Tint::Warn),
        FeedState::Paused => ("paused", Tint::Faint),
        FeedState::Blocked => ("blocked", Tint::Warn),
        FeedState::Unspecified => ("-", Tint::Plain),
    }
}

fn target(feed: &Feed) -> (&'static str, String) {
    match &feed.sink {
        Some(feed::Sink::Webhook(sink)) => ("webhook", sink.url.clone()),
        Some(feed::Sink::Nats(sink)) => ("nats", sink.url.clone()),
        Some(feed::Sink::Mqtt(sink)) => ("mqtt", sink.url.clone()),
        None => ("-", String::new()),
    }
}

fn row(feed: &Feed, wide: bool) -> Vec<Cell> {
    let (state, tint) = state(feed);
    let number = |n: u64| cell(n.to_string()).right();
    let warned = |n: u64| if n > 0 { number(n).tint(Tint::Warn) } else { number(n) };
    let mut cells = vec![
        cell(id(&feed.name)),
        cell(target(feed).1),
        cell(state).tint(tint),
        number(feed.lag_positions),
        number(feed.lag_seconds),
        number(feed.delivered),
        number(feed.retried),
        warned(feed.dead_letters),
        warned(feed.missed),
    ];
    if wide {
        cells.push(cell(age_of(feed.delivered_time.as_ref(), now_ms())));
        cells.push(cell(feed.last_error.as_str()));
    }
    cells
}

fn document(feed: &Feed) -> Value {
    let filter = feed.filter.clone().unwrap_or_default();
    let (kind, url) = target(feed);
    json!({
        "name": feed.name,
        "state": state(feed).0,
        "sink": kind,
        "url": url,
        "filter": {
            "events": filter.events, "telemetry": filter.telemetry, "vehicles": filter.vehicles,
            "event_types": filter.event_types, "signals": filter.signals,
        },
        "refusals_max": feed.refusals_max,
        "cursor": feed.cursor,
        "lag_positions": feed.lag_positions,
        "lag_seconds": feed.lag_seconds,
        "delivered": feed.delivered,
        "retried": feed.retried,
        "dead_letters": feed.dead_letters,
        "missed": feed.missed,
        "last_error": feed.last_error,
        "last_error_time": feed.last_error_time.as_ref().map(rfc3339),
        "delivered_time": feed.delivered_time.as_ref().map(rfc3339),
        "create_time": feed.create_time.as_ref().map(rfc3339),
        "created_by": feed.created_by,
    })
}

fn letter_row(letter: &DeadLetter) -> Vec<Cell> {
    vec![
        cell(id(&letter.name)),
        cell(letter.time.as_ref().map(rfc3339).unwrap_or_default()),
        cell(letter.items.to_string()).right(),
        cell(letter.attempts.to_string()).right(),
        cell(letter.first_id.as_str()),
        cell(letter.last_id.as_str()),
        cell(letter.error.as_str()),
    ]
}

fn letter_document(letter: &DeadLetter) -> Value {
    json!({
        "name": letter.name,
        "items": letter.items,
        "first_id": letter.first_id,
        "last_id": letter.last_id,
        "error": letter.error,
        "time": letter.time.as_ref().map(rfc3339),
        "attempts": letter.attempts,
    })
}
