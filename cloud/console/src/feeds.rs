//! `remuda.feeds.v1.FeedService`.

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use remuda_api::feeds::v1 as api;
use remuda_api::feeds::v1::feed_service_server::FeedService;
use remuda_api::feeds::v1::{
    CreateFeedRequest, DeleteDeadLetterRequest, DeleteDeadLetterResponse, DeleteFeedRequest,
    DeleteFeedResponse, Feed, FeedState, FollowFeedRequest, FollowFeedResponse, GetFeedRequest,
    ListDeadLettersRequest, ListDeadLettersResponse, ListFeedsRequest, ListFeedsResponse, PauseFeedRequest,
    ReplayDeadLetterRequest, ReplayDeadLetterResponse, ResumeFeedRequest,
};
use remuda_feeds::{
    Batch, Channel, Cursor, DeadLetter, FeedError, FeedSpec, FeedStream, FeedView, Feeds, Filter, Item,
    Phase, Secret, SinkSpec, Start, chain, limits,
};
use remuda_model::OrganizationId;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use crate::convert::timestamp_of;
use crate::refusal::Refusal;
use crate::scope::{Scope, field, sight, who};
use crate::sight::{Seen, Sight, vehicle_in};
use crate::time::now_ms;
use crate::watch::stopped;

/// Items of a response unless the client says otherwise: about half a megabyte.
const ITEMS: usize = 500;
/// Responses that may wait for the reader: it reads, or the stream waits with it.
const AHEAD: usize = 2;
/// Between two responses when there is nothing new.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The service, over the node's feeds.
pub(crate) struct FeedDesk {
    pub feeds: Feeds,
    pub scope: Scope,
    pub stopping: watch::Receiver<bool>,
}

fn refused(error: FeedError) -> Refusal {
    let sentence = chain(&error);
    let (code, reason) = match error {
        FeedError::NoSuchFeed(_) => (Code::NotFound, "FEED_NOT_FOUND"),
        FeedError::NoSuchDeadLetter(_) => (Code::NotFound, "DEAD_LETTER_NOT_FOUND"),
        FeedError::Exists(_) => (Code::AlreadyExists, "FEED_EXISTS"),
        FeedError::Setting { .. } => (Code::InvalidArgument, "FEED_INVALID"),
        FeedError::Token(_) => (Code::InvalidArgument, "CURSOR_INVALID"),
        FeedError::TooMany(_) => (Code::ResourceExhausted, "FEEDS_EXHAUSTED"),
        FeedError::NotTaken(_) => (Code::FailedPrecondition, "DEAD_LETTER_NOT_TAKEN"),
        FeedError::Journal(_) | FeedError::Lake(_) | FeedError::Files { .. } => {
            (Code::Unavailable, "FEEDS_UNAVAILABLE")
        }
    };
    Refusal::Business { code, reason: reason.into(), sentence }
}

fn filter_of(filter: Option<api::FeedFilter>) -> Filter {
    filter.map_or_else(Filter::everything, |filter| {
        let api::FeedFilter { events, telemetry, vehicles, event_types, signals } = filter;
        Filter { events, telemetry, vehicles, event_types, signals }
    })
}

fn start_of(start: Option<api::FeedStart>) -> Start {
    match start.and_then(|start| start.start) {
        Some(api::feed_start::Start::Cursor(cursor)) => Start::After(cursor),
        Some(api::feed_start::Start::Earliest(true)) => Start::Earliest,
        _ => Start::Now,
    }
}

fn sink_of(sink: Option<api::feed::Sink>) -> Result<SinkSpec, Refusal> {
    Ok(match sink.ok_or_else(|| field("feed.sink", "say where it goes: webhook, nats or mqtt"))? {
        api::feed::Sink::Webhook(api::WebhookSink { url, secrets }) => {
            SinkSpec::Webhook { url, secrets: secrets.into_iter().map(Secret).collect() }
        }
        api::feed::Sink::Nats(api::NatsSink { url, username, password, subject_prefix, stream }) => {
            SinkSpec::Nats { url, username, password: Secret(password), subject_prefix, stream }
        }
        api::feed::Sink::Mqtt(api::MqttSink { url, username, password, topic_prefix }) => {
            SinkSpec::Mqtt { url, username, password: Secret(password), topic_prefix }
        }
    })
}

/// Without what is secret.
fn shown(sink: &SinkSpec) -> api::feed::Sink {
    let url = sink.target().to_owned();
    match sink {
        SinkSpec::Webhook { .. } => api::feed::Sink::Webhook(api::WebhookSink { url, secrets: Vec::new() }),
        SinkSpec::Nats { username, subject_prefix, stream, .. } => api::feed::Sink::Nats(api::NatsSink {
            url,
            username: username.clone(),
            password: String::new(),
            subject_prefix: subject_prefix.clone(),
            stream: stream.clone(),
        }),
        SinkSpec::Mqtt { username, topic_prefix, .. } => api::feed::Sink::Mqtt(api::MqttSink {
            url,
            username: username.clone(),
            password: String::new(),
            topic_prefix: topic_prefix.clone(),
        }),
    }
}

