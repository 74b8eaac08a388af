//! Feeds to webhooks and streams: everything, in order, whatever the other side does.

mod common;

use std::time::Duration;

use common::{
    Customer, SECRET, Says, World, check, create, in_order, organization, vehicle, wait_until, webhook,
};
use remuda_feeds::{Cursor, FeedError, Feeds, Filter, Item, Phase, Start, TokenError};
use remuda_model::OrganizationId;
use remuda_webhooks::{SigningKeys, verify};

async fn status(feeds: &Feeds, name: &str) -> remuda_feeds::Status {
    feeds.get(&organization(), name).await.expect("there").status
}

async fn told(customer: &Customer, world: &World) {
    wait_until("everything is told", || async {
        in_order(&customer.items()).0.values().map(Vec::len).sum::<usize>() == world.written()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_everything_once_in_order_and_signed() {
    let world = World::new().await;
    world.drive(3, 30).await;
    let (customer, feeds) = (Customer::start().await, world.feeds().await);
    create(&feeds, webhook("hook", customer.url())).await;
    world.drive(3, 30).await;
    told(&customer, &world).await;
    check(&world, &customer.items());
    assert_eq!(customer.items().len(), world.written(), "nothing went wrong, so nothing came twice");
    let keys = SigningKeys::parse(&[SECRET]).expect("keys");
    for (head, body) in customer.taken.lock().iter() {
        let header = |name: &str| {
            let line =
                head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned));
            line.unwrap_or_else(|| panic!("no {name} in {head}"))
        };
        let at: i64 = header("webhook-timestamp").parse().expect("a time");
        verify(&keys, &header("webhook-id"), at, &header("webhook-signature"), body.as_bytes(), at)
            .expect("signed");
        assert_eq!(header("content-type"), "application/cloudevents-batch+json");
    }
    wait_until("it knows that nothing is left", || async { status(&feeds, "hook").await.lag.positions == 0 })
        .await;
    let view = feeds.get(&organization(), "hook").await.expect("there");
    assert_eq!((view.status.phase, view.status.lag.since_ms), (Phase::Running, None));
    assert_eq!(view.status.delivered as usize, world.written());
    assert!(!format!("{view:?}").contains(SECRET));
    feeds.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_hangs_holds_up_nobody_and_misses_nothing() {
    let world = World::new().await;
    let (customer, feeds) = (Customer::start().await, world.feeds_with(Duration::from_millis(200)).await);
    customer.says.lock().extend([Says::Nothing; 5_000]);
    create(&feeds, webhook("slow", customer.url())).await;
    // The feed hangs while this is committed.
    world.drive(2, 20).await;
    wait_until("it says how far behind it is", || async {
        let status = status(&feeds, "slow").await;
        status.phase == Phase::Retrying && status.lag.positions > 0 && status.last_error.is_some()
    })
    .await;
    {
        let mut says = customer.says.lock();
        says.clear();
        says.extend([Says::Status(503), Says::Status(401)]);
    }
    told(&customer, &world).await;
    check(&world, &customer.items());
    let view = feeds.get(&organization(), "slow").await.expect("there");
    assert!(view.status.retried >= 3, "{view:?}");
    assert_eq!(view.dead_letters, 0, "hanging, being away and a wrong login are no refusals");
    feeds.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_a_dead_letter_and_can_be_sent_again() {
    let world = World::new().await;
    world.drive(2, 6).await;
    let (customer, feeds) = (Customer::start().await, world.feeds().await);
    customer.says.lock().extend([Says::Status(422), Says::Status(422)]);
    create(&feeds, webhook("picky", customer.url())).await;
    let letters = || async { feeds.dead_letters(&organization(), "picky").await.expect("read") };
    wait_until("it is given up", || async { letters().await.len() == 1 }).await;
    let letter = letters().await[0].clone();
    assert_eq!((letter.number, letter.attempts), (1, 2));
    assert!(letter.error.contains("422") && letter.error.contains("no"), "{letter:?}");
    world.drive(2, 6).await;
    let rest = || world.written() - letter.items as usize;
    wait_until("it goes on with what comes after", || async { customer.items().len() == rest() }).await;
    let without = customer.items();
    assert!(
        without.len() < world.written() && !without.iter().any(|item| item["id"] == letter.ids.0.as_str())
    );
    customer.says.lock().push_back(Says::Status(400));
    let refused = feeds.replay(&organization(), "picky", 1).await.expect_err("refused once more");
    assert!(matches!(&refused, FeedError::NotTaken(text) if text.contains("400")), "{refused}");
    assert_eq!(feeds.replay(&organization(), "picky", 1).await.expect("taken"), letter.items);
    assert!(letters().await.is_empty());
    let all = customer.items();
    assert_eq!(
        (all.len(), in_order(&all).0.values().map(Vec::len).sum::<usize>()),
        (world.written(), world.written())
    );
    assert!(matches!(feeds.replay(&organization(), "picky", 1).await, Err(FeedError::NoSuchDeadLetter(1))));
    feeds.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn feeds_are_there_after_a_restart_and_go_on() {
    let world = World::new().await;
    world.drive(2, 9).await;
    let (customer, feeds) = (Customer::start().await, world.feeds().await);
    create(&feeds, webhook("hook", customer.url())).await;
    told(&customer, &world).await;
    let paused = feeds.pause(&organization(), "hook", true).await.expect("paused");
    assert_eq!(paused.status.phase, Phase::Paused);
    feeds.stop().await;
    world.drive(2, 9).await;
    let before = customer.items().len();
    let feeds = world.feeds().await;
    let views = feeds.list(&organization()).await.expect("listed");
    assert_eq!(
        views.iter().map(|view| (view.spec.name.as_str(), view.status.phase)).collect::<Vec<_>>(),
        [("hook", Phase::Paused)]
    );
    assert_eq!(customer.items().len(), before);
    feeds.pause(&organization(), "hook", false).await.expect("resumed");
    told(&customer, &world).await;
    check(&world, &customer.items());
    let again = feeds.create(organization(), webhook("hook", customer.url()), &Start::Now, "ada").await;
    assert!(matches!(again, Err(FeedError::Exists(_))));
    feeds.delete(&organization(), "hook").await.expect("deleted");
    assert!(matches!(feeds.get(&organization(), "hook").await, Err(FeedError::NoSuchFeed(_))));
    feeds.stop().await;
    assert!(world.feeds().await.list(&organization()).await.expect("listed").is_empty());
}

/// Reads a stream to its end, in small pieces; answers the items and the last cursor.
async fn read(feeds: &Feeds, start: &Start, items_max: usize, pieces: usize) -> (Vec<Item>, Cursor) {
    let mut stream = feeds.follow(organization(), &Filter::everything(), start).await.expect("a stream");
    let (mut items, mut cursor) = (Vec::new(), Cursor::default());
    for _ in 0..pieces {
        let batch = stream.reader.next(items_max).await.expect("read");
        assert!(batch.items.len() <= items_max);
        items.extend(batch.items);
        cursor = batch.cursor;
        if batch.caught_up {
            break;
        }
    }
    (items, cursor)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_where_it_was_also_after_a_restart() {
    let world = World::new().await;
    world.drive(3, 24).await;
    let feeds = world.feeds().await;
    let (mut items, cursor) = read(&feeds, &Start::Earliest, 7, 3).await;
    // For who may read it and for who may not, in turns.
    let mut token = feeds.sealed(&cursor, &organization());
    assert!(items.len() < world.written());
    feeds.stop().await;
    let feeds = world.feeds().await;
    loop {
        let (more, cursor) = read(&feeds, &Start::After(token.clone()), 5, 2).await;
        token = match token.starts_with("c2.") {
            true => cursor.token(&organization()),
            false => feeds.sealed(&cursor, &organization()),
        };
        if more.is_empty() {
            break;
        }
        items.extend(more);
    }
    let values: Vec<serde_json::Value> =
        items.iter().map(|item| serde_json::from_str(&item.to_json()).expect("JSON")).collect();
    check(&world, &values);
    assert_eq!(values.len(), world.written(), "each once");
    world.drive(1, 1).await;
    wait_until("what came after", || async {
        !read(&feeds, &Start::After(token.clone()), 5, 2).await.0.is_empty()
    })
    .await;
    let (now, _) = read(&feeds, &Start::Now, 5, 2).await;
    assert!(now.is_empty());
    feeds.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_anothers_and_a_cursor_of_another_life_is_refused() {
    let world = World::new().await;
    world.drive(2, 6).await;
    let feeds = world.feeds().await;
    let other = OrganizationId::new("other").expect("an id");
    let mut stream = feeds.follow(other, &Filter::everything(), &Start::Earliest).await.expect("a stream");
    loop {
        let batch = stream.reader.next(100).await.expect("read");
        assert!(batch.items.is_empty(), "{batch:?}");
        if batch.caught_up {
            break;
        }
    }
    let (_, cursor) = read(&feeds, &Start::Earliest, 5, 1).await;
    let token = cursor.token(&organization());
    let sealed = Start::After(feeds.sealed(&cursor, &organization()));
    let foreign = feeds.follow(other, &Filter::everything(), &sealed).await;
    assert!(matches!(foreign.err(), Some(FeedError::Token(TokenError::Foreign))));
    let foreign = feeds.follow(other, &Filter::everything(), &Start::After(token.clone())).await;
    assert!(matches!(foreign.err(), Some(FeedError::Token(TokenError::Foreign))));
    create(&feeds, webhook("hook", "http://127.0.0.1:9/".into())).await;
    assert!(feeds.list(&other).await.expect("listed").is_empty());
    assert!(matches!(feeds.get(&other, "hook").await, Err(FeedError::NoSuchFeed(_))));
    feeds.stop().await;
    // As after a restore, which leaves the feeds' folder out.
    std::fs::remove_dir_all(world.folder.path().join("feeds")).expect("removed");
    let feeds = world.feeds().await;
    let old = feeds.follow(organization(), &Filter::everything(), &Start::After(token)).await;
    assert!(matches!(old.err(), Some(FeedError::Token(TokenError::OfAnotherLife))));
    let old = feeds.follow(organization(), &Filter::everything(), &sealed).await;
    assert!(matches!(old.err(), Some(FeedError::Token(TokenError::Unreadable))));
    feeds.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_leaves_out_what_is_not_wanted() {
    let world = World::new().await;
    world.drive(3, 12).await;
    let feeds = world.feeds().await;
    let filter = Filter {
        vehicles: vec![vehicle(1).to_string()],
        signals: vec!["Vehicle.Speed".into()],
        event_types: vec!["vehicle.".into()],
        ..Filter::everything()
    };
    let mut stream = feeds.follow(organization(), &filter, &Start::Earliest).await.expect("a stream");
    let mut items = Vec::new();
    loop {
        let batch = stream.reader.next(3).await.expect("read");
        items.extend(batch.items);
        if batch.caught_up {
            break;
        }
    }
    assert!(items.iter().all(|item| item.subject == "VAN1"), "{items:?}");
    let rows: Vec<&Item> = items.iter().filter(|item| item.kind.contains("telemetry")).collect();
    assert_eq!(rows.len(), 8, "four frames of two rows");
    assert!(
        rows.iter().all(|row| row.data.contains("Vehicle.Speed") && !row.data.contains("Charge")),
        "{rows:?}"
    );
    assert!(feeds.follow(organization(), &Filter::default(), &Start::Now).await.is_err());
    feeds.stop().await;
}