fn seconds_since(since_ms: Option<i64>) -> u64 {
    since_ms.map_or(0, |since| u64::try_from((now_ms() - since) / 1_000).unwrap_or(0))
}

/// What somebody who sees all of it, or not, is told. How much others' vehicles do is not for who sees a part.
fn response_of(
    batch: Batch,
    organization: &OrganizationId,
    seen: &Seen,
    sealed: impl FnOnce(&Cursor) -> String,
) -> FollowFeedResponse {
    let (cursor, lag_positions) = match seen {
        Seen::All => (batch.cursor.token(organization), batch.lag.positions),
        Seen::These(_) => (sealed(&batch.cursor), 0),
    };
    let items = batch.items.into_iter().map(|item| api::FeedItem {
        id: item.id,
        r#type: item.kind,
        source: item.source,
        time: item.time,
        data: item.data,
    });
    FollowFeedResponse {
        items: items.collect(),
        cursor,
        lag_positions,
        lag_seconds: seconds_since(batch.lag.since_ms),
    }
}

/// Whether an item is the caller's to see: about a vehicle of theirs, or about the feed itself. What is about something else, such
/// as a trip, is for who sees everything.
fn is_seen(item: &Item, seen: &Seen) -> bool {
    match (seen, vehicle_in(&item.source)) {
        (Seen::All, _) => true,
        (Seen::These(_), Some(vehicle)) => seen.has(&vehicle),
        (Seen::These(_), None) => item.channel == Channel::Feed,
    }
}

impl FeedDesk {
    fn name_of(&self, feed: &str) -> String {
        format!("organizations/{}/feeds/{feed}", self.scope.organization)
    }

    fn feed_of(&self, view: FeedView) -> Feed {
        let FeedView { spec, created_ms, created_by, status, dead_letters } = view;
        let Filter { events, telemetry, vehicles, event_types, signals } = spec.filter;
        let state = match status.phase {
            Phase::Running => FeedState::Running,
            Phase::Retrying => FeedState::Retrying,
            Phase::Paused => FeedState::Paused,
            Phase::Blocked => FeedState::Blocked,
        };
        let (error_ms, last_error) = status.last_error.unwrap_or_default();
        Feed {
            name: self.name_of(&spec.name),
            filter: Some(api::FeedFilter { events, telemetry, vehicles, event_types, signals }),
            sink: Some(shown(&spec.sink)),
            refusals_max: spec.refusals_max,
            state: state.into(),
            cursor: status.cursor.token(&self.scope.organization),
            lag_positions: status.lag.positions,
            lag_seconds: seconds_since(status.lag.since_ms),
            delivered: status.delivered,
            retried: status.retried,
            dead_letters,
            missed: status.missed,
            last_error,
            last_error_time: timestamp_of(error_ms),
            delivered_time: status.delivered_ms.and_then(timestamp_of),
            create_time: timestamp_of(created_ms),
            created_by,
        }
    }

    fn feed(&self, name: &str) -> Result<String, Refusal> {
        self.scope.child("feeds", name)
    }

    /// The feed and the number in a dead letter's name.
    fn letter(&self, name: &str) -> Result<(String, u64), Refusal> {
        let wrong = || {
            field(
                "name",
                "a name of the form organizations/{organization}/feeds/{feed}/deadLetters/{number} is wanted",
            )
        };
        let (feed, number) = name.split_once("/deadLetters/").ok_or_else(wrong)?;
        Ok((self.feed(feed)?, number.parse().map_err(|_| wrong())?))
    }

    async fn create(&self, request: CreateFeedRequest, who: String) -> Result<Feed, Refusal> {
        self.scope.parent(&request.parent)?;
        let feed = request.feed.ok_or_else(|| field("feed", "describe the feed"))?;
        let spec = FeedSpec {
            name: request.feed_id,
            filter: filter_of(feed.filter),
            sink: sink_of(feed.sink)?,
            refusals_max: feed.refusals_max,
        };
        let start = start_of(request.start);
        let view = self.feeds.create(self.scope.organization, spec, &start, &who).await.map_err(refused)?;
        Ok(self.feed_of(view))
    }

    async fn list(&self, request: ListFeedsRequest) -> Result<ListFeedsResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let views = self.feeds.list(&self.scope.organization).await.map_err(refused)?;
        Ok(ListFeedsResponse { feeds: views.into_iter().map(|view| self.feed_of(view)).collect() })
    }

    async fn get(&self, name: &str) -> Result<Feed, Refusal> {
        let feed = self.feed(name)?;
        Ok(self.feed_of(self.feeds.get(&self.scope.organization, &feed).await.map_err(refused)?))
    }

    async fn pause(&self, name: &str, paused: bool) -> Result<Feed, Refusal> {
        let feed = self.feed(name)?;
        let view = self.feeds.pause(&self.scope.organization, &feed, paused).await.map_err(refused)?;
        Ok(self.feed_of(view))
    }

    async fn delete(&self, name: &str) -> Result<DeleteFeedResponse, Refusal> {
        let feed = self.feed(name)?;
        self.feeds.delete(&self.scope.organization, &feed).await.map_err(refused)?;
        Ok(DeleteFeedResponse {})
    }

    async fn letters(&self, parent: &str) -> Result<ListDeadLettersResponse, Refusal> {
        let parsed = self.scope.child("feeds", parent).map_err(|_| {
            field("parent", "a name of the form organizations/{organization}/feeds/{feed} is wanted")
        })?;
        let letters = self.feeds.dead_letters(&self.scope.organization, &parsed).await.map_err(refused)?;
        let letter_of = |letter: DeadLetter| api::DeadLetter {
            name: format!("{}/deadLetters/{}", self.name_of(&parsed), letter.number),
            items: letter.items,
            first_id: letter.ids.0,
            last_id: letter.ids.1,
            error: letter.error,
            time: timestamp_of(letter.at_ms),
            attempts: letter.attempts,
        };
        Ok(ListDeadLettersResponse { dead_letters: letters.into_iter().map(letter_of).collect() })
    }

    async fn replay(&self, name: &str) -> Result<ReplayDeadLetterResponse, Refusal> {
        let (feed, number) = self.letter(name)?;
        let items = self.feeds.replay(&self.scope.organization, &feed, number).await.map_err(refused)?;
        Ok(ReplayDeadLetterResponse { items })
    }

    async fn drop_letter(&self, name: &str) -> Result<DeleteDeadLetterResponse, Refusal> {
        let (feed, number) = self.letter(name)?;
        self.feeds.drop_dead_letter(&self.scope.organization, &feed, number).await.map_err(refused)?;
        Ok(DeleteDeadLetterResponse {})
    }

    async fn follow(&self, request: FollowFeedRequest, sight: Sight) -> Result<Responses, Refusal> {
        self.scope.parent(&request.parent)?;
        let (filter, start) = (filter_of(request.filter), start_of(request.start));
        let items_max = match request.items_max as usize {
            0 => ITEMS,
            n if n <= limits::BATCH_ITEMS_MAX => n,
            _ => return Err(field("items_max", "1 to 4000, or 0 for 500")),
        };
        let stream = self.feeds.follow(self.scope.organization, &filter, &start).await.map_err(refused)?;
        let (to, from) = mpsc::channel(AHEAD);
        let (organization, stopping) = (self.scope.organization, self.stopping.clone());
        let from_feeds = (self.feeds.clone(), stream);
        tokio::spawn(send(from_feeds, (organization, sight), items_max, to, stopping));
        Ok(Box::pin(ReceiverStream::new(from)))
    }
}

type Answer = Result<FollowFeedResponse, Status>;
type Responses = Pin<Box<dyn Stream<Item = Answer> + Send>>;

/// Reads when there is room, sends, waits.
async fn send(
    (feeds, mut stream): (Feeds, FeedStream),
    (organization, sight): (OrganizationId, Sight),
    items_max: usize,
    to: mpsc::Sender<Answer>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut said = Instant::now();
    let mut first = true;
    loop {
        // A place first: nothing is read for a reader that does not read.
        let place = tokio::select! {
            place = to.reserve() => place,
            () = stopped(&mut stopping) => {
                // When there is no room the reader finds out by the end of the stream.
                let _ = to.try_send(Err(Refusal::Stopping.into()));
                return;
            }
        };
        let Ok(place) = place else { return };
        let next = stream.reader.next(items_max).await.map_err(refused);
        match next.and_then(|batch| Ok((batch, sight.seen()?))) {
            Ok((mut batch, seen)) => {
                batch.items.retain(|item| is_seen(item, &seen));
                let (caught_up, silent) = (batch.caught_up, batch.items.is_empty());
                if !silent || first || said.elapsed() >= HEARTBEAT {
                    let sealed = |cursor: &Cursor| feeds.sealed(cursor, &organization);
                    place.send(Ok(response_of(batch, &organization, &seen, sealed)));
                    (said, first) = (Instant::now(), false);
                } else {
                    drop(place);
                }
                if caught_up {
                    tokio::select! {
                        () = tokio::time::sleep(limits::LOOK_EVERY) => {}
                        () = to.closed() => return,
                        () = stopped(&mut stopping) => {}
                    }
                }
            }
            Err(refusal) => {
                place.send(Err(refusal.into()));
                return;
            }
        }
    }
}

#[tonic::async_trait]
impl FeedService for FeedDesk {
    type FollowFeedStream = Responses;

    async fn follow_feed(
        &self,
        request: Request<FollowFeedRequest>,
    ) -> Result<Response<Self::FollowFeedStream>, Status> {
        let sight = sight(&request);
        self.scope.measured("FollowFeed", self.follow(request.into_inner(), sight)).await
    }

    async fn list_feeds(
        &self,
        request: Request<ListFeedsRequest>,
    ) -> Result<Response<ListFeedsResponse>, Status> {
        self.scope.measured("ListFeeds", self.list(request.into_inner())).await
    }

    async fn get_feed(&self, request: Request<GetFeedRequest>) -> Result<Response<Feed>, Status> {
        self.scope.measured("GetFeed", self.get(&request.get_ref().name)).await
    }

    async fn create_feed(&self, request: Request<CreateFeedRequest>) -> Result<Response<Feed>, Status> {
        let who = who(&request);
        self.scope.measured("CreateFeed", self.create(request.into_inner(), who)).await
    }

    async fn delete_feed(
        &self,
        request: Request<DeleteFeedRequest>,
    ) -> Result<Response<DeleteFeedResponse>, Status> {
        self.scope.measured("DeleteFeed", self.delete(&request.get_ref().name)).await
    }

    async fn pause_feed(&self, request: Request<PauseFeedRequest>) -> Result<Response<Feed>, Status> {
        self.scope.measured("PauseFeed", self.pause(&request.get_ref().name, true)).await
    }

    async fn resume_feed(&self, request: Request<ResumeFeedRequest>) -> Result<Response<Feed>, Status> {
        self.scope.measured("ResumeFeed", self.pause(&request.get_ref().name, false)).await
    }

    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        self.scope.measured("ListDeadLetters", self.letters(&request.get_ref().parent)).await
    }

    async fn replay_dead_letter(
        &self,
        request: Request<ReplayDeadLetterRequest>,
    ) -> Result<Response<ReplayDeadLetterResponse>, Status> {
        self.scope.measured("ReplayDeadLetter", self.replay(&request.get_ref().name)).await
    }

    async fn delete_dead_letter(
        &self,
        request: Request<DeleteDeadLetterRequest>,
    ) -> Result<Response<DeleteDeadLetterResponse>, Status> {
        self.scope.measured("DeleteDeadLetter", self.drop_letter(&request.get_ref().name)).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use remuda_access::{Part, Reach};
    use remuda_feeds::Lag;

    use super::*;
    use crate::sight::Homes;

    #[test]
    fn whoever_sees_a_part_is_told_of_no_other_vehicle_and_of_the_feed_itself() {
        let homes = Arc::new(Homes::new(None, OrganizationId::default()));
        let item = |channel, source: &str| Item {
            id: "1".into(),
            channel,
            kind: "k".into(),
            source: source.into(),
            subject: "s".into(),
            time: String::new(),
            had_ms: 0,
            data: "{}".into(),
        };
        let (part, whole) = (
            Sight::new(Reach::of(&[Part::Fleet("north".into())]), Arc::clone(&homes)),
            Sight::new(Reach::Everywhere, homes),
        );
        let (part, whole) = (part.seen().expect("an answer"), whole.seen().expect("an answer"));
        for (channel, source, seen) in [
            (Channel::Telemetry, "organizations/default/vehicles/V1", false),
            (Channel::Events, "organizations/default/vehicles/V1", false),
            (Channel::Events, "organizations/default/trips/t1", false),
            (Channel::Feed, "organizations/default/vehicles/V1", false),
            (Channel::Feed, "organizations/default", true),
        ] {
            assert_eq!(is_seen(&item(channel, source), &part), seen, "{source}");
            assert!(is_seen(&item(channel, source), &whole), "{source}");
        }
        let told = |seen| {
            let batch =
                Batch { lag: Lag { positions: 7, since_ms: Some(now_ms() - 5_000) }, ..Batch::default() };
            let told = response_of(batch, &OrganizationId::default(), seen, |_| "sealed".into());
            (told.cursor, told.lag_positions, told.lag_seconds)
        };
        assert_eq!(told(&part), ("sealed".into(), 0, 5));
        assert_eq!(told(&whole), (Cursor::default().token(&OrganizationId::default()), 7, 5));
    }
}
